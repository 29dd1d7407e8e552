//! Reading the kernel's own structures, at offsets that the loader takes from the kernel's BTF.

use aya_ebpf::{
    Global,
    helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf},
};
use ebpf_common::{COMM_BYTES, Offsets};

/// Set by the loader before the programs are loaded, so the verifier sees constants.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(Offsets::NONE);

/// Who holds a mutex.
pub(crate) struct Holder {
    pub(crate) tid: u32,
    pub(crate) tgid: u32,
    pub(crate) comm: [u8; COMM_BYTES],
}

/// The lowest bits of `mutex.owner` are flags (`MUTEX_FLAGS`, kernel/locking/mutex.h).
const MUTEX_FLAGS: u64 = 7;

/// The field at `offset` of the structure at `base`; `None` when either is not known or the address is not mapped.
#[inline(always)]
fn field<T>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == Offsets::UNKNOWN {
        return None;
    }
    // SAFETY: the helper checks the address and reports what it cannot read.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// The owner of the mutex at this address. None while it is handed over.
#[inline(always)]
pub(crate) fn mutex_holder(mutex: u64) -> Option<Holder> {
    let offsets = OFFSETS.load();
    let task = field::<u64>(mutex, offsets.mutex_owner)? & !MUTEX_FLAGS;
    let tid = field(task, offsets.task_pid)?;
    let tgid = field(task, offsets.task_tgid)?;
    let mut comm = [0; COMM_BYTES];
    if offsets.task_comm != Offsets::UNKNOWN {
        let name = (task + u64::from(offsets.task_comm)) as *const u8;
        // SAFETY: as above. A name that cannot be read stays empty.
        let _ = unsafe { bpf_probe_read_kernel_buf(name, &mut comm) };
    }
    Some(Holder { tid, tgid, comm })
}

/// Port id of the socket that sent the message in this `sk_buff`.
#[inline(always)]
pub(crate) fn sender_of(skb: u64) -> Option<u32> {
    field(skb, OFFSETS.load().skb_portid)
}

/// Port id of this `netlink_sock`.
#[inline(always)]
pub(crate) fn port_of(socket: u64) -> Option<u32> {
    field(socket, OFFSETS.load().socket_portid)
}
