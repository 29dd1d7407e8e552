//! What u32 compares: 32-bit words of a packet (tc-u32(8); `tc/f_u32.c`, `parse_selector`).

use std::fmt;
use std::str::FromStr;

use crate::filter::address;
use crate::words::{Syntax, Words, abbreviates, hexadecimal, number};

/// `offmask` of what counts from the next header on: `at nexthdr+<offset>`.
pub(super) const NEXT_HEADER: i32 = -1;
/// What `tc` sends for `match ip6 icmp_code`.
const ICMP6_CODE: i32 = 1;

/// One word that must be equal: `match u32 <value> <mask> at [nexthdr+]<offset>` (`struct tc_u32_key`).
///
/// As text any selector of tc-u32(8) that makes one word, such as `ip protocol 6 0xff`; printed as `u32 …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct U32Key {
    /// What the bits under the mask must be.
    pub value: u32,
    /// Which bits are compared.
    pub mask: u32,
    /// Bytes from the start of the network header to the word; a multiple of 4, below 0 in front of it.
    pub offset: i32,
    /// Which bits of what [`U32Offset`](super::U32Offset)s added up to are added to `offset`: 0 none, -1 (`nexthdr+`) all. `tc` sends 1 for
    /// `match ip6 icmp_code`, and nothing else.
    pub offmask: i32,
}

impl U32Key {
    /// `match u32 <value> <mask> at <offset>`.
    pub const fn new(value: u32, mask: u32, offset: i32) -> Self {
        Self { value, mask, offset, offmask: 0 }
    }
}

impl fmt::Display for U32Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, mask, offset, offmask } = *self;
        if offmask != ICMP6_CODE {
            let base = if offmask == 0 { "" } else { "nexthdr+" };
            return write!(f, "u32 {value:#x} {mask:#x} at {base}{offset}");
        }
        // Only this selector says such an offmask, and only of one byte; the one that is compared.
        let byte = mask.leading_zeros().min(24) / 8;
        let shift = 24 - byte * 8;
        let at = i64::from(offset) + i64::from(byte);
        write!(f, "ip6 icmp_code {:#x} {:#x} at {at}", value >> shift & 0xFF, mask >> shift & 0xFF)
    }
}

impl FromStr for U32Key {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match keys_of(text)?[..] {
            [key] => Ok(key),
            _ => Err(Syntax::new(format!("{text:?} is not one word"))),
        }
    }
}

/// The words that one selector makes: none for an IPv6 address of no bits, four for one of 128.
fn keys_of(text: &str) -> Result<Vec<U32Key>, Syntax> {
    let list: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let (mut words, mut keys) = (Words::new(&list), Vec::new());
    let mark = selector(&mut words, &mut keys)?;
    match words.next() {
        Some(word) => Err(Syntax::unknown("match", word)),
        None if mark.is_some() => Err(Syntax::new("match: a mark is not a part of the packet")),
        None => Ok(keys),
    }
}

/// Selectors as text.
pub(super) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{U32Key, add, keys_of};

    pub(in crate::filter::u32) fn serialize<S: Serializer>(
        keys: &[U32Key],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter().map(U32Key::to_string))
    }

    pub(in crate::filter::u32) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<U32Key>, D::Error> {
        let mut keys = Vec::new();
        for text in Vec::<String>::deserialize(deserializer)? {
            let read = keys_of(&text).map_err(serde::de::Error::custom)?;
            read.into_iter().try_for_each(|key| add(&mut keys, key)).map_err(serde::de::Error::custom)?;
        }
        Ok(keys)
    }
}

/// Appends a word; one of the same place takes up its bits (`pack_key`).
pub(super) fn add(keys: &mut Vec<U32Key>, key: U32Key) -> Result<(), Syntax> {
    let key = U32Key { value: key.value & key.mask, ..key };
    let same = |other: &&mut U32Key| (other.offset, other.offmask) == (key.offset, key.offmask);
    if let Some(found) = keys.iter_mut().find(same) {
        if (key.value ^ found.value) & key.mask & found.mask != 0 {
            return Err(Syntax::new(format!("match: two values for the same bits at {}", key.offset)));
        }
        found.value |= key.value;
        found.mask |= key.mask;
        return Ok(());
    }
    if keys.len() >= super::MOST_KEYS {
        return Err(Syntax::new(format!("match: more than {} words", super::MOST_KEYS)));
    }
    if key.offset % 4 != 0 {
        return Err(Syntax::new(format!("match: the offset {} is not a multiple of 4", key.offset)));
    }
    keys.push(key);
    Ok(())
}

/// Where a value is looked for.
#[derive(Clone, Copy)]
struct Place {
    offset: i32,
    offmask: i32,
}

const fn at(offset: i32) -> Place {
    Place { offset, offmask: 0 }
}

const fn next_header(offset: i32) -> Place {
    Place { offset, offmask: NEXT_HEADER }
}

/// Reads what follows `match`. The value and mask of `mark` are given back, all else goes into `keys`.
pub(super) fn selector(words: &mut Words, keys: &mut Vec<U32Key>) -> Result<Option<(u32, u32)>, Syntax> {
    let word = words.value("match")?;
    match word {
        _ if abbreviates(word, "u32") => value::<4>(words, keys, at(0))?,
        _ if abbreviates(word, "u16") => value::<2>(words, keys, at(0))?,
        _ if abbreviates(word, "u8") => value::<1>(words, keys, at(0))?,
        _ if abbreviates(word, "ip") => ip(words, keys)?,
        _ if abbreviates(word, "ip6") => ip6(words, keys)?,
        _ if abbreviates(word, "udp") || abbreviates(word, "tcp") => match words.value(word)? {
            "src" => value::<2>(words, keys, next_header(0))?,
            "dst" => value::<2>(words, keys, next_header(2))?,
            other => return Err(Syntax::unknown("match tcp", other)),
        },
        _ if abbreviates(word, "icmp") => match words.value(word)? {
            "type" => value::<1>(words, keys, next_header(0))?,
            "code" => value::<1>(words, keys, next_header(1))?,
            other => return Err(Syntax::unknown("match icmp", other)),
        },
        _ if abbreviates(word, "mark") => {
            let (value, mask): (u32, u32) = (words.number("match mark")?, words.number("match mark")?);
            if value & mask != value {
                return Err(Syntax::new("match mark: the value has bits that the mask has not"));
            }
            return Ok(Some((value, mask)));
        }
        _ if abbreviates(word, "ether") => match words.value(word)? {
            "src" => ethernet(words, keys, -8)?,
            "dst" => ethernet(words, keys, -14)?,
            other => return Err(Syntax::unknown("match ether", other)),
        },
        other => return Err(Syntax::unknown("match", other)),
    }
    Ok(None)
}

fn ip(words: &mut Words, keys: &mut Vec<U32Key>) -> Result<(), Syntax> {
    let word = words.value("match ip")?;
    match word {
        "src" => ipv4(words, keys, 12),
        "dst" => ipv4(words, keys, 16),
        "ihl" => value::<1>(words, keys, at(0)),
        "protocol" => value::<1>(words, keys, at(9)),
        "nofrag" => add(keys, sized::<2>(0, 0x3FFF, at(6))?),
        "firstfrag" => add(keys, sized::<2>(0x2000, 0x3FFF, at(6))?),
        "df" => add(keys, sized::<2>(0x4000, 0x4000, at(6))?),
        "mf" => add(keys, sized::<2>(0x2000, 0x2000, at(6))?),
        "dport" => value::<2>(words, keys, at(22)),
        "sport" => value::<2>(words, keys, at(20)),
        "icmp_type" => value::<1>(words, keys, at(20)),
        "icmp_code" => value::<1>(words, keys, at(21)),
        _ if word == "tos" || abbreviates(word, "dsfield") || abbreviates(word, "precedence") => {
            value::<1>(words, keys, at(1))
        }
        other => Err(Syntax::unknown("match ip", other)),
    }
}

fn ip6(words: &mut Words, keys: &mut Vec<U32Key>) -> Result<(), Syntax> {
    match words.value("match ip6")? {
        "src" => ipv6(words, keys, 8),
        "dst" => ipv6(words, keys, 24),
        "priority" => {
            let (value, mask) =
                (words.number::<u8>("priority")?, hexadecimal::<u8>(words.value("priority")?)?);
            add(keys, U32Key::new(u32::from(value) << 20, u32::from(mask) << 20, 0))
        }
        "protocol" => value::<1>(words, keys, at(6)),
        "flowlabel" => value::<4>(words, keys, at(0)),
        "dport" => value::<2>(words, keys, at(42)),
        "sport" => value::<2>(words, keys, at(40)),
        "icmp_type" => value::<1>(words, keys, at(40)),
        "icmp_code" => value::<1>(words, keys, Place { offset: 41, offmask: ICMP6_CODE }),
        other => Err(Syntax::unknown("match ip6", other)),
    }
}

/// `at [nexthdr+]<offset>`, if it follows.
fn place(words: &mut Words, default: Place) -> Result<Place, Syntax> {
    if !words.take("at") {
        return Ok(default);
    }
    let word = words.value("at")?;
    let (word, offmask) = match word.strip_prefix("nexthdr+") {
        Some(rest) if !rest.is_empty() => (rest, NEXT_HEADER),
        _ if abbreviates(word, "nexthdr+") => (words.value("at")?, NEXT_HEADER),
        _ => (word, default.offmask),
    };
    Ok(Place { offset: crate::words::integer(word)?, offmask })
}

/// `<value> <mask> [at …]`, `SIZE` bytes long.
fn value<const SIZE: u32>(words: &mut Words, keys: &mut Vec<U32Key>, default: Place) -> Result<(), Syntax> {
    let (value, mask) = (number(words.value("match")?)?, hexadecimal(words.value("match")?)?);
    let place = place(words, default)?;
    add(keys, sized::<SIZE>(value, mask, place)?)
}

/// A value of `SIZE` bytes at its place within the word (`pack_key16`, `pack_key8`).
fn sized<const SIZE: u32>(value: u32, mask: u32, place: Place) -> Result<U32Key, Syntax> {
    let Place { offset, offmask } = place;
    if SIZE == 4 {
        return Ok(U32Key { value, mask, offset, offmask });
    }
    let most = (1 << (SIZE * 8)) - 1;
    if value > most || mask > most {
        return Err(Syntax::new(format!("match: {value:#x} or {mask:#x} exceeds {SIZE} bytes")));
    }
    let shift = match (SIZE, offset & 3) {
        (2, 0) => 16,
        (1, byte) => 24 - 8 * byte,
        _ => 0,
    };
    Ok(U32Key { value: value << shift, mask: mask << shift, offset: offset & !3, offmask })
}

fn ipv4(words: &mut Words, keys: &mut Vec<U32Key>, offset: i32) -> Result<(), Syntax> {
    let (address, bits) = address::ipv4(words.value("match ip")?)?;
    let Place { offset, offmask } = place(words, at(offset))?;
    add(keys, U32Key { value: address.into(), mask: address::mask(bits), offset, offmask })
}

fn ipv6(words: &mut Words, keys: &mut Vec<U32Key>, offset: i32) -> Result<(), Syntax> {
    let (address, bits) = address::ipv6(words.value("match ip6")?)?;
    let Place { offset, offmask } = place(words, at(offset))?;
    let octets = address.octets();
    let words = octets.as_chunks::<4>().0.iter().zip([0, 4, 8, 12]);
    for (value, further) in words.take(usize::from(bits.div_ceil(32))) {
        let (value, mask) = (u32::from_be_bytes(*value), address::mask(bits - further * 8));
        let offset = offset.wrapping_add(further.into());
        add(keys, U32Key { value, mask, offset, offmask })?;
    }
    Ok(())
}

fn ethernet(words: &mut Words, keys: &mut Vec<U32Key>, offset: i32) -> Result<(), Syntax> {
    let address = address::ethernet(words.value("match ether")?)?;
    let Place { offset, offmask } = place(words, at(offset))?;
    for (byte, further) in address.into_iter().zip(0..) {
        let offset = offset.wrapping_add(further);
        add(keys, sized::<1>(byte.into(), 0xFF, Place { offset, offmask })?)?;
    }
    Ok(())
}

/// What `tc … sample` makes of its one word: the number whose remainder is the bucket (`u32_hash_fold`).
pub(super) fn fold(key: U32Key) -> u32 {
    (key.value & key.mask).checked_shr(key.mask.trailing_zeros()).unwrap_or(0)
}
