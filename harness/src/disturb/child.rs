//! Processes that disturbances need beside ours: this program anew, with another task.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::unistd::setsid;
use serde::de::DeserializeOwned;

use super::DisturbError;

/// One of them. It ends when the pipe to it does, and so with us, however we end (`PR_SET_PDEATHSIG` would follow the thread that started
/// it, which may be one of many). A Ctrl-C at the terminal is not its.
pub(super) struct Helper {
    name: &'static str,
    child: Child,
    orders: Option<ChildStdin>,
    words: Receiver<String>,
}

impl Helper {
    /// Starts `qdiscope ARGUMENTS`.
    pub(super) fn start(name: &'static str, arguments: &[String]) -> Result<Self, DisturbError> {
        let failed = |error| DisturbError::failed(format!("start the {name}"))(error);
        // Not the path of the file, which may have been replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let bind = || {
            setsid()?;
            Ok(())
        };
        // SAFETY: setsid(2) is async-signal-safe, and nothing else is called between fork and exec.
        let mut child = unsafe { command.pre_exec(bind) }.spawn().map_err(failed)?;
        let (orders, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, words) = channel();
        let helper = Self { name, child, orders, words };
        let Some(stdout) = stdout else { return Err(failed(io::Error::other("no pipe"))) };
        // So that waiting for a word can have an end.
        let listen = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("qdiscope-listen".into()).spawn(listen).map_err(failed)?;
        Ok(helper)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next line.
    pub(super) fn word<T: DeserializeOwned>(&mut self) -> Result<T, DisturbError> {
        let line = self.words.recv().map_err(|_| RecvTimeoutError::Disconnected);
        self.read(line)
    }

    /// Its next line, if it comes within this time.
    pub(super) fn word_within<T: DeserializeOwned>(
        &mut self,
        longest: Duration,
    ) -> Option<Result<T, DisturbError>> {
        let line = self.words.recv_timeout(longest);
        (line != Err(RecvTimeoutError::Timeout)).then(|| self.read(line))
    }

    fn read<T: DeserializeOwned>(&self, line: Result<String, RecvTimeoutError>) -> Result<T, DisturbError> {
        let line = line.map_err(|_| self.failed("it was killed, or broke".into()))?;
        serde_json::from_str(&line).map_err(|error| self.failed(error.to_string()))
    }

    /// Lets it begin.
    pub(super) fn go(&mut self) -> Result<(), DisturbError> {
        let sent = self.orders.as_mut().map_or(Ok(()), |orders| orders.write_all(b"!"));
        sent.map_err(|error| self.failed(error.to_string()))
    }

    /// Tells it to stop.
    pub(super) fn stop(&mut self) {
        self.orders = None;
    }

    pub(super) fn failed(&self, reason: String) -> DisturbError {
        DisturbError::Child { name: self.name, reason }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop();
        // It ends by itself, with what it has to put in order.
        let _ = self.child.wait();
    }
}
