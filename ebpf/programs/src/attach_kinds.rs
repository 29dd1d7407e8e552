//! Empty programs. The loader attaches each for a moment to find out what this kernel can do: asking its configuration or
//! its version would be guessing.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe},
    programs::{FEntryContext, FExitContext, ProbeContext},
};

#[kprobe]
pub(crate) fn try_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[fentry(function = "rtnl_lock")]
pub(crate) fn try_fentry(_ctx: FEntryContext) -> i32 {
    0
}

#[fexit(function = "rtnl_lock")]
pub(crate) fn try_fexit(_ctx: FExitContext) -> i32 {
    0
}
