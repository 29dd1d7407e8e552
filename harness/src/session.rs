//! The orchestrator: runs a plan, workload by workload, and returns what was measured. It prints nothing.

mod packets;
mod staged;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tc_adapter::{Client, Handle, HtbQdisc, QdiscEntry, Request, SocketOptions};
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{Instrument as _, info_span};

use crate::attribution::{Anatomy, Calls, Slowest};
use crate::disturb::Outcome;
use crate::exit::Failure;
use crate::load::{Crew, Driven, Schedule, Stop, Until, closed, open};
use crate::plan::{Load, Plan, Workload};
use crate::profile::{Frames, Gathered, KernelProfile};
use crate::record::{
    Descriptors, GrowthMeter, HdrLog, Interval, KernelCollector, KernelFigures, Recorder, ResourceMeter,
    Samples, Totals, Usage, Window,
};
use crate::report::model::{
    Mode, Percentiles, RunResources, SlowRequest, TimeAt, WorkloadResources, WorkloadResult,
};
use crate::spans::STEP;
use crate::traffic::TrafficReport;
use crate::workload::{Kind, ROOT_QDISC, scene};

pub use staged::{Second, Watcher};

/// How often latencies are moved to the log and progress is told.
const TICK: Duration = Duration::from_secs(1);

/// A fill of few classes is over before it can be measured, and takes a thousand times as long to prepare. After so many
/// times the asked duration no further fill is begun, and what was measured counts.
const PATIENCE: u32 = 5;

/// Hears how a run goes on.
pub trait Observer {
    /// A workload's preparation begins.
    fn begins(&self, workload: &Workload);
    /// Once a second while measuring.
    fn progress(&self, measured: Duration, succeeded: u64, last_interval: &Interval);
    /// A workload is over.
    fn ended(&self, result: &WorkloadResult);
}

/// What a run is done with.
pub struct Session<'a> {
    /// Interface indices, as many as [`Plan::devices_needed`] says.
    pub devices: &'a [u32],
    /// The kernel's side, unless probes are off.
    pub collector: Option<&'a KernelCollector>,
    /// Set by a signal.
    pub stop: &'a Stop,
    /// Told of progress.
    pub observer: &'a dyn Observer,
}

/// What came of a plan.
pub struct Measured {
    /// In the plan's order; a workload that a signal prevented is absent.
    pub workloads: Vec<WorkloadResult>,
    /// The process over all workloads.
    pub resources: RunResources,
    /// What is saved beside the figures.
    pub kept: Kept,
}

/// What is kept of a run beside its figures.
pub struct Kept {
    /// Every second's latencies.
    pub hdr: HdrLog,
    /// Kernel stacks, where probes took them.
    pub kernel_profile: KernelProfile,
    /// The slowest requests of each workload, where probes watched.
    pub slowest: BTreeMap<String, Vec<Slowest>>,
    /// Where threads were, if that was asked for, by workload.
    pub gathered: Vec<(String, Gathered)>,
    /// The frames of those stacks.
    pub frames: Frames,
    /// Whether threads that ran were sampled.
    pub sampled: bool,
    /// This process's id in the initial PID namespace, where probes watched.
    pub this_process: u32,
    /// Of a load profile: what each second was like.
    pub timeline: Vec<Second>,
    /// Of a load profile: what stood in its way.
    pub disturbances: Vec<Outcome>,
    /// What growth was told from.
    pub samples: Samples,
    /// Of a load profile: what became of its traffic.
    pub traffic: Option<TrafficReport>,
}

impl Kept {
    fn new(collector: Option<&KernelCollector>) -> Result<Self, Failure> {
        Ok(Self {
            hdr: HdrLog::new().map_err(|error| Failure::internal(error.to_string()))?,
            kernel_profile: KernelProfile::default(),
            slowest: BTreeMap::new(),
            gathered: Vec::new(),
            frames: Frames::new(),
            sampled: false,
            this_process: collector.map_or(0, KernelCollector::this_process),
            timeline: Vec::new(),
            disturbances: Vec::new(),
            samples: Samples::default(),
            traffic: None,
        })
    }

    /// Keeps what came of one workload in the kernel beside its figures.
    fn take(&mut self, tag: &str, kernel: &mut KernelFigures) {
        self.gathered.extend(kernel.gathered.take().map(|gathered| (tag.to_owned(), gathered)));
        self.sampled |= kernel.sampled;
        if kernel.anatomy.count() > 0 {
            self.slowest.insert(tag.to_owned(), kernel.anatomy.slowest());
        }
    }

    /// The slowest requests by workload, without where their threads were.
    pub fn slowest(&self) -> BTreeMap<String, Vec<SlowRequest>> {
        let requests = |slowest: &Vec<Slowest>| slowest.iter().map(|slow| slow.request.clone()).collect();
        self.slowest.iter().map(|(tag, slowest)| (tag.clone(), requests(slowest))).collect()
    }
}

/// One workload's figures in the making.
struct Course {
    recorder: Arc<Recorder>,
    latency: Interval,
    usage: Option<Usage>,
    unsent: u64,
    population_max: u64,
}

impl Session<'_> {
    /// Runs the plan to its end, or until it is stopped.
    pub async fn run(&self, plan: &Plan) -> Result<Measured, Failure> {
        let mut kept = Kept::new(self.collector)?;
        let before = Descriptors::now();
        let growth = GrowthMeter::start().map_err(|error| unmetered(&error))?;
        let mut workloads = Vec::new();
        let mut usages = Vec::new();
        for workload in &plan.workloads {
            if self.stop.is_set() {
                break;
            }
            self.observer.begins(workload);
            let step = info_span!(target: STEP, "workload", workload = tag(workload));
            let (result, usage) = self.measure(plan, workload, &mut kept).instrument(step).await?;
            self.observer.ended(&result);
            usages.push((result.mode, usage));
            workloads.push(result);
        }
        if let Some(collector) = self.collector {
            kept.frames = collector.frames(kept.gathered.iter().map(|(_, gathered)| gathered));
        }
        let (growth, samples) = growth.stop();
        kept.samples = samples;
        let resources = RunResources { growth, ..run_resources(&usages, before, Descriptors::now()) };
        Ok(Measured { workloads, resources, kept })
    }

    async fn measure(
        &self,
        plan: &Plan,
        workload: &Workload,
        kept: &mut Kept,
    ) -> Result<(WorkloadResult, Usage), Failure> {
        let setup = connect(NonZeroU16::MIN, false)?;
        if let Some(collector) = self.collector {
            collector.begin().map_err(|error| probes_failed(&error))?;
        }
        let began = Instant::now();
        let mut course: Option<Course> = None;
        for round in 0.. {
            let step = info_span!(target: STEP, "round", number = round);
            self.round(plan, workload, round, &setup, &mut course, kept).instrument(step).await?;
            self.tear_down(&setup).instrument(info_span!(target: STEP, "tear down")).await?;
            let measured = course.as_ref().map_or(Duration::ZERO, |course| course.recorder.measured());
            let fills = workload.kind == Kind::HtbClass && workload.load.rate().is_none();
            let duration = workload.load.duration();
            if !fills || measured >= duration || began.elapsed() >= duration * PATIENCE || self.stop.is_set()
            {
                break;
            }
        }
        let course = course.ok_or_else(|| Failure::internal("a workload without a round"))?;
        let interrupted = self.stop.is_set();
        let at_least = match workload.load {
            Load::Open { duration, .. } if !interrupted => duration,
            _ => Duration::ZERO,
        };
        let usage = course.usage.ok_or_else(|| Failure::internal("a round without usage"))?;
        let totals = course.recorder.totals(course.latency, at_least);
        let mut kernel = self
            .collector
            .map(KernelCollector::figures)
            .transpose()
            .map_err(|error| probes_failed(&error))?;
        if let Some(kernel) = &mut kernel {
            kept.take(&tag(workload), kernel);
        }
        let result = WorkloadResult {
            unsent: course.unsent,
            population_max: course.population_max,
            left_after_teardown: left(&setup, self.devices).await,
            interrupted,
            ..result(workload, self.devices_of(plan, workload).len(), &totals, &usage, kernel)
        };
        Ok((result, usage))
    }

    /// Sends what must stand before the first operation.
    async fn prepare(&self, client: &Client, requests: &[Request]) -> Result<(), Failure> {
        let sent = async {
            for request in requests {
                if self.stop.is_set() {
                    break;
                }
                client.request(request).await.map_err(|error| unprepared(&error))?;
            }
            Ok(())
        };
        sent.instrument(info_span!(target: STEP, "set up")).await
    }

    /// Sets the scene, warms up, measures.
    async fn round(
        &self,
        plan: &Plan,
        workload: &Workload,
        round: u64,
        setup: &Client,
        course: &mut Option<Course>,
        kept: &mut Kept,
    ) -> Result<(), Failure> {
        let seed = plan.seed.wrapping_add(round);
        let scene = scene(workload, self.devices_of(plan, workload), seed, plan.warmup);
        self.prepare(setup, &scene.setup).await?;
        let client = connect(plan.messages_per_packet, self.collector.is_some())?;
        let mut crew = Crew { client, recorder: None, calls: None, stop: self.stop.clone() };
        let warm = closed(&crew, scene.sources, Until::Operations(plan.warmup))
            .instrument(info_span!(target: STEP, "warm up"))
            .await;

        if let Some(collector) = self.collector {
            watch(collector, &mut crew, warm.sources.len())?;
        }
        let meter = ResourceMeter::start().map_err(|error| unmetered(&error))?;
        let start = Instant::now();
        let course = match course {
            Some(course) => {
                course.recorder.next_round(start);
                course
            }
            None => course.insert(Course {
                recorder: Arc::new(Recorder::new(warm.sources.len(), start)),
                latency: Interval::default(),
                usage: None,
                unsent: 0,
                population_max: scene.population_max,
            }),
        };
        crew.recorder = Some(Arc::clone(&course.recorder));
        let driven = self
            .drive(&crew, workload, warm, start, course, &mut kept.hdr)
            .instrument(info_span!(target: STEP, "measure"))
            .await?;
        let usage = meter.stop();
        course.unsent += driven.unsent;
        course.usage = Some(course.usage.map_or(usage, |before| before.and(usage)));
        if let Some(collector) = self.collector
            && let Some(samples) = info_span!(target: STEP, "stop sampling")
                .in_scope(|| collector.stop_sampling())
                .map_err(|error| probes_failed(&error))?
        {
            kept.kernel_profile.add(tag(workload), samples);
        }
        Ok(())
    }

    /// Drives the load, and moves the latencies to the log each second.
    async fn drive(
        &self,
        crew: &Crew,
        workload: &Workload,
        warm: Driven,
        start: Instant,
        course: &mut Course,
        hdr: &mut HdrLog,
    ) -> Result<Driven, Failure> {
        let load = async {
            match workload.load {
                Load::Open { rate, duration } => {
                    open(crew, warm.sources, Schedule::new(rate, duration), start)
                        .await
                        .map_err(|error| Failure::internal(format!("start the pacer: {error}")))
                }
                // A fill ends when its classes are there.
                Load::Closed { .. } if workload.kind == Kind::HtbClass => {
                    Ok(closed(crew, warm.sources, Until::Operations(u64::MAX)).await)
                }
                Load::Closed { duration } => {
                    Ok(closed(crew, warm.sources, Until::Deadline(start + duration)).await)
                }
            }
        };
        tokio::pin!(load);
        let mut ticker = interval_at((start + TICK).into(), TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = start;
        loop {
            let driven = tokio::select! {
                driven = &mut load => Some(driven?),
                _ = ticker.tick() => None,
            };
            let now = Instant::now();
            let interval = course.recorder.take_interval();
            hdr.push(&tag(workload), now - last, &interval)
                .map_err(|error| Failure::internal(error.to_string()))?;
            last = now;
            let recorder = &course.recorder;
            self.observer.progress(recorder.measured(), recorder.succeeded_so_far(), &interval);
            course.latency.add(&interval);
            if let Some(driven) = driven {
                return Ok(driven);
            }
        }
    }

    fn devices_of(&self, plan: &Plan, workload: &Workload) -> &[u32] {
        &self.devices[..plan.devices_of(workload) as usize]
    }

    /// Deletes what hangs at the devices' hooks (`tc qdisc del dev D root`, `… ingress`), and with it all classes and filters. Whatever
    /// a stopped workload left behind too.
    async fn tear_down(&self, client: &Client) -> Result<(), Failure> {
        let qdiscs = client.qdiscs(None).await.map_err(|error| unprepared(&error))?;
        let at_hook = |qdisc: &&QdiscEntry| [Handle::ROOT, Handle::INGRESS].contains(&qdisc.parent);
        for QdiscEntry { device, parent, handle, .. } in
            qdiscs.iter().filter(|qdisc| is_made(qdisc)).filter(at_hook)
        {
            let delete = Request::DeleteQdisc { device: *device, parent: *parent, handle: *handle };
            client.request(&delete).await.map_err(|error| unprepared(&error))?;
        }
        Ok(())
    }
}

/// One qdisc, created and deleted: a kernel without HTB is told apart from everything that may fail later. It also makes the kernel
/// load HTB where that is a module, so that its functions are there when probes are attached.
pub async fn check_htb(device: u32) -> Result<(), Failure> {
    let client = connect(NonZeroU16::MIN, false)?;
    let (handle, qdisc) = (ROOT_QDISC, HtbQdisc::new().into());
    client.request(&Request::AddQdisc { device, parent: Handle::ROOT, handle, qdisc }).await.map_err(
        |error| {
            Failure::environment(format!(
                "this kernel creates no HTB qdisc: {error}; it needs CONFIG_NET_SCH_HTB (modprobe sch_htb)"
            ))
        },
    )?;
    client.request(&delete_root(device)).await.map(drop).map_err(|error| unprepared(&error))
}

fn tag(workload: &Workload) -> String {
    format!("{}-{}", workload.kind.name(), workload.load.mode())
}

fn connect(messages_per_packet: NonZeroU16, timed: bool) -> Result<Client, Failure> {
    connect_with(options(messages_per_packet, timed))
}

fn options(messages_per_packet: NonZeroU16, timed: bool) -> SocketOptions {
    SocketOptions { messages_per_packet: Some(messages_per_packet), timed, ..SocketOptions::default() }
}

fn connect_with(options: SocketOptions) -> Result<Client, Failure> {
    Client::connect_with(options).map_err(|error| Failure::environment(error.to_string()))
}

/// Has the kernel's side of the crew's requests counted from now on, and joined with that of so many workers.
fn watch(collector: &KernelCollector, crew: &mut Crew, workers: usize) -> Result<(), Failure> {
    let calls = Arc::new(Calls::new(workers));
    let window = Window { port_id: crew.client.port_id(), after_sequence: crew.client.last_sequence() };
    collector.watch(window, Some(Arc::clone(&calls)));
    crew.calls = Some(calls);
    info_span!(target: STEP, "start sampling")
        .in_scope(|| collector.start_sampling())
        .map_err(|error| probes_failed(&error))
}

fn unmetered(error: &std::io::Error) -> Failure {
    Failure::internal(format!("start the meter: {error}"))
}

fn unprepared(error: &tc_adapter::Error) -> Failure {
    Failure::environment(format!("cannot prepare the workload: {error}"))
}

fn probes_failed(error: &ebpf_loader::Error) -> Failure {
    Failure::internal(format!("read the probes: {error}; --probes off runs without them"))
}

fn delete_root(device: u32) -> Request {
    Request::DeleteQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC }
}

/// Whether somebody made it: those that the kernel makes by itself have no handle.
fn is_made(qdisc: &QdiscEntry) -> bool {
    qdisc.handle != Handle::UNSPEC
}

/// Qdiscs and HTB classes that still stand, by asking the kernel. Filters go with what they hang on.
async fn left(client: &Client, devices: &[u32]) -> Option<u64> {
    let mut count = 0;
    for qdisc in client.qdiscs(None).await.ok()? {
        count += u64::from(is_made(&qdisc));
    }
    for &device in devices {
        let classes = client.classes(device).await.ok()?;
        count += classes.iter().filter(|class| class.kind == "htb").count() as u64;
    }
    Some(count)
}

fn result(
    workload: &Workload,
    devices: usize,
    totals: &Totals,
    usage: &Usage,
    kernel: Option<KernelFigures>,
) -> WorkloadResult {
    let latency_all_us = totals.latency_all();
    // Without a request that was joined there is nothing to say.
    let anatomy = kernel.as_ref().map(|figures| &figures.anatomy).filter(|anatomy| anatomy.count() > 0);
    let lost_events = kernel.as_ref().map(|figures| totals.operations().saturating_sub(figures.seen));
    WorkloadResult {
        name: workload.kind.name().into(),
        mode: workload.load.mode(),
        workers: workload.workers,
        rate: workload.load.rate(),
        duration_seconds: workload.load.duration().as_secs_f64(),
        classes: (workload.kind != Kind::HtbQdisc).then_some(workload.classes),
        weights: (workload.kind == Kind::Lifecycle).then(|| workload.weights.to_string()),
        devices: u32::try_from(devices).unwrap_or(u32::MAX),
        population_max: 0,
        operations: totals.operations(),
        unsent: 0,
        errors: totals.errors.clone(),
        expected_errors: totals.expected_errors.clone(),
        schedule_lag_us: totals.lag_us(),
        stage: None,
        measured_seconds: totals.measured.as_secs_f64(),
        throughput_ops_per_s: totals.throughput(),
        timeline_ops: totals.timeline.clone(),
        latency_us: totals.latency_by_operation(),
        latency_all_us,
        lost_events,
        lost_events_accounted: kernel.as_ref().map(|figures| figures.lost_at_most),
        phases_us: anatomy.map(Anatomy::by_operation),
        phases_all_us: anatomy.and_then(Anatomy::all),
        time_at: anatomy.zip(latency_all_us).map(|(anatomy, latency)| time_at(anatomy, &latency)),
        rtnl_waits: kernel.as_ref().and_then(|figures| figures.rtnl_waits.clone()),
        kernel_us: kernel.map(|figures| figures.phases),
        resources: WorkloadResources {
            peak_rss_bytes: usage.peak_rss_bytes,
            cpu_percent_of_one_core: usage.cpu_percent_of_one_core(),
            fds_max: usage.fds_max,
            sockets_max: usage.sockets_max,
        },
        left_after_teardown: None,
        interrupted: false,
    }
}

/// What requests at each percentile are made of.
fn time_at(anatomy: &Anatomy, latency: &Percentiles) -> BTreeMap<String, TimeAt> {
    let Percentiles { p50, p90, p95, p99, p99_9, max, .. } = *latency;
    [("p50", p50), ("p90", p90), ("p95", p95), ("p99", p99), ("p99_9", p99_9), ("max", max)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), anatomy.time_at(value)?)))
        .collect()
}

/// The whole run's resources. CPU is judged at the target load, which is the open loop's.
fn run_resources(
    usages: &[(Mode, Usage)],
    before: Option<Descriptors>,
    after: Option<Descriptors>,
) -> RunResources {
    let over = |only: Option<Mode>| {
        usages
            .iter()
            .filter(|(mode, _)| only.is_none_or(|only| only == *mode))
            .map(|(_, usage)| *usage)
            .reduce(Usage::and)
    };
    let (cpu_measured_at, judged) = match over(Some(Mode::Open)) {
        Some(usage) => ("target load", Some(usage)),
        None => ("all workloads", over(None)),
    };
    RunResources {
        peak_rss_bytes: over(None).and_then(|usage| usage.peak_rss_bytes),
        cpu_percent_of_one_core: judged.and_then(|usage| usage.cpu_percent_of_one_core()),
        cpu_measured_at: cpu_measured_at.into(),
        fds_before: before.map(|open| open.fds),
        fds_after: after.map(|open| open.fds),
        sockets_before: before.map(|open| open.sockets),
        sockets_after: after.map(|open| open.sockets),
        machine_cpu_percent: judged.and_then(|usage| usage.machine_cpu_percent()),
        machine_memory_percent: over(None).and_then(|usage| usage.machine_memory_percent),
        growth: None,
    }
}
