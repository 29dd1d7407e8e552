//! A program on a terminal of its own, as a person has it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::setsid;

use crate::qdiscope::{Finished, Running};

/// Nothing of this takes a tenth as long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program and its terminal.
pub(crate) struct OnTerminal {
    pub(crate) running: Running,
    /// Our end.
    ours: File,
    theirs: OwnedFd,
    before: Termios,
    read: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    reader: thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

/// Reads, so that the program never waits for us.
fn copy(mut ours: File, to: &Sender<Vec<u8>>, stop: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(ours.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20_u8));
        if ready.is_ok_and(|ready| ready > 0) {
            match ours.read(&mut bytes) {
                Ok(count @ 1..) if to.send(bytes[..count].to_vec()).is_ok() => {}
                _ => return,
            }
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl OnTerminal {
    /// Starts a command on a terminal of this size. Its stderr is no terminal, and is kept.
    pub(crate) fn start(command: &mut Command, columns: u16, rows: u16) -> Result<Self, Failed> {
        let pty = openpty(&size(columns, rows), None)?;
        let (ours, theirs) = (pty.master, pty.slave);
        // The program must not hold its own terminal open.
        for end in [&ours, &theirs] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let before = tcgetattr(&theirs)?;
        command.env("TERM", "xterm").stdin(theirs.try_clone()?).stdout(theirs.try_clone()?);
        let own = || {
            setsid()?;
            // SAFETY: the terminal is stdin; both calls are async-signal-safe.
            if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: nothing but two system calls between fork and exec.
        unsafe { command.pre_exec(own) };
        let running = Running::start_with(command)?;
        let ours = File::from(ours);
        let (sender, read) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (reader, stop) = (ours.try_clone()?, Arc::clone(&stop));
            move || copy(reader, &sender, &stop)
        });
        Ok(Self { running, ours, theirs, before, read, shown: Vec::new(), reader, stop })
    }

    /// Waits until a text is drawn, which was not before.
    pub(crate) fn see(&mut self, text: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        let from = self.shown.len();
        loop {
            // It may have come in two parts.
            let drawn = String::from_utf8_lossy(&self.shown[from.saturating_sub(text.len())..]).into_owned();
            if drawn.contains(text) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self.read.recv_timeout(left).map_err(|error| {
                format!("no `{text}` ({error}) in {:?}", String::from_utf8_lossy(&self.shown))
            })?;
            self.shown.extend(more);
        }
    }

    pub(crate) fn press(&mut self, keys: &str) -> Result<(), Failed> {
        Ok(self.ours.write_all(keys.as_bytes())?)
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<(), Failed> {
        let size = size(columns, rows);
        // SAFETY: the size lives as long as the call takes.
        let done = unsafe { libc::ioctl(self.ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
    }

    /// Closes the window, and waits for the program's end.
    pub(crate) fn hang_up(self) -> Result<Finished, Failed> {
        let Self { running, ours, reader, stop, .. } = self;
        stop.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader panicked")?;
        drop(ours);
        running.finish()
    }

    /// Waits for its end. The terminal must be as it was.
    pub(crate) fn finish(mut self) -> Result<(Finished, String), Failed> {
        let finished = self.running.finish()?;
        // All that it wrote is here by now, but the reader may not have had it yet.
        while let Ok(more) = self.read.recv_timeout(Duration::from_millis(500)) {
            self.shown.extend(more);
        }
        let shown = String::from_utf8_lossy(&self.shown).into_owned();
        assert_eq!(tcgetattr(&self.theirs)?, self.before, "the terminal's settings\n{}", finished.said());
        let (entered, left) = (shown.rfind("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
        assert!(entered.is_some() && entered < left, "the screen from before is not back: {shown:?}");
        assert!(shown.rfind("\x1b[?25l") < shown.rfind("\x1b[?25h"), "no cursor: {shown:?}");
        Ok((finished, shown))
    }
}
