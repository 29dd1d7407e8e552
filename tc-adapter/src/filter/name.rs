//! The address of a filter.

use std::fmt;

use super::{Protocol, TCA_CHAIN, info, put_kind, u32};
use crate::attribute::put;

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
