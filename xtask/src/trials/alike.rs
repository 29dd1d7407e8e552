//! `cargo xtask trials alike`: how often `qdiscope compare` tells the same from itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use comfy_table::{LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{
    Error, INTERRUPTED,
    comparison::{Comparison, Verdict},
    error::file,
    instrument::{Instrument, Load, new_folder},
    standing::{Goal, Score, Standing},
};

/// Compare the load with itself, over and over: each regression and each improvement that is told is a false alarm.
///
/// Each comparison is made by `qdiscope compare --interleave`. With --strict-also its runs are compared a second time, with --strict. An alarm by which
/// `--fail-on-regression` would fail is a regression beyond its threshold as well, and counted apart; the goals, 5 % at most and 1 % with --strict, are held
/// against the stricter count of all that was told to differ, in either direction, among the comparisons that were not inconclusive.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    comparisons: u32,
    /// Runs a side of each comparison
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Compare the same runs with --strict, too
    #[arg(long)]
    strict_also: bool,
    /// Another number, another order of the runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep all runs and comparisons in this new folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    load: Load,
}

/// The shortest that gives enough operations above the 95th percentile.
const DURATION: &str = "300ms";

/// What was told of comparisons of the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    comparisons: u32,
    regressions: u32,
    /// Regressions beyond their threshold.
    alarms: u32,
    improvements: u32,
    inconclusive: u32,
}

impl Tally {
    fn count(&mut self, comparison: &Comparison) {
        self.comparisons += 1;
        self.alarms += u32::from(comparison.alarm);
        match comparison.verdict {
            Verdict::Regression => self.regressions += 1,
            Verdict::Improvement => self.improvements += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::NoChange => {}
        }
    }

    /// What differs among what could be told: an inconclusive comparison is neither a false alarm nor a pass.
    fn score(&self, most: f64) -> Score {
        Score {
            hits: self.regressions + self.improvements,
            trials: self.comparisons - self.inconclusive,
            goal: Goal::AtMost(most),
        }
    }
}

/// The same runs, compared at different levels.
struct Level {
    name: &'static str,
    goal: f64,
    tally: Tally,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let instrument = Instrument::prepare()?;
    let folder = options.folder.as_deref().map(new_folder).transpose()?;
    let scratch = folder.is_none().then(|| instrument.scratch("alike")).transpose()?;
    let mut levels = vec![Level { name: "default", goal: 0.05, tally: Tally::default() }];
    if options.strict_also {
        levels.push(Level { name: "--strict", goal: 0.01, tally: Tally::default() });
    }
    let place = folder.as_deref().or(scratch.as_deref()).unwrap_or(Path::new("."));
    let ended = compare_all(options, &instrument, (place, folder.is_some()), &mut levels);
    println!("\n{}", table(options, &levels));
    if let Some(scratch) = &scratch {
        instrument.remove(scratch)?;
    }
    let reached = levels.iter().all(|level| level.tally.score(level.goal).standing() == Standing::Reached);
    match ended {
        Err(Error::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        ended => ended.map(|()| ExitCode::from(u8::from(!reached))),
    }
}

fn compare_all(
    options: &Options,
    instrument: &Instrument,
    (place, keep): (&Path, bool),
    levels: &mut [Level],
) -> Result<(), Error> {
    for number in 1..=options.comparisons {
        let began = Instant::now();
        let folder = place.join(number.to_string());
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        let mut told = Vec::new();
        for level in &mut *levels {
            let (comparison, document) = match level.name {
                "--strict" => again(instrument, &folder)?,
                _ => once(options, instrument, &folder, options.seed.wrapping_add(u64::from(number)))?,
            };
            if keep {
                let document_file = folder.join(format!("{}.json", level.name.trim_start_matches('-')));
                fs::write(&document_file, document).map_err(file(&document_file))?;
            }
            told.push(format!("{}: {}", level.name, comparison.told()));
            level.tally.count(&comparison);
        }
        if !keep {
            instrument.remove(&folder)?;
        }
        println!(
            "{number} of {}, {:.0} s: {}",
            options.comparisons,
            began.elapsed().as_secs_f64(),
            told.join("; ")
        );
    }
    Ok(())
}

/// Runs the load on both sides.
fn once(
    options: &Options,
    instrument: &Instrument,
    folder: &Path,
    seed: u64,
) -> Result<(Comparison, Vec<u8>), Error> {
    let line = instrument.line(&options.load.words(DURATION), 0);
    let (runs, seed, keep) = (options.runs.to_string(), seed.to_string(), folder.to_string_lossy());
    instrument.compare(["--interleave", &line, &line, "--runs", &runs, "--seed", &seed, "--keep", &keep])
}

/// Compares what was kept.
fn again(instrument: &Instrument, folder: &Path) -> Result<(Comparison, Vec<u8>), Error> {
    let [a, b] = ["a", "b"].map(|side| folder.join(side).into_os_string());
    instrument.compare([a, b, "--strict".into()])
}

fn table(options: &Options, levels: &[Level]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none())).set_header([
        "setting",
        "comparisons",
        "regressions (alarms)",
        "improvements",
        "inconclusive",
        "told to differ",
        "95 % interval",
        "goal",
        "",
    ]);
    for Level { name, goal, tally } in levels {
        let score = tally.score(*goal);
        table.add_row([
            (*name).to_owned(),
            tally.comparisons.to_string(),
            format!("{} ({})", tally.regressions, tally.alarms),
            tally.improvements.to_string(),
            tally.inconclusive.to_string(),
            format!("{} of {}", score.hits, score.trials),
            score.interval(),
            score.goal.to_string(),
            score.standing().to_string(),
        ]);
    }
    format!(
        "the same against itself, {} comparisons were asked for, each of {} runs a side of `qdiscope {}`\n{table}",
        options.comparisons,
        options.runs,
        options.load.words(DURATION)
    )
}

#[cfg(test)]
mod tests {
    use super::{super::comparison::fixtures::comparison, *};

    #[test]
    fn both_directions_are_false_alarms_and_what_cannot_be_told_is_no_pass() {
        let mut tally = Tally::default();
        for (verdict, alarm, count) in [
            (Verdict::NoChange, false, 90),
            (Verdict::Regression, false, 2),
            (Verdict::Regression, true, 1),
            (Verdict::Improvement, false, 2),
            (Verdict::Inconclusive, false, 5),
        ] {
            (0..count).for_each(|_| tally.count(&comparison(verdict, alarm)));
        }
        let expected =
            Tally { comparisons: 100, regressions: 3, alarms: 1, improvements: 2, inconclusive: 5 };
        assert_eq!(tally, expected);
        let score = tally.score(0.05);
        assert_eq!((score.hits, score.trials, score.standing()), (5, 95, Standing::WithinChance));

        let nothing = Tally { comparisons: 7, inconclusive: 7, ..Tally::default() };
        assert_eq!(nothing.score(0.05).standing(), Standing::Inconclusive);
    }
}
