//! What the loader tells the probes while they run.

use core::mem::{align_of, offset_of, size_of};

/// Phase in which requests are followed but nothing is emitted or counted.
pub const PHASE_SILENT: u32 = 0;
/// Like [`PHASE_SILENT`], and the mutexes that requests wait for are counted by address.
pub const PHASE_CALIBRATE: u32 = 1;
/// Phase in which each request gives an event.
pub const PHASE_RECORD: u32 = 2;

/// The one control block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Process whose requests are followed, as its id in the initial PID namespace; 0 until the handshake. Written by the
    /// probe, because a loader inside a container does not know it. [`TARGET_BY_SETTINGS`]: those that [`Settings`] say.
    pub target_tgid: u32,
    /// One of the `PHASE_` constants.
    pub phase: u32,
    /// Address of `rtnl_mutex`; 0 when it is not known, and then every mutex counts as RTNL.
    pub rtnl_lock: u64,
}

/// In [`Control::target_tgid`]: not one process, but whom [`Settings::follow`] says.
pub const TARGET_BY_SETTINGS: u32 = u32::MAX;

/// Only the process in [`Control::target_tgid`] is followed, which costs others a comparison.
pub const FOLLOW_ONE: u32 = 0;
/// The processes in the map of followed ones, and whatever they start.
pub const FOLLOW_FAMILIES: u32 = 1;
/// Every process.
pub const FOLLOW_EVERYONE: u32 = 2;

/// How many processes can be followed at once as families.
pub const FOLLOWED_PROCESSES: u32 = 32_768;

/// What the loader decides before the programs are loaded: to the verifier these are constants, and it removes what they exclude.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// One of the `FOLLOW_` constants.
    pub follow: u32,
    /// Not 0: a request's event comes with what it was about, as [`DetailedEvent`](crate::DetailedEvent).
    pub details: u32,
    /// Not 0: waits and timers give a [`SampleEvent`](crate::SampleEvent) each, instead of counts of kernel stacks.
    pub stacks: u32,
}

/// Where the running kernel has the fields that the probes read; bytes from the start of the structure. The loader takes them
/// from the kernel's BTF. [`Offsets::UNKNOWN`] where it has none, and then the field is not read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `mutex.owner`: the owner's `task_struct`, with flags in its lowest three bits.
    pub mutex_owner: u32,
    /// `task_struct.pid`: the thread's id.
    pub task_pid: u32,
    /// `task_struct.tgid`: the process's id.
    pub task_tgid: u32,
    /// `task_struct.comm`: the thread's name.
    pub task_comm: u32,
    /// The sender's port id in the buffer of a message: `sk_buff.cb`, which is a `netlink_skb_parms` there, and `portid` in that.
    pub skb_portid: u32,
    /// `netlink_sock.portid`.
    pub socket_portid: u32,
    /// `sock.sk_receive_queue.prev`: the newest buffer that the socket has been given.
    pub socket_newest: u32,
    /// `sock.__sk_common.skc_net`: the socket's network namespace.
    pub socket_net: u32,
    /// `net.ns.inum`: the namespace's inode.
    pub net_inode: u32,
    /// `sk_buff.sk`.
    pub skb_socket: u32,
    /// `sk_buff.prev`.
    pub skb_previous: u32,
    /// `sk_buff.data`.
    pub skb_data: u32,
    /// `task_struct.signal`: what the threads of a process share.
    pub task_signal: u32,
    /// `signal_struct.live`: how many of them are alive.
    pub signal_live: u32,
}

impl Offsets {
    /// An offset that is not known.
    pub const UNKNOWN: u32 = u32::MAX;

    /// Nothing is known.
    pub const NONE: Self = Self {
        mutex_owner: Self::UNKNOWN,
        task_pid: Self::UNKNOWN,
        task_tgid: Self::UNKNOWN,
        task_comm: Self::UNKNOWN,
        skb_portid: Self::UNKNOWN,
        socket_portid: Self::UNKNOWN,
        socket_newest: Self::UNKNOWN,
        socket_net: Self::UNKNOWN,
        net_inode: Self::UNKNOWN,
        skb_socket: Self::UNKNOWN,
        skb_previous: Self::UNKNOWN,
        skb_data: Self::UNKNOWN,
        task_signal: Self::UNKNOWN,
        signal_live: Self::UNKNOWN,
    };
}

/// The request by which the probes recognise the loader's process: a message of this type, with both numbers drawn at random.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Its `nlmsg_seq`; 0: no handshake is expected.
    pub sequence: u32,
    /// Its `nlmsg_pid`.
    pub port_id: u32,
}

/// Type of the handshake's message: `RTM_DELTCLASS`.
pub const HANDSHAKE_TYPE: u16 = 41;

const _: () = {
    assert!(size_of::<Control>() == 16 && align_of::<Control>() == 8);
    assert!(offset_of!(Control, rtnl_lock) == 8);
    assert!(size_of::<Offsets>() == 56 && align_of::<Offsets>() == 4);
    assert!(size_of::<Cookie>() == 8);
    assert!(size_of::<Settings>() == 12);
};
