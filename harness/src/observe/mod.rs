//! Following any program that speaks traffic control, without its cooperation.
//!
//! [`watch`] lays the probes on a command that is yet to start, on a process and its descendants, or on everybody. What they see
//! becomes a [`Request`]: a description that needs nothing else to be understood, as a [line](Request::line) or as JSON. An
//! [`Audience`] takes it: [`trace`] is one that writes.
//!
//! **Architecture invariant:** the observed program is never hurt. It is neither stopped nor slowed by a reader that is too slow
//! (events are lost instead, and counted), and it outlives us however we end.

mod attach;
mod audience;
mod clock;
mod command;
mod devices;
mod family;
mod filter;
mod line;
mod message;
pub mod profile;
mod request;
mod signals;
mod sink;
mod summary;
mod trace;
mod watch;

pub use attach::options;
pub use audience::{Audience, Ending, State};
pub use command::{Command, Streams};
pub use devices::Devices;
pub use filter::Filter;
pub(crate) use filter::parse_type;
pub use line::Duration;
pub(crate) use line::plain;
pub use message::{Message, TYPES, type_name};
pub use request::{Holder, Measures, Phases, Request};
pub(crate) use signals::{Signals, Taken};
pub(crate) use sink::Sink;
pub use summary::{Losses, Summary};
pub use trace::{Format, Trace, trace};
pub use watch::{Ended, Subject, Watch, watch};
