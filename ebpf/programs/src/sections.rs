//! Parts of a request, each timed by a pair of probes on the function that is the part.
//!
//! An fentry or fexit program belongs to one function for good, so each function has a pair of its own. A kprobe can be put on
//! any function, so there is one pair for a section.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use ebpf_common::Section;

use crate::{control::Current, request};

#[inline(always)]
fn begin(section: Section) {
    request::section_begin(Current::get().tid, section);
}

#[inline(always)]
fn end(section: Section) {
    request::section_end(Current::get().tid, section);
}

/// A handler that rtnetlink calls with RTNL held: the request has held it since just before.
#[inline(always)]
fn begin_handler() {
    let tid = Current::get().tid;
    request::section_begin(tid, Section::Handler);
    request::hold_begin(tid);
}

macro_rules! traced {
    ($($begin:ident $end:ident on $function:literal: $enter:expr, $leave:expr;)*) => {$(
        #[fentry(function = $function)]
        pub(crate) fn $begin(_ctx: FEntryContext) -> i32 {
            $enter;
            0
        }

        #[fexit(function = $function)]
        pub(crate) fn $end(_ctx: FExitContext) -> i32 {
            $leave;
            0
        }
    )*};
}

traced! {
    fentry_tc_modify_qdisc fexit_tc_modify_qdisc on "tc_modify_qdisc": begin_handler(), end(Section::Handler);
    fentry_tc_get_qdisc fexit_tc_get_qdisc on "tc_get_qdisc": begin_handler(), end(Section::Handler);
    fentry_tc_ctl_tclass fexit_tc_ctl_tclass on "tc_ctl_tclass": begin_handler(), end(Section::Handler);
    // Handlers of filters take RTNL themselves, if they need it at all.
    fentry_tc_new_tfilter fexit_tc_new_tfilter on "tc_new_tfilter": begin(Section::Handler), end(Section::Handler);
    fentry_tc_del_tfilter fexit_tc_del_tfilter on "tc_del_tfilter": begin(Section::Handler), end(Section::Handler);
    fentry_tc_get_tfilter fexit_tc_get_tfilter on "tc_get_tfilter": begin(Section::Handler), end(Section::Handler);
    fentry_qdisc_create fexit_qdisc_create on "qdisc_create": begin(Section::QdiscCreate), end(Section::QdiscCreate);
    fentry_htb_change_class fexit_htb_change_class on "htb_change_class":
        begin(Section::ClassOperation), end(Section::ClassOperation);
    fentry_htb_delete fexit_htb_delete on "htb_delete": begin(Section::ClassOperation), end(Section::ClassOperation);
    fentry_synchronize_rcu fexit_synchronize_rcu on "synchronize_rcu": begin(Section::Rcu), end(Section::Rcu);
    fentry_synchronize_rcu_expedited fexit_synchronize_rcu_expedited on "synchronize_rcu_expedited":
        begin(Section::Rcu), end(Section::Rcu);
}

macro_rules! probed {
    ($($begin:ident $end:ident: $enter:expr, $leave:expr;)*) => {$(
        #[kprobe]
        pub(crate) fn $begin(_ctx: ProbeContext) -> u32 {
            $enter;
            0
        }

        #[kretprobe]
        pub(crate) fn $end(_ctx: RetProbeContext) -> u32 {
            $leave;
            0
        }
    )*};
}

probed! {
    kprobe_handler kretprobe_handler: begin_handler(), end(Section::Handler);
    kprobe_filter_handler kretprobe_filter_handler: begin(Section::Handler), end(Section::Handler);
    kprobe_qdisc_create kretprobe_qdisc_create: begin(Section::QdiscCreate), end(Section::QdiscCreate);
    kprobe_class_operation kretprobe_class_operation: begin(Section::ClassOperation), end(Section::ClassOperation);
    kprobe_rcu kretprobe_rcu: begin(Section::Rcu), end(Section::Rcu);
}

// Holding RTNL. `rtnl_lock()` returns with it; inside net/core/rtnetlink.c it may be inlined, and there the handler's begin
// stands for it. `rtnl_unlock()` is nothing but a call of `netdev_run_todo()`, which gives it back first of all.

#[fexit(function = "rtnl_lock")]
pub(crate) fn fexit_rtnl_lock(_ctx: FExitContext) -> i32 {
    request::hold_begin(Current::get().tid);
    0
}

#[fentry(function = "netdev_run_todo")]
pub(crate) fn fentry_netdev_run_todo(_ctx: FEntryContext) -> i32 {
    request::hold_end(Current::get().tid);
    0
}

#[kretprobe]
pub(crate) fn kretprobe_rtnl_lock(_ctx: RetProbeContext) -> u32 {
    request::hold_begin(Current::get().tid);
    0
}

#[kprobe]
pub(crate) fn kprobe_netdev_run_todo(_ctx: ProbeContext) -> u32 {
    request::hold_end(Current::get().tid);
    0
}
