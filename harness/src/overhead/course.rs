//! What is kept of one contestant while it is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use super::contestant::Contestant;
use super::load::Load;
use super::message::{Seen, Window};
use super::model::{Counted, Outcome};
use super::statistics::summary;

/// One contestant's windows in the making.
pub(super) struct Course {
    pub(super) contestant: Contestant,
    pub(super) absent: Option<String>,
    without: BTreeMap<Load, Vec<f64>>,
    with: BTreeMap<Load, Vec<f64>>,
    reader_ns_per_event: Vec<f64>,
    rate: Vec<Counted>,
    flood: Vec<Counted>,
}

impl Course {
    pub(super) fn new(contestant: Contestant) -> Self {
        Self {
            contestant,
            absent: None,
            without: BTreeMap::new(),
            with: BTreeMap::new(),
            reader_ns_per_event: Vec::new(),
            rate: Vec::new(),
            flood: Vec::new(),
        }
    }

    pub(super) fn keep(&mut self, load: Load, without: f64, with: f64) {
        self.without.entry(load).or_default().push(without);
        self.with.entry(load).or_default().push(with);
    }

    /// What the probes reported of a load at a given rate, and of one that nobody read.
    pub(super) fn count(&mut self, rate: (&Window, Seen), flood: (&Window, Seen)) {
        self.reader_ns_per_event.extend(reader_ns_per_event(rate.1));
        self.rate.push(counted(rate.0, rate.1));
        self.flood.push(counted(flood.0, flood.1));
    }

    pub(super) fn outcome(self) -> Outcome {
        let cost = |(&load, with): (&Load, &Vec<f64>)| {
            let pairs = with.iter().zip(&self.without[&load]);
            let costs: Vec<f64> =
                pairs.map(|(on, off)| if load.is_difference() { on - off } else { on / off }).collect();
            Some((load, summary(&costs)?))
        };
        let middle = |(&load, figures): (&Load, &Vec<f64>)| Some((load, summary(figures)?.median));
        Outcome {
            name: self.contestant.name(),
            does: self.contestant.does(),
            cost: self.with.iter().filter_map(cost).collect(),
            without_ns: self.without.iter().filter_map(middle).collect(),
            reader_ns_per_event: summary(&self.reader_ns_per_event),
            rate: self.rate,
            flood: self.flood,
            absent: self.absent,
        }
    }
}

fn counted(window: &Window, seen: Seen) -> Counted {
    let per_second = window.requests as f64 / Duration::from_nanos(window.elapsed_ns).as_secs_f64();
    Counted { sent: window.requests, per_second, events: seen.events, lost: seen.lost }
}

fn reader_ns_per_event(seen: Seen) -> Option<f64> {
    let cpu_ns = seen.reader_cpu_ns.filter(|_| seen.events > 0)?;
    Some(cpu_ns as f64 / seen.events as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_ratios_and_for_others_differences() {
        let mut course = Course::new(Contestant::Nothing);
        for off in [100.0, 200.0, 400.0] {
            course.keep(Load::Change, off, off * 1.5);
            course.keep(Load::Syscall, off, off + 40.0);
        }
        let outcome = course.outcome();
        assert!((outcome.cost[&Load::Change].median - 1.5).abs() < 1e-9);
        assert!((outcome.cost[&Load::Syscall].median - 40.0).abs() < 1e-9);
        assert!((outcome.without_ns[&Load::Change] - 200.0).abs() < 1e-9);
        assert!(!outcome.cost.contains_key(&Load::Add));
    }

    #[test]
    fn no_events_have_no_price() {
        let seen = Seen { events: 90, lost: 10, reader_cpu_ns: Some(4_500) };
        let window = Window { requests: 100, elapsed_ns: 1_000_000, slices: Vec::new() };
        assert!((counted(&window, seen).per_second - 100_000.0).abs() < 1e-6);
        assert_eq!(reader_ns_per_event(seen), Some(50.0));
        assert_eq!(reader_ns_per_event(Seen { events: 0, ..seen }), None);
        assert_eq!(reader_ns_per_event(Seen { reader_cpu_ns: None, ..seen }), None);
    }
}
