//! A leak, on purpose and in our own process: the search for leaks is to find it as it would find one of ours.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::description::bytes_per_second;

/// How often it looks what is due.
const TICK: Duration = Duration::from_millis(100);

/// Leaks come a few bytes at a time; a page's worth of them at once is as good, and its list is short.
const PIECE: usize = 4_096;

/// Memory that becomes more and more until it is dropped.
pub struct Leak {
    end: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Leak {
    /// Begins to keep 10^6 × `megabytes_per_hour` bytes an hour, each of them touched.
    pub fn start(megabytes_per_hour: f64) -> io::Result<Self> {
        let (end, ended) = channel();
        let rate = bytes_per_second(megabytes_per_hour);
        let thread = thread::Builder::new().name("qdiscope-leak".into()).spawn(move || {
            let began = Instant::now();
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            let mut kept = 0_u64;
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "rates are positive, and what would overflow is more than there is"
                )]
                let due = (began.elapsed().as_secs_f64() * rate) as u64;
                while due - kept >= PIECE as u64 {
                    // Not zero: that the kernel would not give before it is written to.
                    hoard.push(vec![1; PIECE]);
                    kept += PIECE as u64;
                }
            }
            std::hint::black_box(&hoard);
            kept
        })?;
        Ok(Self { end, thread })
    }

    /// Frees it, and says how many bytes were kept. `None` where the thread broke.
    pub fn end(self) -> Option<u64> {
        drop(self.end);
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_kept_as_is_asked_for() {
        let began = Instant::now();
        let leak = Leak::start(36_000.0).unwrap(); // 10 MB a second
        thread::sleep(Duration::from_millis(500));
        let kept = leak.end().unwrap() as f64;
        let seconds = began.elapsed().as_secs_f64();
        // Not less than what was due a tick before, on a machine that does not stop for longer.
        assert!(kept > 1e6 && kept <= 10e6 * seconds, "{kept} bytes in {seconds} s");
    }

    #[test]
    fn a_slow_one_begins_with_nothing() {
        assert_eq!(Leak::start(0.001).unwrap().end(), Some(0));
    }
}
