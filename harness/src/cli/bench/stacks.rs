//! `--stacks`: where threads were, by names and as flamegraphs.

use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::profile::{File, Graphs, KernelProfile, Mappings, Part, ProfileError, Symbols, kernel_samples};
use crate::record::Stacks;
use crate::report::model::{SlowRequest, SlowStack, WorkloadResult};
use crate::report::words::duration;
use crate::session::Kept;

/// Samples a second and CPU: five times those of a run that gathers no stacks, for each request is to be looked into. A prime.
const HZ: u64 = 997;

/// How stacks are to be gathered: a request is slow that the budget's strictest latency would not let pass.
pub(super) fn order(budget: &Budget) -> Stacks {
    // A budget without latencies calls a millisecond slow, if anything.
    let limit_us = budget.least_latency_us().unwrap_or(1_000.0).clamp(0.001, 1e12);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let slow_ns = (limit_us * 1e3) as u64;
    Stacks { hz: HZ, slow_ns }
}

/// What was gathered.
pub(super) struct Named {
    /// Flamegraphs and their stacks.
    pub(super) files: Vec<File>,
    /// The kernel's part of what ran.
    pub(super) kernel: KernelProfile,
}

/// Puts names to what was gathered: into the files, to who held RTNL, and to the slowest requests.
pub(super) fn name(
    kept: &mut Kept,
    order: Stacks,
    symbols: &Symbols,
    workloads: &mut [WorkloadResult],
    slowest: &mut BTreeMap<String, Vec<SlowRequest>>,
) -> Result<Named, ProfileError> {
    let gathered = std::mem::take(&mut kept.gathered);
    let frames = std::mem::take(&mut kept.frames);
    let hz = kept.sampled.then_some(order.hz);
    let mut kernel = KernelProfile::default();
    if hz.is_some() {
        for (tag, gathered) in &gathered {
            kernel.add(tag.clone(), kernel_samples(gathered, &frames, order.hz));
        }
    }
    let mut mappings = Mappings::with_this_process(kept.this_process);
    for stack in gathered.iter().flat_map(|(_, gathered)| gathered.all()) {
        for &address in frames.get(&stack.user).into_iter().flatten() {
            mappings.look(stack.process, address);
        }
    }
    let over = gathered.iter().any(|(_, gathered)| gathered.over_unit().requests > 0);
    let slow = if over {
        format!(
            "{} or more from end to end, which the budget does not let pass",
            duration(order.slow_ns as f64 / 1e3)
        )
    } else {
        "as long as the slowest twentieth of their workload".to_owned()
    };
    let parts = gathered
        .into_iter()
        .map(|(tag, gathered)| {
            let slow = if over { Some(gathered.over_unit()) } else { gathered.slowest() };
            Part { label: Some(tag), gathered, slow }
        })
        .collect();
    let graphs = Graphs::new(parts, frames, &mappings, symbols, hz, slow)?;
    for workload in workloads {
        let mut doing = graphs.doing(Some(&workload.tag()));
        for holder in workload.rtnl_waits.iter_mut().flat_map(|waits| &mut waits.holders) {
            holder.doing = doing.remove(&holder.pid);
        }
    }
    for (tag, kept) in &kept.slowest {
        let Some(requests) = slowest.get_mut(tag) else { continue };
        for (request, kept) in requests.iter_mut().zip(kept) {
            request.stacks = graphs
                .of_request(&kept.samples)
                .map(|(sample, doing, named)| SlowStack {
                    doing,
                    at_us: sample.time_ns.saturating_sub(request.due_ns) as f64 / 1e3,
                    wait_us: (sample.wait_ns != 0).then_some(sample.wait_ns as f64 / 1e3),
                    user: named.user,
                    kernel: named.kernel,
                })
                .collect();
        }
    }
    Ok(Named { files: graphs.files()?, kernel })
}
