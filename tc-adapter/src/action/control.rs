//! What becomes of a packet after an action.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;
use crate::words::{Syntax, Words, abbreviates, number};

/// `TC_ACT_*` of `include/uapi/linux/pkt_cls.h`; as text the words of tc-actions(8): `pass`, `goto chain 5`, `jump 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Control {
    /// `continue`: the next filter is asked.
    Continue,
    /// `pass`, `ok`: it goes on, to the class of the filter.
    Pass,
    /// `reclassify`: all filters are asked again, from the first on.
    Reclassify,
    /// `drop`, `shot`.
    Drop,
    /// `pipe`: the next action of the filter.
    Pipe,
    /// `stolen`: somebody else has it now; not a word that `tc` reads.
    Stolen,
    /// `trap`: to the processor, where the hardware has the filter.
    Trap,
    /// `goto chain <chain>`: the filters of that chain are asked; below 2^28.
    GotoChain(u32),
    /// `jump <actions>`: to the action of this place; below 2^28.
    Jump(u32),
}

/// In the order in which `tc` looks an abbreviation up, but for `stolen` (`tc/tc_util.c`, `action_a2n`).
const NAMES: [(&str, Control); 9] = [
    ("continue", Control::Continue),
    ("drop", Control::Drop),
    ("shot", Control::Drop),
    ("pass", Control::Pass),
    ("ok", Control::Pass),
    ("reclassify", Control::Reclassify),
    ("pipe", Control::Pipe),
    ("trap", Control::Trap),
    ("stolen", Control::Stolen),
];

/// The lower bits of an extended control, its number (`TC_ACT_EXT_VAL_MASK`), and what is above (`TC_ACT_JUMP`,
/// `TC_ACT_GOTO_CHAIN`).
const NUMBER_MASK: u32 = (1 << 28) - 1;
const JUMP: u32 = 1 << 28;
const GOTO_CHAIN: u32 = 2 << 28;

impl Control {
    pub(crate) const fn value(self) -> u32 {
        match self {
            Self::Continue => u32::MAX,
            Self::Pass => 0,
            Self::Reclassify => 1,
            Self::Drop => 2,
            Self::Pipe => 3,
            Self::Stolen => 4,
            Self::Trap => 8,
            Self::GotoChain(chain) => GOTO_CHAIN | chain & NUMBER_MASK,
            Self::Jump(count) => JUMP | count & NUMBER_MASK,
        }
    }

    /// `None`: none that this crate knows.
    pub(crate) const fn from_value(value: u32) -> Option<Self> {
        Some(match value {
            u32::MAX => Self::Continue,
            0 => Self::Pass,
            1 => Self::Reclassify,
            2 => Self::Drop,
            3 => Self::Pipe,
            4 => Self::Stolen,
            8 => Self::Trap,
            _ if value & !NUMBER_MASK == GOTO_CHAIN => Self::GotoChain(value & NUMBER_MASK),
            _ if value & !NUMBER_MASK == JUMP => Self::Jump(value & NUMBER_MASK),
            _ => return None,
        })
    }

    /// Whether `word` begins one.
    pub(super) fn begins_with(word: &str) -> bool {
        named(word).is_some() || abbreviates(word, "goto") || abbreviates(word, "jump")
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let word = words.value("action")?;
        // Before "jump" and "goto" there is no other name with their letters.
        let extended = |number: u32| (number <= NUMBER_MASK).then_some(number);
        let too_large = || Syntax::new(format!("{word}: not below 2^28"));
        if let Some(control) = named(word) {
            Ok(control)
        } else if abbreviates(word, "goto") {
            if !abbreviates(words.value(word)?, "chain") {
                return Err(Syntax::new("goto: chain and a number must follow"));
            }
            extended(words.number("goto chain")?).map(Self::GotoChain).ok_or_else(too_large)
        } else if abbreviates(word, "jump") {
            extended(words.number(word)?).map(Self::Jump).ok_or_else(too_large)
        } else {
            Err(Syntax::unknown("action", word))
        }
    }

    /// Reads `<exceed>[/<conform>]`, in one word or with blanks around the slash; numbers count as controls here.
    pub(super) fn parse_pair(words: &mut Words) -> Result<(Self, Option<Self>), Syntax> {
        let one = |word: &str| {
            let number = || number::<u32>(word).ok().and_then(Self::from_value);
            named(word).or_else(number).ok_or_else(|| Syntax::unknown("conform-exceed", word))
        };
        let single = |words: &mut Words| match words.peek().and_then(|word| one(word).ok()) {
            Some(control) => {
                words.next();
                Ok(control)
            }
            None => Self::parse(words),
        };
        if let Some((exceed, conform)) = words.peek().and_then(|word| word.split_once('/')) {
            words.next();
            return Ok((one(exceed)?, Some(one(conform)?)));
        }
        let exceed = single(words)?;
        let conform = if words.take("/") { Some(single(words)?) } else { None };
        Ok((exceed, conform))
    }
}

fn named(word: &str) -> Option<Control> {
    NAMES.iter().find(|(name, _)| abbreviates(word, name)).map(|(_, control)| *control)
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GotoChain(chain) => write!(f, "goto chain {chain}"),
            Self::Jump(count) => write!(f, "jump {count}"),
            plain => {
                f.write_str(NAMES.iter().find(|(_, control)| control == plain).map_or("", |(name, _)| name))
            }
        }
    }
}

serde_as_text!(Control, Control::to_string);

impl FromStr for Control {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let list: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let mut words = Words::new(&list);
        let control = Self::parse(&mut words)?;
        words.next().map_or(Ok(control), |word| Err(Syntax::unknown("action", word)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn anything() -> impl Strategy<Value = Control> {
        let values = prop_oneof![Just(u32::MAX), 0_u32..9, (JUMP..JUMP + 99), (GOTO_CHAIN..GOTO_CHAIN + 99)];
        values.prop_filter_map("unknown", Control::from_value)
    }

    proptest! {
        #[test]
        fn survives_the_round_trip(control in anything()) {
            prop_assert_eq!(control.to_string().parse(), Ok(control));
            prop_assert_eq!(Control::from_value(control.value()), Some(control));
        }
    }
}
