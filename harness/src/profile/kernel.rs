//! Sampled kernel stacks → folded stacks with symbols → a flamegraph.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use ebpf_loader::SampleSet;

use super::{KERNEL_SAMPLE_HZ, ProfileError, Symbols, flamegraph};

/// Kernel stacks of a whole run, by the workload that was measured.
#[derive(Debug, Default)]
pub struct KernelProfile {
    workloads: Vec<(String, SampleSet)>,
}

impl KernelProfile {
    /// Adds a workload's samples.
    pub fn add(&mut self, workload: String, samples: SampleSet) {
        self.workloads.push((workload, samples));
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.workloads.iter().all(|(_, samples)| samples.stacks.is_empty())
    }

    /// Stacks, with names by symbols that were [read](Symbols::read) while the probes were attached, in Brendan Gregg's folded format: `workload;outermost;…;innermost count`, sorted.
    pub fn folded(&self, symbols: &Symbols) -> Result<String, ProfileError> {
        let names = self.names(symbols)?;
        let mut lines = BTreeMap::<String, u64>::new();
        for (workload, samples) in &self.workloads {
            for stack in &samples.stacks {
                let mut line = workload.clone();
                for address in stack.frames.iter().rev() {
                    line.push(';');
                    match names.get(address) {
                        Some(name) => line.push_str(name),
                        None => line.push_str("[unknown]"),
                    }
                }
                *lines.entry(line).or_default() += stack.count;
            }
        }
        let mut folded = String::new();
        for (line, count) in lines {
            let _ = writeln!(folded, "{line} {count}");
        }
        Ok(folded)
    }

    /// The flamegraph of [`Self::folded`], with what it does not show in its subtitle.
    pub fn flamegraph(&self, folded: &str) -> Result<Vec<u8>, ProfileError> {
        let sum = |pick: fn(&SampleSet) -> u64| self.workloads.iter().map(|(_, set)| pick(set)).sum::<u64>();
        let subtitle = format!(
            "cpu-clock at {KERNEL_SAMPLE_HZ} Hz in the kernel, on CPU; {} samples in user mode and {} lost are not shown",
            sum(|set| set.user_mode),
            sum(|set| set.lost),
        );
        flamegraph("qdiscope: where the kernel spent this process's time", &subtitle, "samples", folded)
    }

    fn names(&self, symbols: &Symbols) -> Result<HashMap<u64, String>, ProfileError> {
        let addresses = self
            .workloads
            .iter()
            .flat_map(|(_, samples)| &samples.stacks)
            .flat_map(|stack| stack.frames.iter().copied())
            .collect();
        symbols.kernel(addresses)
    }
}
