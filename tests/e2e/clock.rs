//! The clock of the day is set in the middle of a run. It is the whole machine's: only where it is a guest's of our own.

use std::thread;
use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use nix::time::{ClockId, clock_gettime, clock_settime};
use support::in_namespace;

use crate::figures::number;
use crate::qdiscope::{Running, Saved, qdiscope};

/// Set where the clock is nobody else's.
const MAY_BE_SET: &str = "QDISCOPE_TEST_CLOCK";

const AHEAD: Duration = Duration::from_hours(1);

pub(crate) fn a_clock_that_is_set_changes_no_duration() -> Result<Completion, Failed> {
    if std::env::var_os(MAY_BE_SET).is_none() {
        return Ok(Completion::ignored_with("sets the machine's clock: `cargo xtask vm` lets it"));
    }
    in_namespace(|| {
        let folder = tempfile::tempdir()?;
        let arguments = "bench --workload lifecycle --workers 2 --rate 50 --duration 6s --probes off";
        let mut run = Running::start(qdiscope(arguments)?.arg("--out").arg(folder.path()))?;
        run.hear("lifecycle (open)")?;
        thread::sleep(Duration::from_secs(2));
        let now = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
        clock_settime(ClockId::CLOCK_REALTIME, (now + AHEAD).into())?;
        let saved = Saved::read(run.finish()?, folder.path())?;
        let step = number(&saved.result, "/environment/clock_step_seconds")?;
        assert!((step - AHEAD.as_secs_f64()).abs() < 1.0, "{step}");
        let slept = number(&saved.result, "/environment/suspended_seconds")?;
        assert!(slept < 0.001, "{slept}");
        let workload = &saved.workloads()?[0];
        assert!(number(workload, "/measured_seconds")? < 60.0, "{workload}");
        assert!(number(workload, "/latency_all_us/max")? < 60e6, "{workload}");
        let told = saved.finished.stdout.contains("clock of the day was set by +3600");
        assert!(told, "{}", saved.finished.said());
        Ok(())
    })
    .map(|()| Completion::Completed)
}
