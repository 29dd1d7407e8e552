//! pprof in our own process: `cpu.pb.gz` and `user.svg`.

use std::fs;
use std::os::fd::IntoRawFd as _;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal, raise};
use nix::time::{ClockId, clock_getres};
use pprof::protos::Message as _;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use super::ProfileError;
use crate::memory;

/// Samples that are asked for, per second of CPU time; see [`sample_hz`] for those that are taken.
const SAMPLE_HZ: u16 = 997;

/// pprof, ready to sample from the first moment on without allocating in its signal handler.
pub struct ReadyProfiler {
    hz: u16,
}

/// Samples CPU time by SIGPROF until it is finished.
pub struct UserProfiler {
    guard: ProfilerGuard<'static>,
    hz: u16,
}

impl ReadyProfiler {
    /// Makes pprof ready. Must be called while the process has one thread.
    ///
    /// pprof's first sample reads the unwind tables of all libraries inside its signal handler, and allocates for them.
    /// A thread that was interrupted inside the allocator would wait for itself forever. So the first sample is taken
    /// here, by the only thread there is, at a moment when it holds no lock.
    pub fn new() -> Result<Self, ProfileError> {
        keep_scratch_file_in_memory()?;
        Self::beside_temporary_files()
    }

    /// The same for programs that need no root: pprof's scratch file lies where temporary files do, and is left there.
    pub fn beside_temporary_files() -> Result<Self, ProfileError> {
        let failed = |errno: nix::Error| ProfileError::new("take pprof's first sample", &errno.desc());
        let mut sigprof = SigSet::empty();
        sigprof.add(Signal::SIGPROF);
        sigprof.thread_block().map_err(failed)?;
        let hz = sample_hz();
        let guard = guard(hz)?;
        raise(Signal::SIGPROF).map_err(failed)?;
        // Here it is delivered, and handled, before the call returns.
        sigprof.thread_unblock().map_err(failed)?;
        drop(guard);
        Ok(Self { hz })
    }

    /// Starts sampling all threads.
    pub fn start(self) -> Result<UserProfiler, ProfileError> {
        Ok(UserProfiler { guard: guard(self.hz)?, hz: self.hz })
    }
}

fn guard(hz: u16) -> Result<ProfilerGuard<'static>, ProfileError> {
    let guard = ProfilerGuardBuilder::default()
        .frequency(i32::from(hz))
        .build()
        .map_err(|error| ProfileError::new("start pprof", &error))?;
    // To be ready for samples, pprof resolves a backtrace, which reads the line tables of the whole binary.
    // They are needed again only when measuring is over.
    backtrace::clear_symbol_cache();
    Ok(guard)
}

/// pprof keeps what does not fit into its table in a temporary file, which it never deletes: its profiler is a static. So its
/// temporary folder is a file system in memory that has no name anywhere and ends with the process.
fn keep_scratch_file_in_memory() -> Result<(), ProfileError> {
    let root = memory::nameless()
        .map_err(|errno| ProfileError::new("make a file system for pprof's file", &errno))?;
    // Never closed: pprof's static profiler has no end either.
    let path = format!("/proc/self/fd/{}", root.into_raw_fd());
    fs::metadata(&path).map_err(|error| ProfileError::new("make a file system for pprof's file", &error))?;
    tempfile::env::override_temp_dir(Path::new(&path))
        .map_err(|other| ProfileError::new("set pprof's temporary folder", &other.display()))
}

/// The kernel looks at CPU timers when its clock ticks. A timer that is to fire more often fires once a tick, and each
/// of pprof's samples would stand for less time than passed.
fn sample_hz() -> u16 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok().map(std::time::Duration::from);
    let ticks_a_second = tick.map_or(u128::from(SAMPLE_HZ), |tick| 1_000_000_000 / tick.as_nanos().max(1));
    u16::try_from(ticks_a_second).unwrap_or(SAMPLE_HZ).clamp(1, SAMPLE_HZ)
}

impl UserProfiler {
    /// Stops, and puts names to the addresses. This reads the binary's line tables and takes memory: it comes after
    /// everything that is measured. The flamegraph is titled `title`.
    pub fn finish(self, title: &str) -> Result<UserProfile, ProfileError> {
        let report =
            self.guard.report().build().map_err(|error| ProfileError::new("finish pprof", &error))?;
        if report.data.is_empty() {
            return Err(ProfileError::new("finish pprof", &"no sample was taken"));
        }
        let profile = report.pprof().map_err(|error| ProfileError::new("encode the CPU profile", &error))?;
        let mut flamegraph = Vec::new();
        let mut options = pprof::flamegraph::Options::default();
        title.clone_into(&mut options.title);
        options.subtitle = Some(format!("SIGPROF at {} Hz; a system call counts for its caller", self.hz));
        report
            .flamegraph_with_options(&mut flamegraph, &mut options)
            .map_err(|error| ProfileError::new("draw a flamegraph", &error))?;
        Ok(UserProfile { protobuf: profile.encode_to_vec(), flamegraph })
    }
}

/// A finished profile.
pub struct UserProfile {
    /// pprof's protobuf.
    pub protobuf: Vec<u8>,
    /// SVG.
    pub flamegraph: Vec<u8>,
}
