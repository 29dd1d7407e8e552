//! The kinds of probes.

use std::{fmt, str::FromStr};

/// How the probes that follow requests are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// BPF trampolines on kernel functions (fentry and fexit): each message of a packet, what the kernel answers, and the parts of
    /// a request, at the lowest cost. Needs the kernel's BTF. Functions of modules are followed by kprobes.
    Fexit,
    /// kprobes and kretprobes on the same functions: the same figures at a higher cost, without BTF.
    Kprobe,
    /// The kernel's own trace events: works wherever tracefs does. It sees system calls, not messages, and waits for RTNL, not for
    /// how long it is held.
    Tracepoint,
}

impl ProbeKind {
    /// The one to be preferred first.
    pub const IN_ORDER_OF_PREFERENCE: [Self; 3] = [Self::Fexit, Self::Kprobe, Self::Tracepoint];

    /// As on command lines and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Whether each message gives an event, also where one system call sends many.
    pub const fn tells_messages_apart(self) -> bool {
        !matches!(self, Self::Tracepoint)
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of probes is called {0:?}: fexit, kprobe and tracepoint are")]
pub struct UnknownKind(String);

impl FromStr for ProbeKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::IN_ORDER_OF_PREFERENCE
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in ProbeKind::IN_ORDER_OF_PREFERENCE {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("fentry".parse::<ProbeKind>().unwrap_err().to_string().contains("fexit"));
    }
}
