//! A run's steps and its slowest requests as a trace that Perfetto opens (<https://ui.perfetto.dev>): the Trace Event Format of JSON.
//!
//! One clock, `CLOCK_MONOTONIC`, for the steps, for the callers' moments and for the probes'. Times are whole nanoseconds until they are
//! written, so that what lies within another slice does so after rounding, too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::attribution::Phase;
use crate::report::model::SlowRequest;
use crate::spans::{Span, Spans};

/// The process that has a track for each of our threads: the steps, and what the thread did in the kernel for the slowest requests.
const THREADS: usize = 1;

/// `{"traceEvents": [...]}`. Each of the slowest requests has a track below its workload, with its phases, because requests of one thread
/// overlap: one waits in the queue while another is sent. What the kernel did of it is drawn once more where it ran, on the track of the thread
/// that sent it, and an arrow leads there. Within the kernel only the sums of waits and work are known, not their order: they are drawn as wait
/// for RTNL, off the CPU, work.
pub(super) fn perfetto(
    spans: &Spans,
    slowest: &BTreeMap<String, Vec<SlowRequest>>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut trace = Trace::default();
    trace.name("process_name", THREADS, 0, "qdiscope's threads");
    let mut named = BTreeSet::new();
    for span in &spans.spans {
        if let Some(thread) = &span.thread
            && named.insert(span.tid)
        {
            trace.name("thread_name", THREADS, span.tid, thread);
        }
        trace.step(span);
    }
    for (number, (workload, requests)) in slowest.iter().enumerate() {
        let process = THREADS + 1 + number;
        trace.name("process_name", process, 0, &format!("slowest of {workload}"));
        for request in requests {
            trace.request(process, request);
        }
    }
    trace.sent();
    serde_json::to_vec(&json!({ "displayTimeUnit": "ms", "traceEvents": trace.events }))
}

/// In the order in which they are drawn.
const DRAWN: [Phase; 8] = [
    Phase::ScheduleLag,
    Phase::Encode,
    Phase::Queue,
    Phase::Entry,
    Phase::RtnlWait,
    Phase::OffCpu,
    Phase::OnCpu,
    Phase::Reply,
];

/// Those that the thread in the kernel spends.
const IN_KERNEL: [Phase; 3] = [Phase::RtnlWait, Phase::OffCpu, Phase::OnCpu];

#[derive(Default)]
struct Trace {
    events: Vec<Value>,
    sent: Vec<Sent>,
}

/// A request where it was sent.
struct Sent {
    tid: u32,
    operation: String,
    sequence: u32,
    phases: Vec<(&'static str, Slice)>,
    /// Where the arrow begins: the request's own track, in its queue.
    from: (usize, u32, u64),
}

/// ns of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy)]
struct Slice {
    begin: u64,
    end: u64,
}

/// Microseconds, as the format has them.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// The document's microseconds are nanoseconds with a point in them.
fn nanos(micros: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let nanos = (micros * 1e3).round() as u64;
    nanos
}

impl Trace {
    fn name(&mut self, what: &str, process: usize, track: u32, name: &str) {
        self.events
            .push(json!({"ph": "M", "name": what, "pid": process, "tid": track, "args": {"name": name}}));
    }

    fn slice(
        &mut self,
        process: usize,
        track: u32,
        category: &str,
        name: &str,
        at: Slice,
        arguments: &Value,
    ) {
        self.events.push(json!({
            "ph": "X", "name": name, "cat": category, "pid": process, "tid": track, "ts": micros(at.begin),
            "dur": micros(at.end.saturating_sub(at.begin)), "args": arguments,
        }));
    }

    fn step(&mut self, span: &Span) {
        let at = Slice { begin: span.begin_ns, end: span.end_ns };
        self.slice(THREADS, span.tid, "step", &span.name, at, &json!(span.fields));
    }

    fn request(&mut self, process: usize, request: &SlowRequest) {
        let track = request.sequence;
        let whole =
            Slice { begin: request.due_ns, end: request.due_ns.saturating_add(nanos(request.total_us)) };
        let arguments = json!({
            "sequence": request.sequence, "tid": request.tid, "cpu": request.cpu, "holder": request.holder,
            "handler_us": request.handler_us, "rtnl_hold_us": request.rtnl_hold_us, "rcu_us": request.rcu_us,
            "unattributed_us": request.unattributed_us,
        });
        self.slice(process, track, "request", &request.operation, whole, &arguments);
        let mut at = whole.begin;
        let (mut queued, mut in_kernel) = (whole.begin, Vec::new());
        for phase in DRAWN {
            // What is not known lies where the kernel is.
            if phase == Phase::Reply {
                at = at.saturating_add(nanos(request.unattributed_us));
            }
            let Some(&took) = request.phases_us.get(&phase).filter(|micros| **micros > 0.0) else { continue };
            let end = at.saturating_add(nanos(took)).min(whole.end);
            let slice = Slice { begin: at.min(end), end };
            self.slice(process, track, "request", phase.words(), slice, &json!({}));
            if phase == Phase::Queue {
                queued = slice.begin;
            }
            if IN_KERNEL.contains(&phase) {
                in_kernel.push((phase.words(), slice));
            }
            at = end;
        }
        if let Some(tid) = request.tid
            && !in_kernel.is_empty()
        {
            self.sent.push(Sent {
                tid,
                operation: request.operation.clone(),
                sequence: request.sequence,
                phases: in_kernel,
                from: (process, track, queued),
            });
        }
    }

    /// What the threads did in the kernel, thread by thread. Requests that shared a system call may seem to overlap: then the one that
    /// began later is shown on its own track only.
    fn sent(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        sent.sort_by_key(|sent| (sent.tid, sent.phases[0].1.begin));
        let mut busy_until = (0, 0);
        for (number, Sent { tid, operation, sequence, phases, from }) in sent.into_iter().enumerate() {
            let (first, last) = (phases[0].1, phases[phases.len() - 1].1);
            let whole = Slice { begin: first.begin, end: last.end };
            if busy_until.0 == tid && whole.begin < busy_until.1 {
                continue;
            }
            busy_until = (tid, whole.end);
            let name = format!("{operation} in the kernel");
            self.slice(THREADS, tid, "kernel", &name, whole, &json!({ "sequence": sequence }));
            for (name, slice) in phases {
                self.slice(THREADS, tid, "kernel", name, slice, &json!({}));
            }
            let (process, track, at) = from;
            let mut arrow = |end: &str, process: usize, track: u32, at: u64| {
                // Bound to the slice around it, at either end.
                self.events.push(json!({
                    "ph": end, "bp": "e", "id": number + 1, "name": "sent by", "cat": "request", "pid": process, "tid": track,
                    "ts": micros(at),
                }));
            };
            arrow("s", process, track, at);
            arrow("f", THREADS, tid, whole.begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> SlowRequest {
        SlowRequest {
            operation: "class-create".into(),
            sequence: 7,
            due_ns: 5_000_000,
            total_us: 100.0,
            phases_us: BTreeMap::from([
                (Phase::Queue, 10.0),
                (Phase::RtnlWait, 50.0),
                (Phase::OnCpu, 20.0),
                (Phase::OffCpu, 0.0),
                (Phase::Reply, 15.0),
            ]),
            unattributed_us: 5.0,
            tid: Some(9),
            cpu: Some(1),
            handler_us: None,
            rtnl_hold_us: None,
            rcu_us: None,
            off_cpu_switches: Some(0),
            holder: None,
            stacks: Vec::new(),
        }
    }

    fn span() -> Span {
        Span {
            name: "measure".into(),
            begin_ns: 4_000_000,
            end_ns: 9_000_000,
            pid: 8,
            tid: 9,
            thread: Some("main".into()),
            fields: BTreeMap::new(),
        }
    }

    fn events(requests: Vec<SlowRequest>) -> Vec<Value> {
        let spans = Spans { spans: vec![span()], dropped: 0 };
        let bytes = perfetto(&spans, &BTreeMap::from([("htb-class-closed".to_owned(), requests)])).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        document["traceEvents"].as_array().unwrap().clone()
    }

    /// Name, begin and duration of the slices on a track.
    fn slices(events: &[Value], process: usize, track: u32) -> Vec<(&str, f64, f64)> {
        let here = |event: &&Value| event["ph"] == "X" && event["pid"] == process && event["tid"] == track;
        let times = |event: &Value| (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        events
            .iter()
            .filter(here)
            .map(|event| (event["name"].as_str().unwrap(), times(event).0, times(event).1))
            .collect()
    }

    #[test]
    fn phases_lie_within_their_request() {
        assert_eq!(
            slices(&events(vec![request()]), THREADS + 1, 7),
            [
                ("class-create", 5_000.0, 100.0),
                ("adapter queue", 5_000.0, 10.0),
                ("RTNL wait", 5_010.0, 50.0),
                ("on CPU in the kernel", 5_060.0, 20.0),
                ("reply", 5_085.0, 15.0),
            ]
        );
    }

    #[test]
    fn the_kernels_part_lies_where_it_ran_and_an_arrow_leads_there() {
        let events = events(vec![request()]);
        assert_eq!(
            slices(&events, THREADS, 9),
            [
                ("measure", 4_000.0, 5_000.0),
                ("class-create in the kernel", 5_010.0, 70.0),
                ("RTNL wait", 5_010.0, 50.0),
                ("on CPU in the kernel", 5_060.0, 20.0),
            ]
        );
        let ends: Vec<_> = events
            .iter()
            .filter(|event| event["name"] == "sent by")
            .map(|event| {
                (event["ph"].as_str().unwrap(), event["tid"].as_u64().unwrap(), event["ts"].as_f64().unwrap())
            })
            .collect();
        assert_eq!(ends, [("s", 7, 5_000.0), ("f", 9, 5_010.0)]);
    }

    #[test]
    fn slices_of_a_thread_do_not_overlap() {
        let later = SlowRequest { sequence: 8, due_ns: 5_030_000, ..request() };
        let elsewhere = SlowRequest { sequence: 9, tid: Some(10), ..later.clone() };
        let events = events(vec![later, request(), elsewhere]);
        let kernel = |tid| {
            slices(&events, THREADS, tid)
                .iter()
                .filter(|slice| slice.0.ends_with("in the kernel") && slice.0.starts_with("class"))
                .count()
        };
        assert_eq!((kernel(9), kernel(10)), (1, 1));
    }
}
