//! Stacks as flamegraphs, and what holders of RTNL did.

use std::collections::HashMap;

use ebpf_loader::Probes;

use crate::profile::{
    Doing, Frames, Gathered, Mappings, Names, ProfileError, Root, Slow, Stack, Symbols, Weight, draw, folded,
};

/// A file to be saved.
pub type File = (&'static str, Vec<u8>);

/// The files that [`Graphs::files`] may make, and `profile.json`.
pub const FILES: [&str; 11] = [
    "profile.json",
    "oncpu.svg",
    "oncpu.folded",
    "offcpu.svg",
    "offcpu.folded",
    "rtnl.svg",
    "rtnl.folded",
    "holders.svg",
    "holders.folded",
    "slow.svg",
    "slow.folded",
];

/// Running, for whatever reason.
pub(super) const ON_CPU: [Doing; 2] = [Doing::OnCpu, Doing::Spinning];

/// The frames of all stacks, while the probes still have them.
pub(super) fn frames(gathered: &Gathered, probes: &Probes) -> Frames {
    let mut frames = Frames::new();
    for stack in gathered.all() {
        for number in [stack.kernel, stack.user] {
            frames.entry(number).or_insert_with(|| {
                probes.stack(number).unwrap_or_else(|error| {
                    // It is drawn as a stack without frames.
                    tracing::debug!("stack {number}: {error}");
                    Vec::new()
                })
            });
        }
    }
    frames
}

/// What was gathered, with names.
pub(super) struct Graphs {
    gathered: Gathered,
    names: Names,
    hz: Option<u64>,
    slow: Option<Slow>,
}

impl Graphs {
    pub(super) fn new(
        gathered: Gathered,
        frames: Frames,
        mappings: &Mappings,
        hz: Option<u64>,
        slow: Option<Slow>,
    ) -> Result<Self, ProfileError> {
        let names = Names::find(gathered.all(), frames, mappings, &Symbols::default())?;
        Ok(Self { gathered, names, hz, slow })
    }

    /// What each process did in the kernel that held RTNL while a request waited, as most of its samples have it.
    pub(super) fn doing(&self) -> HashMap<u32, String> {
        let mut functions = HashMap::<u32, HashMap<String, u64>>::new();
        for (stack, weight) in self.gathered.holders() {
            if let Some(function) = self.names.of(&stack).handler() {
                *functions.entry(stack.process).or_default().entry(function.to_owned()).or_default() +=
                    weight.nanos;
            }
        }
        let most = |functions: HashMap<String, u64>| {
            functions.into_iter().max_by(|one, other| (one.1, &other.0).cmp(&(other.1, &one.0)))
        };
        functions.into_iter().filter_map(|(process, functions)| Some((process, most(functions)?.0))).collect()
    }

    /// The flamegraphs, and the stacks from which they are drawn.
    pub(super) fn files(&self) -> Result<Vec<File>, ProfileError> {
        let mut files = Vec::new();
        let mut add = |names: [&'static str; 2], title: &str, subtitle: &str, root, stacks: Vec<_>| {
            let text = folded(&stacks, &self.names, root, |number| self.gathered.name(number));
            if let Some(svg) = draw(title, subtitle, &text)? {
                files.push((names[0], svg));
                files.push((names[1], text.into_bytes()));
            }
            Ok::<(), ProfileError>(())
        };
        let colours =
            "kernel in orange, user mode in blue, which ends where code without frame pointers begins";
        let of = |doing: &[Doing]| self.gathered.stacks(doing);
        if let Some(hz) = self.hz {
            let subtitle = format!("µs, by samples at {hz} Hz on each CPU; {colours}");
            let title = "qdiscope: what ran";
            add(["oncpu.svg", "oncpu.folded"], title, &subtitle, Root::Thread, of(&ON_CPU))?;
            let title = "qdiscope: what holders of RTNL did while a request waited for it";
            let holders = self.gathered.holders();
            add(["holders.svg", "holders.folded"], title, &subtitle, Root::Process, holders)?;
        }
        let subtitle = format!("µs, each wait from its begin to its end; {colours}");
        let title = "qdiscope: where requests left the CPU, but for RTNL";
        add(["offcpu.svg", "offcpu.folded"], title, &subtitle, Root::Thread, of(&[Doing::OffCpu]))?;
        let title = "qdiscope: where requests waited for RTNL";
        add(["rtnl.svg", "rtnl.folded"], title, &subtitle, Root::Thread, of(&[Doing::RtnlWait]))?;
        if let Some(slow) = self.slow {
            let title = format!(
                "qdiscope: the time of {} requests of {} that took {:.1} µs or more in the kernel",
                slow.requests,
                slow.of,
                slow.at_least_ns as f64 / 1e3
            );
            let subtitle = format!("µs; waits whole, running by samples; {colours}");
            let stacks = self.gathered.slow_stacks(slow);
            add(["slow.svg", "slow.folded"], &title, &subtitle, Root::ThreadAndDoing, stacks)?;
        }
        Ok(files)
    }

    /// How long was spent at it; µs.
    pub(super) fn micros(&self, doing: &[Doing]) -> f64 {
        micros(&self.gathered.stacks(doing))
    }
}

fn micros(stacks: &[(Stack, Weight)]) -> f64 {
    stacks.iter().map(|(_, weight)| weight.nanos).sum::<u64>() as f64 / 1e3
}
