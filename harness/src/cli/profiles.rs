//! `qdiscope profiles`: the load profiles that `bench --profile` runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::Cell;

use super::bench::load_profile;
use super::print;
use crate::duration::Span;
use crate::exit::{Exit, Failure};
use crate::load_profile::{BUILT_IN, BuiltIn, Executor, LoadProfile, Stage, TrafficPlan};
use crate::report::terminal::{range, right, table};

pub(super) const AFTER_HELP: &str = "Exit codes:\n    0  done\n    2  usage: no such profile, or one that cannot be\n    3  a file cannot be written";

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the built-in profiles
    List,
    /// Print a built-in profile's file, or say what a file asks for
    Show(ShowArguments),
    /// Write built-in profiles as files, to be changed; none is overwritten
    Init(InitArguments),
}

#[derive(Args)]
pub(super) struct ShowArguments {
    /// A built-in profile, or a file
    #[arg(value_name = "NAME|FILE")]
    profile: String,
    /// Say what a built-in profile asks for, as of a file, instead of printing it
    #[arg(long)]
    stages: bool,
}

#[derive(Args)]
pub(super) struct InitArguments {
    /// Which of them
    #[arg(value_name = "NAME", default_values_t = BUILT_IN.map(|profile| profile.name.to_owned()))]
    profiles: Vec<String>,
    /// Where to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::List => print(&list())?,
        Command::Show(arguments) => match BuiltIn::find(&arguments.profile) {
            Some(known) if !arguments.stages => print(known.text)?,
            _ => print(&stages(&load_profile(&arguments.profile)?.0))?,
        },
        Command::Init(arguments) => init(arguments)?,
    }
    Ok(Exit::Pass)
}

fn list() -> String {
    let mut rows = table(&["profile", "what for", "length", "users at most", "stages"], 2);
    for known in BUILT_IN {
        let profile = known.profile();
        rows.add_row(vec![
            Cell::new(known.name),
            Cell::new(&profile.purpose),
            right(Span(profile.length())),
            right(profile.most_users()),
            right(profile.stages.len()),
        ]);
    }
    format!("{rows}\n")
}

fn stages(profile: &LoadProfile) -> String {
    let mut rows = table(&["stage", "load", "begins", "length", "judged"], 2);
    for stage in &profile.stages {
        rows.add_row(vec![
            Cell::new(&stage.name),
            Cell::new(load(stage)),
            right(Span(stage.start)),
            right(Span(stage.duration)),
            right(if stage.judged { "yes" } else { "no" }),
        ]);
    }
    let LoadProfile { name, purpose, devices, population, mix, warmup, .. } = profile;
    let mut text = format!(
        "{name}: {purpose}\n{population} classes on {devices} devices; operations: {mix}; {warmup} of them to warm up\n"
    );
    if let Some(tree) = &profile.tree {
        let _ = writeln!(
            text,
            "tree: {}, on which {} subscribers come and go",
            tree.file().display(),
            tree.subscribers()
        );
    }
    let _ = writeln!(text, "{rows}");
    for disturbance in &profile.disturbances {
        let at = Span(disturbance.at());
        let long = disturbance
            .length()
            .map_or_else(|| "to the end".into(), |length| format!("for {}", Span(length)));
        let _ = writeln!(text, "disturbed by {} at {at}, {long}", disturbance.kind());
    }
    if let Some(traffic) = profile.traffic {
        let TrafficPlan { packets_per_second, streams, rate } = traffic;
        let _ = writeln!(
            text,
            "traffic meanwhile: {streams} streams of {packets_per_second} packets a second, each through a class of its own of {rate} or more"
        );
    }
    if let Some(abort) = profile.abort {
        let _ = writeln!(text, "given up where a target is violated for {}", Span(abort.grace));
    }
    text
}

fn load(stage: &Stage) -> String {
    let settings = stage.settings();
    match stage.executor {
        Executor::Closed { .. } => {
            let think = settings.think_time_us.unwrap_or_default();
            let think = Span(std::time::Duration::from_secs_f64(think / 1e6));
            let shape = settings.think_time.unwrap_or_default();
            format!("closed: {} users, think time {think} ({shape})", range(settings.users))
        }
        Executor::Open { users, .. } => {
            let rate = settings.rate.map(range).unwrap_or_default();
            let arrivals = settings.arrivals_in_words().unwrap_or_default();
            format!("open: {rate} a second ({arrivals}), {users} at a time")
        }
    }
}

fn init(arguments: &InitArguments) -> Result<(), Failure> {
    let found: Result<Vec<BuiltIn>, Failure> = arguments
        .profiles
        .iter()
        .map(|name| {
            BuiltIn::find(name).ok_or_else(|| {
                Failure::usage(format!("no built-in profile `{name}`: see `qdiscope profiles list`"))
            })
        })
        .collect();
    let failed = |path: &Path, error: std::io::Error| {
        Failure::environment(format!(
            "cannot write {}: {error}; name another folder with --out",
            path.display()
        ))
    };
    std::fs::create_dir_all(&arguments.out).map_err(|error| failed(&arguments.out, error))?;
    for known in found? {
        let path = arguments.out.join(format!("{}.toml", known.name));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match file {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::usage(format!(
                    "{} is there already: it is not overwritten",
                    path.display()
                )));
            }
            file => file.map_err(|error| failed(&path, error))?,
        };
        file.write_all(known.text.as_bytes()).map_err(|error| failed(&path, error))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}
