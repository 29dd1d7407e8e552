//! A load profile: one scene, and stage after stage on it.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{Instrument as _, info_span};

use super::packets::Packets;
use super::{
    Kept, Measured, Session, TICK, connect, connect_with, left, options, probes_failed, result,
    run_resources, unmetered, watch,
};
use crate::disturb::{Course as Disturbances, receive_buffer};
use crate::exit::Failure;
use crate::load::{Alarm, Crew, Driven, Until, Users, closed, open, users};
use crate::load_profile::{Executor, LoadProfile, Stage};
use crate::plan::Workload;
use crate::record::{
    Descriptors, GrowthMeter, Interval, Recorder, ResourceMeter, Usage, give_way, percentiles, resident_bytes,
};
use crate::report::model::{Percentiles, RunResources, WorkloadResult};
use crate::spans::STEP;
use crate::workload::Source;

/// How many requests that wait at the same time may travel in one system call: each is a request of its own, so that the probes can
/// tell them apart whatever their kind.
const ONE_MESSAGE: NonZeroU16 = NonZeroU16::MIN;

/// What one second of a load profile was like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Second {
    /// Its end, after the profile's beginning.
    pub at_seconds: f64,
    /// The stage that it belongs to.
    pub stage: String,
    /// Users that were to be there in its middle; of an open loop, at most.
    pub users: f64,
    /// The rate that was to be offered in its middle; null in a closed loop.
    pub rate: Option<f64>,
    /// How long it was: the last of a stage is shorter.
    pub seconds: f64,
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that failed and should not have.
    pub errors: u64,
    /// Latencies, µs; null without an operation.
    pub latency_us: Option<Percentiles>,
    /// How late workers began that were free, µs.
    pub schedule_lag_us: Option<Percentiles>,
    /// Resident set, bytes.
    pub rss_bytes: Option<u64>,
    /// Open descriptors.
    pub fds: Option<u64>,
}

/// Hears how a load profile goes on.
pub trait Watcher {
    /// A stage begins.
    fn begins(&self, stage: &Stage);
    /// Once a second, with what the stage has measured so far. Says why the run is to be given up, if it is.
    fn second(&self, second: &Second, so_far: &WorkloadResult) -> Option<String>;
    /// A stage is over: these are, up to now.
    fn ended(&self, stages: &[WorkloadResult]) -> Result<(), Failure>;
}

/// What all stages share.
struct Stages<'a> {
    session: &'a Session<'a>,
    profile: &'a LoadProfile,
    watcher: &'a dyn Watcher,
    crew: Crew,
    alarm: Alarm,
    /// When the first stage began.
    began: Instant,
}

/// One stage's figures in the making.
struct Course {
    recorder: Arc<Recorder>,
    latency: Interval,
}

impl Session<'_> {
    /// Runs the stages to their end, or until they are stopped or given up; why, is in the second part.
    pub async fn run_stages(
        &self,
        profile: &LoadProfile,
        watcher: &dyn Watcher,
    ) -> Result<(Measured, Option<String>), Failure> {
        // Once a second this thread adds up, compresses and judges, for some milliseconds.
        give_way();
        let mut kept = Kept::new(self.collector)?;
        // One a second, and one more for each stage's broken one.
        let seconds = usize::try_from(profile.length().as_secs()).unwrap_or(0);
        kept.timeline.reserve(seconds + 2 * profile.stages.len());
        let before = Descriptors::now();
        let mut course = Disturbances::prepare(&profile.disturbances)?;
        let setup = connect(NonZeroU16::MIN, false)?;
        let scene = profile.scene(self.devices).map_err(Failure::usage)?;
        let mut packets = profile.traffic.map(|plan| Packets::new(plan, self.devices));
        let classes = packets.as_ref().map_or(0, Packets::classes);
        self.prepare(&setup, &scene.setup).await?;
        let mut workers = scene.sources;
        if let Some(packets) = &packets {
            self.prepare(&setup, &packets.setup()).await?;
            workers = packets.among(workers, profile.seed);
        }
        let socket = options(ONE_MESSAGE, self.collector.is_some());
        let client = connect_with(receive_buffer(&profile.disturbances, socket))?;
        let crew = Crew { client, recorder: None, calls: None, stop: self.stop.clone() };
        let warm = closed(&crew, workers, Until::Operations(profile.warmup))
            .instrument(info_span!(target: STEP, "warm up"))
            .await;
        let alarm = Alarm::start(self.stop.clone())
            .map_err(|error| Failure::environment(format!("start the alarm clock: {error}")))?;
        if let Some(packets) = &mut packets {
            packets.start().await?;
        }
        let growth = GrowthMeter::start().map_err(|error| unmetered(&error))?;
        course.begin(self.devices)?;
        let stages = Stages { session: self, profile, watcher, crew, alarm, began: Instant::now() };

        let mut sources = warm.sources;
        let mut results: Vec<WorkloadResult> = Vec::new();
        let mut usages = Vec::new();
        let mut given_up = None;
        for stage in &profile.stages {
            if !stages.alarm.at(stages.began + stage.start).await {
                break;
            }
            let step = info_span!(target: STEP, "stage", stage = stage.name.as_str());
            let done = stages.measure(stage, sources, &mut kept).instrument(step).await?;
            let mut result = done.result;
            result.population_max = scene.population_max + classes;
            usages.push((result.mode, done.usage));
            results.push(result);
            watcher.ended(&results)?;
            sources = done.sources;
            given_up = done.given_up;
            if given_up.is_some() || self.stop.is_set() {
                break;
            }
        }
        let (growth, samples) = growth.stop();
        kept.samples = samples;
        kept.disturbances = course.end();
        if let Some(packets) = packets {
            kept.traffic = packets.stop()?;
        }
        // The socket, before descriptors are counted.
        drop(stages);
        self.tear_down(&setup).instrument(info_span!(target: STEP, "tear down")).await?;
        let standing = left(&setup, self.devices).await;
        drop(setup);
        // They stood on one scene.
        for result in &mut results {
            result.left_after_teardown = standing;
        }
        if let Some(collector) = self.collector {
            kept.frames = collector.frames(kept.gathered.iter().map(|(_, gathered)| gathered));
        }
        let resources = RunResources { growth, ..run_resources(&usages, before, Descriptors::now()) };
        Ok((Measured { workloads: results, resources, kept }, given_up))
    }
}

/// What came of a stage.
struct Done {
    result: WorkloadResult,
    usage: Usage,
    sources: Vec<Box<dyn Source>>,
    given_up: Option<String>,
}

impl Stages<'_> {
    async fn measure(
        &self,
        stage: &Stage,
        sources: Vec<Box<dyn Source>>,
        kept: &mut Kept,
    ) -> Result<Done, Failure> {
        self.watcher.begins(stage);
        let workload = self.profile.workload(stage);
        let mut crew = self.crew.clone();
        let collector = self.session.collector;
        if let Some(collector) = collector {
            collector.begin().map_err(|error| probes_failed(&error))?;
            watch(collector, &mut crew, sources.len())?;
        }
        let meter = ResourceMeter::start().map_err(|error| unmetered(&error))?;
        let start = Instant::now();
        let recorder = Arc::new(Recorder::new(sources.len(), start));
        crew.recorder = Some(Arc::clone(&recorder));
        let mut course = Course { recorder, latency: Interval::default() };
        let (driven, given_up) =
            self.drive(&crew, stage, &workload, sources, start, &mut course, kept).await?;
        let usage = meter.stop();
        let interrupted = self.session.stop.is_set();
        let mut kernel = None;
        if let Some(collector) = collector {
            if let Some(samples) = collector.stop_sampling().map_err(|error| probes_failed(&error))? {
                kept.kernel_profile.add(stage.name.clone(), samples);
            }
            let mut figures = collector.figures().map_err(|error| probes_failed(&error))?;
            kept.take(&stage.name, &mut figures);
            kernel = Some(figures);
        }
        // A second in which nothing was answered counts, up to the stage's end.
        let at_least = if interrupted || given_up.is_some() { Duration::ZERO } else { stage.duration };
        let totals = course.recorder.totals(course.latency, at_least);
        let result = WorkloadResult {
            unsent: driven.unsent,
            interrupted,
            stage: Some(stage.settings()),
            ..result(&workload, self.session.devices.len(), &totals, &usage, kernel)
        };
        Ok(Done { result, usage, sources: driven.sources, given_up })
    }

    /// Drives the load, and looks at it each second.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a stage is, what it works on, and where its figures go"
    )]
    async fn drive(
        &self,
        crew: &Crew,
        stage: &Stage,
        workload: &Workload,
        sources: Vec<Box<dyn Source>>,
        start: Instant,
        course: &mut Course,
        kept: &mut Kept,
    ) -> Result<(Driven, Option<String>), Failure> {
        let seed = self.profile.seed;
        // A run that is given up ends as one that is stopped does, for this stage only.
        let load = async {
            match (stage.executor, stage.schedule(seed)) {
                (Executor::Open { users, .. }, Some(schedule)) => {
                    let mut sources = sources;
                    let idle = sources.split_off((users as usize).min(sources.len()));
                    let mut driven = open(crew, sources, schedule, start)
                        .await
                        .map_err(|error| Failure::internal(format!("start the pacer: {error}")))?;
                    driven.sources.extend(idle);
                    Ok(driven)
                }
                (Executor::Closed { users: count, think }, _) => {
                    let plan = Users { count, think, seed, duration: stage.duration };
                    Ok(users(crew, sources, plan, &self.alarm, start).await)
                }
                (Executor::Open { .. }, None) => Err(Failure::internal("an open loop without a schedule")),
            }
        };
        tokio::pin!(load);
        let mut ticker = interval_at((start + TICK).into(), TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = start;
        let mut given_up = None;
        loop {
            let driven = tokio::select! {
                driven = &mut load => Some(driven?),
                _ = ticker.tick() => None,
            };
            let now = Instant::now();
            let interval = course.recorder.take_interval();
            kept.hdr
                .push(&stage.name, now - last, &interval)
                .map_err(|error| Failure::internal(error.to_string()))?;
            let second = self.second(stage, start, last, now, &interval);
            last = now;
            course.latency.add(&interval);
            let totals = course.recorder.totals(course.latency.clone(), Duration::ZERO);
            let so_far = WorkloadResult {
                stage: Some(stage.settings()),
                ..result(workload, self.session.devices.len(), &totals, &Usage::unknown(now - start), None)
            };
            let verdict = self.watcher.second(&second, &so_far);
            kept.timeline.push(second);
            if given_up.is_none() && verdict.is_some() {
                given_up = verdict;
                crew.stop.set();
            }
            if let Some(driven) = driven {
                return Ok((driven, given_up));
            }
        }
    }

    fn second(
        &self,
        stage: &Stage,
        start: Instant,
        last: Instant,
        now: Instant,
        interval: &Interval,
    ) -> Second {
        let seconds = (now - last).as_secs_f64();
        let middle = (now - start).as_secs_f64() - seconds / 2.0;
        let share = (middle / stage.duration.as_secs_f64()).clamp(0.0, 1.0);
        let (users, rate) = match stage.executor {
            Executor::Closed { users, .. } => (users.at(share), None),
            Executor::Open { rate, users, .. } => (f64::from(users), Some(rate.at(share))),
        };
        let latency = interval.merged();
        Second {
            at_seconds: (now - self.began).as_secs_f64(),
            stage: stage.name.clone(),
            users,
            rate,
            seconds,
            operations: latency.len(),
            errors: interval.failed,
            latency_us: percentiles(&latency),
            schedule_lag_us: percentiles(&interval.lag),
            rss_bytes: resident_bytes(),
            fds: Descriptors::now().map(|open| open.fds),
        }
    }
}
