//! `cargo xtask trials history`: whether the commit that made it slower is named, and a drift is told, from runs over the history of a repository.

mod findings;
mod plan;
mod repository;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde::de::DeserializeOwned;

use self::{
    findings::{Baseline, Bisection, Trend, crept, named, read},
    plan::{Revision, bad, drifting, stepped},
    repository::Repository,
};
use super::{
    Error, INTERRUPTED,
    calibration::{Calibration, LATENCY, calibrate},
    instrument::{Instrument, Load, finished, finished_with, new_folder},
};
use crate::cargo;

/// Measure two histories of a repository, commit by commit: in one a commit makes it slower, in the other each does, a little.
///
/// Two git repositories are written, whose software is the load with a delay that is committed with it (`delay_ns`). In `stepped` one commit of 40 makes an
/// operation 20 % slower, and the others change nothing; in `drifting` each makes it 0.6 % slower. Each commit is checked out and measured by
/// `qdiscope bench`, into a history of its own. Of the first, `qdiscope regressions` must name the bad commit (and of the median latency no other: what else became worse
/// is the machine's), and `qdiscope bisect` find it; of the second `qdiscope trend` must tell the drift. In both a baseline of the first six runs, which may renew itself
/// after some seconds, must not take in what became worse. All of it stays in --folder, to be looked at again.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Keep the repositories, histories and runs in this new folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Runs over each of both histories, a commit each. In fewer than 16 nobody looks for a drift
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(16..=1_000))]
    runs: u16,
    /// Runs a side from which the delays are calculated
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    calibration_runs: u32,
    #[command(flatten)]
    load: Load,
}

const DURATION: &str = "1s";
/// What the baselines are called, of how many runs a person makes them, and for how long it has to be stable until they renew themselves: of runs that
/// take seconds a week is a short time.
const BASELINE: &str = "good";
const NAMED_RUNS: usize = 6;
const RENEW_AFTER: &str = "9s";
/// Less than this share worse is not taken in, by `qdiscope baseline`'s own word.
const CREEP: f64 = 0.05;
/// `qdiscope bench` has measured, whatever its own budget says of a machine that somebody else uses, too.
const MEASURED: [i32; 3] = [0, 4, 6];

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let instrument = Instrument::prepare()?;
    let folder = match &options.folder {
        Some(folder) => new_folder(folder)?,
        None => instrument.scratch("history")?,
    };
    let outcome = demonstrate(options, &instrument, &folder);
    if options.folder.is_none() {
        instrument.remove(&folder)?;
    }
    match outcome {
        Err(Error::Interrupted) => {
            eprintln!("cargo xtask: interrupted: the histories are not complete, and nothing was checked");
            Ok(ExitCode::from(INTERRUPTED))
        }
        outcome => outcome.map(|good| ExitCode::from(u8::from(!good))),
    }
}

/// Something that has to be so, and whether it is.
struct Check {
    what: String,
    holds: bool,
}

fn demonstrate(options: &Options, instrument: &Instrument, folder: &Path) -> Result<bool, Error> {
    let load = options.load.words(DURATION);
    let calibration = calibrate(instrument, &load, options.calibration_runs)?;
    println!(
        "calibrated: an operation takes {:.2} µs, and {:.2} ns more for each ns that a packet is held up",
        calibration.operation_us, calibration.packets
    );
    let runs = usize::from(options.runs);
    let site = |name, plan: &[Revision]| Site::build(instrument, folder, (name, plan), &calibration, &load);
    let step = site("stepped", &stepped(runs))?;
    let drift = site("drifting", &drifting(runs))?;
    step.measure()?;
    drift.measure()?;
    let mut checks = step.check_step(bad(runs))?;
    checks.push(step.check_baseline()?);
    checks.push(step.check_bisect(bad(runs))?);
    checks.extend(drift.check_drift(plan::drift_percent(runs))?);
    checks.push(drift.check_baseline()?);
    println!();
    for Check { what, holds } in &checks {
        println!("{}: {what}", if *holds { "ok" } else { "FAILED" });
    }
    if options.folder.is_some() {
        println!("kept: {}", folder.display());
    }
    Ok(checks.iter().all(|check| check.holds))
}

/// Commits, short, or that there is none.
fn list(commits: &BTreeSet<String>) -> String {
    if commits.is_empty() {
        return "no commit".into();
    }
    commits.iter().map(|hash| hash.get(..9).unwrap_or(hash)).collect::<Vec<_>>().join(", ")
}

/// A repository with the history of its runs.
struct Site<'a> {
    instrument: &'a Instrument,
    name: &'static str,
    repository: Repository,
    commits: Vec<(String, Revision)>,
    store: PathBuf,
    runs: PathBuf,
}

impl<'a> Site<'a> {
    fn build(
        instrument: &'a Instrument,
        folder: &Path,
        (name, plan): (&'static str, &[Revision]),
        calibration: &Calibration,
        load: &str,
    ) -> Result<Self, Error> {
        let place = folder.join(name);
        let repository = Repository::begin(&place.join("repository"), load)?;
        let mut commits = Vec::new();
        for revision in plan {
            let hash = repository.commit(&revision.subject, calibration.delay_ns(revision.slower_percent))?;
            commits.push((hash, revision.clone()));
        }
        Ok(Self {
            instrument,
            name,
            repository,
            commits,
            store: place.join("history.db"),
            runs: place.join("runs"),
        })
    }

    /// Each commit, checked out and measured, the oldest first.
    fn measure(&self) -> Result<(), Error> {
        for (number, (hash, revision)) in self.commits.iter().enumerate() {
            self.repository.check_out(hash)?;
            finished_with(self.command("sh").arg(repository::SCRIPT), &MEASURED)?;
            println!(
                "{} {} of {}: {} {:?} ({:+.1} %)",
                self.name,
                number + 1,
                self.commits.len(),
                hash.get(..9).unwrap_or(hash),
                revision.subject,
                revision.slower_percent
            );
            if number + 1 == NAMED_RUNS {
                self.name_baseline()?;
            }
        }
        self.repository.check_out(repository::BRANCH)?;
        // What holds it now is forgotten when time has gone by.
        self.show(&["baseline", "show", BASELINE])
    }

    /// Makes a baseline of the runs until now.
    fn name_baseline(&self) -> Result<(), Error> {
        let commits = self.commits.iter().take(NAMED_RUNS).map(|(hash, _)| hash.as_str());
        let words = ["baseline", "create", BASELINE, "--renew-after", RENEW_AFTER];
        let why = ["--reason", "measured when nothing was known to be wrong", "--author", "trials"];
        let mut command = self.command(&self.instrument.qdiscope);
        finished(command.args(words).args(commits).args(why)).map(drop)
    }

    /// A command in the repository, with its history.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let vars = [
            ("QDISCOPE_BIN", self.instrument.qdiscope.clone().into_os_string()),
            ("QDISCOPE_STORE", self.store.clone().into_os_string()),
            ("QDISCOPE_TARGET_DIR", self.runs.clone().into_os_string()),
        ];
        let mut command = self.instrument.command(program, &vars);
        command.current_dir(&self.repository.folder);
        command
    }

    /// Runs `qdiscope` as a person would, and shows what it says.
    fn show(&self, words: &[&str]) -> Result<(), Error> {
        println!("\n{}$ qdiscope {}", self.name, words.join(" "));
        let output = finished(self.command(&self.instrument.qdiscope).args(words))?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// The same as documents.
    fn ask<Document: DeserializeOwned>(&self, words: &[&str]) -> Result<Vec<Document>, Error> {
        let mut command = self.command(&self.instrument.qdiscope);
        // What is inconclusive is an answer.
        let output = finished_with(command.args(words).arg("--json"), &MEASURED)?;
        read(&output.stdout)
            .map_err(|error| Error::Answer { command: cargo::shown(&command), reason: error.to_string() })
    }

    /// That all runs are there: what was lost would be missed nowhere else.
    fn check_whole(&self, trends: &[Trend]) -> Check {
        let found = trends.first().map_or(0, |trend| trend.values.len());
        Check {
            what: format!("{}: {found} of {} runs are in its history", self.name, self.commits.len()),
            holds: trends.len() == 1 && found == self.commits.len(),
        }
    }

    fn check_step(&self, bad: usize) -> Result<Vec<Check>, Error> {
        self.show(&["regressions"])?;
        self.show(&["trend", LATENCY])?;
        let latency = self.ask::<Trend>(&["trend", LATENCY])?;
        let guilty = self.commits.get(bad).map(|(hash, _)| hash.clone());
        let by_latency = named(&latency);
        let blamed = named(&self.ask::<Trend>(&["regressions"])?);
        let holds = guilty.as_ref().is_some_and(|guilty| blamed.contains(guilty));
        let what = format!(
            "{}: regressions names {}, and the bad commit is {}",
            self.name,
            list(&blamed),
            list(&guilty.iter().cloned().collect())
        );
        let only = format!("{}: of {LATENCY} by itself, {} is named", self.name, list(&by_latency));
        Ok(vec![
            self.check_whole(&latency),
            Check { what, holds },
            Check { what: only, holds: guilty.is_some() && by_latency.into_iter().eq(guilty) },
        ])
    }

    /// That the baseline of the first runs is no worse than those.
    fn check_baseline(&self) -> Result<Check, Error> {
        let latency = self.ask::<Trend>(&["trend", LATENCY])?;
        let baseline = self.ask::<Baseline>(&["baseline", "show", BASELINE])?;
        let pair = latency.first().zip(baseline.first());
        let crept = pair.and_then(|(latency, baseline)| crept(latency, baseline));
        let renewed = baseline
            .first()
            .map_or(0, |baseline| baseline.changes.iter().filter(|change| change.kind == "renew").count());
        let what = match crept {
            Some(share) => format!(
                "{}: the baseline renewed itself {renewed} times, and its {LATENCY} is {:+.1} % above that of the runs that were named",
                self.name,
                share * 100.0
            ),
            None => format!("{}: the baseline has no {LATENCY}", self.name),
        };
        Ok(Check { what, holds: crept.is_some_and(|share| share <= CREEP) })
    }

    fn check_bisect(&self, bad: usize) -> Result<Check, Error> {
        let (Some((first, _)), Some((last, _))) = (self.commits.first(), self.commits.last()) else {
            return Ok(Check { what: format!("{}: nothing to bisect", self.name), holds: false });
        };
        let script = format!("sh {}", repository::SCRIPT);
        let words = ["bisect", "--good", first, "--bad", last, "--metric", LATENCY, &script];
        println!("\n{}$ qdiscope {}", self.name, words.map(cargo::quoted).join(" "));
        let found = self.ask::<Bisection>(&words)?;
        let guilty = self.commits.get(bad).map(|(hash, _)| hash);
        let blamed = found.first().and_then(|found| found.first_bad.as_ref()).map(|commit| &commit.hash);
        let what = found.first().map_or_else(
            || format!("{}: bisect says nothing", self.name),
            |found| {
                format!(
                    "{}: bisect ends with {}: {}, after {} runs in {:.0} s",
                    self.name,
                    found.outcome,
                    list(&blamed.into_iter().cloned().collect()),
                    found.runs,
                    found.seconds
                )
            },
        );
        let holds = found.first().is_some_and(|found| found.outcome == "found") && blamed == guilty;
        Ok(Check { what, holds })
    }

    fn check_drift(&self, truth_percent: f64) -> Result<Vec<Check>, Error> {
        self.show(&["regressions"])?;
        self.show(&["trend", LATENCY])?;
        let latency = self.ask::<Trend>(&["trend", LATENCY])?;
        let drift = latency.first().and_then(|trend| trend.drift);
        let told = match drift {
            Some(drift) if drift.relative => format!("a drift of {:+.1} %", drift.change * 100.0),
            Some(_) => "a drift that is no percentage".into(),
            None => "no drift".into(),
        };
        let what = format!(
            "{}: trend tells {told} in {LATENCY}, and the true one is {truth_percent:+.1} %",
            self.name
        );
        Ok(vec![
            self.check_whole(&latency),
            Check { what, holds: drift.is_some_and(|drift| drift.worse && drift.relative) },
        ])
    }
}
