//! `qdiscope compare`.

mod output;
pub(super) mod sides;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::history::StoreArgument;
use crate::cli::turns::{Lane, Progress, Round, Stop, Surroundings, Turns};
use crate::compare::model::Comparison;
use crate::compare::{self, Options, Refusal, Runs, Selection, Side};
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::stats::two_samples::Certainty;
use output::Outputs;
use sides::SideError;

pub(super) const AFTER_HELP: &str = "Exit codes:
    0  compared, whatever the verdict
    1  internal error
    2  usage: no such run, a metric that there is not, or environments that differ
    3  a command failed, or a file cannot be written
    5  --fail-on-regression, and there is one
    6  --fail-on-regression, and inconclusive whether there is one
  130  interrupted; what was measured until then is compared";

/// So many blocks take days.
const MOST_RUNS: i64 = 10_000;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Arguments {
    /// What is compared with, and what is compared: a saved run's folder or its result.json, a folder of such folders, each a run; or of the history
    /// a run, all runs with a label, all of a commit, or `baseline:NAME`
    #[arg(value_names = ["A", "B"], num_args = 2, required_unless_present = "interleave", conflicts_with = "interleave")]
    sides: Vec<String>,
    /// Run two command lines in turns instead, each by `sh -c`, in blocks of both in random order. What a command saves in
    /// `$QDISCOPE_TARGET_DIR` is its run, as of `qdiscope bench` without --out; of any other command wall time, CPU time and peak memory are compared
    #[arg(long, num_args = 2, value_names = ["CMD_A", "CMD_B"])]
    interleave: Option<Vec<String>>,
    /// Compare this metric only, by its name in budgets; may be repeated. Each that is asked makes the others less sure
    #[arg(long = "metric", value_name = "NAME", conflicts_with = "all")]
    metrics: Vec<String>,
    /// Compare every metric that both sides have, not only latency p50, p95 and p99, throughput of closed loops, error rate, peak memory and CPU
    /// of open loops
    #[arg(long)]
    all: bool,
    /// Alarm on 1 % of comparisons of the same with the same, instead of 5 %
    #[arg(long)]
    strict: bool,
    /// From how much worse on a regression matters, for all metrics [default: latency 15, throughput 10, errors 5, memory and CPU 10]
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    threshold: Option<f64>,
    /// Compare runs of different environments, too; the verdict is inconclusive then
    #[arg(long)]
    force: bool,
    /// Exit with 5 where a metric is worse, beyond its threshold (--threshold) and not by chance, and with 6 where that cannot be told
    #[arg(long)]
    fail_on_regression: bool,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    turns: TurnArguments,
}

/// How two commands take turns.
#[derive(Args)]
#[command(next_help_heading = "With --interleave")]
struct TurnArguments {
    /// Runs of each command
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "sides", value_parser = clap::value_parser!(u32).range(1..=MOST_RUNS))]
    runs: u32,
    /// Blocks before those, which do not count
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "sides", value_parser = clap::value_parser!(u32).range(0..=MOST_RUNS))]
    warm_up: u32,
    /// Begin no further block after so long, as 10m
    #[arg(long, value_name = "TIME", conflicts_with = "sides", value_parser = duration::parse_or_seconds)]
    max_time: Option<Duration>,
    /// Seed of the order within blocks
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "sides")]
    seed: u64,
    /// Keep each run, as FOLDER/a/N and FOLDER/b/N, which can be compared again
    #[arg(long, value_name = "FOLDER", conflicts_with = "sides")]
    keep: Option<PathBuf>,
    /// After an alarm run everything again, and alarm only if the fresh runs alone do, too
    #[arg(long, conflicts_with = "sides")]
    confirm: bool,
}

pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=10_000.0).contains(&percent) => Ok(percent),
        _ => Err("give a percentage, as 3".into()),
    }
}

impl Arguments {
    fn options(&self) -> Result<Options, Failure> {
        let selection = match &self.metrics[..] {
            _ if self.all => Selection::All,
            [] => Selection::Headline,
            names => {
                let mut once = Vec::new();
                for name in names {
                    if !once.contains(name) {
                        once.push(name.clone());
                    }
                }
                Selection::Named(once)
            }
        };
        selection.check().map_err(|error| Failure::usage(format!("--metric: {error}")))?;
        Ok(Options {
            selection,
            certainty: if self.strict { Certainty::Strict } else { Certainty::Usual },
            threshold: self.threshold.map(|percent| percent / 100.0),
            force: self.force,
        })
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::usage(refusal.to_string())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let options = arguments.options()?;
    arguments.outputs.check()?;
    let comparison = match &arguments.interleave {
        Some(commands) => interleaved(commands, &arguments.turns, &options)?,
        None => saved(arguments, &options)?,
    };
    arguments.outputs.show(&comparison)?;
    Ok(compare::exit(&comparison, arguments.fail_on_regression))
}

fn saved(arguments: &Arguments, options: &Options) -> Result<Comparison, Failure> {
    let side = |name: &String| {
        let runs = match sides::read(name) {
            // What is no file may be a name in the history.
            Err(SideError::Absent { .. }) => match arguments.store.runs_named(name)? {
                Some(runs) => Runs::Saved(runs),
                None => return Err(Failure::usage(SideError::Absent { name: name.clone() }.to_string())),
            },
            read => read.map_err(|error| Failure::usage(error.to_string()))?,
        };
        Ok::<_, Failure>(Side { name: name.clone(), runs })
    };
    let [baseline, candidate] = &arguments.sides[..] else {
        return Err(Failure::internal("two sides are two arguments"));
    };
    Ok(compare::compare(side(baseline)?, side(candidate)?, options)?)
}

fn interleaved(
    commands: &[String],
    arguments: &TurnArguments,
    options: &Options,
) -> Result<Comparison, Failure> {
    let [baseline, candidate] = commands else { return Err(Failure::internal("two commands take turns")) };
    let lane = |line: &String| Lane { line: line.clone(), surroundings: Surroundings::default() };
    let lanes = [lane(baseline), lane(candidate)];
    let mut turns = Turns::new(lanes, arguments.seed, options.force, Progress::new(true))?;
    if let Some(keep) = &arguments.keep {
        turns.keep_in(keep)?;
    }
    let first =
        round(&mut turns, arguments.warm_up, arguments.runs, arguments.max_time)?.compared(options)?;
    if !(arguments.confirm && first.alarm) || first.interrupted {
        return Ok(first);
    }
    let blocks = first.interleaved.map_or(arguments.runs, |turns| turns.blocks);
    turns.progress.line("an alarm: the same again");
    // In a folder of its own, so that the first round can be compared again by itself.
    if let Some(keep) = &arguments.keep {
        turns.keep_in(&keep.join("confirmation"))?;
    }
    let Some(fresh) = round(&mut turns, 0, blocks, arguments.max_time)?.compared_if_any(options)? else {
        return Ok(compare::unconfirmed(first));
    };
    Ok(compare::confirmed(first, fresh))
}

fn round(turns: &mut Turns, warm_up: u32, blocks: u32, most: Option<Duration>) -> Result<Round, Failure> {
    // What is beyond the clock is never.
    let until = most.and_then(|most| Instant::now().checked_add(most));
    let mut round = turns.begin(warm_up, blocks);
    if turns.run(&mut round, warm_up, blocks, until)? == Stop::Late {
        turns.progress.line(&format!("--max-time: {} of {blocks} blocks", round.blocks()));
    }
    Ok(round)
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
        let words = std::iter::once(&"compare").chain(words);
        Line::try_parse_from(words).ok().map(|line| line.arguments)
    }

    #[test]
    fn two_sides_or_two_commands() {
        let saved = parse(&["x", "y"]).unwrap();
        assert_eq!((saved.sides.len(), saved.interleave.is_none()), (2, true));
        let turns = parse(&["--interleave", "sleep 1", "sleep 2", "--runs", "5", "--confirm"]).unwrap();
        assert_eq!(turns.interleave.unwrap(), ["sleep 1", "sleep 2"]);
        for nonsense in [
            &[][..],
            &["x"],
            &["x", "y", "z"],
            &["x", "y", "--interleave", "a", "b"],
            &["--interleave", "a"],
            &["x", "y", "--runs", "3"],
            &["x", "y", "--confirm"],
            &["x", "y", "--threshold", "NaN"],
            &["x", "y", "--threshold", "-1"],
            &["x", "y", "--all", "--metric", "latency_p95_us"],
            &["--interleave", "a", "b", "--runs", "0"],
            &["--interleave", "a", "b", "--max-time", "0"],
        ] {
            assert!(parse(nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_metric_that_there_is_not_is_told_with_the_one_that_was_meant() {
        let slip = parse(&["x", "y", "--metric", "latency_p95_ms"]).unwrap().options().unwrap_err();
        assert_eq!(slip.exit, Exit::Usage);
        assert!(slip.to_string().contains("did you mean `latency_p95_us`?"), "{slip}");
        let twice = parse(&["x", "y", "--metric", "leaked_fds", "--metric", "leaked_fds"]).unwrap();
        assert_eq!(twice.options().unwrap().selection, Selection::Named(vec!["leaked_fds".to_owned()]));
        let options = parse(&["x", "y", "--metric", "wall_time_us", "--threshold", "3"]).unwrap().options();
        assert_eq!(options.unwrap().threshold, Some(0.03));
    }
}
