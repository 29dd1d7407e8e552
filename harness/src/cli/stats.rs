//! `qdiscope stats`: the statistics by themselves, for other programs and for scoring them.

use std::io::{self, BufRead as _, Write as _};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::stats::change_points::change_points;
use crate::stats::two_samples::{Certainty, Comparison, Doubt, Order, Verdict, compare};

pub(super) const AFTER_HELP: &str = "Exit codes:
    0  every line was answered
    1  internal error
    2  usage: the command line, or a line that cannot be read
    3  standard output cannot be written";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Find where a series changes its level
    ///
    /// Each line of standard input is {"values":[…]}, in the order of measuring; each line of the answer is a list of 0-based indices, each the
    /// first point of a new regime. null stands for a value that was not measured, and is passed over.
    #[command(after_help = AFTER_HELP)]
    Changes(ChangesArguments),
    /// Compare a candidate with a baseline, of which greater values are worse
    ///
    /// Each line of standard input is {"baseline":[…],"candidate":[…]}, each side in the order of measuring; each line of the answer has `verdict`
    /// (regression, improvement, no-change or inconclusive), `change_pct` with its confidence interval `interval_pct`, the
    /// probability `p`, the effect size `effect` (Cliff's delta) and, if inconclusive, the `reason`.
    #[command(after_help = AFTER_HELP)]
    Compare(CompareArguments),
}

#[derive(Args)]
pub(super) struct ChangesArguments {
    #[command(flatten)]
    stream: Stream,
}

#[derive(Args)]
pub(super) struct CompareArguments {
    #[command(flatten)]
    stream: Stream,
    /// Alarm on 1 % of comparisons of the same with the same, instead of 5 %
    #[arg(long)]
    strict: bool,
    /// Both sides were measured in turns, ABAB…: a drift meets both alike, and is not looked for
    #[arg(long)]
    interleaved: bool,
}

#[derive(Args)]
struct Stream {
    /// Read documents from standard input, a line each, and answer each with a line
    #[arg(long, required = true)]
    stdio: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    values: Vec<Option<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    baseline: Vec<Option<f64>>,
    candidate: Vec<Option<f64>>,
}

/// What is said of a pair. Figures that there are not are null.
#[derive(Debug, Serialize)]
struct Answer {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    change_pct: Option<f64>,
    interval_pct: Option<[f64; 2]>,
    /// Instead of percentages, where a value is zero or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<[f64; 2]>,
    p: Option<f64>,
    effect: Option<f64>,
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Changes(_) => answer(|series: Series| {
            change_points(&numbers(series.values)).into_iter().map(|change| change.at).collect::<Vec<_>>()
        }),
        Command::Compare(arguments) => {
            let certainty = if arguments.strict { Certainty::Strict } else { Certainty::Usual };
            let order = if arguments.interleaved { Order::Interleaved } else { Order::Unknown };
            answer(|pair: Pair| {
                Answer::of(&compare(&numbers(pair.baseline), &numbers(pair.candidate), certainty, order))
            })
        }
    }
}

fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}

/// Answers each line before it reads the next: whoever asks may wait for that.
fn answer<Question, Given>(mut judge: impl FnMut(Question) -> Given) -> Result<Exit, Failure>
where
    Question: for<'de> Deserialize<'de>,
    Given: Serialize,
{
    let mut stdout = io::stdout().lock();
    for (line, text) in io::stdin().lock().lines().enumerate() {
        let text = text.map_err(|error| Failure::usage(format!("read standard input: {error}")))?;
        if text.trim().is_empty() {
            continue;
        }
        let question = serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("line {} of standard input: {error}", line + 1)))?;
        let mut given = serde_json::to_vec(&judge(question))
            .map_err(|error| Failure::internal(format!("encode an answer: {error}")))?;
        given.push(b'\n');
        match stdout.write_all(&given).and_then(|()| stdout.flush()) {
            // Nobody wants to know any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => {
                return Err(Failure::environment(format!("cannot write to standard output: {error}")));
            }
            Ok(()) => {}
        }
    }
    Ok(Exit::Pass)
}

impl Answer {
    fn of(comparison: &Comparison) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let (verdict, reason) = match comparison.verdict {
            Verdict::Regression => ("regression", None),
            Verdict::Improvement => ("improvement", None),
            Verdict::NoChange => ("no-change", None),
            Verdict::Inconclusive(Doubt::TooFew) => ("inconclusive", Some("too few values")),
            Verdict::Inconclusive(Doubt::NotFinite) => {
                ("inconclusive", Some("a value was not measured, or is too great"))
            }
            Verdict::Inconclusive(Doubt::Drift) => {
                ("inconclusive", Some("values drift on both sides: measure them in turns"))
            }
        };
        let percent = |share: f64| 100.0 * share;
        let (change, interval) = (finite(comparison.change), comparison.interval);
        let relative = comparison.relative;
        Self {
            verdict,
            reason,
            change_pct: change.filter(|_| relative).map(percent),
            interval_pct: interval.filter(|_| relative).map(|interval| interval.map(percent)),
            change: change.filter(|_| !relative),
            interval: interval.filter(|_| !relative),
            p: finite(comparison.p),
            effect: finite(comparison.effect),
        }
    }
}
