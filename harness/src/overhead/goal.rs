//! The goals for our own probes, and whether they hold. Pure.

use super::load::{Load, RATE};
use super::model::{Counted, Goal, Outcome, Summary, Verdict};

/// What each load may cost: times as long, or nanoseconds a system call for [`Load::Syscall`].
const LIMITS: [(Load, f64, &str); 4] = [
    (Load::Change, 1.25, "a change takes ≤ 1.25 × as long"),
    (Load::Add, 1.02, "an add ≤ 1.02 ×"),
    (Load::Concurrent, 1.03, "an add of eight threads at once ≤ 1.03 ×"),
    (Load::Syscall, 50.0, "another process's system call ≤ 50 ns longer"),
];

/// CPU time of the reader that an event may cost; ns.
const READER_NS: f64 = 60.0;

/// The share of [`RATE`] that must have been reached for a verdict.
const RATE_REACHED: f64 = 0.99;

/// Every goal that the loads which were run say something about.
pub(super) fn judge(outcome: &Outcome, loads: &[Load]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut push = |goal: &str, (verdict, measured): (Verdict, String)| {
        goals.push(Goal { contestant: outcome.name.clone(), goal: goal.to_owned(), measured, verdict });
    };
    for (load, limit, text) in LIMITS {
        if loads.contains(&load) {
            push(text, at_most(outcome.cost.get(&load), limit, if load.is_difference() { 1 } else { 3 }));
        }
    }
    if loads.contains(&Load::Rate) {
        push("no event lost at 300,000 requests/s", nothing_lost(&outcome.rate));
        push("losses beyond that counted exactly", counted_exactly(&outcome.flood));
        push(
            "≤ 60 ns of the reader's CPU an event",
            at_most(outcome.reader_ns_per_event.as_ref(), READER_NS, 1),
        );
    }
    goals
}

/// The interval decides: where it holds the limit, nobody knows.
fn at_most(summary: Option<&Summary>, limit: f64, digits: usize) -> (Verdict, String) {
    let Some(summary) = summary else { return (Verdict::Undecided, "not measured".into()) };
    let measured =
        format!("{:.digits$} ({:.digits$}–{:.digits$})", summary.median, summary.least, summary.most);
    match summary.interval {
        Some([_, high]) if high <= limit => (Verdict::Holds, measured),
        Some([low, _]) if low > limit => (Verdict::Missed, measured),
        Some([low, high]) => (
            Verdict::Undecided,
            format!("{measured}; the rounds leave {low:.digits$} to {high:.digits$} possible"),
        ),
        None => (Verdict::Undecided, format!("{measured}; needs five rounds, not {}", summary.rounds)),
    }
}

fn nothing_lost(runs: &[Counted]) -> (Verdict, String) {
    let missing: u64 = runs.iter().map(|run| run.sent.saturating_sub(run.events)).sum();
    let sent: u64 = runs.iter().map(|run| run.sent).sum();
    let Some(slowest) = runs.iter().map(|run| run.per_second).min_by(f64::total_cmp) else {
        return (Verdict::Undecided, "not measured".into());
    };
    let measured = format!("{missing} of {sent} lost at {slowest:.0}/s");
    if missing > 0 {
        (Verdict::Missed, measured)
    } else if slowest < f64::from(RATE) * RATE_REACHED {
        (Verdict::Undecided, format!("{measured}: this machine sends no faster"))
    } else {
        (Verdict::Holds, measured)
    }
}

fn counted_exactly(runs: &[Counted]) -> (Verdict, String) {
    let Some(worst) = runs.iter().max_by_key(|run| run.sent.abs_diff(run.events + run.lost)) else {
        return (Verdict::Undecided, "not measured".into());
    };
    let Counted { sent, events, lost, .. } = *worst;
    let measured = format!("{events} read + {lost} lost of {sent} sent");
    match (sent == events + lost, lost) {
        (false, _) => (Verdict::Missed, measured),
        (true, 0) => (Verdict::Undecided, format!("{measured}: nothing was lost")),
        (true, _) => (Verdict::Holds, measured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(median: f64, interval: Option<[f64; 2]>) -> Summary {
        Summary { median, least: median - 1.0, most: median + 1.0, interval, rounds: 5 }
    }

    #[test]
    fn the_interval_decides() {
        let verdict = |interval| at_most(Some(&of(1.2, interval)), 1.25, 3).0;
        assert_eq!(verdict(Some([1.1, 1.25])), Verdict::Holds);
        assert_eq!(verdict(Some([1.26, 1.3])), Verdict::Missed);
        assert_eq!(verdict(Some([1.1, 1.3])), Verdict::Undecided);
        assert_eq!(verdict(None), Verdict::Undecided);
        assert_eq!(at_most(None, 1.25, 3).0, Verdict::Undecided);
    }

    fn run(sent: u64, events: u64, lost: u64, per_second: f64) -> Counted {
        Counted { sent, per_second, events, lost }
    }

    #[test]
    fn a_rate_that_was_not_reached_proves_nothing() {
        assert_eq!(nothing_lost(&[run(90_000, 90_000, 0, 300_000.0)]).0, Verdict::Holds);
        assert_eq!(nothing_lost(&[run(60_000, 60_000, 0, 200_000.0)]).0, Verdict::Undecided);
        assert_eq!(nothing_lost(&[run(60_000, 59_999, 1, 200_000.0)]).0, Verdict::Missed);
        assert_eq!(nothing_lost(&[]).0, Verdict::Undecided);
    }

    #[test]
    fn one_wrong_count_is_one_too_many() {
        let exact = run(100, 60, 40, 1.0);
        assert_eq!(counted_exactly(&[exact]).0, Verdict::Holds);
        assert_eq!(counted_exactly(&[exact, run(100, 60, 39, 1.0)]).0, Verdict::Missed);
        assert_eq!(counted_exactly(&[run(100, 60, 41, 1.0)]).0, Verdict::Missed);
        assert_eq!(counted_exactly(&[run(100, 100, 0, 1.0)]).0, Verdict::Undecided);
    }

    #[test]
    fn only_what_was_run_is_judged() {
        let outcome = Outcome {
            name: "tracepoint".into(),
            does: String::new(),
            absent: None,
            cost: [(Load::Change, of(1.2, Some([1.1, 1.24])))].into(),
            without_ns: [].into(),
            reader_ns_per_event: None,
            rate: Vec::new(),
            flood: Vec::new(),
        };
        let goals = judge(&outcome, &[Load::Change]);
        assert_eq!(goals.len(), 1);
        assert_eq!(goals[0].verdict, Verdict::Holds);
        assert_eq!(judge(&outcome, &[Load::Rate]).len(), 3);
    }
}
