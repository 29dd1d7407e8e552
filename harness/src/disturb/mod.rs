//! Disturbances: what stands in a run's way, on purpose, for an exact time.
//!
//! A [`Disturbance`] is data, as a profile's `[[disturbance]]` tables have it. [`Course::prepare`] makes all of a run's ready, so that what
//! cannot be had here is told before the run; [`Course::begin`] lets each come at its time; and [`Course::end`] takes back what is left
//! and says what really was.
//!
//! | kind | what | undone by |
//! |---|---|---|
//! | `rtnl-hold`, `rtnl-share` | another process has RTNL ([`rtnl`]) | that process's end, and ours |
//! | `leak` | this process keeps more and more memory ([`leak`]) | freeing it |
//! | `descriptors` | this process may open no more files ([`descriptors`]) | the limit from before |
//! | `memory` | this process is in a memory cgroup ([`memory`]) | a child that outlives us |
//! | `device-gone` | a device is deleted ([`device`]) | nothing |
//! | `receive-buffer` | answers have no room ([`receive_buffer`]) | nothing: it is the socket's |

mod child;
mod course;
mod description;
pub mod descriptors;
pub mod device;
mod error;
pub mod leak;
pub mod memory;
pub mod rtnl;

pub use course::{Course, Effect, Outcome};
pub use description::{Disturbance, receive_buffer};
pub use error::DisturbError;
