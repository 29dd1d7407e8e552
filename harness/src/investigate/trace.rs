//! The slowest requests as a trace that Perfetto opens (<https://ui.perfetto.dev>): the Trace Event Format of JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::attribution::Phase;
use crate::report::model::SlowRequest;

/// `{"traceEvents": [...]}`: a process a workload, a track a thread that sent; each request is a slice, and its phases are slices in
/// it. Within the kernel only the sums of waits and work are known, not their order: they are drawn as wait for RTNL, off the CPU, work.
pub(super) fn perfetto(slowest: &BTreeMap<String, Vec<SlowRequest>>) -> Result<Vec<u8>, serde_json::Error> {
    let mut events = Vec::new();
    for (number, (workload, requests)) in slowest.iter().enumerate() {
        events.push(json!({
            "ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": format!("slowest of {workload}")},
        }));
        for request in requests {
            events.extend(slices(number, request));
        }
    }
    serde_json::to_vec(&json!({ "displayTimeUnit": "ms", "traceEvents": events }))
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

fn slices(process: usize, request: &SlowRequest) -> Vec<Value> {
    // Requests of one thread overlap: what waits in the queue and what is being sent. So each has a track of its own.
    let track = request.sequence;
    let begin = request.due_ns as f64 / 1e3;
    let slice = |name: &str, at: f64, micros: f64, arguments: Value| json!({"ph": "X", "name": name, "cat": "request", "pid": process, "tid": track, "ts": at, "dur": micros, "args": arguments});
    let mut slices = vec![slice(
        &request.operation,
        begin,
        request.total_us,
        json!({
            "sequence": request.sequence, "tid": request.tid, "cpu": request.cpu, "holder": request.holder,
            "handler_us": request.handler_us, "rtnl_hold_us": request.rtnl_hold_us, "rcu_us": request.rcu_us,
            "unattributed_us": request.unattributed_us,
        }),
    )];
    let mut at = begin;
    for phase in DRAWN {
        // What is not known lies where the kernel is.
        if phase == Phase::Reply {
            at += request.unattributed_us;
        }
        if let Some(&micros) = request.phases_us.get(&phase).filter(|micros| **micros > 0.0) {
            slices.push(slice(phase.words(), at, micros, json!({})));
            at += micros;
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_lie_within_their_request() {
        let request = SlowRequest {
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
        };
        let bytes = perfetto(&BTreeMap::from([("htb-class-closed".to_owned(), vec![request])])).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let slices: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        let spans: Vec<_> = slices
            .iter()
            .map(|slice| {
                (
                    slice["name"].as_str().unwrap(),
                    slice["ts"].as_f64().unwrap(),
                    slice["dur"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            spans,
            [
                ("class-create", 5_000.0, 100.0),
                ("adapter queue", 5_000.0, 10.0),
                ("RTNL wait", 5_010.0, 50.0),
                ("on CPU in the kernel", 5_060.0, 20.0),
                ("reply", 5_085.0, 15.0),
            ]
        );
    }
}
