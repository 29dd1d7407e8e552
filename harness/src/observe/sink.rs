//! Where the lines go: a file or stream that may be slow, full, or gone. Writing never waits.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use super::audience::State;

/// With so much unwritten nothing more is taken: what comes meanwhile stays with the probes, which lose and count what they
/// have no room for.
const MOST_UNWRITTEN: usize = 1 << 20;
/// A pipe that says that it can be written to has room for so much (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

pub(crate) struct Sink {
    file: File,
    unwritten: Vec<u8>,
    /// So many bytes of it are written.
    written: usize,
}

impl Sink {
    /// Standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        Ok(Self::to(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// A file, which is emptied.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::to(File::create(path)?))
    }

    fn to(file: File) -> Self {
        Self { file, unwritten: Vec::new(), written: 0 }
    }

    /// Whether more is to be handed over now.
    pub(crate) fn has_room(&self) -> bool {
        self.unwritten.len() - self.written < MOST_UNWRITTEN
    }

    /// Takes a line.
    pub(crate) fn push(&mut self, line: &str) {
        self.unwritten.extend_from_slice(line.as_bytes());
        self.unwritten.push(b'\n');
    }

    /// Whether everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.unwritten.len()
    }

    /// Writes what can be written without waiting.
    pub(crate) fn flush(&mut self) -> State {
        loop {
            let ready = match self.poll() {
                Ok(ready) => ready,
                Err(error) => return State::Failed(error),
            };
            // The reader of a pipe has gone; also noticed when there is nothing to write.
            if ready & libc::POLLERR != 0 {
                return State::Closed;
            }
            if self.is_empty() || ready & libc::POLLOUT == 0 {
                break;
            }
            let end = self.unwritten.len().min(self.written + AT_ONCE);
            match self.file.write(&self.unwritten[self.written..end]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return State::Closed,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody has made it non-blocking, and has been faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return State::Failed(error),
            }
        }
        if self.written > MOST_UNWRITTEN || self.is_empty() {
            self.unwritten.drain(..self.written);
            self.written = 0;
        }
        State::Open
    }

    fn poll(&self) -> io::Result<libc::c_short> {
        let mut file = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, which lives as long as the call takes.
        match unsafe { libc::poll(&raw mut file, 1, 0) } {
            ..0 => Err(io::Error::last_os_error()),
            _ => Ok(file.revents),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_keeps_nobody_waiting() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Sink::to(File::from(std::os::fd::OwnedFd::from(writer)));
        let line = "x".repeat(99);
        let mut lines = 0;
        while sink.has_room() {
            sink.push(&line);
            lines += 1;
            assert!(matches!(sink.flush(), State::Open));
        }
        assert!(lines * 100 >= MOST_UNWRITTEN);
        // Now it reads.
        let mut read = 0;
        let mut bytes = [0; 8192];
        while read < lines * 100 {
            read += reader.read(&mut bytes).unwrap();
            assert!(matches!(sink.flush(), State::Open));
        }
        assert!(sink.is_empty());
        drop(reader);
        assert!(matches!(sink.flush(), State::Closed), "noticed although there is nothing to write");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut sink = Sink::file(Path::new("/dev/full")).unwrap();
        sink.push("a line");
        assert!(matches!(sink.flush(), State::Failed(error) if error.kind() == io::ErrorKind::StorageFull));
    }
}
