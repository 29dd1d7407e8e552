//! Two checkouts, and what is measured in them in turns.

use std::path::PathBuf;
use std::time::Instant;

use super::Arguments;
use super::git::{self, CHECKOUT, Copied, Repository};
use super::workplace::Workplace;
use crate::bisect::model::{Change, Commit, Metric};
use crate::bisect::{Plan, Stage, Worse};
use crate::cli::turns::{Ended, Lane, Progress, Round, Stop, Surroundings, Turns};
use crate::compare::{self, Execution, Measured, Runs};
use crate::exit::Failure;

/// The names of the checkouts: as long as each other, for a command may be slower where its path is longer.
const NAMES: [&str; 2] = ["reference", "candidate"];

/// Blocks before each comparison that do not count: what was built or checked out just now is not as it is later.
const WARM_UP: u32 = 1;

/// The metric of a run of qdiscope.
const LATENCY: &str = "latency_p95_us";

/// Two checkouts.
pub(super) struct Bench<'a> {
    arguments: &'a Arguments,
    pub(super) turns: Turns,
    pub(super) copies: [Copied; 2],
    pub(super) plan: Plan,
    until: Option<Instant>,
    /// What is checked out, and built.
    ready: [Option<String>; 2],
    pub(super) metric: Option<Metric>,
    /// Runs that count.
    pub(super) runs: u32,
    /// Dropped last: the copies are in it.
    _workplace: Workplace,
}

/// What became of a comparison.
pub(super) enum Compared<D> {
    /// This was decided.
    Decided(D, Worse, Change),
    /// The time is up, or a signal came.
    Stopped(Stop),
    /// A side could not be built or measured.
    Failed { side: usize, failure: Failure },
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        repository: &Repository,
        plan: Plan,
        until: Option<Instant>,
    ) -> Result<Self, Failure> {
        let lane = || Lane { line: arguments.command.clone(), surroundings: Surroundings::default() };
        // From here on signals leave nothing behind.
        let turns = Turns::new([lane(), lane()], arguments.seed, false, Progress::new(false))?;
        let workplace = workplace()?;
        let [reference, candidate] = NAMES.map(|name| Copied::of(repository, workplace.place(name)));
        Ok(Self {
            arguments,
            turns,
            copies: [reference?, candidate?],
            plan,
            until,
            ready: [None, None],
            metric: None,
            runs: 0,
            _workplace: workplace,
        })
    }

    pub(super) fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Measures a commit against another until that is decided. Values are looked at as often as is planned; at the last look `decide` has to.
    pub(super) fn compare<D>(
        &mut self,
        [reference, candidate]: [&Commit; 2],
        stage: Stage,
        decide: impl Fn(&Worse, bool) -> Option<D>,
    ) -> Result<Compared<D>, Failure> {
        for (side, commit) in [reference, candidate].into_iter().enumerate() {
            if self.is_late() && self.ready[side].as_ref() != Some(&commit.hash) {
                return Ok(Compared::Stopped(Stop::Late));
            }
            match self.prepare(side, commit)? {
                Built::Ready => {}
                Built::Failed(failure) => return Ok(Compared::Failed { side, failure }),
                Built::Interrupted => return Ok(Compared::Stopped(Stop::Interrupted)),
            }
        }
        if let Some(keep) = &self.arguments.keep {
            self.turns.keep_in(&keep.join(folder(stage)))?;
        }
        let most = self.plan.looks().last().copied().unwrap_or(self.arguments.runs);
        let mut round = self.turns.begin(WARM_UP, most);
        let compared = self.look(&mut round, most, stage, decide);
        self.runs += 2 * round.blocks();
        compared
    }

    fn look<D>(
        &mut self,
        round: &mut Round,
        most: u32,
        stage: Stage,
        decide: impl Fn(&Worse, bool) -> Option<D>,
    ) -> Result<Compared<D>, Failure> {
        let level = self.plan.level(stage);
        // After the first block it is known whether there is such a metric, before hours go by.
        let mut looks = self.plan.looks().to_vec();
        looks.insert(0, 1);
        for (at, blocks) in looks.into_iter().enumerate() {
            match self.turns.run(round, if at == 0 { WARM_UP } else { 0 }, blocks, self.until) {
                Ok(Stop::Done) => {}
                Ok(stop) => return Ok(Compared::Stopped(stop)),
                Err(trouble) => match trouble.side {
                    Some(side) => return Ok(Compared::Failed { side, failure: trouble.failure }),
                    None => return Err(trouble.failure),
                },
            }
            let values = match self.values(round)? {
                Ok(values) => values,
                Err(failure) => return Ok(Compared::Failed { side: 1, failure }),
            };
            if at == 0 {
                continue;
            }
            match Worse::of(&values.baseline, &values.candidate, values.better, level) {
                Ok(worse) => {
                    if let Some(decision) = decide(&worse, blocks == most) {
                        let change = Change::new(&worse, level, values.baseline, values.candidate);
                        return Ok(Compared::Decided(decision, worse, change));
                    }
                }
                Err(error) => {
                    let failure = Failure::environment(format!("{}: {error}", values.metric));
                    return Ok(Compared::Failed { side: 1, failure });
                }
            }
        }
        Err(Failure::internal("the last look has decided nothing"))
    }

    /// The values of the metric that decides, which the first runs show. The inner failure is the runs' fault.
    fn values(&mut self, round: &Round) -> Result<Result<Measured, Failure>, Failure> {
        let [baseline, candidate] = round.runs()?;
        let usual = match &baseline {
            Runs::Saved(_) => LATENCY,
            Runs::Commands(_) => Execution::METRICS[0],
        };
        let chosen = self.metric.as_ref().map(|metric| metric.name.clone());
        let name = chosen.or_else(|| self.arguments.metric.clone()).unwrap_or_else(|| usual.to_owned());
        let found = match compare::measured(baseline, candidate, &name) {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let values = match &self.metric {
            Some(metric) => {
                let same = found.into_iter().find(|values| values.workload == metric.workload);
                match same {
                    Some(values) => values,
                    None => return Ok(Err(Failure::environment(format!("{name} was not measured")))),
                }
            }
            None => self.choose(&name, found)?,
        };
        Ok(match values.doubt {
            Some(doubt) => Err(Failure::environment(format!("{name}: {doubt}"))),
            None => Ok(values),
        })
    }

    fn choose(&mut self, name: &str, mut found: Vec<Measured>) -> Result<Measured, Failure> {
        let workloads: Vec<String> = found.iter().map(|values| format!("`{}`", values.workload)).collect();
        if let Some(asked) = &self.arguments.workload {
            found.retain(|values| values.workload == *asked);
        }
        match <[Measured; 1]>::try_from(found) {
            Ok([values]) => {
                self.metric = Some(Metric {
                    name: values.metric.clone(),
                    workload: values.workload.clone(),
                    unit: values.unit.to_owned(),
                    better: values.better,
                });
                Ok(values)
            }
            Err(_) if workloads.is_empty() => Err(Failure::usage(format!(
                "{name}: the command's runs have no such metric; another than a run of qdiscope has {}",
                Execution::METRICS.join(", ")
            ))),
            Err(_) => Err(Failure::usage(format!(
                "{name} of which workload? Name one by --workload: {}",
                workloads.join(", ")
            ))),
        }
    }

    /// Checks a commit out and builds it, unless that has been done.
    fn prepare(&mut self, side: usize, commit: &Commit) -> Result<Built, Failure> {
        let folder = &self.copies[side].folder;
        let surroundings = git::surroundings(folder).with("QDISCOPE_COMMIT", &commit.hash);
        self.turns.lanes[side].surroundings = surroundings.clone();
        if self.ready[side].as_ref() == Some(&commit.hash) {
            return Ok(Built::Ready);
        }
        self.ready[side] = None;
        self.turns.progress.doing(&format!("checking out {}", commit.short()));
        match self.done(CHECKOUT, &surroundings)? {
            None => return Ok(Built::Interrupted),
            Some(ended) if ended.code != 0 => {
                return Err(failed("git checkout", &ended).at(commit.short()));
            }
            Some(_) => {}
        }
        if let Some(build) = &self.arguments.build {
            self.turns.progress.doing(&format!("building {}", commit.short()));
            match self.done(build, &surroundings)? {
                None => return Ok(Built::Interrupted),
                Some(ended) if ended.code != 0 => return Ok(Built::Failed(failed(build, &ended))),
                Some(_) => {}
            }
        }
        self.ready[side] = Some(commit.hash.clone());
        Ok(Built::Ready)
    }

    fn done(&mut self, line: &str, surroundings: &Surroundings) -> Result<Option<Ended>, Failure> {
        if self.turns.runner.asked() {
            return Ok(None);
        }
        let ended = self.turns.runner.run(line, surroundings);
        ended.map_err(|error| Failure::environment(format!("run `{line}`: {error}")))
    }
}

/// Whether a commit can be measured.
enum Built {
    Ready,
    Failed(Failure),
    Interrupted,
}

fn failed(line: &str, ended: &Ended) -> Failure {
    let words = ended.last_words.as_ref().map_or_else(String::new, |words| format!(": {words}"));
    Failure::environment(format!("`{line}` ended with {}{words}", ended.code))
}

/// Where a comparison is kept.
fn folder(stage: Stage) -> String {
    match stage {
        Stage::Endpoints => "endpoints".to_owned(),
        Stage::Step(number) => format!("step-{}", number + 1),
        Stage::Confirmation => "confirmation".to_owned(),
    }
}

fn workplace() -> Result<Workplace, Failure> {
    let temporary = std::env::temp_dir();
    let failed = |error: std::io::Error| {
        Failure::environment(format!(
            "no checkout in {}: {error}; let TMPDIR name another folder",
            temporary.display()
        ))
    };
    let real: PathBuf = temporary.canonicalize().map_err(failed)?;
    Workplace::new_in(&real).map_err(failed)
}
