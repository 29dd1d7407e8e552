//! Runs that several tests look at. Each is made once, when the first of them asks.

use std::sync::OnceLock;

use libtest_mimic::Failed;

use crate::qdiscope::Saved;

/// One workload at an offered rate.
pub(crate) fn open() -> Result<&'static Saved, Failed> {
    static RUN: OnceLock<Result<Saved, String>> = OnceLock::new();
    once(&RUN, "bench --workload lifecycle --rate 500 --duration 3s")
}

/// Every workload, as fast as it is answered.
pub(crate) fn closed() -> Result<&'static Saved, Failed> {
    static RUN: OnceLock<Result<Saved, String>> = OnceLock::new();
    once(
        &RUN,
        "bench --workload lifecycle --workload htb-class --workload htb-qdisc --classes 2000 --duration 3s",
    )
}

/// Without anything that watches the kernel. As long as p99 needs for its thousand values.
pub(crate) fn unwatched() -> Result<&'static Saved, Failed> {
    static RUN: OnceLock<Result<Saved, String>> = OnceLock::new();
    once(&RUN, "bench --workload lifecycle --rate 500 --duration 3s --probes off")
}

/// Whether probes attach on this machine.
pub(crate) fn watched() -> Result<bool, Failed> {
    Ok(unwatched_because()?.is_none())
}

/// Why probes do not attach on this machine. A test of what they see is about nothing then.
pub(crate) fn unwatched_because() -> Result<Option<String>, Failed> {
    let probes = &open()?.result["environment"]["probes"];
    Ok((probes["kind"] == "off").then(|| format!("no probe attaches here: {}", probes["reason"])))
}

fn once(cell: &'static OnceLock<Result<Saved, String>>, arguments: &str) -> Result<&'static Saved, Failed> {
    let run = cell.get_or_init(|| {
        Saved::by(arguments).map_err(|failed| failed.message().unwrap_or("no message").to_owned())
    });
    run.as_ref().map_err(|message| format!("qdiscope {arguments}: {message}").into())
}
