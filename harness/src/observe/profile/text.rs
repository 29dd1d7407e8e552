//! A profile as a person reads it.

use std::fmt::Write as _;

use comfy_table::{Cell, Table};

use super::model::Profile;
use crate::report::model::{KernelPhases, Percentiles};
use crate::report::terminal::{micros, right, table};
use crate::report::words;

/// Refusals that are shown; the document has all.
const SHOWN_REFUSALS: usize = 10;

/// The report.
pub fn text(profile: &Profile) -> String {
    let mut text = String::new();
    let code = profile.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}: {} requests in {}{code}; {} probes; {}",
        profile.subject,
        profile.requests,
        words::duration(profile.seconds * 1e6),
        profile.probes.kind,
        lost(profile),
    );
    if profile.requests == 0 {
        return text;
    }
    let covers = if system_calls(profile) { "system call" } else { "whole message" };
    let _ = writeln!(
        text,
        "\nWhere the kernel spent it (µs, p50 / p95; {covers} = RTNL wait + off CPU + on CPU)\n{}",
        kernel(profile, covers)
    );
    if profile.by_type.values().any(|of_type| of_type.lists > 0) {
        text.push_str("of lists only the first part: the others are made while they are read\n");
    }
    refusals(&mut text, profile);
    if let Some(waiting) =
        profile.rtnl_waits.as_ref().and_then(|waits| words::waiting(waits, words::Senders::Others))
    {
        let _ = writeln!(text, "\n{waiting}");
    }
    stacks(&mut text, profile);
    text
}

fn lost(profile: &Profile) -> String {
    let lost = &profile.lost;
    let mut text = match lost.requests_at_most {
        None => "how many were lost is not known".to_owned(),
        Some(0) => "0 lost".to_owned(),
        Some(most) => format!("at most {most} lost"),
    };
    for (count, what) in [
        (lost.ext_acks, "texts of the kernel lost"),
        (lost.samples, "samples lost"),
        (lost.processes, "processes not followed, for there were too many"),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn system_calls(profile: &Profile) -> bool {
    profile
        .by_type
        .values()
        .filter_map(|of_type| of_type.kernel_us.as_ref())
        .any(|phases| phases.syscall.is_some())
}

/// A column of phases that not every request comes through: its name and what it shows.
type Part = (&'static str, fn(&KernelPhases) -> Option<&Percentiles>);

const PARTS: [Part; 5] = [
    ("handler", |phases| phases.handler.as_ref()),
    ("RTNL held", |phases| phases.rtnl_hold.as_ref()),
    ("qdisc_create", |phases| phases.qdisc_create.as_ref()),
    ("class op", |phases| phases.class_operation.as_ref()),
    ("RCU", |phases| phases.rcu.as_ref()),
];

fn kernel(profile: &Profile, covers: &str) -> Table {
    let kernel_us = || profile.by_type.values().filter_map(|of_type| of_type.kernel_us.as_ref());
    let parts: Vec<Part> =
        PARTS.into_iter().filter(|(_, pick)| kernel_us().any(|phases| pick(phases).is_some())).collect();
    let mut heads = vec!["message", "count", "failed", covers, "max", "RTNL wait", "off CPU", "on CPU"];
    heads.extend(parts.iter().map(|(name, _)| *name));
    let mut table = table(&heads, 1);
    for (message, of_type) in &profile.by_type {
        let Some(phases) = &of_type.kernel_us else { continue };
        let pair = |figures: &Percentiles| format!("{} / {}", micros(figures.p50), micros(figures.p95));
        let both = |figures: Option<&Percentiles>| right(figures.map_or_else(|| "not measured".into(), pair));
        let mut row = vec![
            Cell::new(message),
            right(of_type.requests),
            right(match of_type.unknown_results {
                0 => of_type.failed.to_string(),
                unknown => format!("{} (and {unknown} unknown)", of_type.failed),
            }),
            both(Some(&phases.request)),
            right(micros(phases.request.max)),
            both(phases.rtnl_wait.as_ref()),
            both(phases.off_cpu.as_ref()),
            both(phases.on_cpu.as_ref()),
        ];
        row.extend(parts.iter().map(|(_, pick)| right(pick(phases).map_or_else(|| "–".into(), pair))));
        table.add_row(row);
    }
    table
}

fn refusals(text: &mut String, profile: &Profile) {
    if profile.refusals.is_empty() {
        return;
    }
    text.push_str("\nRefused\n");
    for refusal in profile.refusals.iter().take(SHOWN_REFUSALS) {
        let _ = write!(text, "  {} × {} {}", refusal.count, refusal.message_type, refusal.error);
        if let Some(said) = &refusal.ext_ack {
            let _ = write!(text, " \"{}\"", crate::observe::line::plain(said));
        }
        text.push('\n');
    }
    let further: u64 = profile.refusals.iter().skip(SHOWN_REFUSALS).map(|refusal| refusal.count).sum();
    if further > 0 {
        let _ = writeln!(text, "  {further} others");
    }
}

fn stacks(text: &mut String, profile: &Profile) {
    let stacks = &profile.stacks;
    let on_cpu = match (stacks.on_cpu_us, &stacks.not_sampled) {
        (Some(time), _) => format!("{} on CPU, by samples", words::duration(time)),
        (None, Some(reason)) => format!("time on CPU is not sampled: {reason}"),
        (None, None) => "time on CPU is not sampled".to_owned(),
    };
    let told = |time: Option<f64>| time.map_or_else(|| "an unmeasured time".to_owned(), words::duration);
    let _ = writeln!(
        text,
        "\nin all: {on_cpu}; in requests {} off CPU and {} waiting for RTNL",
        told(stacks.off_cpu_us),
        told(stacks.rtnl_wait_us)
    );
    if let Some(slow) = &stacks.slow {
        let _ = writeln!(
            text,
            "slow: {} of {} requests took {} or more",
            slow.requests,
            slow.of,
            words::duration(slow.at_least_us)
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::observe::profile::model::{Lost, OfType, Refusal, Slow, Stacks, VERSION};
    use crate::report::model::fixtures;

    /// Somebody's.
    pub(in super::super) fn profile() -> Profile {
        let run = fixtures::run();
        let phases = run.workloads[0].kernel_us.as_ref().and_then(|all| all.values().next()).copied();
        Profile {
            version: VERSION,
            begun: "2026-11-24T12:00:00Z".into(),
            seconds: 0.42,
            subject: "tc -batch file".into(),
            exit_code: Some(1),
            kernel: "6.18".into(),
            cpu: None,
            probes: run.environment.probes,
            requests: 7,
            lost: Lost { requests_at_most: Some(0), ext_acks: Some(0), samples: Some(3), processes: None },
            by_type: [(
                "RTM_NEWTCLASS".to_owned(),
                OfType {
                    requests: 7,
                    messages: Some(7),
                    failed: 3,
                    unknown_results: 1,
                    lists: 0,
                    kernel_us: phases,
                },
            )]
            .into(),
            refusals: vec![Refusal {
                message_type: "RTM_NEWTCLASS".into(),
                errno: 17,
                error: "EEXIST".into(),
                ext_ack: Some("Exclusivity flag on\u{1b}[2J".into()),
                count: 3,
            }],
            rtnl_waits: None,
            stacks: Stacks {
                hz: None,
                not_sampled: Some("perf_event_open: denied".into()),
                on_cpu_us: None,
                off_cpu_us: Some(12.0),
                rtnl_wait_us: None,
                slow: Some(Slow { at_least_us: 950.0, requests: 1, of: 7 }),
            },
        }
    }

    #[test]
    fn a_person_reads_what_was_asked_and_refused_and_what_is_not_known() {
        let text = text(&profile());
        assert!(text.starts_with("tc -batch file: 7 requests in 420 ms, exit code 1; "), "{text}");
        for part in [
            "0 lost, 3 samples lost",
            "3 (and 1 unknown)",
            "  3 × RTM_NEWTCLASS EEXIST \"Exclusivity flag on",
            "time on CPU is not sampled: perf_event_open: denied",
            "in requests 12.0 µs off CPU and an unmeasured time waiting for RTNL",
            "slow: 1 of 7 requests took 950 µs or more",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}'), "the kernel's text is not for the terminal");
    }

    #[test]
    fn without_a_request_there_is_one_line() {
        let text = text(&Profile { requests: 0, by_type: std::collections::BTreeMap::new(), ..profile() });
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
