//! Holding RTNL for an exact time, by a process of its own: whoever waits meanwhile waits behind somebody else, and is told so.
//!
//! The other process is this program anew (`qdiscope rtnl-holder`, hidden). It sleeps inside a system call that has RTNL (`page`), and is
//! woken by its second thread when the time is over. It ends when its standard input ends, and so with us, however we end; killed
//! in the middle it leaves RTNL at once. And a timer of the kernel's kills it where it does not let go (`watchdog`).

mod holding;
mod page;
mod process;
mod share;
mod watchdog;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use holding::serve;
pub use process::Holder;

/// When RTNL is held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// For how long each time.
    pub hold: Duration,
    /// What part of the time, in percent; `None`: once.
    pub percent: Option<f64>,
}

/// What was really held: from the moment at which the holder was seen to sleep with RTNL until its system call had returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// How often.
    pub count: u64,
    /// All together, nanoseconds.
    pub total_ns: u64,
    /// The longest, nanoseconds.
    pub longest_ns: u64,
    /// From the beginning of the first to the end, nanoseconds.
    pub elapsed_ns: u64,
}

impl Held {
    /// The part of the time, in percent. `None` where there was no time.
    pub fn percent(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| self.total_ns as f64 / self.elapsed_ns as f64 * 100.0)
    }
}

/// How the two processes talk: the holder says this on its standard output, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
enum Word {
    /// RTNL can be held here; a byte on its standard input lets it begin, the end of that makes it stop.
    Ready,
    /// It has stopped.
    Over {
        /// What was held.
        held: Held,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
}
