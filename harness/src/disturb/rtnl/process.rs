//! The process that holds RTNL, seen from ours.

use std::time::Duration;

use super::{Held, Pattern, Word};
use crate::disturb::DisturbError;
use crate::disturb::child::Helper;
use crate::duration::Span;

/// A process that can hold RTNL. When this is dropped it ends, and RTNL is free.
pub struct Holder {
    process: Helper,
    /// What it said at its end.
    over: Option<Result<Held, DisturbError>>,
}

impl Holder {
    /// Starts it, and tries whether RTNL can be held here, for 10 ms. It then waits for [`Holder::begin`].
    pub fn prepare(pattern: Pattern) -> Result<Self, DisturbError> {
        let mut arguments = vec!["rtnl-holder".to_owned(), "--hold".into(), Span(pattern.hold).to_string()];
        arguments.extend(pattern.percent.map(|percent| format!("--percent={percent}")));
        let mut process = Helper::start("process that holds RTNL", &arguments)?;
        match process.word()? {
            Word::Ready => Ok(Self { process, over: None }),
            Word::Failed { reason } => Err(process.failed(reason)),
            other @ Word::Over { .. } => Err(process.failed(format!("it says {other:?}"))),
        }
    }

    /// Its process id, as we see it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Lets it hold RTNL as it is to, from now on.
    pub fn begin(&mut self) -> Result<(), DisturbError> {
        self.process.go()
    }

    /// Whether it has held RTNL as it was to, once, or cannot go on; waits for that, but not longer than this.
    pub fn is_over(&mut self, longest: Duration) -> bool {
        if self.over.is_none() {
            self.over = self.process.word_within(longest).map(|word| self.held(word));
        }
        self.over.is_some()
    }

    /// Ends it, in the middle of holding RTNL too, and says what was held.
    pub fn end(mut self) -> Result<Held, DisturbError> {
        self.process.stop();
        if let Some(over) = self.over.take() {
            return over;
        }
        let word = self.process.word();
        self.held(word)
    }

    fn held(&self, word: Result<Word, DisturbError>) -> Result<Held, DisturbError> {
        match word? {
            Word::Over { held } => Ok(held),
            Word::Failed { reason } => Err(self.process.failed(reason)),
            other @ Word::Ready => Err(self.process.failed(format!("it says {other:?}"))),
        }
    }
}
