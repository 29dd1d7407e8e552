//! The page.

use askama::Template;

use super::comparison::{Comparison, compare};
use super::findings::{Finding, with_unit};
use super::functions::{Function, functions};
use super::{place, timeline};
use crate::attribution::Phase;
use crate::profile::Doing;
use crate::report::model::{
    RtnlHolder, RtnlWaits, RunResult, SlowRequest, SlowStack, TimeAt, WorkloadResult,
};
use crate::report::terminal;
use crate::report::words::duration;
use crate::store::SavedRun;

#[derive(Template)]
#[template(path = "investigation.html")]
struct Page<'a> {
    run: &'a RunResult,
    findings: &'a [Finding],
    legend: Vec<(&'static str, &'static str)>,
    workloads: Vec<Workload<'a>>,
    targets: Vec<Target<'a>>,
    comparison: Option<Comparison>,
    kernel_svg: Option<&'a str>,
    user_svg: Option<&'a str>,
    heap_svg: Option<&'a str>,
    slow_svg: Option<&'a str>,
    holders_svg: Option<&'a str>,
    /// Flamegraphs of all that was seen: their heading and themselves.
    stack_svgs: Vec<(&'static str, &'a str)>,
    difference: Option<&'a str>,
}

struct Target<'a> {
    metric: &'a str,
    place: String,
    value: String,
    limit: String,
    state: String,
}

struct Workload<'a> {
    place: String,
    operations: u64,
    throughput: String,
    bars: Vec<Bar>,
    waits: Option<Waits<'a>>,
    slowest: Vec<Slow>,
    functions: Vec<Function>,
    timeline: Option<String>,
}

/// A request's time, or the mean of several, cut into its phases.
struct Bar {
    name: String,
    total: String,
    what: String,
    slices: Vec<Slice>,
}

struct Slice {
    phase: &'static str,
    words: &'static str,
    percent: f64,
    time: String,
}

struct Waits<'a> {
    sum: String,
    of_requests: f64,
    unknown: f64,
    further: u64,
    holders: &'a [RtnlHolder],
}

struct Slow {
    bar: Bar,
    holder: String,
    stacks: Vec<Place>,
}

/// Where a thread was.
struct Place {
    /// `waited 1.2 ms for RTNL, from 30 µs on`
    what: String,
    /// The innermost function first, as debuggers show them.
    frames: Vec<String>,
}

/// A flamegraph takes the whole width: it removes its own, and would be as wide as a picture without any, which is little.
const STYLE: &str = "<style>body{margin:0}svg{width:100%}</style>";

/// Percentiles that are shown.
const SHOWN: [&str; 4] = ["p50", "p95", "p99", "max"];

/// Slow requests that are shown; the file has all.
const SLOWEST: usize = 12;

/// Flamegraphs of all that was seen, and their headings.
const ALL_STACKS: [(&str, &str); 3] = [
    ("rtnl.svg", "Where requests waited for RTNL"),
    ("offcpu.svg", "Where requests left the CPU, but for RTNL"),
    ("oncpu.svg", "What ran, in user space and in the kernel"),
];

/// What no phase covers, as a phase.
const REST: (&str, &str) = ("rest", "unattributed");

/// The page of a run.
pub(super) fn render(
    saved: &SavedRun,
    against: Option<&SavedRun>,
    findings: &[Finding],
    difference: Option<&str>,
) -> Result<String, askama::Error> {
    let run = &saved.result;
    let functions = saved.kernel_folded.as_deref().map(functions).unwrap_or_default();
    let stacks = |name| saved.stack_svgs.get(name).map(String::as_str);
    let page = Page {
        run,
        findings,
        legend: Phase::ALL.into_iter().map(|phase| (phase.name(), phase.words())).chain([REST]).collect(),
        workloads: run
            .workloads
            .iter()
            .map(|workload| {
                let tag = workload.tag();
                let slowest = saved.slowest.get(&tag).map(Vec::as_slice).unwrap_or_default();
                self::workload(workload, slowest, functions.get(&tag).cloned().unwrap_or_default())
            })
            .collect(),
        targets: run
            .budget
            .iter()
            .map(|judged| Target {
                metric: &judged.metric,
                place: terminal::place(judged),
                value: judged
                    .value
                    .map_or_else(|| "not measured".into(), |value| with_unit(&judged.metric, value)),
                limit: format!("{} {}", judged.comparison, with_unit(&judged.metric, judged.limit)),
                state: judged.state.to_string(),
            })
            .collect(),
        comparison: against.map(|against| compare(run, &against.result)),
        kernel_svg: saved.kernel_svg.as_deref(),
        user_svg: saved.user_svg.as_deref(),
        heap_svg: saved.heap_svg.as_deref(),
        slow_svg: stacks("slow.svg"),
        holders_svg: stacks("holders.svg"),
        stack_svgs: ALL_STACKS
            .into_iter()
            .filter_map(|(name, heading)| Some((heading, stacks(name)?)))
            .collect(),
        difference,
    };
    page.render()
}

fn workload<'a>(
    workload: &'a WorkloadResult,
    slowest: &[SlowRequest],
    functions: Vec<Function>,
) -> Workload<'a> {
    let times = workload.time_at.as_ref();
    Workload {
        place: place(workload),
        operations: workload.operations,
        throughput: workload
            .throughput_ops_per_s
            .mean
            .map_or_else(|| "not measured".into(), |mean| format!("{mean:.0}/s")),
        bars: SHOWN.into_iter().filter_map(|name| Some(Bar::typical(name, times?.get(name)?))).collect(),
        waits: workload.rtnl_waits.as_ref().map(Waits::new),
        slowest: slowest.iter().take(SLOWEST).map(Slow::new).collect(),
        functions,
        timeline: timeline::timeline(&workload.timeline_ops),
    }
}

impl Bar {
    fn typical(name: &str, time: &TimeAt) -> Self {
        let sum = time.phases_us.values().sum::<f64>() + time.unattributed_us;
        Self {
            name: name.replace('_', "."),
            total: duration(time.latency_us),
            what: format!("{}, mean of {}", time.operation, time.requests),
            slices: slices(sum, |phase| time.phases_us.get(&phase).copied(), time.unattributed_us),
        }
    }

    fn one(request: &SlowRequest) -> Self {
        Self {
            name: request.sequence.to_string(),
            total: duration(request.total_us),
            what: request.operation.clone(),
            slices: slices(
                request.total_us,
                |phase| request.phases_us.get(&phase).copied(),
                request.unattributed_us,
            ),
        }
    }
}

/// Text as HTML, and what is between backticks as code.
fn with_code(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut html = String::with_capacity(escaped.len());
    for (index, part) in escaped.split('`').enumerate() {
        match index % 2 {
            0 => html.push_str(part),
            _ => html.extend(["<code>", part, "</code>"]),
        }
    }
    html
}

/// Those that can be seen: below a two-hundredth of the whole there is no room for them.
fn slices(sum: f64, phase: impl Fn(Phase) -> Option<f64>, rest: f64) -> Vec<Slice> {
    Phase::ALL
        .into_iter()
        .filter_map(|which| Some((which.name(), which.words(), phase(which)?)))
        .chain([(REST.0, REST.1, rest)])
        .map(|(phase, words, micros)| Slice {
            phase,
            words,
            percent: if sum > 0.0 { micros / sum * 100.0 } else { 0.0 },
            time: duration(micros),
        })
        .filter(|slice| slice.percent >= 0.5)
        .collect()
}

impl<'a> Waits<'a> {
    fn new(waits: &'a RtnlWaits) -> Self {
        Self {
            sum: duration(waits.wait_us),
            of_requests: waits.percent_of_requests,
            unknown: if waits.wait_us > 0.0 { waits.unknown_wait_us / waits.wait_us * 100.0 } else { 0.0 },
            further: waits.further_holders,
            holders: &waits.holders,
        }
    }
}

impl Slow {
    fn new(request: &SlowRequest) -> Self {
        let holder = request.holder.as_ref();
        Self {
            bar: Bar::one(request),
            holder: holder.map_or_else(String::new, |holder| format!("{} (pid {})", holder.comm, holder.pid)),
            stacks: request.stacks.iter().map(Place::new).collect(),
        }
    }
}

impl Place {
    fn new(stack: &SlowStack) -> Self {
        let at = duration(stack.at_us);
        let waited = duration(stack.wait_us.unwrap_or(0.0));
        let what = match stack.doing {
            Doing::OnCpu => format!("running, at {at}"),
            Doing::Spinning => format!("spinning for RTNL, at {at}"),
            Doing::OffCpu => format!("off the CPU for {waited}, from {at} on"),
            Doing::RtnlWait => format!("waiting for RTNL for {waited}, from {at} on"),
        };
        let user = stack.user.iter().rev().map(|frame| format!("{frame} (user)"));
        Self { what, frames: stack.kernel.iter().rev().cloned().chain(user).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        assert_eq!(with_code("behind `tc` (pid 7)"), "behind <code>tc</code> (pid 7)");
        assert_eq!(with_code("`<script>` & one `"), "<code>&lt;script&gt;</code> &amp; one <code></code>");
    }
}
