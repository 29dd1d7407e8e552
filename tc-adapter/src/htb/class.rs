//! The settings of one HTB class.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attributes::{CEIL64, PARMS, RATE64};
use super::ticks::{Rounding, TICKS_IN_A_MICROSECOND, transmit_size, transmit_ticks};
use crate::attribute::{each, put, u16_at, u32_at, u64_at};
use crate::rate::Rate;
use crate::reply::Malformed;
use crate::size::Size;
use crate::words::{Syntax, Words};

/// An HTB class: `tc class add … htb rate <rate> [ceil <ceil>] [burst <burst>] [cburst <cburst>] [prio <prio>]
/// [quantum <quantum>] [mpu <mpu>] [overhead <overhead>] [linklayer <layer>]` (tc-htb(8)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct HtbClass {
    /// What this class and its children are guaranteed.
    pub rate: Rate,
    /// What it may reach by borrowing from its parent; not below `rate`.
    pub ceil: Rate,
    /// Bytes that may go at once above `rate`; `None`: `tc`'s default, see [`HtbClass::default_burst`].
    pub burst: Option<Size>,
    /// Bytes that may go at once above `ceil`; `None`: the same formula with `ceil`.
    pub cburst: Option<Size>,
    /// 0 (first) to 7: who is offered excess bandwidth first. The kernel heeds it in leaves only.
    pub prio: u32,
    /// Bytes served from this leaf before the next one of its priority; 1 to 2^31 - 1. `None`: rate / r2q, which the
    /// kernel keeps within 1,000 to 200,000, with a warning when it had to.
    pub quantum: Option<u32>,
    /// Packets smaller than this many bytes count as this many.
    pub mpu: u16,
    /// Bytes added to every packet's size.
    pub overhead: u16,
    /// What a packet's bytes become on the line.
    pub link_layer: LinkLayer,
    /// How the bursts are told to the kernel; which does not tell it back. Not a part of the text.
    pub rounding: Rounding,
}

/// `linklayer`: how many bytes a packet takes on the line (tc-stab(8), `psched_l2t_ns` in `include/net/sch_generic.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum LinkLayer {
    /// As many as it has. `tc … linklayer ethernet`, the default.
    #[default]
    Ethernet = 1,
    /// Cells of 53 bytes with 48 of the packet in each, the last one filled up, as on ADSL: `tc … linklayer atm`.
    Atm = 2,
}

/// The part of `tc_ratespec.linklayer` that is the link layer.
pub(crate) const LINK_LAYER_MASK: u8 = 0x0f;

/// The MTU that `tc` assumes: `tc class … htb` has an `mtu` option for the rate tables, which are not sent here.
const MTU: u64 = 1600;
/// The timer frequency by which `tc` computes a default burst: the last number of `/proc/net/psched`, the number of
/// timer resolutions in a second, 10^9 wherever high-resolution timers run (all kernels that this crate is for).
const TIMER_HZ: u64 = 1_000_000_000;

/// Shape of the rate table that `tc` would send: cells of 8 bytes, rounded up. The kernel does not read them without a
/// table; they are sent as `tc` sends them so that both make the same message.
const CELL_LOG: u8 = 3;
const CELL_ALIGN: i16 = -1;

impl HtbClass {
    /// `tc class add … htb rate <rate>`: ceil equal to the rate, the rest by default.
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            ceil: rate,
            burst: None,
            cburst: None,
            prio: 0,
            quantum: None,
            mpu: 0,
            overhead: 0,
            link_layer: LinkLayer::Ethernet,
            rounding: Rounding::Exact,
        }
    }

    /// `tc`'s default burst, `rate / timer frequency + MTU`: 1600 bytes below 8 Gbit/s and a byte more for each
    /// further 8 Gbit/s.
    pub fn default_burst(rate: Rate) -> Size {
        // At most (2^61 / 10^9) + 1600, which fits.
        Size::from_bytes(u32::try_from(rate.bytes_per_second() / TIMER_HZ + MTU).unwrap_or(u32::MAX))
    }

    /// The burst that is sent: `burst` or the default.
    pub fn effective_burst(&self) -> Size {
        self.burst.unwrap_or_else(|| Self::default_burst(self.rate))
    }

    /// The ceil's burst that is sent: `cburst` or the default.
    pub fn effective_cburst(&self) -> Size {
        self.cburst.unwrap_or_else(|| Self::default_burst(self.ceil))
    }

    /// Appends the value of `TCA_OPTIONS`.
    ///
    /// `TCA_HTB_RTAB` and `TCA_HTB_CTAB`, 1 KiB each, are left out: the kernel reads them only to guess the link layer
    /// (`htb_change_class`). `TCA_HTB_RATE64` and `CEIL64` are sent from 2^32 bytes/s (34.4 Gbit/s) on.
    /// A burst that takes longer than 2^32 - 1 ticks is sent as that many; a request with one is refused before.
    pub fn encode_options(&self, buffer: &mut Vec<u8>) {
        for (kind, rate) in [(RATE64, self.rate), (CEIL64, self.ceil)] {
            if u32::try_from(rate.bytes_per_second()).is_err() {
                put(buffer, kind, &rate.bytes_per_second().to_ne_bytes());
            }
        }
        // struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio
        let mut parms = [0; 44];
        parms[..12].copy_from_slice(&self.rate_spec(self.rate));
        parms[12..24].copy_from_slice(&self.rate_spec(self.ceil));
        let tail = [
            self.rounding.ticks(self.effective_burst(), self.rate).unwrap_or(u32::MAX),
            self.rounding.ticks(self.effective_cburst(), self.ceil).unwrap_or(u32::MAX),
            self.quantum.unwrap_or(0),
            0,
            self.prio,
        ]
        .map(u32::to_ne_bytes);
        parms[24..].copy_from_slice(tail.as_flattened());
        put(buffer, PARMS, &parms);
    }

    /// `struct tc_ratespec`: `cell_log`, linklayer, overhead, `cell_align`, mpu, rate (all ones when it needs 64 bits).
    fn rate_spec(&self, rate: Rate) -> [u8; 12] {
        let mut spec = [0; 12];
        spec[0] = CELL_LOG;
        // With 0 ("unaware") the kernel would guess it from a rate table.
        spec[1] = self.link_layer as u8;
        spec[2..4].copy_from_slice(&self.overhead.to_ne_bytes());
        spec[4..6].copy_from_slice(&CELL_ALIGN.to_ne_bytes());
        spec[6..8].copy_from_slice(&self.mpu.to_ne_bytes());
        spec[8..].copy_from_slice(&u32::try_from(rate.bytes_per_second()).unwrap_or(u32::MAX).to_ne_bytes());
        spec
    }

    /// Reads the words that follow `htb` in a `tc class` command.
    pub(crate) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut settings = Settings::default();
        let mut mtu = None;
        while let Some(word) = words.next() {
            match word {
                "rate" => settings.rate = Some(words.parse(word)?),
                "ceil" => settings.ceil = Some(words.parse(word)?),
                "burst" | "buffer" | "maxburst" => settings.burst = Some(words.parse(word)?),
                "cburst" | "cbuffer" | "cmaxburst" => settings.cburst = Some(words.parse(word)?),
                "prio" => settings.prio = words.number(word)?,
                "quantum" => settings.quantum = Some(words.number(word)?),
                "mpu" => settings.mpu = words.number(word)?,
                "overhead" => settings.overhead = words.number(word)?,
                "linklayer" => settings.link_layer = link_layer(words.value(word)?)?,
                "mtu" => mtu = Some(words.number::<u32>(word)?),
                other => return Err(Syntax::unknown("htb class", other)),
            }
        }
        let mut class = Self::try_from(settings).map_err(Syntax::new)?;
        // To `tc` the MTU is a part of the default bursts.
        if let Some(mtu) = mtu {
            let burst = |rate: Rate| {
                Some(Size::from_bytes(
                    u32::try_from(rate.bytes_per_second() / TIMER_HZ).unwrap_or(u32::MAX).saturating_add(mtu),
                ))
            };
            class.burst = class.burst.or(burst(class.rate));
            class.cburst = class.cburst.or(burst(class.ceil));
        }
        Ok(class)
    }

    /// The quantum that the kernel gives a leaf which asks for none.
    pub(crate) fn default_quantum(&self, r2q: u32) -> u32 {
        let quantum = self.rate.bytes_per_second() / u64::from(r2q.max(1));
        u32::try_from(quantum.clamp(1_000, 200_000)).unwrap_or(200_000)
    }

    /// Whether a class that is to have these settings may stay as it is, `actual` being what the kernel reports. Bursts are
    /// compared to the microsecond, the precision of `tc` before iproute2 6.15; a quantum that is not said is the kernel's affair.
    pub fn meets(&self, actual: &Self) -> bool {
        let near = |ours: Size, theirs: Option<Size>, rate: Rate| {
            let ticks = |size| transmit_ticks(size, rate).unwrap_or(u32::MAX);
            // What is read back is in whole bytes, of which one may take longer.
            theirs.is_some_and(|theirs| {
                ours.bytes().abs_diff(theirs.bytes()) <= 1
                    || ticks(ours).abs_diff(ticks(theirs)) <= TICKS_IN_A_MICROSECOND
            })
        };
        let rest =
            |class: &Self| (class.rate, class.ceil, class.prio, class.mpu, class.overhead, class.link_layer);
        rest(self) == rest(actual)
            && near(self.effective_burst(), actual.burst, self.rate)
            && near(self.effective_cburst(), actual.cburst, self.ceil)
            && (self.quantum.is_none() || self.quantum == actual.quantum)
    }

    /// With the bursts as `tc` before iproute2 6.15 tells them.
    #[must_use]
    pub(crate) fn with_whole_microseconds(self) -> Self {
        Self { rounding: Rounding::Microseconds, ..self }
    }

    /// Reads the value of `TCA_OPTIONS`. Bursts come back as the bytes that fit their ticks, so above 125 Mbit/s, where
    /// a tick is more than a byte, they may be up to a tick's bytes larger than what was asked.
    pub fn decode_options(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut parms, mut rate64, mut ceil64) = (None, None, None);
        for attribute in each(bytes) {
            match attribute? {
                (PARMS, value) => parms = Some(value),
                (RATE64, value) => {
                    rate64 = Some(u64_at(value, 0).ok_or(Malformed("TCA_HTB_RATE64 is too short"))?);
                }
                (CEIL64, value) => {
                    ceil64 = Some(u64_at(value, 0).ok_or(Malformed("TCA_HTB_CEIL64 is too short"))?);
                }
                _ => {}
            }
        }
        let parms = parms.ok_or(Malformed("HTB class options without TCA_HTB_PARMS"))?;
        let short = || Malformed("TCA_HTB_PARMS is too short");
        let word = |offset: usize| u32_at(parms, offset).ok_or_else(short);
        let half = |offset: usize| u16_at(parms, offset).ok_or_else(short);
        let rate_of = |wide: Option<u64>, narrow: u32| {
            Rate::from_bytes_per_second(wide.unwrap_or(u64::from(narrow)))
                .map_err(|_| Malformed("an HTB class with an impossible rate"))
        };
        let prio = word(40)?; // the last field first: what follows then only fails on its values
        let rate = rate_of(rate64, word(8)?)?;
        let ceil = rate_of(ceil64, word(20)?)?;
        Ok(Self {
            rate,
            ceil,
            burst: Some(transmit_size(word(24)?, rate)),
            cburst: Some(transmit_size(word(28)?, ceil)),
            prio,
            quantum: Some(word(32)?).filter(|quantum| *quantum != 0),
            mpu: half(6)?,
            overhead: half(2)?,
            link_layer: match parms.get(1).map(|layer| layer & LINK_LAYER_MASK) {
                Some(2) => LinkLayer::Atm,
                _ => LinkLayer::Ethernet,
            },
            rounding: Rounding::Exact,
        })
    }
}

/// The level in the value of `TCA_OPTIONS`, which the kernel tells and nobody sets.
pub(crate) fn level(bytes: &[u8]) -> Result<u32, Malformed> {
    for attribute in each(bytes) {
        if let (PARMS, value) = attribute? {
            return u32_at(value, 36).ok_or(Malformed("TCA_HTB_PARMS is too short"));
        }
    }
    Ok(0)
}

/// As words of a `tc` command, exactly.
impl fmt::Display for HtbClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "htb rate {}", self.rate.exact())?;
        if self.ceil != self.rate {
            write!(f, " ceil {}", self.ceil.exact())?;
        }
        for (name, burst) in [("burst", self.burst), ("cburst", self.cburst)] {
            if let Some(burst) = burst {
                write!(f, " {name} {}", burst.exact())?;
            }
        }
        if let Some(quantum) = self.quantum {
            write!(f, " quantum {quantum}")?;
        }
        for (name, number) in
            [("prio", self.prio), ("mpu", u32::from(self.mpu)), ("overhead", u32::from(self.overhead))]
        {
            if number != 0 {
                write!(f, " {name} {number}")?;
            }
        }
        if self.link_layer == LinkLayer::Atm { f.write_str(" linklayer atm") } else { Ok(()) }
    }
}

/// Reads the word that follows `linklayer`.
pub(crate) fn link_layer(word: &str) -> Result<LinkLayer, Syntax> {
    match word {
        "ethernet" => Ok(LinkLayer::Ethernet),
        "atm" | "adsl" => Ok(LinkLayer::Atm),
        other => Err(Syntax::new(format!("linklayer: {other:?} is neither ethernet nor atm"))),
    }
}

/// A class as text says it: without a ceil it is the rate.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ceil: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cburst: Option<Size>,
    #[serde(skip_serializing_if = "crate::text::is_default")]
    prio: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantum: Option<u32>,
    #[serde(skip_serializing_if = "crate::text::is_default")]
    mpu: u16,
    #[serde(skip_serializing_if = "crate::text::is_default")]
    overhead: u16,
    #[serde(rename = "linklayer", skip_serializing_if = "crate::text::is_default")]
    link_layer: LinkLayer,
}

impl TryFrom<Settings> for HtbClass {
    type Error = &'static str;

    fn try_from(settings: Settings) -> Result<Self, Self::Error> {
        let Settings { rate, ceil, burst, cburst, prio, quantum, mpu, overhead, link_layer } = settings;
        let rate = rate.ok_or("an HTB class needs a rate")?;
        let (ceil, rounding) = (ceil.unwrap_or(rate), Rounding::Exact);
        Ok(Self { rate, ceil, burst, cburst, prio, quantum, mpu, overhead, link_layer, rounding })
    }
}

impl From<HtbClass> for Settings {
    fn from(class: HtbClass) -> Self {
        let HtbClass { rate, ceil, burst, cburst, prio, quantum, mpu, overhead, link_layer, rounding: _ } =
            class;
        let ceil = Some(ceil).filter(|ceil| *ceil != rate);
        Self { rate: Some(rate), ceil, burst, cburst, prio, quantum, mpu, overhead, link_layer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(class: &HtbClass) -> Vec<u8> {
        let mut bytes = Vec::new();
        class.encode_options(&mut bytes);
        bytes
    }

    #[test]
    fn default_burst_is_that_of_tc() {
        let burst = |rate: &str| HtbClass::default_burst(rate.parse().unwrap()).bytes();
        assert_eq!(
            (burst("8bit"), burst("10mbit"), burst("8gbit"), burst("100gbit")),
            (1600, 1600, 1601, 1612)
        );
    }

    #[test]
    fn wide_rates_bring_their_own_attribute() {
        let narrow = HtbClass::new(Rate::from_bytes_per_second((1 << 32) - 1).unwrap());
        let wide = HtbClass::new(Rate::from_bytes_per_second(1 << 32).unwrap());
        assert_eq!(encoded(&narrow).len(), 48);
        assert_eq!(encoded(&wide).len(), 48 + 12 + 12);
        assert_eq!(HtbClass::decode_options(&encoded(&wide)).unwrap().rate, wide.rate);
    }

    #[test]
    fn a_rate_of_zero_is_malformed() {
        let mut bytes = encoded(&HtbClass::new("10mbit".parse().unwrap()));
        bytes[4 + 8..4 + 12].fill(0);
        assert_eq!(HtbClass::decode_options(&bytes), Err(Malformed("an HTB class with an impossible rate")));
    }

    prop_compose! {
        fn classes()(
            rate in prop_oneof![1_u64..1 << 24, 1_u64..=u64::MAX / 8], ceil in prop_oneof![1_u64..1 << 24, 1_u64..=u64::MAX / 8],
            burst: Option<u32>, cburst: Option<u32>, prio: u32, quantum: Option<u32>, mpu: u16, overhead: u16, atm: bool,
        ) -> HtbClass {
            HtbClass {
                rate: Rate::from_bytes_per_second(rate).unwrap(),
                ceil: Rate::from_bytes_per_second(ceil).unwrap(),
                burst: burst.map(Size::from_bytes),
                cburst: cburst.map(Size::from_bytes),
                prio, quantum: quantum.filter(|quantum| *quantum != 0), mpu, overhead,
                link_layer: if atm { LinkLayer::Atm } else { LinkLayer::Ethernet },
                rounding: Rounding::Exact,
            }
        }
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(class in classes()) {
            let back = HtbClass::decode_options(&encoded(&class)).unwrap();
            let without_bursts = |class: &HtbClass| HtbClass { burst: None, cburst: None, ..class.clone() };
            prop_assert_eq!(without_bursts(&back), without_bursts(&class));
            // What a burst loses on the way is the business of `ticks`; the second way must lose nothing more.
            if transmit_ticks(class.effective_burst(), class.rate).is_some_and(|_| back.burst != Some(Size::from_bytes(u32::MAX)))
                && transmit_ticks(class.effective_cburst(), class.ceil).is_some_and(|_| back.cburst != Some(Size::from_bytes(u32::MAX)))
            {
                prop_assert!(back.burst >= Some(class.effective_burst()));
                prop_assert!(back.cburst >= Some(class.effective_cburst()));
                prop_assert_eq!(encoded(&back), encoded(&class));
            }
        }

        #[test]
        fn survives_words_and_json(class in classes()) {
            let text = class.to_string();
            let words: Vec<String> = text.split_whitespace().skip(1).map(str::to_owned).collect();
            let parsed = HtbClass::parse(&mut Words::new(&words));
            prop_assert_eq!(parsed.as_ref(), Ok(&class), "{}", text);
            let json = serde_json::to_string(&class).unwrap();
            prop_assert_eq!(&serde_json::from_str::<HtbClass>(&json).unwrap(), &class, "{}", json);
        }

        #[test]
        fn decoder_never_panics(bytes: Vec<u8>) {
            let _ = HtbClass::decode_options(&bytes);
        }

        #[test]
        fn decoder_survives_flipped_bytes(class in classes(), at: prop::sample::Index, byte: u8) {
            let mut bytes = encoded(&class);
            let index = at.index(bytes.len());
            bytes[index] = byte;
            let _ = HtbClass::decode_options(&bytes);
        }

        #[test]
        fn a_cut_message_is_an_error(cut in 0_usize..48) {
            let bytes = encoded(&HtbClass::new("10mbit".parse().unwrap()));
            prop_assert!(HtbClass::decode_options(&bytes[..cut]).is_err());
        }
    }
}
