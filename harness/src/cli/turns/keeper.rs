//! A process that ends what we have started, if we are killed ourselves.
//!
//! `PR_SET_PDEATHSIG` would end the shell, and not what that has started. So a process beside ours knows the process group of the command
//! that runs, and kills it when the pipe from us ends before we say that it is over.

use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, setsid};

use crate::exit::Exit;

/// The name of the hidden subcommand.
const NAME: &str = "group-keeper";

/// The process, as we see it.
pub(super) struct Keeper {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Keeper {
    pub(super) fn start() -> io::Result<Self> {
        // Not the path of the file, which may have been replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg(NAME).stdin(Stdio::piped()).stdout(Stdio::null());
        let bind = || {
            // A Ctrl-C at the terminal is not its.
            setsid()?;
            Ok(())
        };
        // SAFETY: setsid(2) is async-signal-safe, and nothing else is called between fork and exec.
        let mut child = unsafe { command.pre_exec(bind) }.spawn()?;
        let orders = child.stdin.take();
        Ok(Self { child, orders })
    }

    /// This group is to be ended with us.
    pub(super) fn watch(&mut self, group: u32) -> io::Result<()> {
        self.order(group)
    }

    /// What was watched is over; its number may become another's.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.order(0)
    }

    fn order(&mut self, group: u32) -> io::Result<()> {
        self.orders.as_mut().map_or(Ok(()), |orders| writeln!(orders, "{group}"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        // It ends by itself, and has nothing to say.
        let _ = self.child.wait();
    }
}

/// The process itself: until the pipe ends.
pub(in crate::cli) fn keep() -> Exit {
    let mut watched = 0;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        watched = line.parse().unwrap_or(0);
    }
    if watched > 1 {
        // It may have ended just now.
        let _ = killpg(Pid::from_raw(watched), Signal::SIGKILL);
    }
    Exit::Pass
}
