//! What a request was about: its message, its kind, its sender, the kernel's verdict.
//!
//! Only where the loader asks for it: else [`on`] is false to the verifier, and nothing of this remains.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, bpf_probe_read_user, generated},
    macros::map,
    maps::Array,
};
use ebpf_common::{
    Detail, KIND_BYTES, KNOWN_COMM, KNOWN_KIND, KNOWN_MESSAGE, KNOWN_NETNS, KNOWN_VERDICT, SLOTS,
};

use crate::control;

/// The detail of the request in the slot of the same number, whose owner alone touches it. The loader sets the size: one when
/// nobody asks.
#[map]
static DETAILS: Array<Detail> = Array::with_max_entries(1, 0);

/// `TCA_KIND`, include/uapi/linux/rtnetlink.h.
const TCA_KIND: u16 = 1;
/// `NLA_TYPE_MASK`, include/uapi/linux/netlink.h.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Among how many attributes the kind is looked for. Everybody puts it first.
const MAX_ATTRIBUTES: u32 = 4;

/// `struct tcmsg`, include/uapi/linux/rtnetlink.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct TrafficControlMessage {
    family: u32,
    ifindex: i32,
    handle: u32,
    parent: u32,
    info: u32,
}

/// `struct nlattr`
#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    length: u16,
    attribute_type: u16,
}

/// Whose memory a message is in.
pub(crate) trait Memory {
    fn read<T>(address: u64) -> Option<T>;
    /// Reads bytes; less than [`KIND_BYTES`].
    fn read_bytes(address: u64, into: &mut [u8; KIND_BYTES], length: u32) -> bool;
}

/// That of the sender.
pub(crate) struct User;
/// That of the kernel.
pub(crate) struct Kernel;

impl Memory for User {
    #[inline(always)]
    fn read<T>(address: u64) -> Option<T> {
        // SAFETY: the helper checks the address and reports what it cannot read.
        unsafe { bpf_probe_read_user(address as *const T) }.ok()
    }

    #[inline(always)]
    fn read_bytes(address: u64, into: &mut [u8; KIND_BYTES], length: u32) -> bool {
        // SAFETY: as above; the length is within the array.
        unsafe {
            generated::bpf_probe_read_user(into.as_mut_ptr().cast(), length & 15, address as *const _) == 0
        }
    }
}

impl Memory for Kernel {
    #[inline(always)]
    fn read<T>(address: u64) -> Option<T> {
        // SAFETY: the helper checks the address and reports what it cannot read.
        unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
    }

    #[inline(always)]
    fn read_bytes(address: u64, into: &mut [u8; KIND_BYTES], length: u32) -> bool {
        // SAFETY: as above; the length is within the array.
        unsafe {
            generated::bpf_probe_read_kernel(into.as_mut_ptr().cast(), length & 15, address as *const _) == 0
        }
    }
}

/// Whether details are asked for.
#[inline(always)]
pub(crate) fn on() -> bool {
    control::wants_details()
}

/// The detail of thread `tid`'s request.
#[inline(always)]
pub(crate) fn at(tid: u32) -> Option<&'static mut Detail> {
    // SAFETY: the map's values live as long as the program. See `DETAILS` on who writes what.
    DETAILS.get_ptr_mut(tid & (SLOTS - 1)).map(|detail| unsafe { &mut *detail })
}

/// What follows a message's header.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) address: u64,
    /// So many bytes of it may be read.
    pub(crate) length: u64,
}

/// Notes what thread `tid` asks for.
#[inline(always)]
pub(crate) fn note<M: Memory>(tid: u32, body: Body, netns: Option<u32>) {
    let Some(detail) = at(tid) else { return };
    forget(detail);
    let mut known = 0;
    if let Some(netns) = netns {
        detail.netns = netns;
        known |= KNOWN_NETNS;
    }
    // SAFETY: a helper that writes as many bytes as it is told.
    if unsafe { generated::bpf_get_current_comm(detail.comm.as_mut_ptr().cast(), 16) } == 0 {
        known |= KNOWN_COMM;
    }
    if body.length >= size_of::<TrafficControlMessage>() as u64
        && let Some(message) = M::read::<TrafficControlMessage>(body.address)
    {
        detail.ifindex = message.ifindex;
        detail.handle = message.handle;
        detail.parent = message.parent;
        detail.info = message.info;
        known |= KNOWN_MESSAGE;
        if kind::<M>(body, &mut detail.kind) {
            known |= KNOWN_KIND;
        }
    }
    detail.known = known;
}

#[inline(always)]
fn kind<M: Memory>(body: Body, into: &mut [u8; KIND_BYTES]) -> bool {
    let Body { address, length } = body;
    let mut at = size_of::<TrafficControlMessage>() as u64;
    for _ in 0..MAX_ATTRIBUTES {
        if at + size_of::<Attribute>() as u64 > length {
            return false;
        }
        let Some(attribute) = M::read::<Attribute>(address + at) else { return false };
        let whole = u64::from(attribute.length);
        if whole < size_of::<Attribute>() as u64 || at + whole > length {
            return false;
        }
        if attribute.attribute_type & NLA_TYPE_MASK == TCA_KIND {
            let text = u32::from(attribute.length) - size_of::<Attribute>() as u32;
            // The last byte stays zero.
            let text = if text > 15 { 15 } else { text };
            return M::read_bytes(address + at + size_of::<Attribute>() as u64, into, text);
        }
        at += (whole + 3) & !3;
    }
    false
}

/// Notes the kernel's verdict.
#[inline(always)]
pub(crate) fn judge(detail: &mut Detail, verdict: i32) {
    detail.verdict = verdict;
    detail.known |= KNOWN_VERDICT;
}

/// Notes the sending socket's namespace.
#[inline(always)]
pub(crate) fn place(detail: &mut Detail, netns: u32) {
    detail.netns = netns;
    detail.known |= KNOWN_NETNS;
}

/// Word by word: see `Slot::forget`.
#[inline(always)]
fn forget(detail: &mut Detail) {
    let words = core::ptr::from_mut(detail).cast::<u32>();
    for word in 0..size_of::<Detail>() / size_of::<u32>() {
        // SAFETY: within the detail, aligned, and zeros are a value of each of its fields.
        unsafe { words.add(word).write_volatile(0) };
    }
}
