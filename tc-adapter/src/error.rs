//! Everything that can go wrong.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crate::handle::Handle;
use crate::message::MessageType;
use crate::reply::Malformed;
use crate::validate::InvalidRequest;

/// Why a request did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused; nothing was changed.
    #[error("{operation} {handle} on device {device}: {}{}", io::Error::from_raw_os_error(*errno), suffix(ext_ack.as_deref()))]
    Kernel {
        /// The message that was sent.
        operation: MessageType,
        /// The index of the device it was about.
        device: u32,
        /// The qdisc or class it was about.
        handle: Handle,
        /// The error number, positive, such as `EEXIST`.
        errno: i32,
        /// The kernel's explanation (`NLMSGERR_ATTR_MSG`), where it gave one.
        ext_ack: Option<String>,
    },
    /// The parent class does not exist. The kernel would have made the class a root class, silently; nothing was sent.
    #[error("class {classid} on device {device}: its parent {parent} does not exist{}", suffix(ext_ack.as_deref()))]
    MissingParent {
        /// The index of the device.
        device: u32,
        /// The class that was to be added.
        classid: Handle,
        /// The parent that is missing.
        parent: Handle,
        /// What the kernel said when asked for the parent.
        ext_ack: Option<String>,
    },
    /// The kernel reported success, and the class has the new settings, but it hangs on another parent than was asked:
    /// HTB never moves a class, and hangs it on the root when its parent vanished between the check and the request.
    #[error(
        "class {classid} on device {device} is under {actual}, not under {asked}: HTB does not move classes"
    )]
    ParentNotApplied {
        /// The index of the device.
        device: u32,
        /// The class.
        classid: Handle,
        /// The parent in the request.
        asked: Handle,
        /// The parent that the class has.
        actual: Handle,
    },
    /// The class hangs on another parent than the one it is to be replaced under. The kernel would change its settings and not
    /// move it; nothing was sent. [`Check::Reparenting`](crate::Check::Reparenting) allows it.
    #[error(
        "class {classid} on device {device} is under {actual}, not under {asked}, and HTB would not move it: not sent"
    )]
    WouldNotMove {
        /// The index of the device.
        device: u32,
        /// The class.
        classid: Handle,
        /// The parent in the request.
        asked: Handle,
        /// The parent that the class has.
        actual: Handle,
    },
    /// The class would be the first child of its parent, whose qdisc the kernel would destroy, with the packets, classes and filters in
    /// it; nothing was sent. [`Check::LeafLoss`](crate::Check::LeafLoss) allows it. (A qdisc that the kernel made by
    /// default, without a handle, is no loss.)
    #[error(
        "class {child} on device {device} would destroy the qdisc {leaf} of its parent {parent}: not sent"
    )]
    WouldDestroyLeaf {
        /// The index of the device.
        device: u32,
        /// The class that has the qdisc.
        parent: Handle,
        /// The qdisc.
        leaf: Handle,
        /// The class that was to be added.
        child: Handle,
    },
    /// There is another root qdisc, which the kernel would destroy, with all its classes and filters; nothing was sent.
    /// [`Check::RootReplacement`](crate::Check::RootReplacement) allows it.
    #[error("qdisc {asked} as root of device {device} would destroy {kind} {present}: not sent")]
    WouldReplaceRoot {
        /// The index of the device.
        device: u32,
        /// The root qdisc that is there.
        present: Handle,
        /// Its kind.
        kind: Cow<'static, str>,
        /// The handle in the request; [`Handle::UNSPEC`]: one of the kernel's choice.
        asked: Handle,
    },
    /// The parent is on the eighth level, the last that HTB has; nothing was sent. (The kernel would answer `EINVAL`, which is
    /// what [`Error::errno`] gives.)
    #[error(
        "class {classid} on device {device} would be below {parent}, which is on the last of eight levels: not sent"
    )]
    TooDeep {
        /// The index of the device.
        device: u32,
        /// The class that was to be added.
        classid: Handle,
        /// The parent in the request.
        parent: Handle,
    },
    /// There is no such device in the network namespace.
    #[error("no such device: {device}")]
    NoSuchDevice {
        /// The name, or `index <number>`.
        device: String,
    },
    /// The request was sent and its answer did not come. The kernel was then asked whether what it was to bring about is so
    /// (and if it is, the request has succeeded, see [`Answer::evidence`](crate::Answer::evidence)); `inquiry` says what came of
    /// that. The connection remains usable.
    #[error("{operation} {handle} on device {device} (sequence {sequence}): {loss}; {inquiry}")]
    AnswerLost {
        /// The message that was sent.
        operation: MessageType,
        /// The index of the device.
        device: u32,
        /// The qdisc or class.
        handle: Handle,
        /// The sequence number of the request.
        sequence: u32,
        /// How it was lost.
        loss: Loss,
        /// What is known all the same.
        inquiry: Inquiry,
    },
    /// Other changes kept interrupting a dump (`NLM_F_DUMP_INTR`), so that no attempt gave a consistent list.
    #[error("{operation}: interrupted by changes in each of {attempts} attempts")]
    DumpInterrupted {
        /// The dump.
        operation: MessageType,
        /// How often it was tried.
        attempts: u32,
    },
    /// Nothing was sent: the caller's deadline passed while the request waited for its turn.
    #[error("{operation} {handle} on device {device}: not sent, its deadline passed before its turn came")]
    Expired {
        /// The message that was to be sent.
        operation: MessageType,
        /// The index of the device.
        device: u32,
        /// The qdisc or class.
        handle: Handle,
    },
    /// Nothing was sent: an earlier request of a batch that stops at the first error failed.
    #[error("not sent: an earlier request of the batch failed")]
    NotReached,
    /// Nothing was sent: the client was closed.
    #[error("not sent: the client is closed")]
    Closed,
    /// A system call on the socket failed; no request was carried out.
    #[error("{operation}: {source}")]
    Socket {
        /// The system call.
        operation: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// An answer could not be understood. The request itself may have been carried out.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request makes no sense to HTB; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The connection was not opened: the delay that is to be put in is none.
    #[cfg(feature = "fault-injection")]
    #[error(transparent)]
    Delay(#[from] crate::fault::InvalidDelay),
}

/// How an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The receive buffer was full (`ENOBUFS`).
    #[error("the socket's receive buffer overran (ENOBUFS)")]
    Overrun,
    /// Nothing came within [`SocketOptions::deadline`](crate::SocketOptions::deadline).
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The answer was larger than the buffer it was read into.
    #[error("the answer of {0} bytes was cut off")]
    Truncated(usize),
    /// A datagram could not be understood, so that it is not known whom it answers.
    #[error(transparent)]
    Malformed(Malformed),
    /// Receiving failed with this error number.
    #[error("recvfrom: {}", io::Error::from_raw_os_error(*.0))]
    Receive(i32),
    /// The caller that carried out this request along with its own was ended by a panic.
    #[error("the thread that had sent it panicked")]
    Panicked,
}

/// What asking the kernel brought to light after an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Inquiry {
    /// The kernel does not show what the request was to bring about: it failed, for a reason that was lost, or somebody
    /// else has undone it since.
    #[error("the kernel, asked afterwards, shows no effect of it")]
    NoEffect,
    /// The kernel could not be asked either: the outcome is unknown.
    #[error("the kernel could not be asked either, so the outcome is unknown")]
    Failed,
    /// The request was a question itself, and nothing depends on it.
    #[error("nothing was changed by it")]
    NotNeeded,
}

fn suffix(ext_ack: Option<&str>) -> String {
    ext_ack.map(|text| format!(": {text}")).unwrap_or_default()
}

impl Error {
    /// The kernel's error number, positive, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::MissingParent { .. } => Some(libc::ENOENT),
            Self::TooDeep { .. } => Some(libc::EINVAL),
            Self::NoSuchDevice { .. } => Some(libc::ENODEV),
            Self::Socket { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// The kernel's explanation (extended acknowledgement), where it gave one.
    pub fn ext_ack(&self) -> Option<&str> {
        match self {
            Self::Kernel { ext_ack, .. } | Self::MissingParent { ext_ack, .. } => ext_ack.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let mut error = Error::Kernel {
            operation: MessageType::NewClass,
            device: 3,
            handle: Handle::new(1, 16),
            errno: libc::EINVAL,
            ext_ack: Some("HTB: something".to_owned()),
        };
        let plain = "RTM_NEWTCLASS 1:10 on device 3: Invalid argument (os error 22)";
        assert_eq!(error.to_string(), format!("{plain}: HTB: something"));
        assert_eq!((error.errno(), error.ext_ack()), (Some(libc::EINVAL), Some("HTB: something")));
        if let Error::Kernel { ext_ack, .. } = &mut error {
            *ext_ack = None;
        }
        assert_eq!(error.to_string(), plain);
    }
}
