//! Stacks as flamegraphs, and what holders of RTNL did.

use std::collections::{BTreeMap, HashMap};

use ebpf_loader::{KernelStack, SampleEvent, SampleSet};

use super::ProfileError;
use super::gathered::{Doing, Gathered, ON_CPU, Slow, Stack, Weight, in_request};
use super::mappings::Mappings;
use super::named::{Frames, Named, Names, draw, fold, folded};
use super::symbols::Symbols;

/// A file to be saved.
pub type File = (&'static str, Vec<u8>);

/// The flamegraphs among [`STACK_FILES`].
pub const STACK_SVGS: [&str; 5] = ["oncpu.svg", "offcpu.svg", "rtnl.svg", "holders.svg", "slow.svg"];

/// The files that [`Graphs::files`] may make.
pub const STACK_FILES: [&str; 10] = [
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

/// What was gathered of something.
pub struct Part {
    /// What flamegraphs call it, where there are several.
    pub label: Option<String>,
    /// The stacks.
    pub gathered: Gathered,
    /// Its slow requests.
    pub slow: Option<Slow>,
}

/// What was gathered, with names.
pub struct Graphs {
    parts: Vec<Part>,
    names: Names,
    /// The timer's frequency, unless running threads were not sampled.
    hz: Option<u64>,
    /// What is slow, in words: "2 ms or more".
    slow: String,
}

impl Doing {
    /// As a frame.
    fn frame(self) -> &'static str {
        match self {
            Self::OnCpu | Self::Spinning => "[on CPU]",
            Self::OffCpu => "[off CPU]",
            Self::RtnlWait => "[waiting for RTNL]",
        }
    }
}

impl Graphs {
    /// Puts names to everything. `symbols` were [read](Symbols::read) while the probes were attached.
    pub fn new(
        parts: Vec<Part>,
        frames: Frames,
        mappings: &Mappings,
        symbols: &Symbols,
        hz: Option<u64>,
        slow: String,
    ) -> Result<Self, ProfileError> {
        let all = parts.iter().flat_map(|part| part.gathered.all());
        let names = Names::find(all, frames, mappings, symbols)?;
        Ok(Self { parts, names, hz, slow })
    }

    /// What each process did in the kernel that held RTNL while a request of this part waited, as most of its samples have it.
    pub fn doing(&self, label: Option<&str>) -> HashMap<u32, String> {
        let mut functions = HashMap::<u32, BTreeMap<String, u64>>::new();
        let parts = self.parts.iter().filter(|part| part.label.as_deref() == label);
        for (stack, weight) in parts.flat_map(|part| part.gathered.holders()) {
            if let Some(function) = self.names.of(&stack).handler() {
                *functions.entry(stack.process).or_default().entry(function.to_owned()).or_default() +=
                    weight.nanos;
            }
        }
        functions
            .into_iter()
            .filter_map(|(process, functions)| {
                Some((process, functions.into_iter().max_by_key(|(_, nanos)| *nanos)?.0))
            })
            .collect()
    }

    /// The flamegraphs, and the stacks from which they are drawn.
    pub fn files(&self) -> Result<Vec<File>, ProfileError> {
        let colours =
            "kernel in orange, user mode in blue, which ends where code without frame pointers begins";
        let mut files = Vec::new();
        if let Some(hz) = self.hz {
            let subtitle = format!("µs, by samples at {hz} Hz on each CPU; {colours}");
            let ran = self.lines(|gathered| gathered.stacks(&ON_CPU), |_| None);
            add(&mut files, ["oncpu.svg", "oncpu.folded"], "what ran", &subtitle, ran)?;
            let title = "what holders of RTNL did while a request waited for it";
            let held = self.lines(Gathered::holders, |stack| Some(format!("(pid {})", stack.process)));
            add(&mut files, ["holders.svg", "holders.folded"], title, &subtitle, held)?;
        }
        let subtitle = format!("µs, each wait from its begin to its end; {colours}");
        let title = "where requests left the CPU, but for RTNL";
        let off = self.lines(|gathered| gathered.stacks(&[Doing::OffCpu]), |_| None);
        add(&mut files, ["offcpu.svg", "offcpu.folded"], title, &subtitle, off)?;
        let waited = self.lines(|gathered| gathered.stacks(&[Doing::RtnlWait]), |_| None);
        add(&mut files, ["rtnl.svg", "rtnl.folded"], "where requests waited for RTNL", &subtitle, waited)?;
        let subtitle = format!("µs in the kernel; waits whole, running by samples; {colours}");
        let (title, slow) = self.slow();
        add(&mut files, ["slow.svg", "slow.folded"], &title, &subtitle, slow)?;
        Ok(files)
    }

    fn slow(&self) -> (String, BTreeMap<String, u64>) {
        let (mut requests, mut of, mut lines) = (0, 0, BTreeMap::new());
        for part in &self.parts {
            let Some(slow) = part.slow else { continue };
            requests += slow.requests;
            of += slow.of;
            let stacks = part.gathered.slow_stacks(slow);
            fold(&mut lines, &stacks, &self.names, |stack| {
                let mut root = Self::root(part, stack, None);
                root.push(stack.doing.frame().to_owned());
                root
            });
        }
        (format!("where {requests} requests of {of} spent their time that took {}", self.slow), lines)
    }

    /// The part, and the thread.
    fn root(part: &Part, stack: &Stack, more: Option<String>) -> Vec<String> {
        let comm = match part.gathered.name(stack.comm) {
            "" => "[unknown]",
            comm => comm,
        };
        let thread = more.map_or_else(|| comm.to_owned(), |more| format!("{comm} {more}"));
        part.label.iter().cloned().chain([thread]).collect()
    }

    fn lines(
        &self,
        stacks: impl Fn(&Gathered) -> Vec<(Stack, Weight)>,
        more: impl Fn(&Stack) -> Option<String>,
    ) -> BTreeMap<String, u64> {
        let mut lines = BTreeMap::new();
        for part in &self.parts {
            let stacks = stacks(&part.gathered);
            fold(&mut lines, &stacks, &self.names, |stack| Self::root(part, stack, more(stack)));
        }
        lines
    }

    /// How long was spent at it; µs.
    pub fn micros(&self, doing: &[Doing]) -> f64 {
        let stacks = self.parts.iter().flat_map(|part| part.gathered.stacks(doing));
        stacks.map(|(_, weight)| weight.nanos).sum::<u64>() as f64 / 1e3
    }

    /// A request's samples, with names, in the order of their times.
    pub fn of_request<'a>(
        &'a self,
        samples: &'a [SampleEvent],
    ) -> impl Iterator<Item = (&'a SampleEvent, Doing, Named)> {
        in_request(samples).map(|(sample, doing)| {
            let (kernel, user) = (sample.kernel_stack, sample.user_stack);
            let stack = Stack { doing, process: sample.tgid, comm: 0, kernel, user };
            (sample, doing, self.names.of(&stack))
        })
    }
}

/// What ran in the kernel, as the probes would have counted it by themselves.
pub fn kernel_samples(gathered: &Gathered, frames: &Frames, hz: u64) -> SampleSet {
    let (by_stack, user_mode, lost) = gathered.kernel_samples();
    let stacks = by_stack
        .into_iter()
        .filter_map(|(number, count)| Some(KernelStack { frames: frames.get(&number)?.clone(), count }))
        .collect();
    SampleSet { stacks, user_mode, lost, hz }
}

fn add(
    files: &mut Vec<File>,
    names: [&'static str; 2],
    title: &str,
    subtitle: &str,
    lines: BTreeMap<String, u64>,
) -> Result<(), ProfileError> {
    let text = folded(lines);
    if let Some(svg) = draw(&format!("qdiscope: {title}"), subtitle, &text)? {
        files.push((names[0], svg));
        files.push((names[1], text.into_bytes()));
    }
    Ok(())
}
