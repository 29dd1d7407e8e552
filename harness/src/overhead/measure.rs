//! A B A B …: for each contestant a window without and a window with it, side by side, round after round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::contestant::Contestant;
use super::goal;
use super::load::Load;
use super::message::{Answer, Order, Window};
use super::model::{Counted, Outcome, Overhead};
use super::process::{LoadProcess, RunningTool};
use super::statistics::{lower_quartile, summary};
use crate::environment;
use crate::exit::Failure;
use crate::load::Stop;

/// Before a window is measured, so that caches and branch predictors know the load.
const SETTLE_MS: u64 = 10;

/// A ring buffer of 4 MiB holds 58,000 events of 72 bytes; larger events, fewer.
const FLOOD: u64 = 100_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Pairs of windows a contestant.
    pub rounds: u32,
    /// How long a window is.
    pub window: Duration,
    /// The loads.
    pub loads: Vec<Load>,
    /// The contestants.
    pub contestants: Vec<Contestant>,
}

/// Measures in the current network namespace, on the device with this index. From the main thread, with which the processes that it
/// starts end. `tell` hears what is being done. `None`: stopped.
pub fn measure(
    plan: &Plan,
    device: u32,
    stop: &Stop,
    tell: &dyn Fn(&str),
) -> Result<Option<Overhead>, Failure> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::environment(format!("a folder for the tools' files: {error}")))?;
    let mut stage =
        Stage { plan, watched: LoadProcess::start(Some(device))?, bystander: LoadProcess::start(None)? };
    let mut courses: Vec<Course> = plan.contestants.iter().cloned().map(Course::new).collect();
    for round in 0..plan.rounds {
        for course in &mut courses {
            if stop.is_set() {
                return Ok(None);
            }
            if course.absent.is_none() {
                tell(&format!("round {} of {}: {}", round + 1, plan.rounds, course.contestant.name()));
                stage.pair(course, round % 2 == 1, folder.path())?;
            }
        }
    }
    let outcomes: Vec<Outcome> = courses.into_iter().map(Course::outcome).collect();
    let goals = plan.contestants.iter().zip(&outcomes).filter(|(contestant, _)| contestant.is_judged());
    Ok(Some(Overhead {
        format: 1,
        kernel: environment::kernel_release(),
        cpu: environment::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        remarks: Vec::new(),
        rounds: plan.rounds,
        window_ms: milliseconds(plan.window),
        loads: plan.loads.clone(),
        goals: goals.flat_map(|(_, outcome)| goal::judge(outcome, &plan.loads)).collect(),
        contestants: outcomes,
    }))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One contestant's windows in the making.
struct Course {
    contestant: Contestant,
    absent: Option<String>,
    without: BTreeMap<Load, Vec<f64>>,
    with: BTreeMap<Load, Vec<f64>>,
    reader_ns_per_event: Vec<f64>,
    rate: Vec<Counted>,
    flood: Vec<Counted>,
}

/// A window's figure, by load.
type Figures = BTreeMap<Load, f64>;

impl Course {
    fn new(contestant: Contestant) -> Self {
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

    fn keep(&mut self, without: &Figures, with: &Figures) {
        let loads: BTreeSet<Load> = without.keys().chain(with.keys()).copied().collect();
        for load in loads {
            if let (Some(&off), Some(&on)) = (without.get(&load), with.get(&load)) {
                self.without.entry(load).or_default().push(off);
                self.with.entry(load).or_default().push(on);
            }
        }
    }

    fn outcome(self) -> Outcome {
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

struct Stage<'a> {
    plan: &'a Plan,
    watched: LoadProcess,
    bystander: LoadProcess,
}

impl Stage<'_> {
    /// One window with and one without. Which comes first alternates, so that a drift of the machine favours neither.
    fn pair(&mut self, course: &mut Course, with_first: bool, folder: &Path) -> Result<(), Failure> {
        let before = if with_first { None } else { Some(self.figures(None)?) };
        let with = match course.contestant.clone() {
            Contestant::Nothing => Ok(self.figures(None)?),
            Contestant::Probes { kind, stacks } => self.with_probes(course, kind, stacks)?,
            Contestant::Tool(tool) => match RunningTool::attach(tool, &mut self.watched, folder)? {
                Ok(running) => {
                    let figures = self.figures(None)?;
                    running.stop().map(|()| figures)
                }
                Err(reason) => Err(reason),
            },
        };
        let without = match before {
            Some(figures) => figures,
            None if with.is_ok() => self.figures(None)?,
            None => Figures::new(),
        };
        match with {
            Ok(with) => course.keep(&without, &with),
            Err(reason) => course.absent = Some(reason),
        }
        Ok(())
    }

    fn with_probes(
        &mut self,
        course: &mut Course,
        kind: String,
        stacks: bool,
    ) -> Result<Result<Figures, String>, Failure> {
        match self.watched.order(&Order::Attach { kind, stacks })? {
            Answer::Ready => {}
            Answer::Absent { reason } => return Ok(Err(reason)),
            other => return Err(Failure::internal(format!("the load answers {other:?}"))),
        }
        let figures = self.figures(Some(course))?;
        self.watched.order(&Order::Detach)?;
        Ok(Ok(figures))
    }

    /// A window of each load. What the probes say of them goes to `course`.
    fn figures(&mut self, course: Option<&mut Course>) -> Result<Figures, Failure> {
        let length = milliseconds(self.plan.window);
        let mut figures = Figures::new();
        for &load in self.plan.loads.iter().filter(|&&load| load != Load::Rate) {
            let process = if load == Load::Syscall { &mut self.bystander } else { &mut self.watched };
            process.window(load, SETTLE_MS)?;
            let window = process.window(load, length)?;
            figures.extend(lower_quartile(&window.slices).map(|figure| (load, figure)));
        }
        if let Some(course) = course.filter(|_| self.plan.loads.contains(&Load::Rate)) {
            let window = self.watched.window(Load::Rate, length)?;
            course.reader_ns_per_event.extend(reader_ns_per_event(&window));
            course.rate.extend(counted(&window));
            let flood = self.watched.windowed(&Order::Flood { requests: FLOOD })?;
            course.flood.extend(counted(&flood));
        }
        Ok(figures)
    }
}

fn counted(window: &Window) -> Option<Counted> {
    let seen = window.seen?;
    let per_second = window.requests as f64 / Duration::from_nanos(window.elapsed_ns).as_secs_f64();
    Some(Counted { sent: window.requests, per_second, events: seen.events, lost: seen.lost })
}

fn reader_ns_per_event(window: &Window) -> Option<f64> {
    let seen = window.seen.filter(|seen| seen.events > 0)?;
    Some(seen.reader_cpu_ns? as f64 / seen.events as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overhead::message::Seen;

    #[test]
    fn costs_are_ratios_and_for_others_differences() {
        let mut course = Course::new(Contestant::Nothing);
        for off in [100.0, 200.0, 400.0] {
            let without = Figures::from([(Load::Change, off), (Load::Syscall, off)]);
            let with = Figures::from([(Load::Change, off * 1.5), (Load::Syscall, off + 40.0)]);
            course.keep(&without, &with);
        }
        course.keep(&Figures::from([(Load::Add, 1.0)]), &Figures::new());
        let outcome = course.outcome();
        assert!((outcome.cost[&Load::Change].median - 1.5).abs() < 1e-9);
        assert!((outcome.cost[&Load::Syscall].median - 40.0).abs() < 1e-9);
        assert!((outcome.without_ns[&Load::Change] - 200.0).abs() < 1e-9);
        assert!(!outcome.cost.contains_key(&Load::Add));
    }

    #[test]
    fn a_window_without_probes_says_nothing_of_them() {
        let seen = Seen { events: 90, lost: 10, reader_cpu_ns: Some(4_500) };
        let window = Window { requests: 100, elapsed_ns: 1_000_000, seen: Some(seen), slices: Vec::new() };
        assert_eq!(counted(&window).map(|counted| counted.per_second), Some(100_000.0));
        assert_eq!(reader_ns_per_event(&window), Some(50.0));
        assert_eq!(counted(&Window { seen: None, ..window }), None);
    }
}
