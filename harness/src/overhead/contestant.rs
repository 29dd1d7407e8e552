//! Who is compared with nothing.

use clap::ValueEnum as _;

use super::tool::Tool;
use crate::probes::Choice;

/// What is attached in B windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contestant {
    /// Nothing: how far two equal windows differ on this machine.
    Nothing,
    /// Our probes of one kind, with or without sampling of kernel stacks.
    Probes {
        /// The kind's name, as in `--probes`.
        kind: String,
        /// With kernel stacks.
        stacks: bool,
    },
    /// Another program.
    Tool(Tool),
}

impl Contestant {
    /// The name on the command line and in JSON.
    pub fn name(&self) -> String {
        match self {
            Self::Nothing => "nothing".into(),
            Self::Probes { kind, stacks: false } => kind.clone(),
            Self::Probes { kind, stacks: true } => format!("{kind}-stacks"),
            Self::Tool(tool) => tool.name().into(),
        }
    }

    /// What it does, in a few words.
    pub(super) fn does(&self) -> String {
        match self {
            Self::Nothing => "the same twice: what differs is noise".into(),
            Self::Probes { stacks: false, .. } => "qdiscope: an event for each request".into(),
            Self::Probes { stacks: true, .. } => "qdiscope: the same, and kernel stacks sampled".into(),
            Self::Tool(tool) => tool.does().into(),
        }
    }

    /// Whether the goals are about it.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self, Self::Probes { stacks: false, .. })
    }
}

/// All, in the table's order: each kind of probe that `--probes` knows, then the others.
pub fn contestants() -> Vec<Contestant> {
    let kinds = Choice::value_variants()
        .iter()
        .filter(|choice| !matches!(choice, Choice::Auto | Choice::Off))
        .map(|choice| choice.name());
    let probes =
        kinds.flat_map(|kind| [false, true].map(|stacks| Contestant::Probes { kind: kind.into(), stacks }));
    let tools = Tool::ALL.into_iter().map(Contestant::Tool);
    std::iter::once(Contestant::Nothing).chain(probes).chain(tools).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = contestants().iter().map(Contestant::name).collect();
        assert!(names.iter().any(|name| name == "tracepoint-stacks"));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
