//! The HTB qdisc's own settings.

use super::attributes::{DIRECT_QLEN, INIT, OFFLOAD};
use crate::attribute::{each, put, u32_at};
use crate::handle::Handle;
use crate::reply::Malformed;

/// An HTB qdisc: `tc qdisc add … handle <handle> htb [default <minor>] [r2q <r2q>] [direct_qlen <packets>]
/// [offload]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtbQdisc {
    /// Its name, minor 0. With [`Handle::UNSPEC`] the kernel picks one from `8000:` on, and does not say which.
    pub handle: Handle,
    /// Minor of the class that unclassified packets go to; 0: none, they bypass shaping ("direct packets").
    /// `tc` reads and prints this number in hexadecimal.
    pub default_class: u32,
    /// A leaf's quantum is its rate in bytes/s divided by this, unless the class says otherwise. At least 1; 10 usually.
    pub r2q: u32,
    /// Packets that the direct queue holds; `None`: the device's transmit queue length.
    pub direct_qlen: Option<u32>,
    /// Let the device do the shaping. A driver that cannot makes the kernel refuse with `EOPNOTSUPP` and text.
    pub offload: bool,
}

/// `TC_HTB_PROTOVER`: the kernel refuses any other version.
const PROTOCOL_VERSION: u32 = 3;

/// An HTB qdisc as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtbQdiscStatus {
    /// Its settings; the kernel always tells `direct_qlen`.
    pub options: HtbQdisc,
    /// Packets that no class took and that went out unshaped, since the qdisc was created.
    pub direct_packets: u32,
}

impl HtbQdisc {
    /// `tc qdisc add … handle <handle> htb`: no default class, r2q 10.
    pub const fn new(handle: Handle) -> Self {
        Self { handle, default_class: 0, r2q: 10, direct_qlen: None, offload: false }
    }

    /// Appends the value of `TCA_OPTIONS`. The handle is not in it but in the message's header.
    pub fn encode_options(&self, buffer: &mut Vec<u8>) {
        // struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts
        let global = [PROTOCOL_VERSION, self.r2q, self.default_class, 0, 0].map(u32::to_ne_bytes);
        put(buffer, INIT, global.as_flattened());
        if let Some(packets) = self.direct_qlen {
            put(buffer, DIRECT_QLEN, &packets.to_ne_bytes());
        }
        if self.offload {
            put(buffer, OFFLOAD, &[]);
        }
    }
}

impl HtbQdiscStatus {
    /// Reads the value of `TCA_OPTIONS` of the qdisc `handle`.
    pub fn decode_options(handle: Handle, bytes: &[u8]) -> Result<Self, Malformed> {
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
        let field = |index: usize| u32_at(global, index * 4).ok_or(Malformed("TCA_HTB_INIT is too short"));
        Ok(Self {
            options: HtbQdisc { handle, r2q: field(1)?, default_class: field(2)?, direct_qlen, offload },
            direct_packets: field(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decodes_what_it_encodes(default_class: u32, r2q: u32, direct_qlen: Option<u32>, offload: bool) {
            let options = HtbQdisc { handle: Handle::qdisc(1), default_class, r2q, direct_qlen, offload };
            let mut bytes = Vec::new();
            options.encode_options(&mut bytes);
            let status = HtbQdiscStatus { options, direct_packets: 0 };
            prop_assert_eq!(HtbQdiscStatus::decode_options(Handle::qdisc(1), &bytes), Ok(status));
        }

        #[test]
        fn decoder_never_panics(bytes: Vec<u8>) {
            let _ = HtbQdiscStatus::decode_options(Handle::qdisc(1), &bytes);
        }

        #[test]
        fn a_cut_message_is_an_error(cut in 0_usize..24) {
            let mut bytes = Vec::new();
            HtbQdisc::new(Handle::qdisc(1)).encode_options(&mut bytes);
            prop_assert!(HtbQdiscStatus::decode_options(Handle::qdisc(1), &bytes[..cut]).is_err());
        }
    }
}
