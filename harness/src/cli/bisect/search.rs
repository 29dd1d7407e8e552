//! The search: endpoints, commits between, confirmation.

use std::time::Instant;

use super::Arguments;
use super::bench::{Bench, Compared};
use super::git::{Bisect, Next, Repository};
use crate::bisect::model::{Bisection, Commit, Outcome, SCHEMA_VERSION, Step, Verdict};
use crate::bisect::table::change as words;
use crate::bisect::{Confirmed, Endpoints, Plan, Stage, confirmed, endpoints, share, step};
use crate::cli::turns::Stop;
use crate::exit::Failure;
use crate::stats::two_samples::Certainty;

/// A search, ready to begin.
pub(super) struct Search<'a> {
    arguments: &'a Arguments,
    bench: Bench<'a>,
    began: Instant,
    result: Bisection,
}

impl<'a> Search<'a> {
    pub(super) fn prepare(
        arguments: &'a Arguments,
        repository: &Repository,
        [good, bad]: [Commit; 2],
        between: Vec<Commit>,
        until: Option<Instant>,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let certainty = if arguments.strict { Certainty::Strict } else { Certainty::Usual };
        let plan = Plan::new(certainty, arguments.runs, arguments.max_runs, between.len());
        let result = Bisection {
            schema_version: SCHEMA_VERSION,
            qdiscope_version: env!("CARGO_PKG_VERSION").to_owned(),
            outcome: Outcome::Inconclusive,
            reason: None,
            first_bad: None,
            after: None,
            before: None,
            change: None,
            share_percent: None,
            whole: None,
            good,
            bad,
            commits: between.len(),
            candidates: between,
            metric: None,
            threshold_percent: arguments.threshold,
            confidence_percent: (1.0 - plan.whole_level()) * 100.0,
            command: arguments.command.clone(),
            build: arguments.build.clone(),
            seed: arguments.seed,
            steps: Vec::new(),
            runs: 0,
            seconds: 0.0,
            notes: Vec::new(),
        };
        Ok(Self { arguments, bench: Bench::new(arguments, repository, plan, until)?, began, result })
    }

    /// To its end, whichever that is.
    pub(super) fn run(mut self) -> Result<Bisection, Failure> {
        if let Some(whole) = self.endpoints()?
            && let Some(end) = self.between(whole)?
        {
            match end {
                End::One(first) => self.confirm_one(first, whole)?,
                End::Several { before, after } => self.confirm_several(before, after, whole)?,
            }
        }
        Ok(Bisection {
            metric: self.bench.metric,
            runs: self.bench.runs,
            seconds: self.began.elapsed().as_secs_f64(),
            ..self.result
        })
    }

    fn end(&mut self, outcome: Outcome, reason: impl Into<String>) {
        self.result.outcome = outcome;
        self.result.reason = Some(reason.into());
    }

    fn stopped(&mut self, stop: Stop) {
        let count = self.result.candidates.len();
        let left = if count == 1 { "1 commit remains".to_owned() } else { format!("{count} commits remain") };
        match stop {
            Stop::Late => self.end(Outcome::TimeUp, format!("--max-time: {left} in question")),
            Stop::Interrupted | Stop::Done => self.end(Outcome::Interrupted, format!("{left} in question")),
        }
    }

    fn say(&self, line: &str) {
        self.bench.turns.progress.line(line);
    }

    /// By how much bad is worse; `None` where that is the end.
    fn endpoints(&mut self) -> Result<Option<f64>, Failure> {
        self.bench.turns.progress.title("good and bad");
        let (good, bad) = (self.result.good.clone(), self.result.bad.clone());
        let threshold = self.arguments.threshold / 100.0;
        let decide = |worse: &_, last| match endpoints(worse, threshold, last) {
            Endpoints::MoreNeeded => None,
            decision => Some(decision),
        };
        let (decision, worse, change) = match self.bench.compare([&good, &bad], Stage::Endpoints, decide)? {
            Compared::Decided(decision, worse, change) => (decision, worse, change),
            Compared::Stopped(stop) => {
                self.stopped(stop);
                return Ok(None);
            }
            Compared::Failed { side, failure } => {
                let commit = if side == 0 { &good } else { &bad };
                return Err(failure.at(format!("{} ({})", ["good", "bad"][side], commit.short())));
            }
        };
        if self.bench.copies[1].folder.join(".gitmodules").exists() {
            self.result.notes.push(
                "submodules are not checked out; --build can do that: git submodule update --init".into(),
            );
        }
        let said = words(&change);
        self.say(&format!("good {} and bad {}: {said}", good.short(), bad.short()));
        self.result.whole = Some(change);
        let percent = self.arguments.threshold;
        if matches!(decision, Endpoints::NoRegression | Endpoints::Improvement) {
            self.result.candidates.clear();
        }
        match decision {
            Endpoints::Differ => return Ok(Some(worse.by)),
            Endpoints::NoRegression => self.end(
                Outcome::NoRegression,
                format!("nothing to look for: bad is not worse than good by {percent} % (--threshold)"),
            ),
            Endpoints::Improvement => self.end(
                Outcome::Improvement,
                "bad is better than good: only what became worse is looked for",
            ),
            Endpoints::Inconclusive | Endpoints::MoreNeeded => self.end(
                Outcome::Inconclusive,
                format!(
                    "whether bad is worse than good by {percent} %, and by how much, is not sure after {} runs a side: more may tell (--max-runs)",
                    self.arguments.max_runs
                ),
            ),
        }
        Ok(None)
    }

    /// What git bisect leaves; `None` where the search is to end.
    fn between(&mut self, whole: f64) -> Result<Option<End>, Failure> {
        let range = self.arguments.range();
        let bisect = Bisect::start(&self.bench.copies[1], &range, &self.result.good, &self.result.bad)?;
        let mut measured = 0;
        loop {
            let next = bisect.next()?;
            self.result.candidates = match next {
                Next::Several(ref hashes) => bisect.known(hashes.clone())?,
                _ => bisect.suspects()?,
            };
            let hash = match next {
                Next::Found(hash) => return Ok(Some(End::One(self.known(&bisect, &hash)?))),
                Next::Several(_) => {
                    return Ok(Some(End::Several { before: self.last_good(), after: bisect.bad()? }));
                }
                Next::Try(hash) => hash,
            };
            let commit = self.known(&bisect, &hash)?;
            let Some(tried) = self.step(commit, measured, whole)? else { return Ok(None) };
            measured += u32::from(tried.change.is_some());
            let word = match tried.verdict {
                Verdict::Good => "good",
                Verdict::Bad => "bad",
                Verdict::Undecided | Verdict::Skipped => "skip",
            };
            bisect.tell(word, &tried.commit)?;
            self.result.steps.push(tried);
        }
    }

    fn known(&self, bisect: &Bisect, hash: &str) -> Result<Commit, Failure> {
        if let Some(known) = self.result.candidates.iter().find(|commit| commit.hash == hash) {
            return Ok(known.clone());
        }
        let found = bisect.known(vec![hash.to_owned()])?.into_iter().next();
        found.ok_or_else(|| Failure::internal(format!("git does not know {hash}")))
    }

    /// Tries a commit against good; `None` where the search is to end.
    fn step(&mut self, commit: Commit, measured: u32, whole: f64) -> Result<Option<Step>, Failure> {
        let number = self.result.steps.len() + 1;
        let left = self.result.candidates.len();
        self.bench.turns.progress.title(&format!("step {number}, {left} commits in question,"));
        let good = self.result.good.clone();
        let stage = Stage::Step(measured);
        let tried = match self
            .bench
            .compare([&good, &commit], stage, |worse, last| step(worse, whole, last))?
        {
            Compared::Decided(verdict, _, change) => {
                let reason = (verdict == Verdict::Undecided).then(|| {
                    format!("after {} runs a side its interval has room for more and less than half of the change", change.runs)
                });
                Step { commit, verdict, reason, change: Some(change) }
            }
            Compared::Stopped(stop) => {
                self.stopped(stop);
                return Ok(None);
            }
            Compared::Failed { side: 0, failure } => {
                return Err(failure.at(format!("good ({})", good.short())));
            }
            Compared::Failed { failure, .. } => {
                Step { commit, verdict: Verdict::Skipped, reason: Some(failure.to_string()), change: None }
            }
        };
        let what = match (&tried.change, &tried.reason) {
            (Some(change), _) => words(change),
            (None, reason) => reason.clone().unwrap_or_default(),
        };
        self.say(&format!(
            "step {number}, {left} in question: {} {}: {what}",
            tried.commit.short(),
            tried.verdict
        ));
        Ok(Some(tried))
    }

    fn last_good(&self) -> Commit {
        let good = self.result.steps.iter().rev().find(|step| step.verdict == Verdict::Good);
        good.map_or(&self.result.good, |step| &step.commit).clone()
    }

    /// The commit against its parent, by fresh runs.
    fn confirm_one(&mut self, first: Commit, whole: f64) -> Result<(), Failure> {
        self.result.candidates = vec![first.clone()];
        let Some(parent) = self.bench.copies[1].parent(&first)? else {
            self.end(Outcome::Unconfirmed, "it has no parent to be held against");
            return Ok(());
        };
        let decision = match self.confirm(parent, first.clone(), whole)? {
            Ok(decision) => decision,
            Err(None) => return Ok(()),
            Err(Some(reason)) => {
                self.end(Outcome::Unconfirmed, reason);
                return Ok(());
            }
        };
        self.result.first_bad = Some(first);
        if matches!(decision, Confirmed::Unconfirmed | Confirmed::MoreNeeded) {
            self.end(Outcome::Unconfirmed, "fresh runs do not show that it is worse than its parent");
            return Ok(());
        }
        self.result.candidates.clear();
        match decision {
            Confirmed::LessThanHalf => {
                self.end(Outcome::Gradual, "no single commit carries most of the change");
            }
            Confirmed::Worse => {
                self.result.outcome = Outcome::Found;
                self.result.notes.push(
                    "whether it carries most of the change is not sure: others may be worse, too".into(),
                );
            }
            _ => self.result.outcome = Outcome::Found,
        }
        Ok(())
    }

    /// All that are in question together, by fresh runs: where they carry less than half of the change, so does each of them. That is how the
    /// middle of a ramp looks, which is neither good nor bad.
    fn confirm_several(&mut self, before: Commit, after: Commit, whole: f64) -> Result<(), Failure> {
        let count = self.result.candidates.len();
        let apart = format!("{count} commits that could not be told apart");
        match self.confirm(before, after, whole)? {
            Err(None) => {}
            Ok(Confirmed::LessThanHalf) => self.end(
                Outcome::Gradual,
                format!("no single commit carries most of the change: not even these {count} together do, at which half of it is passed"),
            ),
            Ok(_) => self.end(Outcome::Several, apart),
            Err(Some(reason)) => self.end(Outcome::Several, format!("{apart}; {reason}")),
        }
        Ok(())
    }

    /// Fresh runs of a commit against an earlier one. The inner error: why there are none, or `None` where the search has been ended.
    fn confirm(
        &mut self,
        before: Commit,
        after: Commit,
        whole: f64,
    ) -> Result<Result<Confirmed, Option<String>>, Failure> {
        self.bench.turns.progress.title(&format!("{} against {}", after.short(), before.short()));
        let decide = |worse: &_, last| match confirmed(worse, whole, last) {
            Confirmed::MoreNeeded => None,
            decision => Some(decision),
        };
        match self.bench.compare([&before, &after], Stage::Confirmation, decide)? {
            Compared::Decided(decision, worse, change) => {
                self.say(&format!("{} against {}: {}", after.short(), before.short(), words(&change)));
                self.result.share_percent = share(worse.by, whole).map(|share| share * 100.0);
                self.result.before = Some(before);
                self.result.after = Some(after);
                self.result.change = Some(change);
                Ok(Ok(decision))
            }
            Compared::Stopped(stop) => {
                self.stopped(stop);
                Ok(Err(None))
            }
            Compared::Failed { side, failure } => {
                let which = if side == 0 { &before } else { &after };
                Ok(Err(Some(format!("{} could not be measured again: {failure}", which.short()))))
            }
        }
    }
}

/// What git bisect leaves.
enum End {
    /// The first bad commit.
    One(Commit),
    /// Several that could not be tried or told, between a good one and a bad one, which is one of them.
    Several { before: Commit, after: Commit },
}
