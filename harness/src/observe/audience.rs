//! Whom the watching is for.

use std::io;

use ebpf_loader::{Probes, SampleEvent, Seen};

use super::request::Request;
use crate::exit::Failure;

/// How things stand with those for whom is watched.
#[derive(Debug)]
pub enum State {
    /// They go on.
    Open,
    /// They have seen enough: what is watched is left alone.
    Enough,
    /// Nobody reads any more; the command is waited for, as if it ran alone.
    Closed,
    /// What is for them cannot be written. The command is waited for as well.
    Failed(io::Error),
}

/// Why there is no more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody is left who could send a request. With the command's exit code, if it was one.
    Nobody(Option<u8>),
    /// A person, or the audience, has had enough.
    Asked,
    /// Nothing was seen in time.
    Silent,
}

/// Takes what is seen. Nothing here may wait: the events would be lost meanwhile.
pub trait Audience {
    /// The probes are attached, and nobody is followed yet.
    fn begin(&mut self, _probes: &mut Probes) -> Result<(), Failure> {
        Ok(())
    }

    /// What a person should know meanwhile.
    fn tell(&mut self, news: &str);

    /// Whether more is to be handed over now. Else it stays with the probes, which lose and count what they have no room for.
    fn has_room(&self) -> bool {
        true
    }

    /// A request: as it was seen, and described.
    fn take(&mut self, seen: &Seen<'_>, request: Request);

    /// A thread was looked at, where [`Options::stacks`](ebpf_loader::Options::stacks) asks for that. Those of a request come before it.
    fn sample(&mut self, _sample: &SampleEvent) {}

    /// At every tick, after what there was has been handed over.
    fn flush(&mut self, probes: &mut Probes) -> State;

    /// All that there was has been handed over, and the probes are still attached. What comes later, if anything, is not. Not called
    /// where nobody reads any more.
    fn end(&mut self, _probes: &mut Probes, _ending: Ending) {}

    /// Whether nothing is left to [flush](Self::flush). After the end that is waited for.
    fn is_empty(&self) -> bool {
        true
    }
}
