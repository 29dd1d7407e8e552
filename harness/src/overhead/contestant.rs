//! Who is compared with nothing.

use ebpf_loader::ProbeKind;

use super::attached::{Purpose, Setup};
use super::tool::Tool;

/// What is attached in B windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contestant {
    /// Nothing: how far two equal windows differ on this machine.
    Nothing,
    /// Our probes.
    Probes(Setup),
    /// Another program.
    Tool(Tool),
}

impl Contestant {
    /// The name on the command line and in JSON.
    pub fn name(&self) -> String {
        match self {
            Self::Nothing => "nothing".into(),
            Self::Probes(Setup { kind, purpose, parts }) => match (purpose, parts) {
                (Purpose::Requests, true) => kind.clone(),
                (Purpose::Requests, false) => format!("{kind}-whole"),
                (Purpose::Stacks, _) => format!("{kind}-stacks"),
                (Purpose::Trace, _) => format!("{kind}-trace"),
                (Purpose::Profile, _) => format!("{kind}-profile"),
            },
            Self::Tool(tool) => tool.name().into(),
        }
    }

    /// What it does, in a few words.
    pub(super) fn does(&self) -> String {
        match self {
            Self::Nothing => "the same twice: what differs is noise".into(),
            Self::Probes(Setup { purpose, parts, .. }) => match (purpose, parts) {
                (Purpose::Requests, true) => "qdiscope: an event for each request",
                (Purpose::Requests, false) => "qdiscope: an event for each request, without parts",
                (Purpose::Stacks, _) => "qdiscope bench: the same, and kernel stacks sampled",
                (Purpose::Trace, _) => "qdiscope trace, top: whoever a process starts, and what about",
                (Purpose::Profile, _) => "qdiscope profile: the same, with stacks of waits and samples",
            }
            .into(),
            Self::Tool(tool) => tool.does().into(),
        }
    }

    /// Whether the goals are about it.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self, Self::Probes(setup) if setup.purpose == Purpose::Requests)
    }
}

/// All, in the table's order: each kind of probe that `--probes` knows, then the others.
pub fn contestants() -> Vec<Contestant> {
    let probes = ProbeKind::IN_ORDER_OF_PREFERENCE.into_iter().flat_map(|kind| {
        let setup = |purpose, parts| Setup { kind: kind.name().into(), purpose, parts };
        // Tracepoints see no parts.
        let whole = kind.tells_messages_apart().then(|| setup(Purpose::Requests, false));
        let purposes = [Purpose::Requests, Purpose::Stacks, Purpose::Trace, Purpose::Profile];
        whole.into_iter().chain(purposes.map(|purpose| setup(purpose, true))).map(Contestant::Probes)
    });
    let tools = Tool::ALL.into_iter().map(Contestant::Tool);
    std::iter::once(Contestant::Nothing).chain(probes).chain(tools).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = contestants().iter().map(Contestant::name).collect();
        for expected in
            ["fexit", "fexit-whole", "tracepoint-stacks", "tracepoint-trace", "kprobe-profile", "strace"]
        {
            assert!(names.iter().any(|name| name == expected), "{expected}");
        }
        assert!(names.iter().all(|name| name != "tracepoint-whole"));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
