//! HTB, the hierarchy token bucket: its settings, and their form in `TCA_OPTIONS` (tc-htb(8), `net/sched/sch_htb.c`).
//!
//! `netlink-packet-route` has no HTB options, so the codec is this crate's own. It is pure: bytes in, bytes out.

mod class;
mod qdisc;
mod ticks;
mod xstats;

pub use class::{HtbClass, LinkLayer};
pub(crate) use class::{LINK_LAYER_MASK, level, link_layer};
pub use qdisc::HtbQdisc;
pub use ticks::Rounding;
pub(crate) use ticks::{
    TICKS_IN_A_MICROSECOND, reported_size, transmit_size, transmit_ticks, whole_microseconds,
};
pub use xstats::HtbXstats;

/// The kind under which the kernel knows HTB.
pub(crate) const KIND: &str = "htb";

/// `TCA_HTB_*` of `include/uapi/linux/pkt_sched.h`.
mod attributes {
    pub(super) const PARMS: u16 = 1;
    pub(super) const INIT: u16 = 2;
    pub(super) const DIRECT_QLEN: u16 = 5;
    pub(super) const RATE64: u16 = 6;
    pub(super) const CEIL64: u16 = 7;
    pub(super) const OFFLOAD: u16 = 9;
}
