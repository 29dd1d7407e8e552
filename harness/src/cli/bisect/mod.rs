//! `qdiscope bisect`.

mod bench;
mod git;
mod search;
mod workplace;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::print;
use crate::bisect::model::Bisection;
use crate::bisect::table;
use crate::compare::Selection;
use crate::duration;
use crate::exit::{Exit, Failure};
use git::{Range, Repository};
use search::Search;

pub(super) const AFTER_HELP: &str = "Exit codes:
    0  found: one commit, and fresh runs confirm that it is worse than its parent
    1  internal error
    2  usage: no repository, no such commit, good is no ancestor of bad, or a metric that there is not
    3  good or bad cannot be built or measured, git failed, or a disk is full
    6  inconclusive: bad is not worse than good, no single commit carries most of the change, or several cannot be told apart;
       and where --max-time was over first
  130  interrupted; what remains in question is printed";

/// So many blocks take days.
const MOST_RUNS: i64 = 10_000;

#[derive(Args)]
pub(super) struct Arguments {
    /// What is measured, by `sh -c` at the top of the checkout. What it saves in `$QDISCOPE_TARGET_DIR` is its run, as of `qdiscope bench` without
    /// --out; of any other command wall time, CPU time and peak memory are measured. `$QDISCOPE_COMMIT` is the commit's hash
    #[arg(value_name = "CMD")]
    command: String,
    /// A commit that is as fast as it should be
    #[arg(long, value_name = "REV", allow_hyphen_values = true)]
    good: String,
    /// A later one that is slower
    #[arg(long, value_name = "REV", allow_hyphen_values = true)]
    bad: String,
    /// Builds what is measured, by `sh -c` at the top of the checkout. A commit for which it fails is skipped
    #[arg(long, value_name = "CMD")]
    build: Option<String>,
    /// What decides, by its name in budgets [default: `latency_p95_us` of a run of qdiscope, `wall_time_us` of another command]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Of which workload, where several have the metric
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// From how much worse on bad matters
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = super::compare::parse_percent)]
    threshold: f64,
    /// Runs a side before values are looked at first; then as many again, and twice as many …
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MOST_RUNS))]
    runs: u32,
    /// … up to so many; what cannot be told then is undecided
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=MOST_RUNS))]
    max_runs: u32,
    /// Begin no further build or block after so long, as 2h
    #[arg(long, value_name = "TIME", value_parser = duration::parse_or_seconds)]
    max_time: Option<Duration>,
    /// Of a merge look at what was merged into only, and take what was merged for one commit
    #[arg(long)]
    first_parent: bool,
    /// Only commits that touch this path, from the top of the repository; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// The repository, or a folder in it [default: the working directory]
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Be wrong in 1 % of searches at most, instead of 5 %
    #[arg(long)]
    strict: bool,
    /// Seed of the order within blocks
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON (`qdiscope schema bisect`) instead of text
    #[arg(long)]
    json: bool,
    /// Keep each run, as FOLDER/endpoints/a/N (good) and …/b/N, FOLDER/step-1/…, FOLDER/confirmation/…
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

impl Arguments {
    fn check(&self) -> Result<(), Failure> {
        if self.max_runs < self.runs {
            return Err(Failure::usage(format!(
                "--max-runs {} is below --runs {}; give at least as many",
                self.max_runs, self.runs
            )));
        }
        let named = Selection::Named(self.metric.iter().cloned().collect());
        named.check().map_err(|error| Failure::usage(format!("--metric: {error}")))
    }

    fn range(&self) -> Range {
        Range { first_parent: self.first_parent, paths: self.paths.clone() }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // What is beyond the clock is never.
    let until = arguments.max_time.and_then(|most| Instant::now().checked_add(most));
    arguments.check()?;
    let repository = Repository::at(arguments.repository.as_deref().unwrap_or(Path::new(".")))?;
    let good = repository.commit("--good", &arguments.good)?;
    let bad = repository.commit("--bad", &arguments.bad)?;
    repository.check_order(&good, &bad)?;
    let between = repository.between(&good, &bad, &arguments.range())?;
    if between.is_empty() {
        return Err(Failure::usage(format!(
            "no commit between good and bad touches {}; paths begin at the top of the repository",
            arguments.paths.join(" or ")
        )));
    }
    let bisection = Search::prepare(arguments, &repository, [good, bad], between, until)?.run()?;
    show(&bisection, arguments.json)?;
    Ok(bisection.outcome.exit())
}

fn show(bisection: &Bisection, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(bisection)
            .map_err(|error| Failure::internal(format!("encode the result: {error}")))?;
        return print(&(text + "\n"));
    }
    let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print(&table::render(bisection, color))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Option<Arguments> {
        let words = ["bisect", "--good", "v1", "--bad", "HEAD"].iter().chain(words);
        Line::try_parse_from(words).ok().map(|line| line.arguments)
    }

    #[test]
    fn there_is_one_command_and_there_are_two_commits() {
        let arguments = parse(&["sh work.sh", "--path", "a", "--path", "b", "--max-time", "2h"]).unwrap();
        assert_eq!((&*arguments.command, arguments.paths.len()), ("sh work.sh", 2));
        arguments.check().unwrap();
        for nonsense in [
            &[][..],
            &["x", "y"],
            &["x", "--runs", "0"],
            &["x", "--threshold", "-1"],
            &["x", "--max-time", "0"],
            &["x", "--good", "v2"],
        ] {
            assert!(parse(nonsense).is_none(), "{nonsense:?}");
        }
        assert!(Line::try_parse_from(["bisect", "--good", "v1", "x"]).is_err());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let fewer = parse(&["x", "--runs", "20", "--max-runs", "10"]).unwrap().check().unwrap_err();
        assert_eq!(fewer.exit, Exit::Usage);
        let slip = parse(&["x", "--metric", "latency_p95_ms"]).unwrap().check().unwrap_err();
        assert!(slip.to_string().contains("did you mean `latency_p95_us`?"), "{slip}");
    }
}
