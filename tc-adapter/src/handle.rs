//! The names of qdiscs and classes.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// `major:minor`, the name of a qdisc (`1:`, minor 0) or of a class (`1:a`), both parts hexadecimal, as in `tc`.
///
/// Source: tc(8), "NAMING"; `include/uapi/linux/pkt_sched.h`, `TC_H_MAKE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// `TC_H_ROOT`: as a parent, the root of the device (for a qdisc) or of the qdisc (for a class).
    pub const ROOT: Self = Self(0xFFFF_FFFF);
    /// `TC_H_INGRESS`, also `TC_H_CLSACT`: the parent of the qdiscs `ingress` and `clsact`.
    pub const INGRESS: Self = Self(0xFFFF_FFF1);
    /// `TC_H_UNSPEC`: not given. `tc` writes it "none".
    pub const UNSPEC: Self = Self(0);

    /// The handle `major:minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self((major as u32) << 16 | minor as u32)
    }

    /// The handle of a qdisc, `major:`.
    pub const fn qdisc(major: u16) -> Self {
        Self::new(major, 0)
    }

    /// The handle as the kernel's 32-bit number.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The kernel's 32-bit number: major in the upper half, minor in the lower.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The part before the colon.
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The part after the colon; 0 in the handle of a qdisc.
    pub const fn minor(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }

    /// The handle of the qdisc that a class belongs to.
    #[must_use]
    pub const fn of_qdisc(self) -> Self {
        Self::qdisc(self.major())
    }
}

/// As `tc` prints it (`print_tc_classid`): `1:a`, `1:`, `:a`, `root`, `none`.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.major(), self.minor()) {
            _ if *self == Self::ROOT => f.pad("root"),
            (0, 0) => f.pad("none"),
            (0, minor) => f.pad(&format!(":{minor:x}")),
            (major, 0) => f.pad(&format!("{major:x}:")),
            (major, minor) => f.pad(&format!("{major:x}:{minor:x}")),
        }
    }
}

/// The text is not a handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a handle: expected major:minor in hexadecimal, each at most ffff, such as 1: or 1:a, or root, or none"
)]
pub struct ParseHandleError(String);

serde_as_text!(Handle, Handle::to_string);

/// What `tc` accepts (`get_tc_classid`), but for a number without a colon: to `tc` a bare `1` is qdisc `1:` in one
/// place and class `:1` in another, so it is refused here.
impl FromStr for Handle {
    type Err = ParseHandleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "root" => return Ok(Self::ROOT),
            "none" => return Ok(Self::UNSPEC),
            _ => {}
        }
        let parse = || {
            let (major, minor) = text.split_once(':')?;
            (text != ":").then_some(())?;
            Some(Self::new(part(major)?, part(minor)?))
        };
        parse().ok_or_else(|| ParseHandleError(text.to_owned()))
    }
}

/// One half of a handle; empty means 0. (`from_str_radix` alone would take a sign.)
fn part(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    let text = text.strip_prefix("0x").unwrap_or(text);
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_tc_takes() {
        for (text, raw) in [
            ("1:", 0x1_0000),
            ("1:0", 0x1_0000),
            ("1:a", 0x1_000a),
            ("FFFF:FFF1", 0xFFFF_FFF1),
            (":10", 0x10),
            ("00001:0002", 0x1_0002),
            ("0x1:0xa", 0x1_000a),
            ("root", 0xFFFF_FFFF),
            ("none", 0),
        ] {
            assert_eq!(text.parse(), Ok(Handle::from_raw(raw)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_handle() {
        for text in
            ["", ":", "1", "10001", "1:10000", "10000:", "1:g", "+1:1", "1:+1", "1: ", "1:1:1", "-1:", "ROOT"]
        {
            assert!(text.parse::<Handle>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn printed_as_tc_prints() {
        assert_eq!(Handle::qdisc(1).to_string(), "1:");
        assert_eq!(Handle::new(0x8001, 0x1F).to_string(), "8001:1f");
        assert_eq!(Handle::new(0, 5).to_string(), ":5");
        assert_eq!(Handle::ROOT.to_string(), "root");
        assert_eq!(Handle::UNSPEC.to_string(), "none");
        assert_eq!(Handle::new(1, 2).of_qdisc(), Handle::qdisc(1));
    }

    proptest! {
        #[test]
        fn parses_what_it_prints(raw: u32) {
            let handle = Handle::from_raw(raw);
            prop_assert_eq!(handle.to_string().parse(), Ok(handle));
        }

        #[test]
        fn any_text_parses_or_errs(text: String) {
            if let Ok(handle) = text.parse::<Handle>() {
                prop_assert_eq!(handle.to_string().parse(), Ok(handle));
            }
        }
    }
}
