//! Progress, on the console.

use std::{io::Write, thread, time::Duration};

use crate::job::MARK;

/// Writes a line to the console, in one piece.
pub(crate) fn say(what: &str) {
    // There is nobody left to tell where the console does not take it.
    let _ = std::io::stdout().lock().write_all(format!("{MARK}{what}\n").as_bytes());
}

/// A sign of life every so often, whatever else happens: without one, the host takes the guest for dead. That a task hangs is
/// found by its own time limit.
pub(crate) fn every(interval: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            say("alive");
        }
    });
}
