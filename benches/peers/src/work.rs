//! The driver: rounds of every client's every work, and what they add up to.

use std::fs;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::Options;
use crate::arena::{self, DEVICE, DUMP_DEVICES, POPULATION};
use crate::client::Work;
use crate::measure::Figures;
use crate::peer::{Peer, Toolbox};
use crate::table;

const FLOOR: Peer = Peer::Floor { per_send: 1 };
const FLOOR_BATCH: Peer = Peer::Floor { per_send: 256 };
const ADAPTER_64: Peer = Peer::Adapter { callers: 64, threads: 1 };
const ADAPTER_1: Peer = Peer::Adapter { callers: 1, threads: 1 };
const RTNETLINK_64: Peer = Peer::Rtnetlink { callers: 64, threads: 1 };

const EVERYONE: [Peer; 21] = [
    FLOOR,
    Peer::Floor { per_send: 64 },
    FLOOR_BATCH,
    ADAPTER_1,
    Peer::Adapter { callers: 8, threads: 1 },
    ADAPTER_64,
    Peer::Adapter { callers: 64, threads: 2 },
    Peer::AdapterBlocking,
    Peer::AdapterBatch,
    Peer::Rtnetlink { callers: 1, threads: 1 },
    Peer::Rtnetlink { callers: 8, threads: 1 },
    RTNETLINK_64,
    Peer::Rtnetlink { callers: 64, threads: 2 },
    Peer::Nlink { callers: 1, threads: 1 },
    Peer::Nlink { callers: 8, threads: 1 },
    Peer::Nlink { callers: 64, threads: 1 },
    Peer::Libnl,
    Peer::Vishvananda,
    Peer::Pyroute2,
    Peer::TcBatch,
    Peer::TcProcess,
];

const DUMPERS: [Peer; 5] = [
    FLOOR,
    Peer::AdapterBlocking,
    Peer::Rtnetlink { callers: 1, threads: 1 },
    Peer::Nlink { callers: 1, threads: 1 },
    Peer::TcBatch,
];

/// Changes by which memory is compared.
const MEMORY_CHANGES: u32 = 20_000;

/// A client's figures at one work, one for each round.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) client: String,
    #[serde(skip)]
    pub(crate) peer: Peer,
    pub(crate) rounds: Vec<Figures>,
    /// Operations per second.
    pub(crate) median: Spread,
    /// Against `tc -batch` and the floors, in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_tc_batch: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_floor: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_floor_batch: Option<Spread>,
}

/// A median over rounds, with the extremes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            *values.get(middle)?
        } else {
            f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?)
        };
        Some(Self { median, least: *values.first()?, most: *values.last()? })
    }
}

/// What is to be reached, and what was.
#[derive(Serialize)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) wanted: String,
    /// Absent where a client is.
    pub(crate) reached: Option<String>,
    pub(crate) holds: Option<bool>,
}

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    kernel: String,
    cpu: Option<String>,
    cores: usize,
    rounds: u32,
    quick: bool,
    absent: Vec<(String, &'a str)>,
    rows: &'a [Row],
    goals: &'a [Goal],
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let toolbox = Toolbox::build(options.python_packages.clone())?;
    arena::enter()?;
    arena::add_device(DEVICE)?;
    for device in 0..DUMP_DEVICES {
        if device > 0 {
            arena::add_device(&format!("d{device}"))?;
        }
    }
    let wanted = |peer: &Peer| {
        let needed = matches!(peer, Peer::Floor { .. } | Peer::TcBatch);
        let named = options.only.is_empty() || options.only.iter().any(|part| peer.name().contains(part));
        toolbox.has(*peer) && (needed || named)
    };
    let scale = if options.quick { 10 } else { 1 };
    let everyone: Vec<Peer> = EVERYONE.into_iter().filter(wanted).collect();
    let dumpers: Vec<Peer> = DUMPERS.into_iter().filter(wanted).collect();
    let mut rows = Vec::new();

    let change = rounds(options, "change", &everyone, |peer| {
        toolbox.run(peer, Work::Change, DEVICE, peer.changes() / scale)
    })?;
    rows.extend(change);
    let add = rounds(options, "add", &everyone, |peer| {
        arena::populate(DEVICE, POPULATION)?;
        toolbox.run(peer, Work::Add, DEVICE, peer.adds() / scale)
    })?;
    rows.extend(add);
    let rss: Vec<Peer> = everyone
        .iter()
        .copied()
        .filter(|peer| {
            matches!(peer, Peer::AdapterBlocking | Peer::AdapterBatch | Peer::TcBatch | Peer::Libnl)
        })
        .collect();
    let memory = rounds(options, "20,000 changes", &rss, |peer| {
        toolbox.run(peer, Work::Change, DEVICE, MEMORY_CHANGES)
    })?;
    rows.extend(memory);
    let own: Vec<Peer> =
        everyone.iter().copied().filter(|peer| peer.name().starts_with("tc-adapter")).collect();
    let counted = rounds(&Options { rounds: 1, ..options.clone() }, "allocations", &own, |peer| {
        // In full, so that the buffers of the start are a small share.
        toolbox.run_counting(peer, Work::Change, DEVICE, peer.changes())
    })?;
    rows.extend(counted);
    for device in 0..DUMP_DEVICES {
        arena::populate(&format!("d{device}"), 3_000 / u16::try_from(scale)?)?;
    }
    let dump =
        rounds(options, "dump", &dumpers, |peer| toolbox.run(peer, Work::Dump, DEVICE, DUMP_DEVICES.into()))?;
    rows.extend(dump);

    let goals = goals(&rows);
    print!("{}", table::render(&rows, &goals));
    for (peer, reason) in toolbox.absent() {
        println!("absent: {}: {reason}", peer.name());
    }
    if let Some(path) = &options.json {
        let report = Report {
            schema_version: 1,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: cpu_model(),
            cores: std::thread::available_parallelism()?.get(),
            rounds: options.rounds,
            quick: options.quick,
            absent: toolbox.absent().iter().map(|(peer, reason)| (peer.name(), reason.as_str())).collect(),
            rows: &rows,
            goals: &goals,
        };
        fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
        println!("saved: {}", path.display());
    }
    let missed = goals.iter().any(|goal| goal.holds != Some(true));
    Ok(if options.strict && missed { ExitCode::from(4) } else { ExitCode::SUCCESS })
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(info.lines().find(|line| line.starts_with("model name"))?.split_once(": ")?.1.to_owned())
}

/// Every client once a round, each round beginning with the next client, so that none always follows the same one.
fn rounds(
    options: &Options,
    work: &'static str,
    peers: &[Peer],
    mut run: impl FnMut(Peer) -> anyhow::Result<Figures>,
) -> anyhow::Result<Vec<Row>> {
    if work == "change" {
        arena::populate(DEVICE, POPULATION)?;
    }
    let mut figures: Vec<Vec<Figures>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds as usize {
        eprintln!("{work}: round {} of {}", round + 1, options.rounds);
        for turn in 0..peers.len() {
            let index = (round + turn) % peers.len();
            figures[index].push(run(peers[index])?);
        }
    }
    let speeds = |wanted: Peer| {
        let index = peers.iter().position(|peer| *peer == wanted)?;
        Some(figures[index].iter().map(Figures::operations_per_second).collect::<Vec<f64>>())
    };
    let (tc, floor, floor_batch) = (speeds(Peer::TcBatch), speeds(FLOOR), speeds(FLOOR_BATCH));
    let ratio = |own: &[Figures], other: &Option<Vec<f64>>| {
        let other = other.as_ref()?;
        Spread::of(own.iter().zip(other).map(|(own, other)| own.operations_per_second() / other))
    };
    let mut rows = Vec::new();
    for (peer, own) in peers.iter().zip(&figures) {
        rows.push(Row {
            work,
            client: peer.name(),
            peer: *peer,
            median: Spread::of(own.iter().map(Figures::operations_per_second)).context("no round")?,
            to_tc_batch: ratio(own, &tc),
            to_floor: ratio(own, &floor),
            to_floor_batch: ratio(own, &floor_batch),
            rounds: own.clone(),
        });
    }
    Ok(rows)
}

/// The median over rounds of a figure of each round.
pub(crate) fn median(row: &Row, pick: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = row.rounds.iter().map(pick).collect();
    Spread::of(values?).map(|spread| spread.median)
}

fn goals(rows: &[Row]) -> Vec<Goal> {
    let row = |work: &str, peer: Peer| rows.iter().find(|row| row.work == work && row.peer == peer);
    let at_least = |what, wanted: f64, reached: Option<Spread>, of: &str| Goal {
        what,
        wanted: format!("≥ {wanted:.2} × {of}"),
        reached: reached
            .map(|spread| format!("{:.2} ({:.2}–{:.2})", spread.median, spread.least, spread.most)),
        holds: reached.map(|spread| spread.median >= wanted),
    };
    let between = |work: &str, own: Peer, other: Peer| {
        let (own, other) = (row(work, own)?, row(work, other)?);
        Spread::of(
            own.rounds
                .iter()
                .zip(&other.rounds)
                .map(|(own, other)| own.operations_per_second() / other.operations_per_second()),
        )
    };
    let mut goals = vec![
        at_least(
            "change, one caller, one message each (async)",
            0.90,
            between("change", ADAPTER_1, FLOOR),
            "floor, one a send",
        ),
        at_least(
            "change, one caller, one message each (blocking)",
            0.90,
            between("change", Peer::AdapterBlocking, FLOOR),
            "floor, one a send",
        ),
        at_least(
            "change, explicit batch",
            0.90,
            between("change", Peer::AdapterBatch, FLOOR_BATCH),
            "floor, 256 a send",
        ),
        at_least(
            "change, 64 concurrent callers",
            3.0,
            between("change", ADAPTER_64, RTNETLINK_64),
            "rtnetlink's 64 tasks",
        ),
        at_least(
            "add at 1,000 classes, 64 concurrent callers",
            0.98,
            between("add", ADAPTER_64, FLOOR_BATCH),
            "floor, 256 a send",
        ),
    ];
    // The add itself grows while the classes double, so the rate by which the last callers queue is that of the slow end.
    let of = |peer, pick: fn(&Figures) -> Option<f64>| median(row("add", peer)?, pick);
    let tail = of(ADAPTER_64, |figures| figures.p99_us)
        .zip(of(ADAPTER_1, |figures| figures.p99_us))
        .zip(of(ADAPTER_1, |figures| figures.p95_us).map(|slow| 64.0 * slow));
    goals.push(Goal {
        what: "add at 1,000 to 2,000 classes, 64 callers: p99",
        wanted: tail.map_or_else(
            || "≤ 2 × one caller's + 64 × its p95".into(),
            |((_, one), queue)| {
                format!("≤ {:.0} µs (2 × {one:.0} + 64 × {:.0})", 2.0 * one + queue, queue / 64.0)
            },
        ),
        reached: tail.map(|((own, _), _)| format!("{own:.0} µs")),
        holds: tail.map(|((own, one), queue)| own <= 2.0 * one + queue),
    });
    let slower = between("dump", FLOOR, Peer::AdapterBlocking);
    goals.push(Goal {
        what: "dump over 20 devices, typed, streaming",
        wanted: "≤ 1.10 × C with a 32 KiB buffer".into(),
        reached: slower
            .map(|spread| format!("{:.2} ({:.2}–{:.2})", spread.median, spread.least, spread.most)),
        holds: slower.map(|spread| spread.median <= 1.10),
    });
    let allocations = rows
        .iter()
        .filter(|row| row.work == "allocations")
        .filter_map(|row| median(row, |figures| figures.allocations_per_operation))
        .reduce(f64::max);
    goals.push(Goal {
        what: "allocations for a change, any of the adapter's ways",
        wanted: "none in the steady state".into(),
        reached: allocations.map(|most| format!("{most:.3} at most")),
        // The buffers of the start, and in a batch those of a call.
        holds: allocations.map(|most| most < 0.02),
    });
    let memory = row("20,000 changes", Peer::AdapterBatch).and_then(|row| {
        median(row, |figures| figures.peak_rss_kb.map(|kilobytes| kilobytes as f64 / 1024.0))
    });
    goals.push(Goal {
        what: "peak RSS of 20,000 changes, blocking client",
        wanted: "≤ 8 MB".into(),
        reached: memory.map(|megabytes| format!("{megabytes:.1} MB")),
        holds: memory.map(|megabytes| megabytes <= 8.0),
    });
    goals
}
