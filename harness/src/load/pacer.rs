//! Hands out the schedule's due times at their time.
//!
//! A thread of its own: tokio's timers tick in milliseconds, which is the whole interval of 1,000 operations
//! per second, and a busy runtime must not delay the clock.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::{Schedule, Stop};

/// The longest nap: how late a stop may be noticed at low rates.
const NAP: Duration = Duration::from_millis(50);

/// Sends request `i`'s due time to worker `i mod n`. Returns the thread, which yields how many it sent.
pub(super) fn start(
    schedule: Schedule,
    start: Instant,
    workers: Vec<UnboundedSender<Instant>>,
    stop: Stop,
) -> std::io::Result<thread::JoinHandle<u64>> {
    thread::Builder::new().name("qdiscope-pacer".into()).spawn(move || {
        // The default slack of 50 µs would be added to every latency. Failing leaves only that.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut sent = 0;
        for (index, worker) in (0..schedule.count()).zip((0..workers.len()).cycle()) {
            let due = start + schedule.due(index);
            if !wait_until(due, &stop) || workers[worker].send(due).is_err() {
                return sent;
            }
            sent += 1;
        }
        // The time after the last request belongs to the load as well.
        wait_until(start + schedule.duration(), &stop);
        sent
    })
}

/// Sleeps until then; `false` where it was stopped before.
fn wait_until(then: Instant, stop: &Stop) -> bool {
    while let Some(wait) = then.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
        if stop.is_set() {
            return false;
        }
        thread::sleep(wait.min(NAP));
    }
    true
}
