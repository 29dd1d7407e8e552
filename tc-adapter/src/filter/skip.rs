//! Where a filter is not to be: in the hardware or in the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::put;
use crate::validate::InvalidRequest;

/// `TCA_CLS_FLAGS_*` of `include/uapi/linux/pkt_cls.h`.
const SKIP_HW: u32 = 1;
const SKIP_SW: u32 = 2;

/// `skip_hw`, `skip_sw`: at most one of them. Neither: in the kernel, and in the hardware if the device can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SkipFlags {
    /// `skip_hw`: only in the kernel.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub skip_hw: bool,
    /// `skip_sw`: only in the hardware.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub skip_sw: bool,
}

impl SkipFlags {
    /// What else the kernel reports, such as whether the hardware took it, is left out.
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self { skip_hw: bits & SKIP_HW != 0, skip_sw: bits & SKIP_SW != 0 }
    }

    const fn bits(self) -> u32 {
        (if self.skip_hw { SKIP_HW } else { 0 }) | if self.skip_sw { SKIP_SW } else { 0 }
    }

    /// Appends the attribute.
    pub(super) fn encode_always(self, number: u16, buffer: &mut Vec<u8>) {
        put(buffer, number, &self.bits().to_ne_bytes());
    }

    /// Appends the attribute, unless it would say nothing.
    pub(super) fn encode(self, number: u16, buffer: &mut Vec<u8>) {
        if self.bits() != 0 {
            self.encode_always(number, buffer);
        }
    }

    pub(super) const fn validate(self, kind: &'static str) -> Result<(), InvalidRequest> {
        if self.skip_hw && self.skip_sw {
            return Err(InvalidRequest::Setting {
                kind,
                setting: "skip_hw and skip_sw",
                allowed: "one of them at most",
            });
        }
        Ok(())
    }
}

/// With a blank in front.
impl fmt::Display for SkipFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (set, word) in [(self.skip_hw, " skip_hw"), (self.skip_sw, " skip_sw")] {
            f.write_str(if set { word } else { "" })?;
        }
        Ok(())
    }
}
