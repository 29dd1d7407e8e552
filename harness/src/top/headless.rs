//! An object of JSON for each interval, on standard output.

use std::time::{Duration, Instant};

use ebpf_loader::{Probes, Seen};
use jiff::Timestamp;

use super::board::Board;
use super::object::Object;
use super::rows::Group;
use super::{count, losses};
use crate::exit::Failure;
use crate::observe::{Audience, Ending, Request, Sink, State};

/// Writes.
pub(super) struct Headless<'a> {
    pub(super) board: Board,
    pub(super) group: Group,
    pub(super) interval: Duration,
    /// So many intervals are still to be written; `None`: as many as there are.
    pub(super) left: Option<u64>,
    /// When the interval has begun.
    pub(super) since: Instant,
    pub(super) sink: Sink,
    pub(super) say: &'a mut dyn FnMut(&str),
}

impl Headless<'_> {
    fn close(&mut self, probes: &mut Probes) {
        let now = Instant::now();
        self.board.close(now - self.since, losses(probes));
        self.since = now;
        self.left = self.left.map(|left| left.saturating_sub(1));
        let time = format!("{:.6}", Timestamp::now());
        let object = Object::of(&self.board, self.group, time);
        // Numbers and strings: there is nothing in it that JSON has not.
        self.sink.push(&serde_json::to_string(&object).unwrap_or_default());
    }

    fn has_enough(&self) -> bool {
        self.left == Some(0)
    }
}

impl Audience for Headless<'_> {
    fn begin(&mut self, _probes: &mut Probes) -> Result<(), Failure> {
        self.since = Instant::now();
        Ok(())
    }

    fn tell(&mut self, news: &str) {
        (self.say)(news);
    }

    fn take(&mut self, seen: &Seen<'_>, request: Request) {
        count(&mut self.board, seen, request);
    }

    fn flush(&mut self, probes: &mut Probes) -> State {
        // With a reader that is too slow an interval is longer, and no request is forgotten.
        if !self.has_enough() && self.since.elapsed() >= self.interval && self.sink.has_room() {
            self.close(probes);
        }
        match self.sink.flush() {
            State::Open if self.has_enough() && self.sink.is_empty() => State::Enough,
            state => state,
        }
    }

    fn end(&mut self, probes: &mut Probes, _ending: Ending) {
        if !self.has_enough() {
            self.close(probes);
        }
        self.left = Some(0);
    }

    fn is_empty(&self) -> bool {
        self.sink.is_empty()
    }
}
