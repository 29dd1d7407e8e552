//! The Ethernet protocol that a filter is asked about.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;
use crate::words;

/// An `ETH_P_*` number of `include/uapi/linux/if_ether.h`; as text `all`, `ip`, `ipv6`, `arp`, … or a hexadecimal number as in
/// `tc … protocol` (`lib/ll_proto.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u16);

/// The text is no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a protocol: expected all, ip, ipv6, arp, 802.1q, … or a hexadecimal number")]
pub struct ParseProtocolError(String);

const NAMES: [(&str, u16); 14] = [
    ("all", 0x0003),
    ("ip", 0x0800),
    ("ipv4", 0x0800),
    ("ipv6", 0x86DD),
    ("arp", 0x0806),
    ("802.1Q", 0x8100),
    ("802.1ad", 0x88A8),
    ("mpls_uc", 0x8847),
    ("mpls_mc", 0x8848),
    ("ppp_disc", 0x8863),
    ("ppp_ses", 0x8864),
    ("loop", 0x0060),
    ("802_3", 0x0001),
    ("802_2", 0x0004),
];

impl Protocol {
    /// `all`, every packet.
    pub const ALL: Self = Self(0x0003);
    /// `ip`, IPv4.
    pub const IP: Self = Self(0x0800);
    /// `ipv6`.
    pub const IPV6: Self = Self(0x86DD);

    /// The protocol of this number, in the host's byte order.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// Its number, in the host's byte order.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// `tc`'s own default for filters is 0, which the kernel takes for [`Protocol::ALL`].
impl Default for Protocol {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&format!("{:#x}", self.0)),
        }
    }
}

serde_as_text!(Protocol, Protocol::to_string);

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(Self(*number));
        }
        words::hexadecimal(text).map(Self).map_err(|_| ParseProtocolError(text.to_owned()))
    }
}
