//! What became of a baseline, change by change.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::samples::Place;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A person began it.
    Create,
    /// A person named other runs.
    Promote,
    /// It renewed itself.
    Renew,
    /// A person forbade it to renew itself.
    Pin,
    /// A person allowed that again.
    Unpin,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Create, Self::Promote, Self::Renew, Self::Pin, Self::Unpin];

    /// The name in the database and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Promote => "promote",
            Self::Renew => "renew",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it says of which runs the baseline consists from then on.
    pub fn names_runs(self) -> bool {
        matches!(self, Self::Create | Self::Promote | Self::Renew)
    }
}

/// One change, with its reason and its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which change of the baseline: 1 began it.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What was done.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub author: String,
    /// How long what is measured has to be stable until it renews itself, s, from then on; null where it is not to. Of a change that names
    /// no runs: as before.
    pub renew_after_s: Option<i64>,
    /// The runs that it consists of from then on, the oldest first; empty of a change that names none.
    pub runs: Vec<String>,
}

/// A baseline as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// Where its runs were measured, and what of.
    #[serde(flatten)]
    pub place: Place,
    /// The runs that it consists of, the oldest first.
    pub runs: Vec<String>,
    /// Those that a person named last: what a renewal is held against.
    pub named_runs: Vec<String>,
    /// Since when it consists of these runs.
    pub since: Timestamp,
    /// Whether it may not renew itself.
    pub pinned: bool,
    /// How long what is measured has to be stable until it renews itself, s; null where it is not to.
    pub renew_after_s: Option<i64>,
    /// All of its changes, the first first.
    pub changes: Vec<Change>,
}

/// Changes that are no baseline's: something else than qdiscope wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("baseline {name}: its changes do not begin with one that names runs")]
pub struct MalformedChange {
    name: String,
}

impl Baseline {
    /// What its changes make of it, the first first.
    ///
    /// # Errors
    ///
    /// [`MalformedChange`]
    pub fn of(name: String, place: Place, changes: Vec<Change>) -> Result<Self, MalformedChange> {
        let last = |wanted: fn(Kind) -> bool| changes.iter().rev().find(|change| wanted(change.kind));
        let newest = last(Kind::names_runs);
        let named = last(|kind| matches!(kind, Kind::Create | Kind::Promote));
        let (Some(newest), Some(named)) = (newest, named) else { return Err(MalformedChange { name }) };
        let pinned = last(|kind| matches!(kind, Kind::Pin | Kind::Unpin | Kind::Create))
            .is_some_and(|change| change.kind == Kind::Pin);
        Ok(Self {
            place,
            runs: newest.runs.clone(),
            named_runs: named.runs.clone(),
            since: newest.at,
            pinned,
            renew_after_s: named.renew_after_s,
            name,
            changes,
        })
    }

    /// The number of the change that comes next.
    pub fn next(&self) -> i64 {
        self.changes.last().map_or(1, |last| last.number + 1)
    }

    /// How long what is measured has to be stable until it renews itself; `None`: it is not to.
    pub fn renew_after(&self) -> Option<SignedDuration> {
        self.renew_after_s.map(SignedDuration::from_secs)
    }
}

/// A name for a baseline, as a person writes it.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn parse_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix(super::PREFIX).unwrap_or(text);
    if name.trim().is_empty() || name.chars().any(char::is_control) || name.len() > 200 {
        Err("a baseline's name is a word or several, as `main`".into())
    } else {
        Ok(name.to_owned())
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    pub(in crate::baseline) fn change(number: i64, kind: Kind, runs: &[&str]) -> Change {
        Change {
            number,
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * number),
            kind,
            reason: "as agreed".into(),
            author: "jane".into(),
            renew_after_s: Some(super::super::RENEW_AFTER.as_secs()),
            runs: runs.iter().map(|&run| run.to_owned()).collect(),
        }
    }

    pub(in crate::baseline) fn place() -> Place {
        Place { environment: "abc".into(), repository: None }
    }

    pub(in crate::baseline) fn baseline(changes: Vec<Change>) -> Baseline {
        Baseline::of("main".into(), place(), changes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{baseline, change, place};
    use super::*;

    #[test]
    fn it_is_what_its_changes_make_of_it() {
        let mut changes = vec![change(1, Kind::Create, &["a"]), change(2, Kind::Pin, &[])];
        let pinned = baseline(changes.clone());
        assert_eq!((pinned.pinned, &pinned.runs[..], pinned.next()), (true, &["a".to_owned()][..], 3));
        changes.push(change(3, Kind::Unpin, &[]));
        changes.push(change(4, Kind::Renew, &["b"]));
        let renewed = baseline(changes.clone());
        assert_eq!((renewed.pinned, renewed.since), (false, changes[3].at));
        assert_eq!(
            (&renewed.runs[..], &renewed.named_runs[..]),
            (&["b".to_owned()][..], &["a".to_owned()][..])
        );
        changes.push(change(5, Kind::Promote, &["c"]));
        assert_eq!(baseline(changes).named_runs, ["c"]);
        let nothing = Baseline::of("x".into(), place(), vec![change(1, Kind::Pin, &[])]).unwrap_err();
        assert!(nothing.to_string().starts_with("baseline x: "), "{nothing}");
    }

    #[test]
    fn names_are_words() {
        assert_eq!(parse_name("baseline:main").unwrap(), "main");
        assert_eq!(parse_name("release 1.4").unwrap(), "release 1.4");
        for nonsense in ["", " ", "baseline:", "a\u{1b}[2J"] {
            assert!(parse_name(nonsense).is_err(), "{nonsense:?}");
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
