//! Two commands in turns.
//!
//! In blocks of both in random order (a randomised block design: Fisher, The Arrangement of Field Experiments, 1926): what drifts meets both
//! alike, and what comes at regular times meets neither by preference.

mod command;
mod keeper;
mod progress;

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

pub(super) use command::{Ended, Runner, Surroundings};
pub(super) use keeper::keep;
pub(super) use progress::Progress;

use super::compare::sides::{self, EXECUTION};
use crate::compare::model::{Comparison, Interleaved};
use crate::compare::{self, EXECUTION_VERSION, Execution, Options, Refusal, Runs, Side};
use crate::environment;
use crate::exit::{Exit, Failure};
use crate::report::model::RunResult;
use crate::store::SavedRun;

/// Where runs of qdiscope are saved.
const TARGET: &str = "QDISCOPE_TARGET_DIR";

/// The names of the sides' folders.
const FOLDERS: [&str; 2] = ["a", "b"];

/// A run of qdiscope has measured, whatever its budget says.
const MEASURED: [i32; 3] = [Exit::Pass as i32, Exit::BudgetViolated as i32, Exit::Inconclusive as i32];

/// What a command left.
enum Outcome {
    Saved(Box<RunResult>),
    Command(Execution),
}

/// A command, and in what it runs.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) line: String,
    pub(super) surroundings: Surroundings,
}

/// Two commands, ready to run.
pub(super) struct Turns {
    pub(super) lanes: [Lane; 2],
    pub(super) runner: Runner,
    pub(super) progress: Progress,
    seed: u64,
    keep: Option<PathBuf>,
    force: bool,
    random: ChaCha8Rng,
}

/// Why blocks are no longer run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// All have been.
    Done,
    /// The time is up.
    Late,
    /// A signal asked to end.
    Interrupted,
}

/// What has kept a block from being whole.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Whose fault it is, where it is a side's.
    pub(super) side: Option<usize>,
    pub(super) failure: Failure,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { side: None, failure }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        trouble.failure
    }
}

impl Turns {
    pub(super) fn new(lanes: [Lane; 2], seed: u64, force: bool, progress: Progress) -> Result<Self, Failure> {
        let runner =
            Runner::new().map_err(|error| Failure::internal(format!("be ready to run commands: {error}")))?;
        Ok(Self { lanes, runner, progress, seed, keep: None, force, random: ChaCha8Rng::seed_from_u64(seed) })
    }

    /// What follows is kept in this folder, which must not have runs yet.
    pub(super) fn keep_in(&mut self, keep: &Path) -> Result<(), Failure> {
        check_new(keep)?;
        // Commands may run in other folders.
        let keep = absolute(keep)
            .map_err(|error| Failure::environment(format!("--keep {}: {error}", keep.display())))?;
        self.keep = Some(keep);
        Ok(())
    }

    /// Of so many blocks, none of which has run yet.
    pub(super) fn begin(&self, warm_up: u32, blocks: u32) -> Round {
        Round {
            names: self.lanes.each_ref().map(|lane| lane.line.clone()),
            sides: [Vec::new(), Vec::new()],
            turns: Interleaved { seed: self.seed, blocks: 0, blocks_asked: blocks, warm_up_blocks: warm_up },
            interrupted: false,
        }
    }

    /// Runs blocks that do not count, and blocks that do, until there are so many in all, the time is up, or a signal comes. One that counts is
    /// run in any case.
    pub(super) fn run(
        &mut self,
        round: &mut Round,
        warm_up: u32,
        blocks: u32,
        until: Option<Instant>,
    ) -> Result<Stop, Trouble> {
        self.progress.begin(warm_up, round.turns.blocks, blocks);
        let stop = self.blocks(round, warm_up, blocks, until);
        self.progress.end();
        stop
    }

    fn blocks(
        &mut self,
        round: &mut Round,
        warm_up: u32,
        blocks: u32,
        until: Option<Instant>,
    ) -> Result<Stop, Trouble> {
        for number in 1..=warm_up {
            let Some(block) = self.block(None)? else { return Ok(round.interrupt()) };
            let took = block.each_ref().map(|(_, took)| *took);
            self.progress.block(&format!("warm-up {number} of {warm_up}"), took);
        }
        while round.turns.blocks < blocks {
            if round.turns.blocks > 0 && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Stop::Late);
            }
            let Some(block) = self.block(Some(round.turns.blocks + 1))? else { return Ok(round.interrupt()) };
            let took = block.each_ref().map(|(_, took)| *took);
            round.push(block.map(|(outcome, _)| outcome));
            round.check(self.force).map_err(|failure| Trouble { side: Some(1), failure })?;
            self.progress.block(&format!("block {} of {blocks}", round.turns.blocks), took);
        }
        Ok(Stop::Done)
    }

    /// Both commands, each once. `None`: a signal asked to end.
    fn block(&mut self, number: Option<u32>) -> Result<Option<[(Outcome, Duration); 2]>, Trouble> {
        let mut done = [None, None];
        for side in order(&mut self.random) {
            match self.once(side, number)? {
                Some(outcome) => done[side] = Some(outcome),
                None => return Ok(None),
            }
        }
        let [Some(baseline), Some(candidate)] = done else { return Ok(None) };
        Ok(Some([baseline, candidate]))
    }

    fn once(&mut self, side: usize, number: Option<u32>) -> Result<Option<(Outcome, Duration)>, Trouble> {
        let Lane { line, surroundings } = &self.lanes[side];
        let failed = |error: io::Error| Failure::environment(format!("run `{line}`: {error}"));
        let keep = self.keep.clone().filter(|_| number.is_some());
        let folder = self.keep.as_deref().map_or_else(TempDir::new, TempDir::new_in).map_err(failed)?;
        if self.runner.asked() {
            return Ok(None);
        }
        let started = Timestamp::now();
        // As the command sees it, from wherever it runs.
        let target = absolute(folder.path()).map_err(failed)?;
        let surroundings = surroundings.clone().with(TARGET, &target);
        let Some(ended) = self.runner.run(line, &surroundings).map_err(failed)? else {
            return Ok(None);
        };
        let saved = sides::folders(&target.join("qdiscope")).unwrap_or_default();
        let of_side = |failure| Trouble { side: Some(side), failure };
        check(line, &ended, &saved).map_err(of_side)?;
        let place = keep.map(|keep| keep.join(FOLDERS[side]).join(number.unwrap_or_default().to_string()));
        let outcome = if let Some(saved) = saved.first() {
            let unread = |error: crate::store::ReadError| of_side(Failure::environment(error.to_string()));
            let run = SavedRun::read(saved).map_err(unread)?.result;
            if let Some(place) = &place {
                keep_run(saved, place)?;
            }
            Outcome::Saved(Box::new(run))
        } else {
            let execution = execution(line, started, &ended);
            if let Some(place) = &place {
                keep_execution(&execution, place)?;
            }
            Outcome::Command(execution)
        };
        Ok(Some((outcome, ended.wall)))
    }
}

/// In which order a block runs both sides.
fn order(random: &mut ChaCha8Rng) -> [usize; 2] {
    let mut order = [0, 1];
    order.shuffle(random);
    order
}

/// Whether a command did what it was to do.
fn check(line: &str, ended: &Ended, saved: &[PathBuf]) -> Result<(), Failure> {
    let sound = if saved.is_empty() { ended.code == 0 } else { MEASURED.contains(&ended.code) };
    if !sound {
        let words = ended.last_words.as_ref().map_or_else(String::new, |words| format!(": {words}"));
        let advice = if MEASURED.contains(&ended.code) {
            format!(" (a run of qdiscope is looked for in ${TARGET}: leave --out away)")
        } else {
            String::new()
        };
        return Err(Failure::environment(format!("`{line}` ended with {}{words}{advice}", ended.code)));
    }
    if saved.len() > 1 {
        return Err(Failure::usage(format!(
            "`{line}` saved {} runs, and one is compared: split it into commands of one run each",
            saved.len()
        )));
    }
    Ok(())
}

fn execution(line: &str, started: Timestamp, ended: &Ended) -> Execution {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Execution {
        schema_version: EXECUTION_VERSION,
        // As those of runs: sortable by time, and no two are the same.
        id: format!("{}-{:09}", started.strftime("%Y%m%dT%H%M%SZ"), started.subsec_nanosecond()),
        command: line.to_owned(),
        started_at: started.to_string(),
        kernel: environment::kernel_release(),
        cpu: environment::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        wall_time_us: micros(ended.wall),
        cpu_time_us: micros(ended.cpu),
        peak_rss_bytes: ended.peak_rss_bytes,
    }
}

/// Runs that were kept before are not mixed with new ones.
fn check_new(keep: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::environment(format!("--keep {}: {error}", keep.display()));
    fs::create_dir_all(keep).map_err(failed)?;
    for name in FOLDERS {
        let folder = keep.join(name);
        if folder.exists() {
            return Err(Failure::usage(format!(
                "--keep {}: it has runs already, in {}; name a new folder",
                keep.display(),
                folder.display()
            )));
        }
        fs::create_dir(&folder).map_err(failed)?;
    }
    Ok(())
}

fn keep_run(saved: &Path, place: &Path) -> Result<(), Failure> {
    // Both are below the folder that was named, and so on one file system.
    fs::rename(saved, place)
        .map_err(|error| Failure::environment(format!("keep the run as {}: {error}", place.display())))
}

fn keep_execution(execution: &Execution, place: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(execution)
        .map_err(|error| Failure::internal(format!("encode a run: {error}")))?;
    fs::create_dir(place)
        .and_then(|()| fs::write(place.join(EXECUTION), json + "\n"))
        .map_err(|error| Failure::environment(format!("keep the run as {}: {error}", place.display())))
}

/// What was run.
pub(super) struct Round {
    names: [String; 2],
    sides: [Vec<Outcome>; 2],
    turns: Interleaved,
    interrupted: bool,
}

impl Round {
    fn interrupt(&mut self) -> Stop {
        self.interrupted = true;
        Stop::Interrupted
    }

    /// Blocks that count.
    pub(super) fn blocks(&self) -> u32 {
        self.turns.blocks
    }

    /// The runs of both sides.
    pub(super) fn runs(&self) -> Result<[Runs; 2], Failure> {
        let [baseline, candidate] = &self.sides;
        Ok([runs(baseline)?, runs(candidate)?])
    }

    fn push(&mut self, block: [Outcome; 2]) {
        for (side, outcome) in self.sides.iter_mut().zip(block) {
            side.push(outcome);
        }
        self.turns.blocks += 1;
    }

    /// Tells at once what will not be compared: whether the last block is as the first was.
    fn check(&self, force: bool) -> Result<(), Failure> {
        let [baseline, candidate] = &self.sides;
        let baseline = runs(baseline.first().into_iter().chain(baseline.last()))?;
        compare::differences(&baseline, &runs(candidate.last())?, force)?;
        Ok(())
    }

    /// Compares what there is.
    pub(super) fn compared(&self, options: &Options) -> Result<Comparison, Failure> {
        match self.compared_if_any(options)? {
            Some(comparison) => Ok(comparison),
            None => Err(Failure::refused(Exit::Interrupted, "interrupted before both commands had run once")),
        }
    }

    /// The same; `None` where not even one block was completed.
    pub(super) fn compared_if_any(&self, options: &Options) -> Result<Option<Comparison>, Failure> {
        if self.turns.blocks == 0 {
            return Ok(None);
        }
        let [baseline, candidate] = self.runs()?;
        let side = |at: usize, runs: Runs| Side { name: self.names[at].clone(), runs };
        let comparison = compare::compare(side(0, baseline), side(1, candidate), options)?;
        Ok(Some(Comparison { interleaved: Some(self.turns), interrupted: self.interrupted, ..comparison }))
    }
}

/// A side's runs, which are of one kind.
fn runs<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Result<Runs, Failure> {
    let (mut saved, mut commands) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Saved(run) => saved.push((**run).clone()),
            Outcome::Command(run) => commands.push(run.clone()),
        }
    }
    match (saved.is_empty(), commands.is_empty()) {
        (_, true) => Ok(Runs::Saved(saved)),
        (true, false) => Ok(Runs::Commands(commands)),
        (false, false) => Err(Refusal::Mixed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32) -> Ended {
        Ended {
            code,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_rss_bytes: 0,
            last_words: Some("no such file".into()),
        }
    }

    #[test]
    fn an_order_is_random_and_the_seeds() {
        let orders = |seed| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (0..20).map(|_| order(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
        for first in [0, 1] {
            assert!(orders(1).iter().any(|order| order[0] == first && order[1] == 1 - first));
        }
    }

    #[test]
    fn a_violated_budget_is_a_run_and_a_failed_command_is_none() {
        let saved = [PathBuf::from("run")];
        for code in [0, 4, 6] {
            check("x", &ended(code), &saved).unwrap();
        }
        for (code, saved) in [(1, &saved[..]), (130, &saved), (4, &[]), (137, &[])] {
            let failure = check("x y", &ended(code), saved).unwrap_err();
            assert_eq!(failure.exit, Exit::Environment);
            let said = failure.to_string();
            assert!(said.starts_with(&format!("`x y` ended with {code}: no such file")), "{said}");
            assert_eq!(said.contains("leave --out away"), code == 4, "{said}");
        }
        let two = [PathBuf::from("one"), PathBuf::from("two")];
        assert_eq!(check("x", &ended(0), &two).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn kept_runs_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let keep = folder.path().join("new/kept");
        check_new(&keep).unwrap();
        assert!(keep.join("a").is_dir() && keep.join("b").is_dir());
        let again = check_new(&keep).unwrap_err();
        assert_eq!(again.exit, Exit::Usage);
        assert!(again.to_string().contains("it has runs already"), "{again}");
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(check_new(&folder.path().join("file")).unwrap_err().exit, Exit::Environment);
    }
}
