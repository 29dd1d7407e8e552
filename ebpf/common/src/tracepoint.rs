//! The fields which the probes read from tracepoint records.
//!
//! The verifier wants constant offsets, so they are compiled in. They differ between kernels (a field was added in the middle
//! of `sched_switch` once), so the loader compares them with `events/*/*/format` in tracefs before it attaches a
//! probe, and leaves out a probe that would read something else.

/// Where a field lies in a tracepoint's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name in the format file.
    pub name: &'static str,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

const fn field(name: &'static str, offset: usize, size: usize) -> Field {
    Field { name, offset, size }
}

/// `syscalls:sys_enter_sendto`
pub mod sys_enter_sendto {
    use super::{Field, field};
    /// The socket.
    pub const FD: Field = field("fd", 16, 8);
    /// The message, in the sender's memory.
    pub const BUFF: Field = field("buff", 24, 8);
    /// Its length; bytes.
    pub const LEN: Field = field("len", 32, 8);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[FD, BUFF, LEN];
}

/// `syscalls:sys_enter_sendmsg`
pub mod sys_enter_sendmsg {
    use super::{Field, field};
    /// The `struct user_msghdr`, in the sender's memory.
    pub const MSG: Field = field("msg", 24, 8);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[MSG];
}

/// `sock:sock_send_length`, which fires when the socket's own `sendmsg` has returned.
pub mod sock_send_length {
    use super::{Field, field};
    /// The `struct sock`.
    pub const SK: Field = field("sk", 8, 8);
    /// `AF_NETLINK`, say.
    pub const FAMILY: Field = field("family", 16, 2);
    /// `NETLINK_ROUTE`, say.
    pub const PROTOCOL: Field = field("protocol", 18, 2);
    /// What `sendmsg` returned.
    pub const RET: Field = field("ret", 20, 4);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[SK, FAMILY, PROTOCOL, RET];
}

/// `netlink:netlink_extack`
pub mod netlink_extack {
    use super::{Field, field};
    /// Where in the record the text is: the lower half is its offset.
    pub const MSG: Field = field("msg", 8, 4);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[MSG];
}

/// `syscalls:sys_exit_sendmsg`
pub mod sys_exit_sendmsg {
    use super::{Field, field};
    /// What the system call returns.
    pub const RET: Field = field("ret", 16, 8);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[RET];
}

/// `syscalls:sys_exit_sendto`
pub mod sys_exit_sendto {
    use super::{Field, field};
    /// What the system call returns.
    pub const RET: Field = field("ret", 16, 8);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[RET];
}

/// `lock:contention_begin`
pub mod contention_begin {
    use super::{Field, field};
    /// The lock's address.
    pub const LOCK_ADDR: Field = field("lock_addr", 8, 8);
    /// The lock's kind, `LCB_F_*`.
    pub const FLAGS: Field = field("flags", 16, 4);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[LOCK_ADDR, FLAGS];
}

/// `lock:contention_end`
pub mod contention_end {
    use super::{Field, field};
    /// The lock's address.
    pub const LOCK_ADDR: Field = field("lock_addr", 8, 8);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[LOCK_ADDR];
}

/// `sched:sched_switch`
pub mod sched_switch {
    use super::{Field, field};
    /// The thread that leaves the CPU, as its id in the initial PID namespace.
    pub const PREV_PID: Field = field("prev_pid", 24, 4);
    /// The thread that comes onto the CPU.
    pub const NEXT_PID: Field = field("next_pid", 56, 4);
    /// All that the probe reads.
    pub const FIELDS: &[Field] = &[PREV_PID, NEXT_PID];
}
