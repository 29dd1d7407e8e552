//! One run of a command line, by the shell: what it took.
//!
//! The kernel counts what a process was before it became another program as its memory, too (`setmax_mm_hiwater_rss` in `exec_mmap`). Of a child
//! of ours that would be our own size, more than many a command's. So a shell forks what becomes the command, and leaves, and the command is
//! inherited by us (`PR_SET_CHILD_SUBREAPER`): nothing but a shell was there before it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::zeroed;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::unistd::Pid;

use super::keeper::Keeper;
use crate::observe::{Signals, Taken};

/// How often signals are looked for while a command runs. Its own time is taken by a thread that waits for nothing else.
const TICK: Duration = Duration::from_millis(20);

/// A command that is asked to end has so long, and is killed then.
const GRACE: Duration = Duration::from_secs(5);

/// So much of the end of standard error is looked at.
const TAIL_BYTES: u64 = 4_096;

/// What a run took.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Ended {
    /// As a shell has it: 128 and the signal's number for one that was killed.
    pub(in crate::cli) code: i32,
    pub(in crate::cli) wall: Duration,
    pub(in crate::cli) cpu: Duration,
    pub(in crate::cli) peak_rss_bytes: u64,
    /// The last line of its standard error that is not empty.
    pub(in crate::cli) last_words: Option<String>,
}

/// In what a command line runs, as far as it is not what we run in ourselves.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Surroundings {
    /// Another working directory.
    pub(in crate::cli) folder: Option<PathBuf>,
    /// Variables that are set, or removed.
    pub(in crate::cli) variables: Vec<(OsString, Option<OsString>)>,
}

impl Surroundings {
    /// With one more variable.
    pub(in crate::cli) fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), Some(value.into())));
        self
    }
}

/// Runs command lines one after the other.
pub(in crate::cli) struct Runner {
    signals: Signals,
    keeper: Keeper,
}

impl Runner {
    /// From here on signals are taken between two ticks, and orphans are ours.
    pub(in crate::cli) fn new() -> io::Result<Self> {
        // The keeper starts first: it is to have signals as usual.
        let keeper = Keeper::start()?;
        set_child_subreaper(true)?;
        Ok(Self { signals: Signals::block()?, keeper })
    }

    /// Runs one to its end. `None`: a signal asked us to end, and it has been ended.
    pub(in crate::cli) fn run(
        &mut self,
        line: &str,
        surroundings: &Surroundings,
    ) -> io::Result<Option<Ended>> {
        let mut errors = tempfile::tempfile()?;
        let starter = Starter::new(line, surroundings, &errors, self.signals.before())?;
        let group = starter.group();
        // Before there is anything to be ended.
        self.keeper.watch(group)?;
        let ended = starter.go().and_then(|(id, began)| wait_aside(id, began));
        let outcome = ended.and_then(|ended| self.until_the_end(group, &ended));
        self.keeper.forget()?;
        let Some(waited) = outcome? else { return Ok(None) };
        Ok(Some(Ended { last_words: last_line(&mut errors)?, ..waited }))
    }

    fn until_the_end(&self, group: u32, ended: &Receiver<io::Result<Ended>>) -> io::Result<Option<Ended>> {
        let group = Pid::from_raw(group.cast_signed());
        let mut asked: Option<Instant> = None;
        loop {
            match ended.recv_timeout(TICK) {
                Ok(waited) if asked.is_none() && !self.asked() => return Ok(Some(waited?)),
                Ok(_) => {
                    // What it has started goes with it, as far as that has not gone yet.
                    let _ = killpg(group, Signal::SIGKILL);
                    return Ok(None);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the waiting thread has gone"));
                }
            }
            match asked {
                None if self.asked() => {
                    asked = Some(Instant::now());
                    // It may have ended just now.
                    let _ = killpg(group, Signal::SIGTERM);
                }
                Some(at) if at.elapsed() > GRACE || self.asked() => {
                    let _ = killpg(group, Signal::SIGKILL);
                }
                _ => {}
            }
        }
    }

    /// Whether a signal asks us to end.
    pub(in crate::cli) fn asked(&self) -> bool {
        self.signals.wait(Duration::ZERO).is_some_and(Taken::asks_to_end)
    }
}

/// A shell in a process group of its own that leaves behind another, which waits for a word and becomes the command, and says its process id.
/// Only when the first has left may the command begin: a shell takes notice of children that have ended, and of this we want to.
const START: &str =
    r#"exec 3<&0; { read -r _ <&3 || exit; exec sh -c "$1" 3<&- </dev/null; } >/dev/null & echo $!"#;

/// That shell.
struct Starter(Child);

impl Starter {
    fn new(line: &str, surroundings: &Surroundings, errors: &File, signals: SigSet) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", START, "sh", line])
            // Half of these runs are of another version than the folder that we are in.
            .env("QDISCOPE_STORE", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .process_group(0);
        if let Some(folder) = &surroundings.folder {
            command.current_dir(folder);
        }
        for (name, value) in &surroundings.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let unblock = move || {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), None)?;
            Ok(())
        };
        // SAFETY: sigprocmask(2) is async-signal-safe, and nothing else is called between fork and exec.
        Ok(Self(unsafe { command.pre_exec(unblock) }.spawn()?))
    }

    fn group(&self) -> u32 {
        self.0.id()
    }

    /// The command's process, which is ours now, and when it was let go.
    fn go(mut self) -> io::Result<(u32, Instant)> {
        let lost = || io::Error::other("the shell that starts it has failed");
        let mut word = self.0.stdin.take().ok_or_else(lost)?;
        let mut said = String::new();
        // To its end: once the shell has left.
        self.0.stdout.take().ok_or_else(lost)?.read_to_string(&mut said)?;
        self.0.wait()?;
        let id = said.trim().parse().map_err(|_| lost())?;
        let began = Instant::now();
        word.write_all(b"\n")?;
        Ok((id, began))
    }
}

/// Waits on a thread of its own, so that the end is known to the microsecond.
fn wait_aside(id: u32, began: Instant) -> io::Result<Receiver<io::Result<Ended>>> {
    let (sender, ended) = channel();
    let wait = move || {
        // Nobody listens any more only where the run is over.
        let _ = sender.send(wait(id, began));
    };
    thread::Builder::new().name("qdiscope-wait".into()).spawn(wait)?;
    Ok(ended)
}

fn wait(id: u32, began: Instant) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: all zeros is a value of these integers.
    let mut used: libc::rusage = unsafe { zeroed() };
    loop {
        // SAFETY: both places are valid for as long as the call takes.
        let waited = unsafe { libc::wait4(id.cast_signed(), &raw mut status, 0, &raw mut used) };
        if waited > 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let wall = began.elapsed();
    let status = ExitStatus::from_raw(status);
    let time = |time: libc::timeval| {
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
    };
    Ok(Ended {
        code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
        wall,
        cpu: time(used.ru_utime) + time(used.ru_stime),
        // In units of 1,024 bytes.
        peak_rss_bytes: u64::try_from(used.ru_maxrss).unwrap_or_default() * 1_024,
        last_words: None,
    })
}

fn last_line(file: &mut File) -> io::Result<Option<String>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let printable = |line: &str| line.chars().filter(|character| !character.is_control()).collect::<String>();
    Ok(text.lines().rev().map(printable).map(|line| line.trim().to_owned()).find(|line| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn waited(line: &str) -> Ended {
        set_child_subreaper(true).unwrap();
        let mut errors = tempfile::tempfile().unwrap();
        let mut surroundings =
            Surroundings { folder: Some("/".into()), ..Surroundings::default() }.with("PLACE", "/x y");
        surroundings.variables.push(("PATHS".into(), Some("none".into())));
        surroundings.variables.push(("PATHS".into(), None));
        let starter = Starter::new(line, &surroundings, &errors, SigSet::empty()).unwrap();
        let (id, began) = starter.go().unwrap();
        let ended = wait(id, began).unwrap();
        Ended { last_words: last_line(&mut errors).unwrap(), ..ended }
    }

    #[test]
    fn what_a_command_took_is_its_own() {
        let slept = waited("sleep 0.05; exit 7");
        assert_eq!(slept.code, 7);
        assert!(slept.wall >= Duration::from_millis(50) && slept.cpu < slept.wall, "{slept:?}");
        let busy = waited("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done");
        assert!(busy.cpu > Duration::from_millis(1), "{busy:?}");
        assert_eq!(waited("kill -9 $$").code, 137);
        assert_eq!(waited("echo $PLACE ${PATHS-gone} $(pwd) >&2").last_words.as_deref(), Some("/x y gone /"));
    }

    /// Not that of the process that started it, which takes more on purpose here.
    #[test]
    fn memory_is_that_of_the_command() {
        let ballast = vec![1_u8; 64 << 20];
        let small = waited("true");
        let large = waited("x=$(head -c 20000000 /dev/zero | tr '\\0' x); : \"$x\"");
        assert!(ballast.iter().all(|byte| *byte == 1));
        assert!((100_000..16_000_000).contains(&small.peak_rss_bytes), "{small:?}");
        assert!(large.peak_rss_bytes > small.peak_rss_bytes + 10_000_000, "{large:?} and {small:?}");
    }

    #[test]
    fn the_last_line_has_words() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(last_line(&mut file).unwrap(), None);
        write!(file, "{}\nfirst\n\x1b[31mlast \n\n", "x".repeat(5_000)).unwrap();
        assert_eq!(last_line(&mut file).unwrap().as_deref(), Some("[31mlast"));
    }
}
