//! The HTB qdisc's own settings.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attributes::{DIRECT_QLEN, INIT, OFFLOAD};
use crate::attribute::{each, nest, put, u32_at};
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, hexadecimal};

const TCA_OPTIONS: u16 = 2;

/// An HTB qdisc: `tc qdisc add … htb [default <minor>] [r2q <r2q>] [direct_qlen <packets>] [offload]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HtbQdisc {
    /// Minor of the class that unclassified packets go to; 0: none, they bypass shaping ("direct packets").
    /// Hexadecimal in `tc`, and here in text.
    #[serde(rename = "default", with = "hexadecimal_text")]
    pub default_class: u32,
    /// A leaf's quantum is its rate in bytes/s divided by this, unless the class says otherwise. At least 1; 10 usually.
    pub r2q: u32,
    /// Packets that the direct queue holds; `None`: the device's transmit queue length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_qlen: Option<u32>,
    /// Let the device do the shaping. A driver that cannot makes the kernel refuse with `EOPNOTSUPP` and text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offload: bool,
}

/// `TC_HTB_PROTOVER`: the kernel refuses any other version.
const PROTOCOL_VERSION: u32 = 3;

const R2Q: u32 = 10;

impl Default for HtbQdisc {
    fn default() -> Self {
        Self::new()
    }
}

impl HtbQdisc {
    /// `tc qdisc add … htb`: no default class, r2q 10.
    pub const fn new() -> Self {
        Self { default_class: 0, r2q: R2Q, direct_qlen: None, offload: false }
    }

    /// Appends `TCA_OPTIONS`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            // struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts
            let global = [PROTOCOL_VERSION, self.r2q, self.default_class, 0, 0].map(u32::to_ne_bytes);
            put(buffer, INIT, global.as_flattened());
            if let Some(packets) = self.direct_qlen {
                put(buffer, DIRECT_QLEN, &packets.to_ne_bytes());
            }
            if self.offload {
                put(buffer, OFFLOAD, &[]);
            }
        });
    }

    /// Reads the value of `TCA_OPTIONS`. The kernel always tells `direct_qlen`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut global, mut direct_qlen, mut offload) = (None, None, false);
        for attribute in each(bytes) {
            match attribute? {
                (INIT, value) => global = Some(value),
                (DIRECT_QLEN, value) => {
                    direct_qlen =
                        Some(u32_at(value, 0).ok_or(Malformed("TCA_HTB_DIRECT_QLEN is too short"))?);
                }
                (OFFLOAD, _) => offload = true,
                _ => {}
            }
        }
        let global = global.ok_or(Malformed("HTB options without TCA_HTB_INIT"))?;
        Ok(Self { r2q: field(global, 1)?, default_class: field(global, 2)?, direct_qlen, offload })
    }

    /// Reads the counter that the kernel reports among the settings.
    pub(crate) fn decode_direct_packets(bytes: &[u8]) -> Result<u32, Malformed> {
        for attribute in each(bytes) {
            if let (INIT, value) = attribute? {
                return field(value, 4);
            }
        }
        Err(Malformed("HTB options without TCA_HTB_INIT"))
    }

    pub(crate) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut htb = Self::new();
        while let Some(word) = words.next() {
            match word {
                "default" => {
                    let value = words.value(word)?;
                    htb.default_class =
                        hexadecimal(value).map_err(|error| Syntax::new(format!("default: {error}")))?;
                }
                "r2q" => htb.r2q = words.number(word)?,
                "direct_qlen" => htb.direct_qlen = Some(words.number(word)?),
                "offload" => htb.offload = true,
                other => return Err(Syntax::unknown("htb", other)),
            }
        }
        Ok(htb)
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        if self.r2q == 0 { Err(InvalidRequest::R2qZero) } else { Ok(()) }
    }

    pub(crate) fn meets(&self, actual: &Self, transmit_queue_length: u32) -> bool {
        // A device without a queue counts as one of 2 (htb_init, from Linux 2.6 to 6.x).
        let direct_qlen = self.direct_qlen.unwrap_or(transmit_queue_length);
        (self.default_class, self.r2q, self.offload) == (actual.default_class, actual.r2q, actual.offload)
            && actual.direct_qlen.is_none_or(|actual| {
                actual == direct_qlen || (self.direct_qlen.is_none() && actual == direct_qlen.max(2))
            })
    }
}

/// As words of a `tc` command.
impl fmt::Display for HtbQdisc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.default_class != 0 {
            write!(f, " default {:x}", self.default_class)?;
        }
        if self.r2q != R2Q {
            write!(f, " r2q {}", self.r2q)?;
        }
        if let Some(packets) = self.direct_qlen {
            write!(f, " direct_qlen {packets}")?;
        }
        if self.offload { f.write_str(" offload") } else { Ok(()) }
    }
}

/// A field of `struct tc_htb_glob`.
fn field(global: &[u8], index: usize) -> Result<u32, Malformed> {
    u32_at(global, index * 4).ok_or(Malformed("TCA_HTB_INIT is too short"))
}

mod hexadecimal_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        crate::words::hexadecimal(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value of `TCA_OPTIONS`.
    fn encoded(htb: &HtbQdisc) -> Vec<u8> {
        let mut bytes = Vec::new();
        htb.encode(&mut bytes);
        bytes.split_off(4)
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(default_class: u32, r2q: u32, direct_qlen: Option<u32>, offload: bool) {
            let options = HtbQdisc { default_class, r2q, direct_qlen, offload };
            let bytes = encoded(&options);
            prop_assert_eq!(HtbQdisc::decode_direct_packets(&bytes), Ok(0));
            prop_assert_eq!(HtbQdisc::decode(&bytes), Ok(options));
        }

        #[test]
        fn decoder_never_panics(bytes: Vec<u8>) {
            let _ = HtbQdisc::decode(&bytes);
            let _ = HtbQdisc::decode_direct_packets(&bytes);
        }

        #[test]
        fn a_cut_message_is_an_error(cut in 0_usize..24) {
            let bytes = encoded(&HtbQdisc::new());
            prop_assert!(HtbQdisc::decode(&bytes[..cut]).is_err());
        }
    }
}
