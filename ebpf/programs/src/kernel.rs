//! Reading the kernel's own structures, at offsets that the loader takes from the kernel's BTF.

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_buf},
};
use ebpf_common::{COMM_BYTES, Offsets};

use crate::request::MessageHeader;

/// Set by the loader before the programs are loaded, so the verifier sees constants.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(Offsets::NONE);

/// One offset. Only that is loaded: [`Global::load`] would load them all, each time.
macro_rules! offset {
    ($field:ident) => {{
        let offsets = (&raw const OFFSETS).cast::<Offsets>();
        // SAFETY: a `Global` is what it holds, and the loader has written it before the programs were loaded.
        unsafe { (&raw const (*offsets).$field).read_volatile() }
    }};
}

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
    let task = field::<u64>(mutex, offset!(mutex_owner))? & !MUTEX_FLAGS;
    let tid = field(task, offset!(task_pid))?;
    let tgid = field(task, offset!(task_tgid))?;
    let mut comm = [0; COMM_BYTES];
    if offset!(task_comm) != Offsets::UNKNOWN {
        let name = (task + u64::from(offset!(task_comm))) as *const u8;
        // SAFETY: as above. A name that cannot be read stays empty.
        let _ = unsafe { bpf_probe_read_kernel_buf(name, &mut comm) };
    }
    Some(Holder { tid, tgid, comm })
}

/// Whether the thread that runs owns the mutex at this address; not, where that is not known.
#[inline(always)]
pub(crate) fn current_holds(mutex: u64) -> bool {
    // SAFETY: a helper without arguments.
    let current = unsafe { bpf_get_current_task() };
    field::<u64>(mutex, offset!(mutex_owner)).is_some_and(|owner| owner & !MUTEX_FLAGS == current)
}

/// Port id of the socket that sent the message in this `sk_buff`.
#[inline(always)]
pub(crate) fn sender_of(skb: u64) -> Option<u32> {
    field(skb, offset!(skb_portid))
}

/// Port id of this `netlink_sock`.
#[inline(always)]
pub(crate) fn port_of(socket: u64) -> Option<u32> {
    field(socket, offset!(socket_portid))
}

/// Thread id and process id of this `task_struct`.
#[inline(always)]
pub(crate) fn ids_of(task: u64) -> Option<(u32, u32)> {
    Some((field(task, offset!(task_pid))?, field(task, offset!(task_tgid))?))
}

/// How many threads of this `task_struct`'s process are alive. One that has begun to end is not.
#[inline(always)]
pub(crate) fn threads_alive(task: u64) -> Option<i32> {
    field(field(task, offset!(task_signal))?, offset!(signal_live))
}

/// Inode of the network namespace of this `sock`.
#[inline(always)]
pub(crate) fn netns_of(socket: u64) -> Option<u32> {
    field(field(socket, offset!(socket_net))?, offset!(net_inode))
}

/// Inode of the network namespace in which the message in this `sk_buff` is handled.
#[inline(always)]
pub(crate) fn netns_of_message(skb: u64) -> Option<u32> {
    netns_of(field(skb, offset!(skb_socket))?)
}

/// `NLMSG_ERROR`, include/uapi/linux/netlink.h: an acknowledgement, too.
const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list, and how that went.
const NLMSG_DONE: u16 = 3;
/// `NLMSG_MIN_TYPE`: below are netlink's own.
const NLMSG_MIN_TYPE: u16 = 16;
/// How many answers are looked at: behind the one that is looked for there may be news that the socket has subscribed to.
const MAX_ANSWERS: u32 = 3;

/// The verdict on the request with this sequence number, from the answer that lies in the socket's queue: the newest but for news.
/// None when there is none: it was not asked for, or somebody has taken it already.
#[inline(always)]
pub(crate) fn verdict_of(socket: u64, sequence: u32) -> Option<i32> {
    let port_id = port_of(socket)?;
    if offset!(skb_previous) == Offsets::UNKNOWN {
        return None;
    }
    let mut buffer = field::<u64>(socket, offset!(socket_newest))?;
    // The queue's head has the same two pointers at its beginning as a buffer.
    let end = socket + u64::from(offset!(socket_newest)) - u64::from(offset!(skb_previous));
    for _ in 0..MAX_ANSWERS {
        if buffer == end {
            return None;
        }
        let data = field::<u64>(buffer, offset!(skb_data))?;
        let answer = field::<MessageHeader>(data, 0)?;
        if answer.sequence == sequence && answer.port_id == port_id {
            if answer.message_type == NLMSG_ERROR {
                return field(data, size_of::<MessageHeader>() as u32);
            }
            if answer.message_type == NLMSG_DONE {
                let result = field::<i32>(data, size_of::<MessageHeader>() as u32)?;
                return Some(if result < 0 { result } else { 0 });
            }
            // An object: what was asked for, or the news of what was done, and neither comes with a refusal.
            return (answer.message_type >= NLMSG_MIN_TYPE).then_some(0);
        }
        buffer = field(buffer, offset!(skb_previous))?;
    }
    None
}
