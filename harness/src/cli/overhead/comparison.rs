//! The loads that are compared: the plan, and what is printed and written.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use tc_adapter::{Connection, Handle, Request};

use super::Arguments;
use crate::cli::print;
use crate::environment;
use crate::exit::{Exit, Failure};
use crate::load::Stop;
use crate::overhead::model::{Overhead, Verdict};
use crate::overhead::{self, Contestant, Load, Plan};
use crate::workload::ROOT_QDISC;

/// The names in `--only` are looked up here.
pub(super) fn plan(arguments: &Arguments, loads: Vec<Load>) -> Result<Plan, Failure> {
    let all = overhead::contestants();
    if let Some(unknown) = arguments.only.iter().find(|name| all.iter().all(|known| known.name() != **name)) {
        let names: Vec<String> = all.iter().map(Contestant::name).collect();
        return Err(Failure::usage(format!("--only {unknown}: not one of {}", names.join(", "))));
    }
    let asked =
        |contestant: &Contestant| arguments.only.is_empty() || arguments.only.contains(&contestant.name());
    Ok(Plan {
        rounds: arguments.rounds(),
        patient: !arguments.quick,
        window: Duration::from_millis(if arguments.quick { 100 } else { 300 }),
        loads,
        contestants: all.into_iter().filter(asked).collect(),
    })
}

/// What others do on this machine, before the measurement adds to it.
pub(super) fn busy() -> Option<String> {
    let load = environment::load_average()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (load > 0.5 * cores as f64).then(|| {
        format!("this machine was busy before (load average {load:.1} on {cores} cores): expect wide ranges")
    })
}

pub(super) fn run(
    arguments: &Arguments,
    plan: &Plan,
    device: u32,
    stop: &Stop,
    busy: Option<String>,
    json: Option<Destination>,
) -> Result<Exit, Failure> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let measured = overhead::measure(plan, device, stop, &|doing| bar.set_message(doing.to_owned()));
    bar.finish_and_clear();
    clear(device)?;
    let Some(mut measured) = measured? else { return Ok(Exit::Interrupted) };
    measured.remarks.extend(busy);
    measured.remarks.extend(measured.cpu.as_deref().and_then(emulated));
    show(json, &measured)?;
    if measured.contestants.iter().all(|contestant| contestant.absent.is_some()) {
        return Err(Failure::environment("none of the contestants could be measured; the reasons are above"));
    }
    Ok(if arguments.check_goals { verdict(&measured) } else { Exit::Pass })
}

/// The load's classes, which outlive it, are not to be in the way of what comes next.
fn clear(device: u32) -> Result<(), Failure> {
    let request = Request::DeleteQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC };
    match Connection::connect().and_then(|mut connection| connection.request(&request)) {
        Ok(_) => Ok(()),
        // The load did not come to it.
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
        Err(error) => Err(Failure::environment(format!("delete the load's classes: {error}"))),
    }
}

/// QEMU without KVM names its CPUs so.
fn emulated(cpu: &str) -> Option<String> {
    cpu.contains("TCG")
        .then(|| "the CPU is emulated: what is slow here is the emulation, and no figure can be compared with hardware's".into())
}

/// Where `--json` goes.
pub(super) enum Destination {
    /// In place of the table.
    Output,
    /// A file, already open: that it cannot be written is known before the minutes of measuring.
    File(PathBuf, File),
}

impl Destination {
    pub(super) fn open(arguments: &Arguments) -> Result<Option<Self>, Failure> {
        let Some(path) = &arguments.json else { return Ok(None) };
        if path.as_os_str() == "-" {
            return Ok(Some(Self::Output));
        }
        match File::options().write(true).create(true).truncate(false).open(path) {
            Ok(file) => Ok(Some(Self::File(path.clone(), file))),
            Err(error) => {
                Err(Failure::usage(format!("--json {}: {error}; name another file", path.display())))
            }
        }
    }
}

fn show(json: Option<Destination>, measured: &Overhead) -> Result<(), Failure> {
    let document = || {
        serde_json::to_string_pretty(measured)
            .map(|json| json + "\n")
            .map_err(|error| Failure::internal(format!("write JSON: {error}")))
    };
    match json {
        Some(Destination::Output) => print(&document()?),
        Some(Destination::File(path, mut file)) => {
            let document = document()?;
            // What was there before is replaced only now.
            file.set_len(0)
                .and_then(|()| file.write_all(document.as_bytes()))
                .map_err(|error| Failure::environment(format!("write {}: {error}", path.display())))?;
            print(&overhead::render(measured))
        }
        None => print(&overhead::render(measured)),
    }
}

/// How the process ends under `--check-goals`. Where no probes could be measured nothing is shown to hold.
fn verdict(measured: &Overhead) -> Exit {
    let any = |verdict| measured.goals.iter().any(|goal| goal.verdict == verdict);
    if any(Verdict::Missed) {
        Exit::BudgetViolated
    } else if any(Verdict::Undecided) || measured.goals.is_empty() {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}
