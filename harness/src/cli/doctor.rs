//! `qdiscope doctor`: what this machine can measure, and what to do about the rest.

use std::fmt::Write as _;

use clap::Args;
use ebpf_loader::{Capability, Support};
use serde::Serialize;
use tc_adapter::{Client, Handle, HtbClass, HtbQdisc, Request};

use super::{print, runtime};
use crate::environment;
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::profile::ReadyProfiler;
use crate::workload::ROOT_QDISC;

/// Tries each thing that a run needs, in a network namespace of its own. Exits with 3 when `bench` cannot run.
#[derive(Args)]
pub(super) struct Arguments {
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

/// One thing that was tried.
#[derive(Serialize)]
struct Check {
    name: String,
    /// Whether `bench` cannot do without it.
    required: bool,
    /// `supported`, `unsupported` or `could not tell`.
    state: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn new(name: &str, required: bool, outcome: Result<String, String>, advice: &str) -> Self {
        let (state, detail) = match outcome {
            Ok(detail) => (SUPPORTED, detail),
            Err(detail) => ("unsupported", detail),
        };
        let advice = (state != SUPPORTED).then(|| advice.to_owned());
        Self { name: name.into(), required, state, detail, advice }
    }

    fn unknown(name: &str, required: bool, detail: &str, advice: &str) -> Self {
        Self {
            name: name.into(),
            required,
            state: "could not tell",
            detail: detail.into(),
            advice: Some(advice.into()),
        }
    }
}

const SUPPORTED: &str = "supported";

/// What `bench` cannot do without, in the order in which each needs the one before.
const NAMESPACE: &str = "network namespace of its own";
const VETH: &str = "veth devices";
const HTB: &str = "HTB";

impl From<Capability> for Check {
    fn from(capability: Capability) -> Self {
        let state = match capability.state {
            Support::Supported => SUPPORTED,
            Support::Unsupported => "unsupported",
            Support::CouldNotTell => "could not tell",
        };
        let Capability { name, detail, advice, .. } = capability;
        Self { name, required: false, state, detail, advice }
    }
}

/// Tries everything, and ends in namespaces of its own where these can be had. Says whether `bench` can run here, too.
fn examine() -> Result<(Vec<Check>, bool), Failure> {
    let mut checks = host_checks();
    let isolated = isolation::enter();
    let entered = isolated.is_ok();
    checks.push(Check::new(
        NAMESPACE,
        true,
        isolated.map(|()| "created".into()).map_err(|failure| failure.to_string()),
        "run as root: sudo qdiscope doctor",
    ));
    let profiler = ReadyProfiler::new().and_then(ReadyProfiler::start);
    if entered {
        runtime()?.block_on(kernel_checks(&mut checks));
    } else {
        checks.extend([VETH, HTB].map(|name| unknown_without(name, NAMESPACE)));
    }
    checks.extend(ebpf_loader::capabilities().into_iter().map(Check::from));
    checks.push(Check::new(
        "user profile (pprof, SIGPROF)",
        false,
        profiler.map(|_| "started".into()).map_err(|error| error.to_string()),
        "run as root, and without another profiler in this process (ITIMER_PROF)",
    ));
    let able = checks.iter().all(|check| !check.required || check.state == SUPPORTED);
    Ok((checks, able))
}

/// For a gate: what is required, whether it is there, and what was found.
pub(super) fn required() -> Result<Vec<(String, bool, String)>, Failure> {
    let (checks, _) = examine()?;
    let required = checks.into_iter().filter(|check| check.required);
    Ok(required
        .map(|check| {
            let advice = check.advice.iter().map(|advice| format!("; {advice}"));
            let detail = std::iter::once(check.detail.clone()).chain(advice).collect();
            (check.name, check.state == SUPPORTED, detail)
        })
        .collect())
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (checks, able) = examine()?;
    if arguments.json {
        let document = serde_json::to_string_pretty(&checks)
            .map_err(|error| Failure::internal(format!("encode the checks: {error}")))?;
        print(&format!("{document}\n"))?;
    } else {
        print(&render(&checks, able))?;
    }
    Ok(if able { Exit::Pass } else { Exit::Environment })
}

fn host_checks() -> Vec<Check> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = format!(
        "kernel {}, {}, {cores} cores, {}",
        environment::kernel_release(),
        environment::cpu_model().as_deref().unwrap_or("an unnamed CPU"),
        match environment::virtualised() {
            Some(true) => "virtualised",
            Some(false) => "bare metal",
            None => "virtualised or not: could not tell",
        }
    );
    let foreign = match environment::foreign_htb_classes() {
        Some(0) => Check::new("quiet host", false, Ok("no HTB class in any namespace".into()), ""),
        Some(count) => Check::new(
            "quiet host",
            false,
            Err(format!("{count} HTB classes in other namespaces slow the creation of every class")),
            "measure on a machine that shapes nothing else",
        ),
        None => Check::unknown("quiet host", false, "cannot look into all network namespaces", "run as root"),
    };
    vec![Check::new("machine", false, Ok(machine), ""), foreign]
}

/// A required check that could not be made for want of another.
fn unknown_without(name: &str, missing: &str) -> Check {
    Check::unknown(name, true, &format!("not tried without: {missing}"), "see above")
}

/// veth and HTB, by using them.
async fn kernel_checks(checks: &mut Vec<Check>) {
    let devices = isolation::create_devices(1).await;
    let device = devices.as_ref().ok().and_then(|devices| devices.first().copied());
    checks.push(Check::new(
        VETH,
        true,
        devices.map(|_| "created".into()).map_err(|failure| failure.to_string()),
        "modprobe veth, or a kernel with CONFIG_VETH",
    ));
    let Some(device) = device else {
        checks.push(unknown_without(HTB, VETH));
        return;
    };
    checks.push(Check::new(
        HTB,
        true,
        try_htb(device).await.map_err(|error| error.to_string()),
        "modprobe sch_htb, or a kernel with CONFIG_NET_SCH_HTB",
    ));
}

async fn try_htb(device: u32) -> Result<String, tc_adapter::Error> {
    let client = Client::connect()?;
    let qdisc = HtbQdisc::new().into();
    client.request(&Request::AddQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC, qdisc }).await?;
    let rate = tc_adapter::Rate::from_bytes_per_second(125_000).expect("above 0");
    let (parent, classid) = (ROOT_QDISC, Handle::new(ROOT_QDISC.major(), 1));
    client.request(&Request::AddClass { device, parent, classid, class: HtbClass::new(rate) }).await?;
    Ok("qdisc and class created".into())
}

fn render(checks: &[Check], able: bool) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = match check.state {
            SUPPORTED => "ok ",
            "unsupported" => "no ",
            _ => "?  ",
        };
        let _ = writeln!(text, "{mark}{:width$}  {}", check.name, check.detail);
        if let Some(advice) = &check.advice {
            let _ = writeln!(text, "   {:width$}  → {advice}", "");
        }
    }
    text.push_str(if able {
        "\n`qdiscope bench` can run here. What only a missing part could show is absent from its results, never zero.\n"
    } else {
        "\n`qdiscope bench` cannot run here: see the arrows above.\n"
    });
    text
}
