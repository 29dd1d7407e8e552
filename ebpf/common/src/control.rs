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
    /// probe, because a loader inside a container does not know it.
    pub target_tgid: u32,
    /// One of the `PHASE_` constants.
    pub phase: u32,
    /// Address of `rtnl_mutex`; 0 when it is not known, and then every mutex counts as RTNL.
    pub rtnl_lock: u64,
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
    assert!(size_of::<Offsets>() == 24 && align_of::<Offsets>() == 4);
    assert!(size_of::<Cookie>() == 8);
};
