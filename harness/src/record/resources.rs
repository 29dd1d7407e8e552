//! What the process uses, sampled while a workload is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use procfs::process::{ClearRefs, FDTarget, Process};

use crate::environment::{CpuTime, cpu_time as machine_cpu_time, memory_in_use};

/// Reading /proc/self/fd costs some microseconds a descriptor: ten times a second is nothing.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Open descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// All of them.
    pub fds: u64,
    /// Those that are sockets.
    pub sockets: u64,
}

impl Descriptors {
    /// Those of this process now, less the one that reads them. `None` where /proc does not tell.
    pub fn now() -> Option<Self> {
        let mut descriptors = Self { fds: 0, sockets: 0 };
        for fd in Process::myself().ok()?.fd().ok()?.flatten() {
            descriptors.fds += 1;
            descriptors.sockets += u64::from(matches!(fd.target, FDTarget::Socket(_)));
        }
        Some(descriptors)
    }
}

/// What was used between [`ResourceMeter::start`] and [`ResourceMeter::stop`].
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Peak resident set, bytes.
    pub peak_rss_bytes: Option<u64>,
    /// User and system time.
    pub cpu: Option<Duration>,
    /// Wall time.
    pub wall: Duration,
    /// Most descriptors seen.
    pub fds_max: Option<u64>,
    /// Most sockets seen.
    pub sockets_max: Option<u64>,
    /// The whole machine's CPU time in use, and all of it; ticks.
    pub machine_cpu: Option<(u64, u64)>,
    /// The most of the machine's memory in use, percent.
    pub machine_memory_percent: Option<f64>,
}

impl Usage {
    /// Where nothing but the time was measured.
    pub fn unknown(wall: Duration) -> Self {
        Self {
            peak_rss_bytes: None,
            cpu: None,
            machine_cpu: None,
            machine_memory_percent: None,
            wall,
            fds_max: None,
            sockets_max: None,
        }
    }

    /// Both together: times add up, peaks do not.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let peak = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
        Self {
            peak_rss_bytes: peak(self.peak_rss_bytes, other.peak_rss_bytes),
            cpu: self.cpu.zip(other.cpu).map(|(a, b)| a + b),
            wall: self.wall + other.wall,
            fds_max: peak(self.fds_max, other.fds_max),
            sockets_max: peak(self.sockets_max, other.sockets_max),
            machine_cpu: self.machine_cpu.zip(other.machine_cpu).map(|(a, b)| (a.0 + b.0, a.1 + b.1)),
            machine_memory_percent: self
                .machine_memory_percent
                .zip(other.machine_memory_percent)
                .map(|(a, b)| a.max(b)),
        }
    }

    /// The machine's CPU time in use, percent of all cores.
    pub fn machine_cpu_percent(&self) -> Option<f64> {
        let (busy, total) = self.machine_cpu?;
        (total > 0).then(|| busy as f64 / total as f64 * 100.0)
    }

    /// CPU time over wall time; 100 is one core kept busy.
    pub fn cpu_percent_of_one_core(&self) -> Option<f64> {
        let wall = self.wall.as_secs_f64();
        (wall > 0.0).then_some(self.cpu?.as_secs_f64() / wall * 100.0)
    }
}

/// Measures the process until it is stopped.
pub struct ResourceMeter {
    began: Instant,
    cpu_before: Option<Duration>,
    machine_before: Option<CpuTime>,
    hwm_reset: bool,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    fds_max: AtomicU64,
    sockets_max: AtomicU64,
    /// Millionths of the machine's memory, and one more: nothing was seen while it is 0.
    memory_max: AtomicU64,
}

/// How finely the machine's memory is told.
const MILLION: f64 = 1e6;

impl Shared {
    fn sample(&self) {
        if let Some(descriptors) = Descriptors::now() {
            self.fds_max.fetch_max(descriptors.fds, Ordering::Relaxed);
            self.sockets_max.fetch_max(descriptors.sockets, Ordering::Relaxed);
        }
        if let Some(share) = memory_in_use() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
            let millionths = (share * MILLION) as u64;
            self.memory_max.fetch_max(millionths + 1, Ordering::Relaxed);
        }
    }
}

impl ResourceMeter {
    /// Resets the kernel's high-water mark and starts sampling.
    pub fn start() -> std::io::Result<Self> {
        // Writing 5 to clear_refs resets VmHWM (proc(5)), so that each workload has a peak of its own.
        let hwm_reset = Process::myself().and_then(|me| me.clear_refs(ClearRefs::PeakRSS)).is_ok();
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("qdiscope-meter".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                super::give_way();
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.sample();
                    thread::park_timeout(SAMPLE_EVERY);
                }
            }
        })?;
        Ok(Self {
            began: Instant::now(),
            cpu_before: cpu_time(),
            machine_before: machine_cpu_time(),
            hwm_reset,
            shared,
            thread: Some(thread),
        })
    }

    /// The figures since the start.
    pub fn stop(mut self) -> Usage {
        let wall = self.began.elapsed();
        let cpu = cpu_time().zip(self.cpu_before).map(|(after, before)| after.saturating_sub(before));
        let machine_cpu = machine_cpu_time().zip(self.machine_before).and_then(|(after, before)| {
            Some((after.busy.checked_sub(before.busy)?, after.total.checked_sub(before.total)?))
        });
        self.shared.sample();
        self.end_thread();
        let seen = |count: &AtomicU64| Some(count.load(Ordering::Relaxed)).filter(|&count| count > 0);
        Usage {
            peak_rss_bytes: self.hwm_reset.then(high_water_mark).flatten(),
            cpu,
            wall,
            fds_max: seen(&self.shared.fds_max),
            // A run without any socket is possible; one without any descriptor is not.
            sockets_max: seen(&self.shared.fds_max).map(|_| self.shared.sockets_max.load(Ordering::Relaxed)),
            machine_cpu,
            machine_memory_percent: seen(&self.shared.memory_max)
                .map(|millionths| (millionths - 1) as f64 / MILLION * 100.0),
        }
    }

    fn end_thread(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for ResourceMeter {
    fn drop(&mut self) {
        self.end_thread();
    }
}

/// User and system time of all threads.
fn cpu_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// The resident set now, bytes; `None` where /proc does not tell.
pub fn resident_bytes() -> Option<u64> {
    Some(Process::myself().ok()?.statm().ok()?.resident * procfs::page_size())
}

fn high_water_mark() -> Option<u64> {
    Some(Process::myself().ok()?.status().ok()?.vmhwm? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_descriptors_and_time_are_seen() {
        let meter = ResourceMeter::start().unwrap();
        let hoard = vec![1_u8; 32 << 20];
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let spin = Instant::now();
        while spin.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(&hoard);
        }
        let usage = meter.stop();
        drop(file);
        assert!(usage.peak_rss_bytes.unwrap() > 32 << 20);
        assert!(usage.fds_max.unwrap() >= 3);
        assert!(usage.cpu.unwrap() > Duration::ZERO);
        assert!((1.0..=100.0).contains(&usage.machine_memory_percent.unwrap()), "{usage:?}");
    }

    #[test]
    fn the_machine_is_as_busy_as_both_times_together() {
        let meter = ResourceMeter::start().unwrap();
        let spin = Instant::now();
        // Some ticks of ten milliseconds.
        while spin.elapsed() < Duration::from_millis(100) {
            std::hint::black_box(&spin);
        }
        let usage = meter.stop();
        assert!((0.0..=100.0).contains(&usage.machine_cpu_percent().unwrap()), "{usage:?}");
        let of = |machine_cpu| Usage { machine_cpu, ..usage };
        assert_eq!(of(Some((10, 100))).and(of(Some((30, 100)))).machine_cpu_percent(), Some(20.0));
        assert_eq!(of(None).and(usage).machine_cpu_percent(), None, "half of it is not known");
        assert_eq!(of(Some((0, 0))).machine_cpu_percent(), None);
    }
}
