//! Kernel stacks of this process, sampled by a timer on each CPU.

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray, PerCpuValues, StackTraceMap},
    programs::{
        PerfEvent, ProgramError,
        perf_event::{PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    util::{nr_cpus, online_cpus},
};
use ebpf_common::{Counters, STACK_BUCKETS};

use crate::error::Error;

/// One kernel stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelStack {
    /// Return addresses, leaf first; 127 at most.
    pub frames: Vec<u64>,
    /// In how many samples it was seen.
    pub count: u64,
}

/// What sampling saw between its start and its stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleSet {
    /// Each different stack, the most frequent first.
    pub stacks: Vec<KernelStack>,
    /// Samples that hit this process in user mode.
    pub user_mode: u64,
    /// Samples in kernel mode whose stack could not be stored.
    pub lost: u64,
    /// Samples a second of CPU time.
    pub hz: u64,
}

/// The sampling program and its maps.
pub(crate) struct Sampler {
    hz: u64,
    /// The stacks, and those that found their bucket taken.
    stacks: [StackTraceMap<MapData>; 2],
    counts: PerCpuArray<MapData, u64>,
    running: Option<Running>,
}

struct Running {
    links: Vec<PerfEventLinkId>,
    before: Counters,
}

impl Sampler {
    /// Loads the program and makes sure, on one CPU, that the kernel takes it.
    pub(crate) fn prepare(ebpf: &mut Ebpf, hz: u64) -> Result<Self, Error> {
        let stacks = [
            StackTraceMap::try_from(take(ebpf, "STACKS")?)?,
            StackTraceMap::try_from(take(ebpf, "OVERFLOW")?)?,
        ];
        let counts = PerCpuArray::try_from(take(ebpf, "STACK_COUNTS")?)?;
        let program = program(ebpf)?;
        program.load()?;
        let cpu = cpus()?.first().copied().unwrap_or(0);
        let link = open(program, cpu, hz)?;
        program.detach(link)?;
        Ok(Self { hz, stacks, counts, running: None })
    }

    /// Starts on every CPU. `before` are the probes' counters now.
    pub(crate) fn start(&mut self, ebpf: &mut Ebpf, before: Counters) -> Result<(), Error> {
        if self.running.is_some() {
            return Err(Error::Sampling("it is running".to_owned()));
        }
        let program = program(ebpf)?;
        let mut links = Vec::new();
        for cpu in cpus()? {
            match open(program, cpu, self.hz) {
                Ok(link) => links.push(link),
                Err(error) => {
                    detach(program, links)?;
                    return Err(error.into());
                }
            }
        }
        self.running = Some(Running { links, before });
        Ok(())
    }

    /// Detaches the timers. The counters that were read before the start are returned.
    pub(crate) fn stop(&mut self, ebpf: &mut Ebpf) -> Result<Counters, Error> {
        let Some(running) = self.running.take() else {
            return Err(Error::Sampling("it is not running".to_owned()));
        };
        detach(program(ebpf)?, running.links)?;
        Ok(running.before)
    }

    /// Samples a second and CPU.
    pub(crate) fn hz(&self) -> u64 {
        self.hz
    }

    /// The stack of this number; empty where there is none.
    pub(crate) fn stack(&self, number: i32) -> Result<Vec<u64>, Error> {
        let Ok(number) = u32::try_from(number) else { return Ok(Vec::new()) };
        let [stacks, overflow] = &self.stacks;
        let trace = match number.checked_sub(STACK_BUCKETS) {
            None => stacks.get(&number, 0),
            Some(number) => overflow.get(&number, 0),
        }?;
        Ok(trace.frames().iter().map(|frame| frame.ip).collect())
    }

    /// Takes the stacks out of the maps, which are empty afterwards.
    pub(crate) fn collect(&mut self, before: Counters, after: Counters) -> Result<SampleSet, Error> {
        let cpus = nr_cpus().map_err(|(path, error)| Error::Cpus(path, error))?;
        let mut stacks = Vec::new();
        for (map, first_count) in self.stacks.iter_mut().zip([0, STACK_BUCKETS]) {
            let ids = map.stack_ids().collect::<Result<Vec<u32>, _>>()?;
            for id in ids {
                let trace = map.get(&id, 0)?;
                let count = self.counts.get(&(first_count + id), 0)?.iter().sum();
                stacks.push(KernelStack {
                    frames: trace.frames().iter().map(|frame| frame.ip).collect(),
                    count,
                });
                let zeros =
                    PerCpuValues::try_from(vec![0; cpus]).map_err(|error| Error::Cpus("possible", error))?;
                self.counts.set(first_count + id, zeros, 0)?;
                map.remove(&id)?;
            }
        }
        stacks.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.frames.cmp(&b.frames)));
        Ok(SampleSet {
            stacks,
            user_mode: after.samples_user - before.samples_user,
            lost: after.samples_lost - before.samples_lost,
            hz: self.hz,
        })
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Missing(name))
}

fn program(ebpf: &mut Ebpf) -> Result<&mut PerfEvent, Error> {
    Ok(ebpf.program_mut("sample").ok_or(Error::Missing("sample"))?.try_into()?)
}

fn cpus() -> Result<Vec<u32>, Error> {
    online_cpus().map_err(|(path, error)| Error::Cpus(path, error))
}

fn open(program: &mut PerfEvent, cpu: u32, hz: u64) -> Result<PerfEventLinkId, ProgramError> {
    program.attach(
        PerfEventConfig::Software(SoftwareEvent::CpuClock),
        PerfEventScope::AllProcessesOneCpu { cpu },
        SamplePolicy::Frequency(hz),
        false,
    )
}

fn detach(program: &mut PerfEvent, links: Vec<PerfEventLinkId>) -> Result<(), ProgramError> {
    links.into_iter().try_for_each(|link| program.detach(link))
}
