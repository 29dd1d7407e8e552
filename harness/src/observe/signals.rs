//! Signals, taken one by one instead of handled: what the observed command is to get is passed on.

use std::io;
use std::mem::zeroed;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// Those that ask a program to do something.
const TAKEN: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) signal: Signal,
    /// By the terminal, and so to every process of the group: whoever else is in it has had it.
    pub(crate) to_the_group: bool,
}

impl Taken {
    /// Whether it asks to end.
    pub(crate) fn asks_to_end(self) -> bool {
        matches!(self.signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }
}

/// Blocks the signals; this thread, and those that it starts, take them here.
pub(crate) struct Signals {
    taken: SigSet,
    before: SigSet,
}

impl Signals {
    /// Begins. A signal that is ignored already, as under nohup(1), stays so.
    pub(crate) fn block() -> io::Result<Self> {
        let mut taken = SigSet::empty();
        for signal in TAKEN.into_iter().filter(|signal| !is_ignored(*signal)) {
            taken.add(signal);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&taken), Some(&mut before))?;
        Ok(Self { taken, before })
    }

    /// What was blocked before, for the command.
    pub(crate) fn before(&self) -> SigSet {
        self.before
    }

    /// Waits for a signal, but not longer than this.
    pub(crate) fn wait(&self, longest: Duration) -> Option<Taken> {
        let longest = libc::timespec {
            tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(1),
            tv_nsec: longest.subsec_nanos().into(),
        };
        // SAFETY: all zeros is a value of these integers.
        let mut info: libc::siginfo_t = unsafe { zeroed() };
        // SAFETY: all three are valid for as long as the call takes.
        let number = unsafe { libc::sigtimedwait(self.taken.as_ref(), &raw mut info, &raw const longest) };
        // Negative: none came, or another interrupted the waiting.
        let signal = Signal::try_from(number).ok()?;
        Some(Taken { signal, to_the_group: info.si_code == libc::SI_KERNEL })
    }
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: all zeros is a value of this structure.
    let mut action: libc::sigaction = unsafe { zeroed() };
    // SAFETY: only asks; the place for the answer is valid.
    let asked = unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
