//! The words of a `tc` command line, read one after the other.

use std::fmt;
use std::str::FromStr;

/// A `tc` command that cannot be understood, or that says something this crate does not support.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Syntax(String);

impl Syntax {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// A word that has no meaning where it stands.
    pub(crate) fn unknown(kind: &str, word: &str) -> Self {
        Self(format!("{kind}: unknown word {word:?}"))
    }
}

/// The words of a line as `tc -batch` parts them (`lib/utils.c`, `makeargs`): by blanks, but for a word that begins with a quote,
/// which goes on to the next such quote.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Syntax> {
    let (mut words, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start_matches(is_blank);
        let (word, after) = match rest.chars().next() {
            None => return Ok(words),
            Some(quote @ ('\'' | '"')) => rest[1..]
                .split_once(quote)
                .ok_or_else(|| Syntax(format!("nothing closes the quote before {:?}", &rest[1..])))?,
            Some(_) => rest.split_once(is_blank).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after;
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// What is left of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    words: &'a [String],
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words }
    }

    /// The next word, which stays.
    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.next();
        }
        found
    }

    /// The word that must follow `keyword`.
    pub(crate) fn value(&mut self, keyword: &str) -> Result<&'a str, Syntax> {
        self.next().ok_or_else(|| Syntax(format!("{keyword}: nothing follows it")))
    }

    /// The value that must follow `keyword`, in the form of its type (rates, sizes, times, handles).
    pub(crate) fn parse<T: FromStr<Err: fmt::Display>>(&mut self, keyword: &str) -> Result<T, Syntax> {
        self.value(keyword)?.parse().map_err(|error| Syntax(format!("{keyword}: {error}")))
    }

    /// The number that must follow `keyword`: decimal, `0x…` hexadecimal or `0…` octal, as `tc` reads them (`get_u32`, base 0).
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, keyword: &str) -> Result<T, Syntax> {
        number(self.value(keyword)?).map_err(|Syntax(error)| Syntax(format!("{keyword}: {error}")))
    }
}

/// A number in base 0 of `strtoul(3)`, without a sign.
pub(crate) fn number<T: TryFrom<u64>>(text: &str) -> Result<T, Syntax> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    hexadecimal_or(digits, base)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| Syntax(format!("{text:?} is not a number that fits here")))
}

/// A number in base 0 of `strtol(3)`, with or without a minus in front.
pub(crate) fn integer<T: TryFrom<i64>>(text: &str) -> Result<T, Syntax> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    number::<u32>(digits)
        .ok()
        .and_then(|number| T::try_from(sign * i64::from(number)).ok())
        .ok_or_else(|| Syntax(format!("{text:?} is not a number that fits here")))
}

/// A number in base 16, with or without `0x`.
pub(crate) fn hexadecimal<T: TryFrom<u64>>(text: &str) -> Result<T, Syntax> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    hexadecimal_or(digits, 16)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| Syntax(format!("{text:?} is not a hexadecimal number that fits here")))
}

/// `from_str_radix` alone would take a sign.
fn hexadecimal_or(digits: &str, base: u32) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| u64::from_str_radix(digits, base).ok()).flatten()
}

/// Whether `word` is a beginning of `full`, as `tc` compares its main keywords (`matches`).
pub(crate) fn abbreviates(word: &str, full: &str) -> bool {
    !word.is_empty() && full.starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtoul_reads_them() {
        assert_eq!(number::<u32>("10"), Ok(10));
        assert_eq!(number::<u32>("0x1F"), Ok(31));
        assert_eq!(number::<u32>("010"), Ok(8));
        assert_eq!(number::<u32>("0"), Ok(0));
        assert_eq!(hexadecimal::<u16>("ff"), Ok(255));
        assert_eq!(hexadecimal::<u16>("0xff"), Ok(255));
        assert_eq!(integer::<i16>("-0x10"), Ok(-16));
        assert_eq!(integer::<i16>("8"), Ok(8));
        assert!(["--1", "-", "", "40000"].iter().all(|text| integer::<i16>(text).is_err()));
        for text in ["", "-1", "+1", "0x", "1 ", "256", "08", "ten"] {
            assert!(number::<u8>(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn quotes_hold_a_word_together() {
        let words = |line| split(line).map(|words| words.join("|"));
        assert_eq!(words(" a  'b c'\t\"d 'e\" f'g "), Ok("a|b c|d 'e|f'g".to_owned()));
        assert_eq!(words("''a"), Ok("|a".to_owned()));
        assert_eq!(words(""), Ok(String::new()));
        assert!(split("a 'b").is_err());
    }

    #[test]
    fn errors_name_the_keyword() {
        let line = ["limit", "many"].map(str::to_owned);
        let mut words = Words::new(&line);
        assert!(words.take("limit") && !words.take("limit"));
        let error = words.number::<u32>("limit").unwrap_err();
        assert_eq!(error.to_string(), "limit: \"many\" is not a number that fits here");
        assert_eq!(words.value("limit").unwrap_err().to_string(), "limit: nothing follows it");
    }
}
