//! A tool at work.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::load::Load;
use super::process::{LoadProcess, start};
use super::tool::{Sign, Tool, holds_perf_events, traces};
use crate::exit::Failure;

/// No tool takes half as long to attach or to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A tool's words that are kept.
const WORDS: usize = 16 * 1024;

/// How long the load runs between two looks for a tool's sign.
const LOOK_EVERY_MS: u64 = 20;

/// A tool on a load, killed when dropped.
pub(super) struct RunningTool {
    tool: Tool,
    child: Child,
    words: Words,
    readers: Vec<thread::JoinHandle<()>>,
}

/// The last of what a tool wrote, on both streams.
type Words = Arc<Mutex<Vec<u8>>>;

impl RunningTool {
    /// Starts it and waits until it is attached. The inner error says why it is not.
    pub(super) fn attach(
        tool: Tool,
        load: &mut LoadProcess,
        folder: &Path,
    ) -> Result<Result<Self, String>, Failure> {
        let line = tool.command(load.id(), folder);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match start(&mut command) {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(format!("{} is not installed", line[0])));
            }
            Err(error) => return Ok(Err(format!("{}: {error}", line[0]))),
        };
        let words = Words::default();
        let readers = [
            child.stdout.take().map(|out| listen(out, &words)),
            child.stderr.take().map(|err| listen(err, &words)),
        ];
        let mut running = Self { tool, child, words, readers: readers.into_iter().flatten().collect() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            load.window(Load::Change, LOOK_EVERY_MS)?;
            // First: the text of an error may hold the sign.
            if let Ok(Some(status)) = running.child.try_wait() {
                running.hear_out();
                return Ok(Err(format!("{} ended ({status}): {}", line[0], running.reason())));
            }
            if running.is_attached(load) {
                return Ok(Ok(running));
            }
            if Instant::now() > deadline {
                let said = running.reason();
                return Ok(Err(format!("{} did not attach within {PATIENCE:?}: {said}", line[0])));
            }
        }
    }

    fn is_attached(&self, load: &LoadProcess) -> bool {
        match self.tool.sign() {
            Sign::Prints(text) => contains(&self.heard(), text),
            Sign::PrintsLine(text) => {
                String::from_utf8_lossy(&self.heard()).lines().any(|line| line.trim() == text)
            }
            Sign::Traces => traces(self.child.id(), load.id()),
            Sign::HoldsPerfEvents if holds_perf_events(self.child.id()) => {
                thread::sleep(Duration::from_millis(200));
                true
            }
            Sign::HoldsPerfEvents => false,
        }
    }

    /// Ends it as Ctrl-C does. The error says why what was measured with it does not count.
    pub(super) fn stop(mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            self.hear_out();
            return Err(format!("it ended while it was to watch ({status}): {}", self.reason()));
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT);
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                return Err(format!("it did not end within {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.hear_out();
        match self.tool.result() {
            Some(text) if !contains(&self.heard(), text) => Err(format!("it saw nothing: {}", self.reason())),
            _ => Ok(()),
        }
    }

    fn hear_out(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    fn heard(&self) -> Vec<u8> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reason(&self) -> String {
        reason(&String::from_utf8_lossy(&self.heard()))
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of a tool's words that says why it failed: the last that says so, else the last that has words. Tools underline what they
/// quote, and print how they are to be used.
fn reason(words: &str) -> String {
    let lines = || words.lines().map(str::trim).filter(|line| line.chars().any(char::is_alphanumeric));
    let says_why = |line: &&str| {
        let line = line.to_lowercase();
        ["error", "fail", "cannot", "not found", "not permitted", "denied", "invalid"]
            .iter()
            .any(|word| line.contains(word))
    };
    lines().rfind(says_why).or_else(|| lines().next_back()).unwrap_or("it said nothing").to_owned()
}

fn contains(heard: &[u8], text: &str) -> bool {
    heard.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Reads as fast as it comes, so that the tool never waits for us.
fn listen(mut stream: impl Read + Send + 'static, words: &Words) -> thread::JoinHandle<()> {
    let words = Arc::clone(words);
    thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
            words.extend_from_slice(&chunk[..read]);
            let surplus = words.len().saturating_sub(WORDS);
            words.drain(..surplus);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_reason_is_not_what_it_underlines() {
        let bpftrace = "stdin:1:1-40: ERROR: tracepoint not found: syscalls:sys_enter_sendto\ntracepoint:syscalls:sys_enter_sendto {}\n~~~~~~~~~~~~\n";
        assert_eq!(reason(bpftrace), "stdin:1:1-40: ERROR: tracepoint not found: syscalls:sys_enter_sendto");
        let perf = "event syntax error: 'lock:contention_begin'\n\n Usage: perf trace [<options>]\n    -e, --event <event>   event selector\n";
        assert_eq!(reason(perf), "event syntax error: 'lock:contention_begin'");
        assert_eq!(reason("Attaching\n----\n"), "Attaching");
        assert_eq!(reason("\n"), "it said nothing");
    }
}
