//! The processes that a measurement starts: they end with it, whatever happens, and a Ctrl-C at the terminal is not theirs.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::setsid;

use super::load::Load;
use super::message::{Answer, Order, Window};
use crate::exit::Failure;

/// The best nice value.
const FIRST: libc::c_int = -20;

/// Starts a process that dies with this thread, which must therefore be the main one. It goes before others in the queue for a CPU,
/// loads and tools alike: what else the machine does is not what is measured.
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    let bind = || {
        // SAFETY: touches only this process. Where it is not allowed the ranges become wider.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, FIRST) };
        set_pdeathsig(Signal::SIGKILL)?;
        setsid()?;
        Ok(())
    };
    // SAFETY: setpriority(2), prctl(2) and setsid(2) are async-signal-safe, and nothing else is called between fork and exec.
    let child = unsafe { command.pre_exec(bind) }.spawn()?;
    // Where sessions share the CPUs (CONFIG_SCHED_AUTOGROUP) this counts instead; elsewhere the file is missing.
    let _ = std::fs::write(format!("/proc/{}/autogroup", child.id()), FIRST.to_string());
    Ok(child)
}

/// The process that runs the loads.
pub(super) struct LoadProcess {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl LoadProcess {
    /// Starts this program anew; `device` as in [`super::serve()`].
    pub(super) fn start(device: Option<u32>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::internal(format!("start the load: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("overhead-load").args(device.map(|device| device.to_string()));
        if std::env::var_os("RUST_LOG").is_none() {
            // That the ring buffer overflows is meant.
            command.env("RUST_LOG", "error");
        }
        let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).map_err(failed)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::internal("start the load: no pipes"));
        };
        let mut process = Self { child, orders, answers: BufReader::new(answers) };
        match process.answer()? {
            Answer::Ready => Ok(process),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn order(&mut self, order: &Order) -> Result<Answer, Failure> {
        let failed = |error: io::Error| Failure::internal(format!("give the load an order: {error}"));
        let mut line = serde_json::to_vec(order).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.orders.write_all(&line).map_err(failed)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        match read.map(|_| serde_json::from_str(&line)) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if line.is_empty() => Err(Failure::internal("the load has ended")),
            Ok(Err(error)) => Err(Failure::internal(format!("the load's answer: {error}"))),
            Err(error) => Err(Failure::internal(format!("the load's answer: {error}"))),
        }
    }

    pub(super) fn window(&mut self, load: Load, milliseconds: u64) -> Result<Window, Failure> {
        self.windowed(&Order::Window { load, milliseconds })
    }

    /// An order that has no result.
    pub(super) fn done(&mut self, order: &Order) -> Result<(), Failure> {
        match self.order(order)? {
            Answer::Ready => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn windowed(&mut self, order: &Order) -> Result<Window, Failure> {
        match self.order(order)? {
            Answer::Window(window) => Ok(window),
            other => Err(unexpected(&other)),
        }
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Failed { reason } => Failure::environment(format!("the load: {reason}")),
        other => Failure::internal(format!("the load answers {other:?}")),
    }
}
