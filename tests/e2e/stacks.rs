//! `bench --stacks`: where threads were, by request.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::figures::{number, object};
use crate::investigate;
use crate::profile::time_in;
use crate::qdiscope::Saved;
use crate::rtnl::{Hammer, RETRIES};
use crate::runs;

const FILES: [&str; 10] = [
    "oncpu.svg",
    "oncpu.folded",
    "offcpu.svg",
    "offcpu.folded",
    "rtnl.svg",
    "rtnl.folded",
    "holders.svg",
    "holders.folded",
    "slow.svg",
    "slow.folded",
];

/// A budget that no request keeps, so that all of them are slow.
const NEVER: &str = "schema_version = 1\n[[target]]\nmetric = \"latency_p50_us\"\nbelow = 1\n";

fn run() -> Result<Saved, Failed> {
    let budget = tempfile::NamedTempFile::new()?;
    fs::write(budget.path(), NEVER)?;
    Saved::by(&format!(
        "bench --stacks --workload lifecycle --workers 1 --rate 500 --duration 3s --budget {}",
        budget.path().display()
    ))
}

pub(crate) fn a_run_shows_where_its_requests_were_and_what_the_holder_did() -> Result<(), Failed> {
    let hammer = Hammer::start()?;
    let pid = json!(hammer.id());
    let mut saved = run()?;
    // On a machine that has much else to do the two may hardly meet.
    for _ in 0..RETRIES {
        if saved.workloads()?[0]["rtnl_waits"]["holders"][0]["doing"].is_null() {
            saved = run()?;
        }
    }
    drop(hammer);
    let waits = &saved.workloads()?[0]["rtnl_waits"];
    let first = &waits["holders"][0];
    assert_eq!((&first["pid"], &first["doing"]), (&pid, &json!("tc_ctl_tclass")), "{waits}");
    let words = format!("(pid {pid}, tc_ctl_tclass)");
    assert!(saved.finished.stdout.contains(&words), "{words}: {}", saved.finished.stdout);
    for name in FILES.iter().filter(|name| !name.starts_with("offcpu")) {
        assert!(!saved.text(name)?.is_empty(), "{name}");
    }
    // Every request broke the budget, so that what is slow is all of them, and no wait is lost.
    assert!(saved.text("slow.svg")?.contains("which the budget does not let pass"), "the title says why");
    let waited = number(waits, "/wait_us")?;
    for name in ["rtnl.folded", "slow.folded"] {
        let is_wait = |line: &&str| name == "rtnl.folded" || line.contains(";[waiting for RTNL];");
        let stacks = saved.text(name)?.lines().filter(is_wait).collect::<Vec<_>>().join("\n");
        let inside = time_in(&stacks, "rtnetlink_rcv_msg_[k]")? as f64;
        assert!((inside - waited).abs() < 0.05 * waited, "{name}: {inside} µs of {waited}");
    }
    // User mode and kernel in one graph: our own code is named, and the kernel's below it.
    let ran = saved.text("oncpu.folded")?;
    assert!(ran.lines().any(|line| line.contains("tokio::") || line.contains("tc_adapter::")), "{ran}");
    assert!(time_in(ran, "tc_ctl_tclass_[k]")? > 0, "{ran}");
    // The slowest requests: what their stacks say they waited is what their phases say.
    let slowest: Value = serde_json::from_str(saved.text("slowest.json")?)?;
    let requests = slowest["lifecycle-open"].as_array().ok_or("no slowest requests")?;
    let mut with_stacks = 0;
    for request in requests {
        let stacks = request["stacks"].as_array().map(Vec::as_slice).unwrap_or_default();
        with_stacks += usize::from(!stacks.is_empty());
        for (doing, phase) in [("rtnl_wait", "/phases_us/rtnl_wait"), ("off_cpu", "/phases_us/off_cpu")] {
            let by_stacks: f64 = stacks
                .iter()
                .filter(|stack| stack["doing"] == doing)
                .filter_map(|stack| stack["wait_us"].as_f64())
                .sum();
            let by_phases = number(request, phase)?;
            assert!((by_stacks - by_phases).abs() < 0.01, "{phase} is {by_phases}: {request:#}");
        }
    }
    // Most of the slowest may have waited for their turn, and not in the kernel.
    assert!(with_stacks > 0, "none of {} with stacks", requests.len());
    // And the page has them.
    let folder = investigate::folder(&saved)?;
    let investigation = investigate::investigate(folder.path(), "")?.expect(0)?;
    let page = fs::read_to_string(folder.path().join("investigation/index.html"))?;
    for part in
        ["flamegraph of holders", "flamegraph of slow requests", "where it was", "<code>tc_ctl_tclass</code>"]
    {
        assert!(page.contains(part), "{part}: {}", investigation.stdout);
    }
    Ok(())
}

pub(crate) fn without_it_there_is_none() -> Result<(), Failed> {
    let plain = runs::open()?;
    assert!(FILES.iter().all(|name| !plain.files.contains_key(*name)), "{:?}", plain.files.keys());
    assert_eq!(plain.result["settings"]["stacks"], false);
    let slowest: Value = serde_json::from_str(plain.text("slowest.json")?)?;
    for requests in object(&slowest, "")?.values() {
        assert!(requests.as_array().is_some_and(|all| all.iter().all(|one| one.get("stacks").is_none())));
    }
    Ok(())
}
