//! What the benchmarks share: `--profile-time SECONDS` profiles each with pprof.

use std::fs;
use std::path::Path;

use criterion::Criterion;
use criterion::profiler::Profiler;
use qdiscope::profile::{ReadyProfiler, UserProfile, UserProfiler};
use tempfile::TempDir;

/// criterion as ever; with `--profile-time`, each benchmark leaves `flamegraph.svg` and `profile.pb` in its folder `profile`.
pub fn criterion() -> Criterion {
    Criterion::default().with_profiler(Pprof::default())
}

/// pprof's own hook is for an older criterion, and could hang: see [`ReadyProfiler::new`].
#[derive(Default)]
struct Pprof {
    running: Option<UserProfiler>,
    /// Of pprof's scratch file, which it leaves behind.
    scratch: Option<TempDir>,
}

impl Profiler for Pprof {
    fn start_profiling(&mut self, _: &str, _: &Path) {
        if self.scratch.is_none() {
            let scratch = tempfile::tempdir().expect("a folder for temporary files");
            tempfile::env::override_temp_dir(scratch.path()).expect("one group of benchmarks in a program");
            self.scratch = Some(scratch);
        }
        // criterion has one thread.
        let ready = ReadyProfiler::beside_temporary_files().expect("the profiler can be made ready");
        self.running = Some(ready.start().expect("the profiler starts"));
    }

    fn stop_profiling(&mut self, benchmark: &str, folder: &Path) {
        let Some(running) = self.running.take() else { return };
        match running.finish(&format!("{benchmark}: CPU time")) {
            Ok(UserProfile { protobuf, flamegraph }) => {
                fs::create_dir_all(folder).expect("criterion's folder can be written");
                for (name, bytes) in [("flamegraph.svg", flamegraph), ("profile.pb", protobuf)] {
                    let file = folder.join(name);
                    fs::write(&file, bytes).expect("criterion's folder can be written");
                    println!("{benchmark}: {}", file.display());
                }
            }
            Err(error) => eprintln!("{benchmark}: no profile: {error}"),
        }
    }
}
