//! The names of u32's hash tables, buckets and nodes.

use std::fmt;

use crate::words::{Syntax, hexadecimal};

/// Bits of the hash table: `TC_U32_HTID`, 12 bits.
const TABLE_SHIFT: u32 = 20;
/// Bits of the bucket: `TC_U32_HASH`, 8 bits.
const BUCKET_SHIFT: u32 = 12;
const BUCKET_MASK: u32 = 0xFF;
/// `TC_U32_NODE`.
pub(super) const NODE_MASK: u32 = 0xFFF;

/// `table:bucket:node`, each hexadecimal (`tc/f_u32.c`, `get_u32_handle`).
pub(in crate::filter) fn parse(text: &str) -> Result<u32, Syntax> {
    let read = || {
        if !text.contains(':') {
            return text.starts_with("0x").then(|| hexadecimal(text).ok())?;
        }
        let mut parts = text.split(':');
        let mut part = |limit: u32| match parts.next() {
            None | Some("") => Some(0),
            Some(part) => hexadecimal(part).ok().filter(|part| *part <= limit),
        };
        let (table, bucket, node) = (part(0xFFF)?, part(BUCKET_MASK)?, part(NODE_MASK)?);
        parts.next().is_none().then_some(table << TABLE_SHIFT | bucket << BUCKET_SHIFT | node)
    };
    read().ok_or_else(|| {
        Syntax::new(format!("{text:?} is not table:bucket:node in hexadecimal, such as 800::5, 2: or 2:1a:"))
    })
}

/// As `tc` prints it, but for the colon after a bucket and the 0 of no table, without which it could not read it again.
pub(in crate::filter) struct Text(pub(in crate::filter) u32);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bucket, node) = (bucket(self.0), self.0 & NODE_MASK);
        write!(f, "{:x}:", table(self.0))?;
        match (bucket, node) {
            (0, 0) => Ok(()),
            (0, node) => write!(f, ":{node:x}"),
            (bucket, 0) => write!(f, "{bucket:x}:"),
            (bucket, node) => write!(f, "{bucket:x}:{node:x}"),
        }
    }
}

pub(super) const fn table(handle: u32) -> u32 {
    handle >> TABLE_SHIFT
}

pub(super) const fn bucket(handle: u32) -> u32 {
    handle >> BUCKET_SHIFT & BUCKET_MASK
}

/// `handle` in the bucket that is `hash` modulo `divisor`.
pub(super) const fn with_bucket(handle: u32, bucket: u32) -> u32 {
    handle & !(BUCKET_MASK << BUCKET_SHIFT) | (bucket & BUCKET_MASK) << BUCKET_SHIFT
}

/// A handle as text, where there may be none.
pub(super) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(in crate::filter::u32) fn serialize<S: Serializer>(
        handle: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match handle {
            Some(handle) => serializer.collect_str(&super::Text(*handle)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::filter::u32) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_tc_takes() {
        for (text, handle) in [
            ("800::5", 0x8000_0005),
            ("2:", 0x0020_0000),
            ("2:1a:", 0x0021_A000),
            ("2:1a", 0x0021_A000),
            ("0x80000800", 0x8000_0800),
            ("800:", 0x8000_0000),
            ("::5", 5),
            ("fff:ff:fff", u32::MAX),
        ] {
            assert_eq!(parse(text), Ok(handle), "{text}");
        }
        for text in ["", "5", "1000:", "1:100:", "1:1:1000", "1:2:3:4", "g:", "-1:", "0x100000000"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_round_trip(handle: u32) {
            prop_assert_eq!(parse(&Text(handle).to_string()), Ok(handle));
        }
    }
}
