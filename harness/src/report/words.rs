//! Where time went, as people say it.

use std::fmt::Write as _;

use super::model::{Judgement, RtnlHolder, RtnlWaits, TimeAt, WorkloadResult};
use crate::attribution::Phase;

/// A violated percentile's guilty phase: "p95 class-create 14.2 ms: 11.9 ms RTNL wait, 83 % of all such waiting behind `tc`
/// (pid 4242)".
pub(crate) fn blame(time: &TimeAt, workload: &WorkloadResult) -> Option<String> {
    let percentile = workload.time_at.as_ref()?.iter().find(|(_, other)| *other == time)?.0.replace('_', ".");
    let (phase, spent) = time.guilty()?;
    let mut text = format!("{percentile} {} {}: ", time.operation, duration(time.latency_us));
    if spent < time.unattributed_us {
        let _ = write!(text, "{} unattributed", duration(time.unattributed_us));
        return Some(text);
    }
    let _ = write!(text, "{} {}", duration(spent), phase.words());
    if phase == Phase::RtnlWait
        && let Some(holder) = workload.rtnl_waits.as_ref().and_then(|waits| waits.holders.first())
    {
        let _ = write!(
            text,
            ", {:.0} % of all such waiting behind {}",
            holder.percent_of_waiting,
            who(holder, Senders::Ourselves)
        );
    }
    Some(text)
}

/// Whose requests waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Senders {
    /// Those of qdiscope.
    Ourselves,
    /// Those of programs that are observed.
    Others,
}

/// `` `tc` (pid 4242, tc_dump_tclass) ``
fn who(holder: &RtnlHolder, senders: Senders) -> String {
    if holder.own && senders == Senders::Ourselves {
        return "qdiscope itself".to_owned();
    }
    let doing = holder.doing.as_ref().map_or_else(String::new, |function| format!(", {function}"));
    format!("`{}` (pid {}{doing})", holder.comm, holder.pid)
}

/// "requests waited 412 ms for RTNL (12 % of their time in the kernel), 83 % of it behind `tc` (pid 4242)". `None`: they waited for
/// nobody.
pub(crate) fn waiting(waits: &RtnlWaits, senders: Senders) -> Option<String> {
    let first = waits.holders.first()?;
    let mut text = format!(
        "requests waited {} for RTNL ({:.1} % of their time in the kernel), {:.0} % of it behind {}",
        duration(waits.wait_us),
        waits.percent_of_requests,
        first.percent_of_waiting,
        who(first, senders)
    );
    for holder in waits.holders.iter().skip(1).take(2).filter(|holder| holder.percent_of_waiting >= 1.0) {
        let _ = write!(text, ", {:.0} % behind {}", holder.percent_of_waiting, who(holder, senders));
    }
    let unknown = waits.unknown_wait_us / waits.wait_us * 100.0;
    if unknown >= 1.0 {
        let _ = write!(text, ", {unknown:.0} % while it was being handed over");
    }
    Some(text)
}

/// Waiting for RTNL below this share of the requests' time in the kernel is not worth a word; percent.
const NOTABLE_WAITING: f64 = 1.0;

/// Behind whom a workload's requests waited.
pub(crate) fn contended(workload: &WorkloadResult) -> Option<String> {
    let waits = workload.rtnl_waits.as_ref().filter(|waits| waits.percent_of_requests >= NOTABLE_WAITING)?;
    Some(format!("{}: {}.", workload.title(), waiting(waits, Senders::Ourselves)?))
}

/// Microseconds in the unit that suits them, three digits or so.
pub(crate) fn duration(micros: f64) -> String {
    let (value, unit) = match micros {
        micros if micros >= 999_500.0 => (micros / 1e6, "s"),
        micros if micros >= 999.5 => (micros / 1e3, "ms"),
        micros => (micros, "µs"),
    };
    if value >= 100.0 {
        format!("{value:.0} {unit}")
    } else if value >= 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}

/// A target that is not kept, as `latency_p95_us is 12034, not < 10000`.
pub(crate) fn told(judgement: &Judgement) -> String {
    let value = judgement.value.map_or_else(|| "not measured".into(), |value| format!("{value:.0}"));
    format!("{} is {value}, not {} {}", judgement.metric, judgement.comparison, judgement.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits() -> RtnlWaits {
        let holder = |comm: &str, pid, own, percent: f64| RtnlHolder {
            comm: comm.into(),
            pid,
            own,
            doing: (!own).then(|| "tc_dump_tclass".to_owned()),
            waits: 3,
            wait_us: 4_120.0 * percent,
            percent_of_waiting: percent,
        };
        RtnlWaits {
            wait_us: 412_000.0,
            percent_of_requests: 12.34,
            foreign_percent_of_requests: 10.0,
            holders: vec![holder("tc", 4242, false, 83.0), holder("qdiscope", 7, true, 12.0)],
            further_holders: 0,
            further_wait_us: 0.0,
            unknown_wait_us: 20_600.0,
        }
    }

    #[test]
    fn who_was_waited_for_is_one_sentence() {
        assert_eq!(
            waiting(&waits(), Senders::Ourselves).unwrap(),
            "requests waited 412 ms for RTNL (12.3 % of their time in the kernel), 83 % of it behind `tc` (pid 4242, tc_dump_tclass), \
             12 % behind qdiscope itself, 5 % while it was being handed over"
        );
        assert!(waiting(&waits(), Senders::Others).unwrap().contains("12 % behind `qdiscope` (pid 7)"));
        assert_eq!(waiting(&RtnlWaits { holders: Vec::new(), ..waits() }, Senders::Others), None);
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let all = [0.5, 9.999, 14_200.0, 412_000.0, 999.6, 1_500_000.0].map(duration);
        assert_eq!(all, ["0.50 µs", "10.00 µs", "14.2 ms", "412 ms", "1.00 ms", "1.50 s"]);
    }
}
