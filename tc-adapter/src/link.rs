//! What the defaults of qdiscs depend on.

use crate::attribute::{each, u32_at};
use crate::reply::Malformed;

const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
/// Bytes of a `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

/// The properties of a device from which the kernel derives defaults: `ip -d link show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Bytes (`IFLA_MTU`).
    pub mtu: u32,
    /// Packets (`IFLA_TXQLEN`).
    pub transmit_queue_length: u32,
}

impl Link {
    /// Reads what follows the netlink header in an `RTM_NEWLINK` message.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let (mut mtu, mut transmit_queue_length) = (None, None);
        for attribute in each(payload.get(LINK_HEADER..).unwrap_or_default()) {
            match attribute? {
                (IFLA_MTU, value) => mtu = u32_at(value, 0),
                (IFLA_TXQLEN, value) => transmit_queue_length = u32_at(value, 0),
                _ => {}
            }
        }
        match (mtu, transmit_queue_length) {
            (Some(mtu), Some(transmit_queue_length)) => Ok(Self { mtu, transmit_queue_length }),
            _ => Err(Malformed("a device without IFLA_MTU or IFLA_TXQLEN")),
        }
    }
}
