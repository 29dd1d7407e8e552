//! What a class costs when there are many, and the two ways round it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tc_adapter::{Connection, Device, Handle, HtbClass, HtbQdisc, OnError, Recycler, Request, Shards};

use crate::arena;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A tenth of the classes
    #[arg(long)]
    quick: bool,
    /// Where the figures go, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const QDISC: Handle = Handle::qdisc(1);
const SHARDS: u16 = 20;
/// Operations that are timed one by one at each point.
const SAMPLES: u16 = 100;
/// Subscribers that are replaced.
const REPLACED: u16 = 10_000;
/// As many by deleting and adding, which takes some milliseconds each.
const REPLACED_BY_ADDING: u16 = 200;
const GOAL: f64 = 100.0;

/// Medians with so many classes in the kernel, µs.
#[derive(Debug, Default, Serialize)]
struct Point {
    classes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    flat_add_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sharded_add_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recycled_us: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    kernel: String,
    shards: u16,
    points: Vec<Point>,
    replace_by_add_and_delete_per_s: f64,
    replace_by_recycling_per_s: f64,
    ratio: f64,
}

/// A device with an HTB qdisc.
fn device(tc: &mut Connection, name: &str) -> anyhow::Result<u32> {
    arena::add_device(name)?;
    let device = Device::by_name(name)?.index;
    tc.request(&Request::AddQdisc {
        device,
        parent: Handle::ROOT,
        handle: QDISC,
        qdisc: HtbQdisc::new().into(),
    })?;
    Ok(device)
}

fn class(mbit: u64) -> anyhow::Result<HtbClass> {
    Ok(HtbClass::new(format!("{mbit}mbit").parse()?))
}

fn add(device: u32, classid: Handle) -> anyhow::Result<Request> {
    Ok(Request::AddClass { device, parent: QDISC, classid, class: class(10)? })
}

/// Median time of one request.
fn time(tc: &mut Connection, requests: &[Request]) -> anyhow::Result<f64> {
    let mut times: Vec<Duration> = Vec::new();
    for request in requests {
        let start = Instant::now();
        tc.request(request)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).context("no request")?.as_secs_f64() * 1e6)
}

fn all(tc: &mut Connection, requests: &[Request]) -> anyhow::Result<()> {
    for outcome in tc.batch(requests, OnError::Continue) {
        outcome?;
    }
    Ok(())
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let scale = if options.quick { 10 } else { 1 };
    let points = [100, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000].map(|classes| classes / scale);
    let flat_most = 20_000 / scale;
    arena::enter()?;
    let mut tc = Connection::connect()?;
    let mut curve: Vec<Point> = points.iter().map(|&classes| Point { classes, ..Point::default() }).collect();

    eprintln!("flat: to {flat_most} classes on one qdisc");
    let flat = device(&mut tc, "flat")?;
    let mut shards = Shards::new([flat]);
    let mut count = 0;
    for point in curve.iter_mut().filter(|point| point.classes <= flat_most) {
        (count, point.flat_add_us) = grow(&mut tc, &mut shards, count, point.classes)?;
    }
    let replaced = REPLACED / u16::try_from(scale)?;
    let (by_adding, by_recycling) = replace(&mut tc, flat, replaced)?;
    tc.request(&Request::DeleteQdisc { device: flat, parent: Handle::ROOT, handle: QDISC })?;

    eprintln!("sharded: to {} classes on {SHARDS} qdiscs", points[points.len() - 1]);
    let devices =
        (0..SHARDS).map(|shard| device(&mut tc, &format!("shard{shard}"))).collect::<Result<Vec<_>, _>>()?;
    let mut shards = Shards::new(devices.iter().copied());
    let mut count = 0;
    for point in &mut curve {
        (count, point.sharded_add_us) = grow(&mut tc, &mut shards, count, point.classes)?;
        point.recycled_us = Some(recycle(&mut tc, devices[0])?);
    }
    let report = Report {
        schema_version: 1,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        shards: SHARDS,
        points: curve,
        replace_by_add_and_delete_per_s: by_adding,
        replace_by_recycling_per_s: by_recycling,
        ratio: by_recycling / by_adding,
    };
    print!("{}", render(&report, replaced));
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
        println!("saved: {}", path.display());
    }
    Ok(if report.ratio >= GOAL { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

/// Adds classes until there are `target`, the last of them one by one. Gives how many there are, and what one more costs.
fn grow(
    tc: &mut Connection,
    shards: &mut Shards,
    mut count: u32,
    target: u32,
) -> anyhow::Result<(u32, Option<f64>)> {
    let mut requests = Vec::new();
    while count < target {
        let (device, classid) = shards.place().context("no minor is left")?;
        requests.push(add(device, classid)?);
        count += 1;
    }
    let timed = requests.len().saturating_sub(usize::from(SAMPLES));
    all(tc, &requests[..timed])?;
    Ok((count, Some(time(tc, &requests[timed..])?)))
}

/// Gives classes of a device back and takes them again: what a subscriber costs who comes, or goes.
fn recycle(tc: &mut Connection, device: u32) -> anyhow::Result<f64> {
    let mut recycler = Recycler::new("8kbit".parse()?);
    let mut requests = Vec::new();
    // The first of every shard are there at every point.
    for _ in 0..SAMPLES {
        requests.push(recycler.release(device, QDISC, Handle::new(1, 1)));
        let (_, request) = recycler.acquire(device, QDISC, class(20)?).context("nothing is parked")?;
        requests.push(request);
    }
    time(tc, &requests)
}

/// Replaces subscribers of a device with `count` classes, both ways: replacements a second.
fn replace(tc: &mut Connection, device: u32, count: u16) -> anyhow::Result<(f64, f64)> {
    let standing = tc.classes(device)?.len();
    if standing < usize::from(count) {
        bail!("only {standing} classes to replace");
    }
    // To as many as are to be replaced.
    let surplus: Vec<Request> = (count + 1..=u16::try_from(standing)?)
        .map(|minor| Request::DeleteClass { device, classid: Handle::new(1, minor) })
        .collect();
    all(tc, &surplus)?;
    let mut by_adding = Vec::new();
    for minor in 1..=REPLACED_BY_ADDING.min(count) {
        let classid = Handle::new(1, minor);
        by_adding.extend([Request::DeleteClass { device, classid }, add(device, classid)?]);
    }
    let start = Instant::now();
    all(tc, &by_adding)?;
    let adding = f64::from(REPLACED_BY_ADDING.min(count)) / start.elapsed().as_secs_f64();

    let mut recycler = Recycler::new("8kbit".parse()?);
    let mut by_recycling = Vec::new();
    for minor in 1..=count {
        by_recycling.push(recycler.release(device, QDISC, Handle::new(1, minor)));
        let (_, request) = recycler.acquire(device, QDISC, class(20)?).context("nothing is parked")?;
        by_recycling.push(request);
    }
    let start = Instant::now();
    all(tc, &by_recycling)?;
    Ok((adding, f64::from(count) / start.elapsed().as_secs_f64()))
}

fn render(report: &Report, replaced: u16) -> String {
    let mut table = crate::table::new(&[
        "classes in the kernel",
        "add, one qdisc µs",
        "add, 20 qdiscs µs",
        "recycle (change) µs",
    ]);
    for point in &report.points {
        table.add_row([
            point.classes.to_string(),
            crate::table::number(point.flat_add_us),
            crate::table::number(point.sharded_add_us),
            crate::table::number(point.recycled_us),
        ]);
    }
    let mut text = format!("\nWhat one more class costs (medians of {SAMPLES})\n{table}\n");
    let _ = writeln!(
        text,
        "replacing subscribers among {replaced} classes: {:.0}/s by delete and add, {:.0}/s by recycling: {:.0} × (goal: {GOAL} ×)",
        report.replace_by_add_and_delete_per_s, report.replace_by_recycling_per_s, report.ratio,
    );
    text
}
