//! An interval as data: the contract of `--headless`.

use serde::Serialize;

use super::board::{Board, Span};
use super::rows::{Column, Group, rate, rows, sort, total};
use super::tally::Tally;

/// µs; `null` without a request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Latency {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// What all requests, those of a row, or of a holder have.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figures {
    requests: u64,
    ops_per_s: f64,
    errors: u64,
    /// Requests whose result is not known.
    unknown: u64,
    latency_us: Latency,
    /// Time that was waited for RTNL; `null`: not measured.
    rtnl_wait_us: Option<f64>,
    /// Of the requests' time.
    rtnl_wait_percent: Option<f64>,
}

/// Who held RTNL when others began to wait for it, and how long they then waited.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Holder {
    /// `null`: it is not known who, or they are too many.
    pid: Option<u32>,
    comm: Option<String>,
    waits: u64,
    waited_us: f64,
    /// Of all that was waited.
    percent: f64,
}

/// The figures of one process, command or message type; what is not told apart is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    pid: Option<u32>,
    comm: Option<String>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    #[serde(flatten)]
    figures: Figures,
    /// Behind whom it waited longest.
    holder: Option<Named>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Named {
    pid: u32,
    comm: String,
}

/// An interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Object {
    /// Its end: RFC 3339, UTC.
    time: String,
    /// How long it was, which is longer than asked for where it could not be written in time.
    interval_s: f64,
    #[serde(flatten)]
    figures: Figures,
    /// Requests that are missing here, at most; `null`: not known.
    lost: Option<u64>,
    rows: Vec<Row>,
    holders: Vec<Holder>,
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

impl Figures {
    fn of(tally: &Tally, length: std::time::Duration) -> Self {
        let quantile = |quantile| tally.quantile_ns(quantile).map(microseconds);
        Self {
            requests: tally.requests,
            ops_per_s: rate(tally.requests, length),
            errors: tally.errors,
            unknown: tally.unknown,
            latency_us: Latency {
                p50: quantile(0.5),
                p95: quantile(0.95),
                p99: quantile(0.99),
                max: tally.max_ns().map(microseconds),
            },
            rtnl_wait_us: tally.waited_ns().map(microseconds),
            rtnl_wait_percent: tally.wait_percent(),
        }
    }
}

impl Object {
    /// The last interval.
    pub(super) fn of(board: &Board, group: Group, time: String) -> Self {
        let period = board.period(Span::Interval);
        let all = total(period, "");
        let mut rows = rows(board, Span::Interval, group, "");
        rows.retain(|row| row.tally.requests > 0);
        sort(&mut rows, Column::Requests, false);
        let waited = all.waited_ns().unwrap_or(0).max(1) as f64;
        let holders = all.holders().into_iter().map(|(holder, waits)| Holder {
            pid: holder.map(|(pid, _)| *pid),
            comm: holder.map(|(_, comm)| comm.clone()),
            waits: waits.count,
            waited_us: microseconds(waits.ns),
            percent: waits.ns as f64 / waited * 100.0,
        });
        let holders = holders.collect();
        let rows = rows.into_iter().map(|row| Row {
            figures: Figures::of(&row.tally, row.length),
            holder: row.tally.main_holder().map(|(pid, comm)| Named { pid: *pid, comm: comm.clone() }),
            pid: row.label.pid,
            comm: row.label.comm,
            message_type: row.label.message_type,
        });
        Self {
            time,
            interval_s: period.length.as_secs_f64(),
            figures: Figures::of(&all, period.length),
            lost: period.lost,
            rows: rows.collect(),
            holders,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::rows::tests::board;
    use super::*;

    fn object(board: &Board, group: Group) -> Value {
        serde_json::to_value(Object::of(board, group, "now".into())).unwrap()
    }

    #[test]
    fn an_interval_has_what_is_promised() {
        let object = object(&board(), Group::Process);
        for (name, value) in [
            ("time", json!("now")),
            ("interval_s", json!(2.0)),
            ("requests", json!(34)),
            ("ops_per_s", json!(17.0)),
            ("errors", json!(1)),
            ("unknown", json!(0)),
            ("lost", json!(0)),
            ("rtnl_wait_us", json!(60.0)),
            (
                "holders",
                json!([{"pid": 300, "comm": "holder300", "waits": 1, "waited_us": 60.0, "percent": 100.0}]),
            ),
        ] {
            assert_eq!(object[name], value, "{name}");
        }
        assert_eq!(object["latency_us"]["max"], 90.0);
        let rows = object["rows"].as_array().unwrap();
        let requests: Vec<_> = rows.iter().map(|row| (&row["pid"], &row["comm"], &row["requests"])).collect();
        let expected = [
            (&json!(300), &json!("agent"), &json!(31)),
            (&json!(20), &json!("tc"), &json!(2)),
            (&json!(7), &json!("tc"), &json!(1)),
        ];
        assert_eq!(requests, expected);
        assert_eq!(rows[1]["holder"], json!({"pid": 300, "comm": "holder300"}));
        assert_eq!(rows[1]["rtnl_wait_percent"], 60.0);
        assert!(
            rows[2]["rtnl_wait_us"].is_null() && rows[2]["holder"].is_null() && rows[2]["type"].is_null()
        );
    }

    #[test]
    fn nothing_is_no_zero() {
        let mut board = board();
        board.close(Duration::from_secs(1), Err("why".into()));
        let object = object(&board, Group::Type);
        assert_eq!(
            (&object["requests"], &object["rows"], &object["holders"]),
            (&json!(0), &json!([]), &json!([]))
        );
        let latency = json!({"p50": null, "p95": null, "p99": null, "max": null});
        assert_eq!(object["latency_us"], latency);
        assert!(
            object["rtnl_wait_us"].is_null()
                && object["rtnl_wait_percent"].is_null()
                && object["lost"].is_null()
        );
    }
}
