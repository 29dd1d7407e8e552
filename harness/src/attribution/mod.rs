//! Attribution: where the time of a request went, from the moment at which it was due to the one at which its caller had the answer.
//!
//! What the caller saw ([`Call`]) and what the probes saw (`RequestEvent`) are joined on port id and sequence number, and the
//! request's time is cut at their moments, all of one clock, into [`Phase`]s. Each ends where the next begins, so they add up.
//! What no moment covers is *unattributed*, and shown.

mod anatomy;
mod call;
mod clock;
mod holders;
mod join;
mod phase;

pub use anatomy::{Anatomy, Slowest, Typical};
pub use call::{Call, Calls};
pub use clock::Monotonic;
pub use holders::Holders;
pub use join::{Join, Kernel, Key};
pub use phase::{Measured, Phase, Trace};
