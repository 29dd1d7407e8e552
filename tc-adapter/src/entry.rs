//! Qdiscs and classes as the kernel reports them.

use std::borrow::Cow;

use crate::attribute::{each, u32_at};
use crate::handle::Handle;
use crate::htb::{self, HtbClass, HtbXstats};
use crate::message::TC_HEADER;
use crate::qdisc::{Qdisc, QdiscXstats, kind_of};
use crate::reply::Malformed;
use crate::stats::Stats;

/// One line of `tc -s qdisc show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QdiscEntry {
    /// Index of its device.
    pub device: u32,
    /// Its name; [`Handle::UNSPEC`] (printed `0:` by `tc`) for one that the kernel made by default.
    pub handle: Handle,
    /// What it hangs on: [`Handle::ROOT`] or a class.
    pub parent: Handle,
    /// `htb`, `pfifo`, `noqueue`, …
    pub kind: Cow<'static, str>,
    /// Its settings; `None`: of a kind that this crate does not know.
    pub options: Option<Qdisc>,
    /// Its counters.
    pub stats: Stats,
    /// The counters of its kind, where there are any.
    pub xstats: Option<QdiscXstats>,
}

/// One entry of `tc -s class show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassEntry {
    /// Index of its device.
    pub device: u32,
    /// Its name.
    pub classid: Handle,
    /// What it hangs on: a class, or [`Handle::ROOT`] for a class directly under its qdisc.
    pub parent: Handle,
    /// The handle of the qdisc that its packets wait in; `None` for an inner class, and for the queue that the kernel
    /// makes by default, which has no handle.
    pub leaf: Option<Handle>,
    /// Of an inner HTB class, 7 for one directly under its qdisc and one less for each level below; 0 for a leaf, wherever it is.
    pub level: u32,
    /// `htb`, …
    pub kind: Cow<'static, str>,
    /// Settings, when `kind` is `htb`.
    pub htb: Option<HtbClass>,
    /// Its counters.
    pub stats: Stats,
    /// HTB's own counters.
    pub xstats: Option<HtbXstats>,
}

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;

/// The header and the attributes that both kinds of entries have.
struct Parts<'a> {
    device: u32,
    handle: Handle,
    parent: Handle,
    info: u32,
    kind: Cow<'static, str>,
    options: Option<&'a [u8]>,
    stats: Stats,
    app_stats: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        // struct tcmsg: family and padding, index, handle, parent, info
        let word = |at: usize| u32_at(payload, at).ok_or(Malformed("a message shorter than its header"));
        let mut parts = Self {
            device: word(4)?,
            handle: Handle::from_raw(word(8)?),
            parent: Handle::from_raw(word(12)?),
            info: word(16)?,
            kind: Cow::Borrowed(""),
            options: None,
            stats: Stats::default(),
            app_stats: None,
        };
        for attribute in each(payload.get(TC_HEADER..).unwrap_or_default()) {
            match attribute? {
                (TCA_KIND, value) => parts.kind = kind_of(value),
                (TCA_OPTIONS, value) => parts.options = Some(value),
                (TCA_STATS2, value) => (parts.stats, parts.app_stats) = Stats::decode(value)?,
                _ => {}
            }
        }
        Ok(parts)
    }

    /// The options, when they are HTB's.
    fn htb_options(&self) -> Option<&'a [u8]> {
        self.options.filter(|_| self.kind == htb::KIND)
    }
}

impl QdiscEntry {
    /// Its name and kind alone, which no kind of settings can spoil.
    pub(crate) fn decode_name(payload: &[u8]) -> Result<(Handle, Cow<'static, str>), Malformed> {
        Parts::decode(payload).map(|parts| (parts.handle, parts.kind))
    }

    /// Reads what follows the netlink header in an `RTM_NEWQDISC` message.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let parts = Parts::decode(payload)?;
        Ok(Self {
            device: parts.device,
            handle: parts.handle,
            parent: parts.parent,
            options: Qdisc::decode(&parts.kind, parts.options)?,
            xstats: QdiscXstats::decode(&parts.kind, parts.options, parts.app_stats)?,
            kind: parts.kind,
            stats: parts.stats,
        })
    }
}

impl ClassEntry {
    /// Reads what follows the netlink header in an `RTM_NEWTCLASS` message.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let parts = Parts::decode(payload)?;
        let xstats =
            parts.app_stats.filter(|_| parts.kind == htb::KIND).map(HtbXstats::decode).transpose()?;
        Ok(Self {
            device: parts.device,
            classid: parts.handle,
            parent: parts.parent,
            level: parts.htb_options().map(htb::level).transpose()?.unwrap_or(0),
            leaf: Some(Handle::from_raw(parts.info)).filter(|leaf| *leaf != Handle::UNSPEC),
            htb: parts.htb_options().map(HtbClass::decode_options).transpose()?,
            kind: parts.kind,
            stats: parts.stats,
            xstats,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoders_never_panic(bytes: Vec<u8>) {
            let _ = QdiscEntry::decode(&bytes);
            let _ = ClassEntry::decode(&bytes);
        }
    }
}
