//! Actions: what a filter does with its packets. One file a kind.

mod control;
mod gact;
mod mirred;
mod options;
mod police;
mod skbedit;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::{each, nest};
use crate::filter::put_kind;
use crate::reply::Malformed;
use crate::stats::Stats;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

pub use control::Control;
pub use gact::{Gact, GactRandom, RandomKind};
pub use mirred::{DeviceRef, Direction, Mirred, MirredAct};
pub use options::{ActionOptions, Cookie, HwStats};
pub use police::Police;
pub use skbedit::{PacketType, Skbedit};

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_ACT_STATS: u16 = 4;

/// One action with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Passes, drops, … and nothing else: `action <control>`.
    Gact(Gact),
    /// To another device.
    Mirred(Mirred),
    /// Limits the rate.
    Police(Box<Police>),
    /// Another priority, mark or queue.
    Skbedit(Skbedit),
}

impl Action {
    /// The kernel's name of the kind, such as `mirred`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Gact(_) => "gact",
            Self::Mirred(_) => "mirred",
            Self::Police(_) => "police",
            Self::Skbedit(_) => "skbedit",
        }
    }

    /// What every action may say.
    pub const fn options(&self) -> &ActionOptions {
        match self {
            Self::Gact(gact) => &gact.options,
            Self::Mirred(mirred) => &mirred.options,
            Self::Police(police) => &police.options,
            Self::Skbedit(skbedit) => &skbedit.options,
        }
    }

    const fn options_mut(&mut self) -> &mut ActionOptions {
        match self {
            Self::Gact(gact) => &mut gact.options,
            Self::Mirred(mirred) => &mut mirred.options,
            Self::Police(police) => &mut police.options,
            Self::Skbedit(skbedit) => &mut skbedit.options,
        }
    }

    /// Looks the device up that it names.
    pub(crate) fn resolve<E>(&mut self, lookup: impl FnMut(&str) -> Result<u32, E>) -> Result<(), E> {
        match self {
            Self::Mirred(mirred) => mirred.dev.resolve(lookup),
            Self::Gact(_) | Self::Police(_) | Self::Skbedit(_) => Ok(()),
        }
    }

    /// Puts a device's name in the place of its index, where it is known.
    pub(crate) fn name_device(&mut self, name: impl Fn(u32) -> Option<String>) {
        if let Self::Mirred(mirred) = self
            && let DeviceRef::Index(index) = mirred.dev
            && let Some(name) = name(index)
        {
            mirred.dev = DeviceRef::Name(name);
        }
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        match self {
            Self::Gact(gact) => gact.validate(),
            Self::Mirred(mirred) => mirred.validate(),
            Self::Police(police) => police.validate(),
            Self::Skbedit(skbedit) => skbedit.validate(),
        }
    }

    /// Whether an action that is to be this one may stay as it is, `actual` being what the kernel reports.
    pub(crate) fn meets(&self, actual: &Self) -> bool {
        if let (Self::Police(wanted), Self::Police(actual)) = (self, actual) {
            return wanted.meets(actual);
        }
        let mut wanted = self.clone();
        wanted.options_mut().clone_from(actual.options());
        self.options().meets(actual.options()) && wanted == *actual
    }

    /// With the bursts that `tc` before iproute2 6.15 makes of these.
    pub(crate) fn with_whole_microseconds(self) -> Self {
        match self {
            Self::Police(police) => Self::Police(Box::new(police.with_whole_microseconds())),
            other => other,
        }
    }

    fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let word = words.peek().ok_or_else(|| Syntax::new("action: nothing follows it"))?;
        if !Control::begins_with(word) {
            words.next();
        }
        let mut action = match word {
            _ if Control::begins_with(word) => Self::Gact(Gact::parse(words)?),
            "gact" => Self::Gact(Gact::parse(words)?),
            "mirred" => Self::Mirred(Mirred::parse(words)?),
            "police" => Self::Police(Box::new(Police::parse(words)?)),
            "skbedit" => Self::Skbedit(Skbedit::parse(words)?),
            other => {
                return Err(Syntax::new(format!(
                    "action: {other:?} is neither a control nor one of mirred, police, skbedit, gact"
                )));
            }
        };
        action.options_mut().parse(words)?;
        Ok(action)
    }
}

/// The value of a classifier's attribute of actions: each under its place, from 1 on.
pub(crate) fn encode(actions: &[Action], buffer: &mut Vec<u8>) {
    for (order, action) in (1..).zip(actions) {
        nest(buffer, order, |buffer| {
            put_kind(action.kind(), buffer);
            nest(buffer, TCA_ACT_OPTIONS, |buffer| match action {
                Action::Gact(gact) => gact.encode(buffer),
                Action::Mirred(mirred) => mirred.encode(buffer),
                Action::Police(police) => police.encode(buffer),
                Action::Skbedit(skbedit) => skbedit.encode(buffer),
            });
            action.options().encode(buffer);
        });
    }
}

/// Actions, and what each has counted.
pub(crate) type Counted = (Vec<Action>, Vec<Stats>);

/// Reads what [`encode`] writes. `None`: one is of a kind that this crate does not know, lest it be taken for none.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Counted>, Malformed> {
    let (mut actions, mut counted) = (Vec::new(), Vec::new());
    for action in each(bytes) {
        let (_, attributes) = action?;
        let (mut kind, mut options, mut stats) = (String::new(), None, Stats::default());
        for attribute in each(attributes) {
            match attribute? {
                (TCA_ACT_KIND, value) => kind = crate::attribute::text(value),
                (TCA_ACT_OPTIONS, value) => options = Some(value),
                (TCA_ACT_STATS, value) => (stats, _) = Stats::decode(value)?,
                _ => {}
            }
        }
        let options = options.unwrap_or_default();
        let mut action = match kind.as_str() {
            "gact" => Action::Gact(Gact::decode(options)?),
            "mirred" => Action::Mirred(Mirred::decode(options)?),
            "police" => Action::Police(Box::new(Police::decode(options)?)),
            "skbedit" => Action::Skbedit(Skbedit::decode(options)?),
            _ => return Ok(None),
        };
        for attribute in each(attributes) {
            let (number, value) = attribute?;
            action.options_mut().take_attribute(number, value)?;
        }
        actions.push(action);
        counted.push(stats);
    }
    Ok(Some((actions, counted)))
}

/// Reads what follows the word `action`: all actions up to the end or to a class, with or without `action` between them.
pub(crate) fn parse(words: &mut Words, actions: &mut Vec<Action>) -> Result<(), Syntax> {
    loop {
        actions.push(Action::parse(words)?);
        if words.peek().is_none_or(|word| matches!(word, "flowid" | "classid")) {
            return Ok(());
        }
        words.take("action");
    }
}

/// As the words that follow `action` in a `tc` command.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gact(gact) => gact.fmt(f),
            Self::Mirred(mirred) => mirred.fmt(f),
            Self::Police(police) => police.fmt(f),
            Self::Skbedit(skbedit) => skbedit.fmt(f),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) use police::tests::anything as police;

    pub(crate) fn anything() -> impl Strategy<Value = Action> {
        prop_oneof![
            gact::tests::anything().prop_map(Action::Gact),
            mirred::tests::anything().prop_map(Action::Mirred),
            police().prop_map(|police| Action::Police(Box::new(police))),
            skbedit::tests::anything().prop_map(Action::Skbedit),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(kind in prop::sample::select(&["gact", "mirred", "police", "skbedit"]), options: Vec<u8>) {
            let mut bytes = Vec::new();
            nest(&mut bytes, 1, |buffer| {
                put_kind(kind, buffer);
                crate::attribute::put(buffer, TCA_ACT_OPTIONS, &options);
            });
            let _ = decode(&bytes);
        }
    }
}
