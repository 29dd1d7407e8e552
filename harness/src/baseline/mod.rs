//! Baselines: runs with a name, which what comes later is held against. Pure; the history keeps them.
//!
//! A baseline is the sum of its [`Change`]s, to which one is added and none is ever changed: who made it of which runs, and why. A person
//! creates it, promotes other runs and pins it; and it renews itself when what is measured has been stable for long enough ([`renewal`]).
//!
//! **Architecture invariant:** a baseline does not take in what became worse. What renews it is held against the runs that a person named
//! last, not against those of the last renewal: however slow a drift is, it cannot be followed step by step.

mod change;
mod renewal;
mod samples;

pub use change::{Baseline, Change, Kind, MalformedChange, parse_name};
pub use renewal::{CREEP, MOST, Renewal, STEADINESS, renewal};
pub use samples::{FEWEST, NoSample, Place, check, counts};

/// What a name of the command line begins with where it is a baseline's: `compare baseline:main latest`.
pub const PREFIX: &str = "baseline:";

/// How long a figure has to be stable, where nobody says otherwise.
pub const RENEW_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);
