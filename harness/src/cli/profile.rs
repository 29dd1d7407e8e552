//! `qdiscope profile`: what programs' requests cost, where, and whom they wait for.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::followed::{self, Followed, say};
use super::print;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::observe::Streams;
use crate::observe::profile::{self, DOCUMENT, Order, Profiled};
use crate::store::{check_folder, write_folder};

pub(super) const AFTER_HELP: &str = "With --out:
  profile.json    all figures; its schema: qdiscope schema profile
  oncpu.svg       what ran, in requests and outside; user mode and kernel in one flamegraph
  offcpu.svg      where requests left the CPU
  rtnl.svg        where requests waited for RTNL
  holders.svg     what the holders of RTNL did meanwhile
  slow.svg        the whole time of the slow requests
  *.folded        the stacks of each, for other tools; µs

Exit codes:
  that of COMMAND, 128 and the signal's number where a signal killed it; and
    0  without COMMAND: what was followed has ended, or a signal has ended the profile
    1  internal error
    2  usage, or no process has this PID
    3  this environment cannot do it; no request within --timeout; or the output cannot be written
  126  COMMAND is not executable
  127  COMMAND is not there";

/// Whom to follow, and what to say of it.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    followed: Followed,
    /// Save the figures and the flamegraphs into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print profile.json to standard output instead of the report; what COMMAND prints there goes to standard error
    #[arg(long)]
    json: bool,
    /// Call requests slow that take at least this time in the kernel, as 500us or 2ms [default: the slowest twentieth]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    over: Option<Duration>,
    /// Samples a second, on each CPU, of who runs; 0: none
    #[arg(long, value_name = "HZ", default_value_t = 999, value_parser = clap::value_parser!(u64).range(0..=25_000))]
    hz: u64,
}

impl Arguments {
    fn order(&self) -> Result<Order, Failure> {
        if self.over == Some(Duration::ZERO) {
            return Err(Failure::usage("--over 0: every request takes longer; give a time, as 2ms"));
        }
        let mut watch =
            self.followed.watch(if self.json { Streams::OutputToError } else { Streams::Ours })?;
        watch.probes.stacks = true;
        watch.probes.sample_hz = Some(self.hz);
        Ok(Order { watch, choice: self.followed.probes(), over: self.over })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let order = arguments.order()?;
    // Not after the minutes of watching.
    if let Some(out) = &arguments.out {
        check_folder(out)?;
    }
    let Profiled { ended, profile, mut files } = profile::profile(&order, &mut say)?;
    let json = serde_json::to_vec_pretty(&profile)
        .map_err(|error| Failure::internal(format!("encode the profile: {error}")))?;
    let mut outcome = Ok(());
    if let Some(out) = arguments.out.as_ref().filter(|_| profile.requests > 0) {
        // Last: who finds it finds the rest.
        files.push((DOCUMENT, json.clone()));
        outcome = write_folder(out, &files, &profile::files());
    }
    if arguments.json {
        print(&format!("{}\n", String::from_utf8_lossy(&json)))?;
    } else {
        // Standard output is the command's.
        let _ = write!(io::stderr(), "{}", profile::text(&profile));
    }
    if let Some(note) = followed::any_mutex(&ended) {
        let _ = write!(io::stderr(), "{note}");
    }
    match (&outcome, &arguments.out) {
        (Ok(()), Some(out)) if profile.requests > 0 => {
            for (name, _) in files.iter().filter(|(name, _)| !name.ends_with(".folded")) {
                let _ = writeln!(io::stderr(), "saved: {}", out.join(name).display());
            }
        }
        (Ok(()), Some(_)) => say("without a request there is nothing to save"),
        (Err(failure), _) => say(&failure.to_string()),
        (Ok(()), None) => {}
    }
    let exit = followed::exit(&ended, &order.watch, "standard output");
    match outcome {
        // Said already.
        Err(failure) => Ok(failure.exit),
        Ok(()) => exit,
    }
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

    fn parse(line: &str) -> Result<Order, String> {
        let words = std::iter::once("profile").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.arguments.order().map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_slow_and_how_often_is_looked_can_be_said() {
        let order = parse("--over 2ms --hz 99 -- tc").unwrap();
        assert_eq!((order.over, order.watch.probes.sample_hz), (Some(Duration::from_millis(2)), Some(99)));
        assert!(order.watch.probes.stacks && order.watch.probes.details);
        for line in ["--over 0ms", "--over 2", "--hz -1", "--hz 1000000", "--probes off"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
