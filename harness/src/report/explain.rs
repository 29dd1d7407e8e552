//! What the figures mean, in words. Findings, not verdicts.

use super::model::{RunResult, WorkloadResult};
use super::words;
use crate::disturb::{Effect, Outcome};

/// A second below this share of the first one is worth a word.
const MARKED_DECLINE: f64 = 0.7;

/// Classes on one qdisc from where on the walk takes most of an add.
const MANY_CLASSES: u64 = 1_500;

/// Foreign classes that make a difference: at some 80 ns each, a microsecond an add.
const MANY_FOREIGN_CLASSES: u64 = 1_000;

/// Sentences about a run.
pub fn explain(run: &RunResult) -> Vec<String> {
    let mut findings = Vec::new();
    if run.interrupted {
        findings.push("The run was interrupted: its figures are those of the part that ran.".into());
    }
    if let Some(profile) = &run.profile {
        if profile.shortened {
            findings.push(format!(
                "The load profile {} ran at {} of its length: it says less than a full run, and is not to be compared with one.",
                profile.name, profile.time_scale
            ));
        }
        if let Some(reason) = &profile.aborted {
            findings.push(format!("The load profile was given up: {reason}."));
        }
        findings.extend(profile.disturbances.iter().map(disturbance));
    }
    if run.environment.probes.kind == "off" {
        findings.push(format!("No kernel figures: {}.", run.environment.probes.reason.trim_end_matches('.')));
    }
    findings.extend(run.workloads.iter().filter_map(wall));
    findings.extend(run.workloads.iter().filter_map(words::contended));
    findings.extend(run.workloads.iter().filter_map(unaccounted));
    findings.extend(run.workloads.iter().filter_map(overload));
    if let Some(foreign) = run.environment.foreign_htb_classes.filter(|&count| count >= MANY_FOREIGN_CLASSES)
    {
        findings.push(format!(
            "Other network namespaces hold {foreign} HTB classes: creating one here walks a list of all of them \
             (flow_indr_dev_setup_offload), so these figures are worse than this machine's own."
        ));
    }
    if let Some(slept) = run.environment.suspended_seconds.filter(|&slept| slept > 0.0) {
        findings
            .push(format!("The machine slept for {slept:.1} s during the run; no duration has that in it."));
    }
    if let Some(step) = run.environment.clock_step_seconds.filter(|&step| step != 0.0) {
        findings.push(format!(
            "The clock of the day was set by {step:+.1} s during the run; durations are by another, which cannot be set."
        ));
    }
    if let Some(steal) = run.environment.steal_percent.filter(|&steal| steal >= 2.0) {
        findings.push(format!("The hypervisor gave {steal:.1} % of the CPU time to other machines."));
    }
    findings
}

/// What stood in the way, on purpose, and what came of it.
fn disturbance(outcome: &Outcome) -> String {
    let kind = outcome.disturbance.kind();
    let began = outcome.began_seconds.map(|seconds| format!(" after {seconds:.1} s")).unwrap_or_default();
    match (&outcome.effect, &outcome.error) {
        (_, Some(error)) => format!("The disturbance {kind} failed: {error}."),
        (Some(Effect::Held(held)), None) => format!(
            "The disturbance {kind}{began}: another process held RTNL {} times, {:.2} s in all, {:.2} s at the longest.",
            held.count,
            held.total_ns as f64 / 1e9,
            held.longest_ns as f64 / 1e9
        ),
        (Some(Effect::KeptBytes(bytes)), None) => {
            format!("The disturbance {kind}{began}: {bytes} bytes of memory were kept on purpose.")
        }
        (None, None) if outcome.began_seconds.is_none() => {
            format!("The disturbance {kind} did not come: the run was over before.")
        }
        (None, None) => format!("The disturbance {kind} came{began}."),
    }
}

/// Adding the N-th class to a qdisc costs time in proportion to N. Said where that explains the figures: in a single large
/// fill that became slower while nobody else held RTNL.
fn wall(workload: &WorkloadResult) -> Option<String> {
    if workload.name != "htb-class" || workload.devices == 0 {
        return None;
    }
    let (first, worst) = (*workload.timeline_ops.first()?, *workload.timeline_ops.iter().min()?);
    // One that was interrupted did not come to its most.
    let reached = if workload.interrupted { workload.operations } else { workload.population_max };
    let per_device = reached / u64::from(workload.devices);
    let once = workload.operations <= workload.population_max;
    let declined = (worst as f64) < first as f64 * MARKED_DECLINE;
    (per_device >= MANY_CLASSES && once && declined && !waits_for_rtnl(workload)).then(|| {
        format!(
            "htb-class reached {per_device} classes on each qdisc and fell from {first} adds in its first second to \
             {worst} in its worst: the kernel walks all classes of a qdisc when it adds one (tc_bind_tclass), so \
             the N-th add costs time in proportion to N, whoever asks. More devices with fewer classes each \
             (--devices) avoid it."
        )
    })
}

/// Whether much of the requests' time went into waiting for somebody else.
fn waits_for_rtnl(workload: &WorkloadResult) -> bool {
    workload
        .kernel_us
        .iter()
        .flat_map(|by_type| by_type.values())
        .any(|phases| phases.rtnl_wait.as_ref().is_some_and(|wait| wait.mean > phases.request.mean * 0.3))
}

/// Every request must be in the kernel's figures or be counted as lost.
fn unaccounted(workload: &WorkloadResult) -> Option<String> {
    let seen: u64 = workload.kernel_us.as_ref()?.values().map(|phases| phases.request.count).sum();
    let (lost, accounted) = (workload.lost_events?, workload.lost_events_accounted?);
    let name = workload.title();
    if seen + lost != workload.operations || lost > accounted {
        Some(format!(
            "{name}: {} requests were sent, the probes reported {seen} and count at most {accounted} as lost: the \
             kernel's figures are not to be trusted.",
            workload.operations
        ))
    } else if lost > 0 {
        Some(format!("{name}: the probes lost {lost} events; the kernel's figures are of the other {seen}."))
    } else {
        None
    }
}

fn overload(workload: &WorkloadResult) -> Option<String> {
    (workload.unsent > 0 && !workload.interrupted).then(|| {
        format!(
            "{} ({}): {} of {} scheduled requests were not sent within the grace after the schedule's end: the offered \
             rate is beyond what this machine serves.",
            workload.name,
            workload.mode,
            workload.unsent,
            workload.unsent + workload.operations
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    #[test]
    fn a_run_without_anything_odd_needs_no_words() {
        assert_eq!(explain(&fixtures::run()), Vec::<String>::new());
    }

    #[test]
    fn the_wall_is_explained() {
        let mut run = fixtures::run();
        run.workloads[0].devices = 1;
        run.workloads[0].population_max = 10_100;
        run.workloads[0].operations = 10_000;
        run.workloads[0].timeline_ops = vec![5_000, 1_500, 800];
        let text = explain(&run).join(" ");
        assert!(text.contains("10100 classes") && text.contains("5000") && text.contains("800"), "{text}");
        assert!(text.contains("--devices"));
    }

    #[test]
    fn requests_that_the_probes_did_not_see_are_told() {
        let mut run = fixtures::run();
        run.workloads[0].operations += 1;
        run.workloads[0].lost_events = Some(1);
        assert!(explain(&run).join(" ").contains("not to be trusted"));
        run.workloads[0].lost_events_accounted = Some(1);
        assert!(explain(&run).join(" ").contains("lost 1 events"));
    }
}
