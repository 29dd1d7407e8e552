//! The observed command. It is started as a shell would start it: with our streams, signals and namespaces, and nothing else of ours.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{self, Child, ExitStatus, Stdio};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::Pid;

use crate::exit::{Exit, Failure};

/// Where a command reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Streams {
    /// Where we do.
    #[default]
    Ours,
    /// As we do, but what it writes to standard output goes to standard error, for the former is ours alone.
    OutputToError,
    /// As we do, except that it neither reads from the terminal nor writes to it, for that is ours alone; signals are, too.
    NoTerminal,
}

impl Streams {
    fn give(self, command: &mut process::Command) -> io::Result<()> {
        match self {
            Self::Ours => {}
            Self::OutputToError => {
                command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            }
            Self::NoTerminal => {
                if io::stdin().is_terminal() {
                    command.stdin(Stdio::null());
                }
                if io::stdout().is_terminal() {
                    command.stdout(Stdio::null());
                }
                if io::stderr().is_terminal() {
                    command.stderr(Stdio::null());
                }
            }
        }
        Ok(())
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    words: Vec<OsString>,
}

/// As it would be typed, but for what a shell would want to be quoted.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        f.write_str(&words.join(" "))
    }
}

impl Command {
    /// The words of a command line; `None` when there is none.
    pub fn new(words: &[OsString]) -> Option<Self> {
        (!words.is_empty()).then(|| Self { words: words.to_vec() })
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> String {
        self.words[0].to_string_lossy().into_owned()
    }

    /// Starts it with these signals blocked.
    pub(crate) fn start(&self, blocked: SigSet, streams: Streams) -> Result<Running, Failure> {
        let mut command = process::Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        streams
            .give(&mut command)
            .map_err(|error| Failure::environment(format!("where {} is to write: {error}", self.name())))?;
        let unblock = move || {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
            Ok(())
        };
        // SAFETY: sigprocmask(2) is async-signal-safe, and nothing else is called between fork and exec.
        unsafe { command.pre_exec(unblock) };
        let child = command.spawn().map_err(|error| self.not_started(&error))?;
        Ok(Running { child, ended: None })
    }

    /// As env(1) tells the two apart.
    fn not_started(&self, error: &io::Error) -> Failure {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable };
        Failure::refused(exit, format!("cannot start {}: {error}", self.name()))
    }
}

/// The command while it runs. Dropping this leaves it alone.
pub(crate) struct Running {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Running {
    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<u8> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.map(exit_code)
    }

    /// Passes a signal on.
    pub(crate) fn signal(&self, signal: Signal) {
        // Once it has been waited for, its id may be another's.
        if self.ended.is_none()
            && let Ok(id) = i32::try_from(self.child.id())
        {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

/// As a shell has it: 128 and the signal's number for one that was killed.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn a_command_needs_a_word() {
        assert_eq!(Command::new(&[]), None);
        assert_eq!(Command::new(&["tc".into(), "-s".into()]).unwrap().name(), "tc");
    }
}
