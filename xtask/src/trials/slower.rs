//! `cargo xtask trials slower`: how often `qdiscope compare` finds a slowdown that is known.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{
    Error, INTERRUPTED,
    calibration::{self, LATENCY, THROUGHPUT, calibrate},
    comparison::{Comparison, Row, Severity, Verdict},
    error::file,
    instrument::{Instrument, Load, new_folder},
    standing::{Goal, Score, Standing},
};

/// Compare the load with itself while each packet is held up, so that an operation takes so many per cent longer.
///
/// First the delay is calibrated, and what it really costs is measured, with interval. Then come the trials, each a `qdiscope compare --interleave --threshold 3`
/// with all its usual metrics. Found is an alarm by a latency or by throughput: a regression with all rows counted, and beyond the threshold.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// By how much the median operation is to be slower
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    percent: f64,
    /// From how much worse on it matters: `compare --threshold`
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = percent)]
    threshold: f64,
    /// Runs a side of each trial, as far as there is time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Runs a side from which the delay is calculated
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    calibration_runs: u32,
    /// Runs a side that say what the delay really costs
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    verification_runs: u32,
    /// Another number, another order of the runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the comparisons as JSON in this new folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    load: Load,
}

/// Forty of them are well within a trial's time.
const DURATION: &str = "1s";
/// A trial may take so long,
const MOST: Duration = Duration::from_mins(2);
/// and begins no further block after this.
const MAX_TIME: &str = "105s";
/// Found of all trials: 19 of 20.
const GOAL: f64 = 0.95;

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=1_000.0).contains(&percent) => Ok(percent),
        _ => Err("give a percentage from 0 to 1000".into()),
    }
}

/// What came of the trials.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    trials: u32,
    found: u32,
    inconclusive: u32,
    longest: Duration,
}

impl Tally {
    fn count(&mut self, comparison: &Comparison, took: Duration) {
        self.trials += 1;
        self.found += u32::from(is_found(comparison));
        self.inconclusive += u32::from(comparison.verdict == Verdict::Inconclusive);
        self.longest = self.longest.max(took);
    }

    /// Whatever was not found was missed, also where it could not be told.
    fn score(&self) -> Score {
        Score { hits: self.found, trials: self.trials, goal: Goal::AtLeast(GOAL) }
    }

    fn is_good(&self) -> bool {
        self.score().standing() == Standing::Reached && self.longest <= MOST
    }
}

/// Whether it is told that operations became slower.
fn is_found(comparison: &Comparison) -> bool {
    let of_speed = |row: &&Row| row.metric == THROUGHPUT || row.metric.starts_with("latency_");
    let alarms = |row: &Row| {
        row.verdict == Verdict::Regression && row.holds_among_all && row.severity != Severity::None
    };
    comparison.alarm && comparison.rows.iter().filter(of_speed).any(alarms)
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let instrument = Instrument::prepare()?;
    let folder = options.folder.as_deref().map(new_folder).transpose()?;
    let mut tally = Tally::default();
    let ended = try_all(options, &instrument, folder.as_deref(), &mut tally);
    println!("\n{}", told(options, &tally));
    match ended {
        Err(Error::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        ended => ended.map(|()| ExitCode::from(u8::from(!tally.is_good()))),
    }
}

fn try_all(
    options: &Options,
    instrument: &Instrument,
    folder: Option<&Path>,
    tally: &mut Tally,
) -> Result<(), Error> {
    let load = options.load.words(DURATION);
    let calibration = calibrate(instrument, &load, options.calibration_runs)?;
    let delay_ns = calibration.delay_ns(options.percent);
    println!(
        "calibrated: an operation takes {:.2} µs, and {:.2} ns more for each ns that a packet is held up; {} % are {delay_ns} ns a packet",
        calibration.operation_us, calibration.packets, options.percent
    );
    let lines = [instrument.line(&load, 0), instrument.line(&load, delay_ns)];
    let (verified, document) = calibration::compare(instrument, &lines, options.verification_runs)?;
    keep(folder, "verification", &document)?;
    let measured: Vec<String> =
        [LATENCY, THROUGHPUT].into_iter().filter_map(|name| verified.row(name)).map(Row::to_string).collect();
    println!("measured with {} runs a side: {}", options.verification_runs, measured.join(", "));
    for number in 1..=options.trials {
        let began = Instant::now();
        let seed = options.seed.wrapping_add(u64::from(number)).to_string();
        let (runs, threshold) = (options.runs.to_string(), options.threshold.to_string());
        let [without, with] = &lines;
        let words = ["--interleave", without, with, "--runs", &runs, "--max-time", MAX_TIME];
        let (comparison, document) =
            instrument.compare(words.into_iter().chain(["--threshold", &threshold, "--seed", &seed]))?;
        let took = began.elapsed();
        keep(folder, &number.to_string(), &document)?;
        tally.count(&comparison, took);
        println!(
            "{number} of {}, {:.0} s: {}: {}",
            options.trials,
            took.as_secs_f64(),
            if is_found(&comparison) { "found" } else { "not found" },
            comparison.told()
        );
    }
    Ok(())
}

fn keep(folder: Option<&Path>, name: &str, document: &[u8]) -> Result<(), Error> {
    let Some(folder) = folder else { return Ok(()) };
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, document).map_err(file(&path))
}

fn told(options: &Options, tally: &Tally) -> String {
    let score = tally.score();
    format!(
        "a slowdown of {} %, of which {} % matter, in `qdiscope {}`: {} trials were asked for, each of {} runs a side at most\n\
         found {} of {} ({} inconclusive), which is {} with 95 % confidence; goal {}: {}\n\
         the longest trial took {:.0} s; goal ≤ {} s: {}",
        options.percent,
        options.threshold,
        options.load.words(DURATION),
        options.trials,
        options.runs,
        score.hits,
        score.trials,
        tally.inconclusive,
        score.interval(),
        score.goal,
        score.standing(),
        tally.longest.as_secs_f64(),
        MOST.as_secs(),
        match tally.trials {
            0 => Standing::Inconclusive,
            _ if tally.longest <= MOST => Standing::Reached,
            _ => Standing::Missed,
        }
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::comparison::fixtures::{comparison, row},
        *,
    };

    fn slower(metric: &str, severity: Severity) -> Comparison {
        let rows = vec![Row { severity, ..row(metric, [100.0, 105.0]) }];
        Comparison { rows, ..comparison(Verdict::Regression, severity != Severity::None) }
    }

    #[test]
    fn found_is_an_alarm_of_speed() {
        for metric in ["latency_p50_us", "latency_p99_us", THROUGHPUT] {
            assert!(is_found(&slower(metric, Severity::Warning)), "{metric}");
            assert!(!is_found(&slower(metric, Severity::None)), "{metric}: below the threshold");
        }
        assert!(!is_found(&slower("peak_rss_bytes", Severity::Critical)));
        let mut alone = slower(LATENCY, Severity::Warning);
        alone.rows[0].holds_among_all = false;
        assert!(!is_found(&alone));
    }

    #[test]
    fn what_cannot_be_told_was_not_found() {
        let mut tally = Tally::default();
        let second = Duration::from_secs(1);
        for _ in 0..19 {
            tally.count(&slower(LATENCY, Severity::Warning), second);
        }
        assert!(tally.is_good());
        tally.count(&comparison(Verdict::Inconclusive, false), second);
        assert_eq!((tally.found, tally.trials, tally.inconclusive, tally.is_good()), (19, 20, 1, true));
        tally.count(&comparison(Verdict::Inconclusive, false), second);
        assert!(!tally.is_good(), "19 of 21");
        assert!(!Tally { longest: Duration::from_secs(121), ..tally }.is_good());
        assert!(!Tally::default().is_good());
    }

    #[test]
    fn percentages_are_numbers() {
        assert_eq!(percent("2.5"), Ok(2.5));
        for text in ["", "NaN", "-1", "inf", "5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
