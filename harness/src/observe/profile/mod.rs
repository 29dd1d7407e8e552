//! Requests of observed programs as figures: histograms, phases, refusals, holders of RTNL; and as flamegraphs.

mod figures;
pub mod model;
mod text;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ebpf_loader::{Counters, Probes, SampleEvent, Seen};
use figures::Figures;
use model::{Lost, Profile, Stacks, VERSION};
pub use text::text;

use super::audience::{Audience, Ending, State};
use super::clock::Clock;
use super::request::Request;
use super::watch::{Ended, Subject, Watch, watch};
use crate::attribution::Measured;
use crate::environment;
use crate::exit::Failure;
use crate::probes::{Choice, describe, frames};
use crate::profile::{
    Doing, File, Frames, Gathered, Graphs, Mappings, ON_CPU, Part, ProfileError, STACK_FILES, Slow, Symbols,
};
use crate::report::model::Probes as ProbesReport;
use crate::report::words;

/// All names that a file of a profile may have.
pub fn files() -> Vec<&'static str> {
    [DOCUMENT].into_iter().chain(STACK_FILES).collect()
}

/// The figures' own.
pub const DOCUMENT: &str = "profile.json";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whom to follow, and by which probes.
    pub watch: Watch,
    /// The kind of probes that was asked for.
    pub choice: Choice,
    /// From when on a request is slow; `None`: the slowest twentieth are.
    pub over: Option<Duration>,
}

/// What came of it.
pub struct Profiled {
    /// How watching ended.
    pub ended: Ended,
    /// The figures.
    pub profile: Profile,
    /// Flamegraphs and their stacks.
    pub files: Vec<File>,
}

/// Follows, until there is nobody left to follow or a person has had enough. `say` is told what a person should know meanwhile.
pub fn profile(order: &Order, say: &mut dyn FnMut(&str)) -> Result<Profiled, Failure> {
    let hz = order.watch.probes.sample_hz.unwrap_or(0);
    // Requests are told apart by steps of their time, one of which begins where they are slow.
    let unit = order.over.map_or(1_000, |over| u64::try_from(over.as_nanos()).unwrap_or(u64::MAX));
    let mut profiler = Profiler {
        choice: order.choice,
        hz,
        say,
        begun: Clock::now(),
        figures: Figures::default(),
        gathered: Gathered::new(hz, unit),
        mappings: Mappings::default(),
        looked: HashSet::new(),
        new: Vec::new(),
        sampled: Err("the probes were not attached".to_owned()),
        seen: None,
    };
    let began = Instant::now();
    let ended = watch(&order.watch, &mut profiler)?;
    let seconds = began.elapsed().as_secs_f64();
    let Profiler { begun, figures, gathered, mappings, sampled, seen, .. } = profiler;
    let seen = seen.ok_or_else(|| Failure::internal("the probes were gone before they were asked"))?;
    let slow = if order.over.is_some() { Some(gathered.over_unit()) } else { gathered.slowest() };
    let failed = |error: ProfileError| Failure::internal(error.to_string());
    let hz = sampled.is_ok().then_some(hz);
    let at_least = slow.map_or_else(String::new, |slow| {
        format!("{} or more", words::duration(slow.at_least_ns as f64 / 1e3))
    });
    let part = Part { label: None, gathered, slow };
    let graphs =
        Graphs::new(vec![part], seen.frames, &mappings, &seen.symbols, hz, at_least).map_err(failed)?;
    let profile = Profile {
        version: VERSION,
        begun: begun.at().rfc3339(),
        seconds,
        subject: subject(&order.watch.subject),
        exit_code: ended.code,
        kernel: environment::kernel_release(),
        cpu: environment::cpu_model(),
        requests: figures.requests(),
        lost: lost(seen.counters.as_ref()),
        by_type: figures.by_type(seen.measured, seen.system_calls),
        refusals: figures.refusals(),
        rtnl_waits: seen.tells_holders.then(|| figures.rtnl_waits()).flatten().map(|mut waits| {
            let mut doing = graphs.doing(None);
            for holder in &mut waits.holders {
                holder.doing = doing.remove(&holder.pid);
            }
            waits
        }),
        stacks: stacks(&graphs, seen.measured, hz, sampled.err(), slow),
        probes: seen.report,
    };
    Ok(Profiled { ended, profile, files: graphs.files().map_err(failed)? })
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Command(command) => command.to_string(),
        Subject::Process(process) => format!("process {process}"),
        Subject::Everybody => "every process".to_owned(),
    }
}

fn lost(counters: Option<&Counters>) -> Lost {
    Lost {
        requests_at_most: counters.map(Counters::lost),
        ext_acks: counters.map(|counters| counters.lost_ext_acks),
        samples: counters.map(|counters| counters.lost_samples),
        processes: counters.map(|counters| counters.lost_processes),
    }
}

fn stacks(
    graphs: &Graphs,
    measured: Measured,
    hz: Option<u64>,
    not_sampled: Option<String>,
    slow: Option<Slow>,
) -> Stacks {
    Stacks {
        hz,
        not_sampled,
        on_cpu_us: hz.map(|_| graphs.micros(&ON_CPU)),
        off_cpu_us: measured.off_cpu.then(|| graphs.micros(&[Doing::OffCpu])),
        rtnl_wait_us: measured.rtnl_wait.then(|| graphs.micros(&[Doing::RtnlWait])),
        slow: slow.map(|slow| model::Slow {
            at_least_us: slow.at_least_ns as f64 / 1e3,
            requests: slow.requests,
            of: slow.of,
        }),
    }
}

/// What only the probes know, from while they were attached.
struct Known {
    report: ProbesReport,
    counters: Option<Counters>,
    measured: Measured,
    system_calls: bool,
    tells_holders: bool,
    frames: Frames,
    symbols: Symbols,
}

struct Profiler<'a> {
    choice: Choice,
    hz: u64,
    say: &'a mut dyn FnMut(&str),
    begun: Clock,
    figures: Figures,
    gathered: Gathered,
    mappings: Mappings,
    /// Stacks in user mode, by process, whose mappings have been read.
    looked: HashSet<(u32, i32)>,
    new: Vec<(u32, i32)>,
    /// Why running threads are not sampled, if they are not.
    sampled: Result<(), String>,
    seen: Option<Known>,
}

impl Profiler<'_> {
    /// Reads the mappings of who was seen with a stack in user mode, before it ends.
    fn look(&mut self, probes: &Probes) {
        for (process, number) in std::mem::take(&mut self.new) {
            // Without one there is nothing to name.
            for address in probes.stack(number).unwrap_or_default() {
                self.mappings.look(process, address);
            }
        }
    }
}

impl Audience for Profiler<'_> {
    fn begin(&mut self, probes: &mut Probes) -> Result<(), Failure> {
        self.sampled = match self.hz {
            0 => Err("--hz 0".to_owned()),
            _ => probes.start_sampling().map_err(|error| error.to_string()),
        };
        Ok(())
    }

    fn tell(&mut self, news: &str) {
        (self.say)(news);
    }

    fn take(&mut self, seen: &Seen<'_>, request: Request) {
        self.figures.add(seen, &request);
        let samples = self.gathered.take(seen.event);
        self.gathered.request(seen.event.total_ns, &samples, request.comm.as_deref());
    }

    fn sample(&mut self, sample: &SampleEvent) {
        self.gathered.sample(sample);
        if sample.user_stack >= 0 && self.looked.insert((sample.tgid, sample.user_stack)) {
            self.new.push((sample.tgid, sample.user_stack));
        }
    }

    fn flush(&mut self, probes: &mut Probes) -> State {
        self.look(probes);
        State::Open
    }

    fn end(&mut self, probes: &mut Probes, _ending: Ending) {
        self.look(probes);
        if self.sampled.is_ok()
            && let Err(error) = probes.stop_sampling()
        {
            tracing::debug!("stop sampling: {error}");
        }
        self.gathered.finish();
        let report = probes.report();
        self.seen = Some(Known {
            measured: Measured { rtnl_wait: report.measures_rtnl_wait(), off_cpu: report.measures_off_cpu() },
            system_calls: !report.kind.tells_messages_apart(),
            tells_holders: report.tells_holders(),
            report: describe(probes, self.choice),
            counters: probes.counters().map_err(|error| tracing::warn!("count losses: {error}")).ok(),
            frames: frames([&self.gathered], probes),
            symbols: Symbols::read(),
        });
    }
}
