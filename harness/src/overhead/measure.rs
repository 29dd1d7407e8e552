//! A B A, round after round: for each contestant a window with it between two without, whose mean it is compared with. A drift of the
//! machine cancels out, and a jump shows.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attached::Setup;
use super::contestant::Contestant;
use super::course::Course;
use super::goal;
use super::load::Load;
use super::message::{Answer, Order, Seen, Window};
use super::model::{Outcome, Overhead};
use super::process::{LoadProcess, unexpected};
use super::running::RunningTool;
use super::statistics::lower_quartile;
use crate::environment;
use crate::exit::Failure;
use crate::load::Stop;
use crate::memory;

/// Before a window is measured, so that caches and branch predictors know the load.
const SETTLE_MS: u64 = 10;

/// Two A windows that differ by more than this factor tell nothing of the B window between them…
const STEADY: f64 = 1.03;

/// …which is then measured again, so many times at most.
const ATTEMPTS: u32 = 3;

/// A ring buffer of 4 MiB holds 29,000 events of 144 bytes.
const FLOOD: u64 = 100_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Windows with a contestant that count.
    pub rounds: u32,
    /// Whether a window is measured again when the machine's speed changed meanwhile.
    pub patient: bool,
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
    let memory = memory::nameless().map_err(|errno| {
        Failure::environment(format!("a file system in memory for the tools' files: {errno}"))
    })?;
    // Of this process, also where another opens it.
    let folder = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()));
    let mut stage = Stage {
        plan,
        watched: LoadProcess::start(Some(device))?,
        bystander: LoadProcess::start(None)?,
        watcher: knows_pids().then(|| LoadProcess::start(None)).transpose()?,
        unsteady: 0,
        compared: 0,
    };
    let mut courses: Vec<Course> = plan.contestants.iter().cloned().map(Course::new).collect();
    for round in 0..plan.rounds {
        for course in &mut courses {
            if stop.is_set() {
                return Ok(None);
            }
            if course.absent.is_none() {
                tell(&format!("round {} of {}: {}", round + 1, plan.rounds, course.contestant.name()));
                stage.round(course, &folder)?;
            }
        }
    }
    let outcomes: Vec<Outcome> = courses.into_iter().map(Course::outcome).collect();
    let mut remarks = Vec::new();
    if stage.unsteady > 0 {
        remarks.push(format!(
            "the machine's speed changed by more than 3 % during {} of {} comparisons",
            stage.unsteady, stage.compared
        ));
    }
    let goals = plan
        .contestants
        .iter()
        .zip(&outcomes)
        .filter(|(contestant, outcome)| contestant.is_judged() && outcome.absent.is_none());
    Ok(Some(Overhead {
        format: 1,
        kernel: environment::kernel_release(),
        cpu: environment::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        remarks,
        rounds: plan.rounds,
        window_ms: milliseconds(plan.window),
        loads: plan.loads.clone(),
        goals: goals.flat_map(|(_, outcome)| goal::judge(outcome, &plan.loads)).collect(),
        contestants: outcomes,
    }))
}

/// The inode of the initial PID namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL: u64 = 0xEFFF_FFFC;

/// Whether process ids are here what the probes take them for.
fn knows_pids() -> bool {
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A window's figure, by load.
type Figures = BTreeMap<Load, f64>;

struct Stage<'a> {
    plan: &'a Plan,
    watched: LoadProcess,
    bystander: LoadProcess,
    /// `None` where probes cannot be told whom to follow: there the watched process attaches them itself.
    watcher: Option<LoadProcess>,
    /// Comparisons that counted although the machine's speed changed.
    unsteady: usize,
    compared: usize,
}

impl Stage<'_> {
    /// Compares each load once.
    fn round(&mut self, course: &mut Course, folder: &Path) -> Result<(), Failure> {
        let mut loads: Vec<Load> =
            self.plan.loads.iter().copied().filter(|&load| load != Load::Rate).collect();
        let mut counts = self.plan.loads.contains(&Load::Rate);
        let attempts = if self.plan.patient { ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            let before = self.figures(&loads)?;
            let with = match self.with(course, &loads, counts, folder)? {
                Ok(figures) => figures,
                Err(reason) => {
                    course.absent = Some(reason);
                    return Ok(());
                }
            };
            let after = self.figures(&loads)?;
            counts = false;
            loads.retain(|load| {
                let (Some(before), Some(with), Some(after)) =
                    (before.get(load), with.get(load), after.get(load))
                else {
                    return false;
                };
                let steady = before.max(*after) <= STEADY * before.min(*after);
                if !steady && attempt < attempts {
                    return true;
                }
                self.compared += 1;
                self.unsteady += usize::from(!steady);
                course.keep(*load, f64::midpoint(*before, *after), *with);
                false
            });
            if loads.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The B windows. The inner error says why there are none.
    fn with(
        &mut self,
        course: &mut Course,
        loads: &[Load],
        counts: bool,
        folder: &Path,
    ) -> Result<Result<Figures, String>, Failure> {
        match course.contestant.clone() {
            Contestant::Nothing => self.figures(loads).map(Ok),
            Contestant::Probes(setup) => self.with_probes(course, loads, counts, setup),
            Contestant::Tool(tool) => match RunningTool::attach(tool, &mut self.watched, folder)? {
                Ok(running) => {
                    let figures = self.figures(loads)?;
                    Ok(running.stop().map(|()| figures))
                }
                Err(reason) => Ok(Err(reason)),
            },
        }
    }

    fn with_probes(
        &mut self,
        course: &mut Course,
        loads: &[Load],
        counts: bool,
        setup: Setup,
    ) -> Result<Result<Figures, String>, Failure> {
        let process = self.watcher.is_some().then(|| self.watched.id());
        match self.watcher().order(&Order::Attach { setup, process })? {
            Answer::Ready => {}
            Answer::Absent { reason } => return Ok(Err(reason)),
            other => return Err(unexpected(&other)),
        }
        let figures = self.figures(loads)?;
        if counts {
            let length = milliseconds(self.plan.window);
            let (rate, rate_seen) =
                self.counted(&Order::Window { load: Load::Rate, milliseconds: length }, false)?;
            let (flood, flood_seen) = self.counted(&Order::Flood { requests: FLOOD }, true)?;
            course.count((&rate, rate_seen), (&flood, flood_seen));
        }
        self.watcher().done(&Order::Detach)?;
        Ok(Ok(figures))
    }

    /// Runs a load of one socket, and what the probes counted of it; `unread`: nobody reads meanwhile.
    fn counted(&mut self, order: &Order, unread: bool) -> Result<(Window, Seen), Failure> {
        let socket = match self.watched.order(&Order::Socket)? {
            Answer::Socket(socket) => socket,
            other => return Err(unexpected(&other)),
        };
        self.watcher().done(&Order::Watch { socket })?;
        self.watcher().done(&Order::Pause { paused: unread })?;
        let window = self.watched.windowed(order)?;
        self.watcher().done(&Order::Pause { paused: false })?;
        match self.watcher().order(&Order::Count)? {
            Answer::Seen(seen) => Ok((window, seen)),
            other => Err(unexpected(&other)),
        }
    }

    /// The process that our probes and their reader are in.
    fn watcher(&mut self) -> &mut LoadProcess {
        self.watcher.as_mut().unwrap_or(&mut self.watched)
    }

    /// A window of each load.
    fn figures(&mut self, loads: &[Load]) -> Result<Figures, Failure> {
        let mut figures = Figures::new();
        for &load in loads {
            let process = if load == Load::Syscall { &mut self.bystander } else { &mut self.watched };
            process.window(load, SETTLE_MS)?;
            let window = process.window(load, milliseconds(self.plan.window))?;
            figures.extend(lower_quartile(&window.slices).map(|figure| (load, figure)));
        }
        Ok(figures)
    }
}
