//! pprof in our own process: `cpu.pb.gz` and `user.svg`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos::Message as _;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use super::{ProfileError, SAMPLE_HZ};

/// Long enough for some samples of a thread that spins.
const FIRST_SAMPLES: Duration = Duration::from_millis(20);

/// Samples CPU time by SIGPROF until it is finished.
pub struct UserProfiler(ProfilerGuard<'static>);

impl UserProfiler {
    /// Starts sampling all threads.
    pub fn start() -> Result<Self, ProfileError> {
        let guard = ProfilerGuardBuilder::default()
            .frequency(i32::from(SAMPLE_HZ))
            .build()
            .map_err(|error| ProfileError::new("start pprof", &error))?;
        // To be ready for samples, pprof resolves a backtrace, which reads the line tables of the whole binary.
        // They are needed again only when measuring is over.
        backtrace::clear_symbol_cache();
        // pprof's first sample opens the pipe that it checks addresses with. It must not be counted as a leak of
        // whatever runs next, so the first samples are provoked here.
        let start = Instant::now();
        while start.elapsed() < FIRST_SAMPLES {
            std::hint::spin_loop();
        }
        Ok(Self(guard))
    }

    /// Stops, and puts names to the addresses. This reads the binary's line tables and takes memory: it comes after
    /// everything that is measured.
    pub fn finish(self) -> Result<UserProfile, ProfileError> {
        let report = self.0.report().build().map_err(|error| ProfileError::new("finish pprof", &error))?;
        if report.data.is_empty() {
            return Err(ProfileError::new("finish pprof", &"no sample was taken"));
        }
        let failed = |error: &dyn std::fmt::Display| ProfileError::new("encode the CPU profile", error);
        let profile = report.pprof().map_err(|error| failed(&error))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&profile.encode_to_vec()).map_err(|error| failed(&error))?;
        let protobuf_gz = gzip.finish().map_err(|error| failed(&error))?;
        let mut flamegraph = Vec::new();
        let mut options = pprof::flamegraph::Options::default();
        "qdiscope: its own CPU time".clone_into(&mut options.title);
        options.subtitle = Some(format!("SIGPROF at {SAMPLE_HZ} Hz; a system call counts for its caller"));
        report
            .flamegraph_with_options(&mut flamegraph, &mut options)
            .map_err(|error| ProfileError::new("draw a flamegraph", &error))?;
        Ok(UserProfile { protobuf_gz, flamegraph })
    }
}

/// A finished profile.
pub struct UserProfile {
    /// pprof's protobuf, gzipped.
    pub protobuf_gz: Vec<u8>,
    /// SVG.
    pub flamegraph: Vec<u8>,
}
