//! The address of a filter.

use std::fmt;

use netlink_packet_core::NLM_F_ACK;

use super::{Protocol, TCA_CHAIN, info, put_kind, u32};
use crate::attribute::put;
use crate::handle::Handle;
use crate::message::{self, Envelope, MessageType};

/// Which filters: one, when the handle is given; all of a prio; or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterName {
    /// The list of filters that it is in.
    pub chain: u32,
    /// 0: those of every prio.
    pub prio: u16,
    /// Must be that of the prio's filters; `None`: not compared.
    pub protocol: Option<Protocol>,
    /// 0: all of the prio.
    pub handle: u32,
    /// Must be that of the prio's filters; needed with a handle.
    pub kind: Option<String>,
}

impl FilterName {
    /// `tcm_info`: the prio, and the protocol in network byte order.
    pub(crate) fn info(&self) -> u32 {
        info(self.prio, self.protocol.unwrap_or(Protocol::from_number(0)))
    }

    /// Appends the message that asks for it.
    pub(crate) fn encode_question(&self, device: u32, parent: Handle, buffer: &mut Vec<u8>) {
        let envelope = Envelope {
            message_type: MessageType::GetFilter,
            flags: NLM_F_ACK,
            sequence: 0,
            port: 0,
            device,
            handle: Handle::from_raw(self.handle),
            parent,
            info: self.info(),
        };
        message::append(buffer, envelope, |buffer| self.encode(buffer));
    }

    /// Appends `TCA_KIND` and `TCA_CHAIN`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        if let Some(kind) = &self.kind {
            put_kind(kind, buffer);
        }
        if self.chain != 0 {
            put(buffer, TCA_CHAIN, &self.chain.to_ne_bytes());
        }
    }
}

/// As words of a `tc filter del` command, from the chain on.
impl fmt::Display for FilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.chain != 0 {
            write!(f, " chain {}", self.chain)?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, " protocol {protocol}")?;
        }
        if self.prio != 0 {
            write!(f, " prio {}", self.prio)?;
        }
        match self.kind.as_deref() {
            _ if self.handle == 0 => {}
            Some("u32") => write!(f, " handle {}", u32::Text(self.handle))?,
            _ => write!(f, " handle {:#x}", self.handle)?,
        }
        self.kind.as_ref().map_or(Ok(()), |kind| write!(f, " {kind}"))
    }
}
