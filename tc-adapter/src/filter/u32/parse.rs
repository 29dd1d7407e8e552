//! What `tc` takes for a u32 filter (`tc/f_u32.c`, `u32_parse_opt`).

use super::{U32, U32HashKey, U32Mark, U32Offset, handle, parse_handle, select};
use crate::filter::Common;
use crate::words::{Syntax, Words, abbreviates, hexadecimal, integer};

impl U32 {
    /// Reads what follows the kind.
    pub(in crate::filter) fn parse(
        given: Option<&str>,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<(u32, Self), Syntax> {
        let (mut u32, mut named) = (Self::default(), given.map_or(Ok(0), parse_handle)?);
        let (mut ht, mut sampled) = (0, None);
        while let Some(word) = words.next() {
            match word {
                _ if abbreviates(word, "match") => {
                    if let Some((value, mask)) = select::selector(words, &mut u32.keys)? {
                        u32.mark = Some(U32Mark { value, mask });
                    }
                }
                _ if abbreviates(word, "offset") => u32.parse_offset(words)?,
                _ if abbreviates(word, "hashkey") => u32.parse_hashkey(words)?,
                _ if abbreviates(word, "divisor") => u32.divisor = Some(divisor(words)?),
                _ if abbreviates(word, "order") => {
                    let order: u32 = words.number(word)?;
                    let node = named & handle::NODE_MASK;
                    if order > handle::NODE_MASK || order != 0 && node != 0 && node != order {
                        return Err(Syntax::new(
                            "order: not from 1 to 4095, or another one than the handle's",
                        ));
                    }
                    named |= order;
                }
                "link" => {
                    let link = parse_handle(words.value(word)?)?;
                    if link & handle::NODE_MASK != 0 {
                        return Err(Syntax::new("link: must be a hash table"));
                    }
                    u32.link = Some(link);
                }
                "ht" => {
                    let table = parse_handle(words.value(word)?)?;
                    if given.is_some() && table & handle::NODE_MASK != 0 {
                        return Err(Syntax::new("ht: must be a hash table"));
                    }
                    ht = table & !handle::NODE_MASK;
                }
                "sample" => {
                    let mut keys = Vec::new();
                    select::selector(words, &mut keys)?;
                    let [key] = keys[..] else { return Err(Syntax::new("sample: must be exactly one word")) };
                    let divisor = if words.take("divisor") { divisor(words)? } else { 256 };
                    sampled = Some(select::fold(key) % divisor);
                    ht = handle::with_bucket(ht, 0);
                }
                "indev" => u32.indev = Some(words.value(word)?.to_owned()),
                "skip_hw" => u32.skip.skip_hw = true,
                "skip_sw" => u32.skip.skip_sw = true,
                _ if common.take(word, words)? => {}
                other => return Err(Syntax::unknown("u32", other)),
            }
        }
        let ht = sampled.map_or(ht, |bucket| handle::with_bucket(ht, bucket));
        u32.ht = Some(ht).filter(|ht| *ht != 0);
        Ok((named, u32))
    }

    fn parse_offset(&mut self, words: &mut Words) -> Result<(), Syntax> {
        let mut offset = self.offset.unwrap_or_default();
        let mut variable = offset.variable.unwrap_or_default();
        let mut varies = offset.variable.is_some();
        while let Some(word) = words.peek() {
            match word {
                _ if abbreviates(word, "plus") => {
                    words.next();
                    let plus: i32 = integer(words.value("plus")?)?;
                    let plus = u16::try_from(plus).or_else(|_| i16::try_from(plus).map(i16::cast_unsigned));
                    offset.plus = Some(plus.map_err(|_| Syntax::new("plus: not from -32768 to 65535"))?);
                    continue;
                }
                _ if abbreviates(word, "at") => {
                    words.next();
                    variable.at = integer(words.value("at")?)?;
                    if variable.at % 2 != 0 {
                        return Err(Syntax::new("offset at: must be even"));
                    }
                }
                _ if abbreviates(word, "mask") => {
                    words.next();
                    variable.mask = hexadecimal(words.value("mask")?)?;
                }
                _ if abbreviates(word, "shift") => {
                    words.next();
                    variable.shift = words.number("shift")?;
                }
                _ if abbreviates(word, "eat") => {
                    words.next();
                    offset.eat = true;
                    continue;
                }
                _ => break,
            }
            varies = true;
        }
        offset.variable = varies.then_some(variable);
        self.offset = Some(offset).filter(|offset| *offset != U32Offset::default());
        Ok(())
    }

    fn parse_hashkey(&mut self, words: &mut Words) -> Result<(), Syntax> {
        let mut hashkey = self.hashkey.unwrap_or_default();
        while let Some(word) = words.peek() {
            if abbreviates(word, "mask") {
                words.next();
                hashkey.mask = hexadecimal(words.value("mask")?)?;
            } else if abbreviates(word, "at") {
                words.next();
                hashkey.at = integer(words.value("at")?)?;
                if hashkey.at % 4 != 0 {
                    return Err(Syntax::new("hashkey at: must be a multiple of 4"));
                }
            } else {
                break;
            }
        }
        self.hashkey = Some(hashkey).filter(|hashkey| *hashkey != U32HashKey::default());
        Ok(())
    }
}

fn divisor(words: &mut Words) -> Result<u32, Syntax> {
    let divisor: u32 = words.number("divisor")?;
    if (1..=256).contains(&divisor) && divisor.is_power_of_two() {
        Ok(divisor)
    } else {
        Err(Syntax::new("divisor: must be a power of two from 1 to 256"))
    }
}
