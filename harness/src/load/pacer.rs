//! Hands out the schedule's due times at their time.
//!
//! A thread of its own: tokio's timers tick in milliseconds, which is the whole interval of 1,000 operations
//! per second, and a busy runtime must not delay the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::punctual::be_punctual;
use super::{Schedule, Stop};

/// The longest nap: how late a stop may be noticed at low rates.
const NAP: Duration = Duration::from_millis(50);

/// Due times that may wait for their workers: of a rate that nobody can hold, they would fill the memory.
const MOST_WAITING: u64 = 1 << 20;

/// Sends each due time to the next worker in turn. `waiting` counts what was sent; who takes one takes it off. Returns the thread, which
/// yields how many it could not send because too many waited.
pub(super) fn start(
    schedule: Schedule,
    start: Instant,
    workers: Vec<UnboundedSender<Instant>>,
    waiting: Arc<AtomicU64>,
    stop: Stop,
) -> std::io::Result<thread::JoinHandle<u64>> {
    thread::Builder::new().name("qdiscope-pacer".into()).spawn(move || {
        be_punctual();
        let mut dropped = 0;
        for (due, worker) in schedule.dues().zip((0..workers.len()).cycle()) {
            let due = start + due;
            if !wait_until(due, &stop) {
                return dropped;
            }
            if waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
                waiting.fetch_sub(1, Ordering::Relaxed);
                dropped += 1;
            } else if workers[worker].send(due).is_err() {
                return dropped;
            }
        }
        // The time after the last request belongs to the load as well.
        wait_until(start + schedule.duration(), &stop);
        dropped
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
