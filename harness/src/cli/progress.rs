//! Live progress: a line that moves on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::plan::Workload;
use crate::record::Interval;
use crate::report::model::WorkloadResult;
use crate::session::Observer;

/// Tells nobody.
pub(super) struct Nothing;

impl Observer for Nothing {
    fn begins(&self, _: &Workload) {}
    fn progress(&self, _: Duration, _: u64, _: &Interval) {}
    fn ended(&self, _: &WorkloadResult) {}
}

/// Tells stderr how the run goes on.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    current: Mutex<Option<Workload>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:24} {bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, current: Mutex::new(None) }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn begins(&self, workload: &Workload) {
        let name = format!("{} ({})", workload.kind.name(), workload.load.mode());
        match &self.bar {
            Some(bar) => {
                bar.set_length(workload.load.duration().as_secs().max(1));
                bar.set_position(0);
                bar.set_prefix(name);
                bar.set_message("preparing");
            }
            None => self.line(&format!("{name}: {} workers", workload.workers)),
        }
        if let Ok(mut current) = self.current.lock() {
            *current = Some(workload.clone());
        }
    }

    fn progress(&self, measured: Duration, succeeded: u64, last_interval: &Interval) {
        let Some(bar) = &self.bar else { return };
        let last = last_interval.merged();
        bar.set_position(measured.as_secs());
        bar.set_message(format!(
            "{succeeded} operations; last second: {} ops, p95 {:.2} ms",
            last.len(),
            last.value_at_quantile(0.95) as f64 / 1e6
        ));
    }

    fn ended(&self, result: &WorkloadResult) {
        let rate = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.0}"));
        self.line(&format!(
            "{} ({}): {} operations in {:.1} s, {} ops/s, worst second {}, p95 {} µs",
            result.name,
            result.mode,
            result.operations,
            result.measured_seconds,
            rate(result.throughput_ops_per_s.mean),
            rate(result.throughput_ops_per_s.worst_second),
            rate(result.latency_all_us.map(|latency| latency.p95)),
        ));
    }
}
