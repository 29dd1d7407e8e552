//! Actions: what a filter does with its packets. One file a kind.

mod gact;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::{each, nest};
use crate::filter::put_kind;
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

pub use gact::{Control, Gact};

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;

/// One action with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Passes, drops, … and nothing else: `action <control>`.
    Gact(Gact),
}

impl Action {
    /// The kernel's name of the kind, such as `mirred`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Gact(_) => "gact",
        }
    }

    /// Looks the device up that it names.
    pub(crate) fn resolve<E>(&mut self, _lookup: impl FnMut(&str) -> Result<u32, E>) -> Result<(), E> {
        match self {
            Self::Gact(_) => Ok(()),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        match self {
            Self::Gact(_) => Ok(()),
        }
    }

    /// Whether an action that is to be this one may stay as it is, `actual` being what the kernel reports.
    pub(crate) fn meets(&self, actual: &Self) -> bool {
        self == actual
    }
}

/// The value of a classifier's attribute of actions: each under its place, from 1 on.
pub(crate) fn encode(actions: &[Action], buffer: &mut Vec<u8>) {
    for (order, action) in (1..).zip(actions) {
        nest(buffer, order, |buffer| {
            put_kind(action.kind(), buffer);
            match action {
                Action::Gact(gact) => nest(buffer, TCA_ACT_OPTIONS, |buffer| gact.encode(buffer)),
            }
        });
    }
}

/// Reads what [`encode`] writes. An action of an unknown kind is an error, lest it be taken for none.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Action>, Malformed> {
    let mut actions = Vec::new();
    for action in each(bytes) {
        let (_, attributes) = action?;
        let (mut kind, mut options) = (String::new(), None);
        for attribute in each(attributes) {
            match attribute? {
                (TCA_ACT_KIND, value) => kind = crate::attribute::text(value),
                (TCA_ACT_OPTIONS, value) => options = Some(value),
                _ => {}
            }
        }
        let options = options.unwrap_or_default();
        actions.push(match kind.as_str() {
            "gact" => Action::Gact(Gact::decode(options)?),
            _ => return Err(Malformed("an action of an unknown kind")),
        });
    }
    Ok(actions)
}

/// Reads what follows the word `action`, up to the next word that no action takes.
pub(crate) fn parse(words: &mut Words, actions: &mut Vec<Action>) -> Result<(), Syntax> {
    actions.push(Action::Gact(Gact::parse(words)?));
    Ok(())
}

/// As the words that follow `action` in a `tc` command.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gact(gact) => gact.fmt(f),
        }
    }
}
