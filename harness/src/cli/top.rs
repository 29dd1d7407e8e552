//! `qdiscope top`: who keeps traffic control busy, live.

use std::time::Duration;

use clap::Args;

use super::followed::{self, Followed, parse_seconds, say};
use crate::exit::{Exit, Failure};
use crate::observe::Streams;
use crate::top::{self, Group, Top};

pub(super) const AFTER_HELP: &str = "Keys:
  q, Esc, Ctrl-C  quit; COMMAND runs on
  s, right, left  sort by another column; r reverses
  /               show only what has a text in its command, process id, message type or device; Esc clears it
  t               a row for each process, message type or command
  a               since the start, or the last interval
  up, down        select a row: its latencies and holders are shown; above the first: those of all
  p               pause: the interval goes on until p is pressed again

Columns: requests a second, errors, latencies in the kernel, RTNL% (share of that time in which they waited for RTNL), RTNL AVG (what each
waited on average), HELD BY (behind whom they waited longest), requests of the interval.

Exit codes:
  that of COMMAND, 128 and the signal's number where a signal killed it; and
    0  without COMMAND, or where COMMAND runs on
    1  internal error
    2  usage, no process has this PID, or standard output is no terminal and --headless is not given
    3  this environment cannot do it; no request within --timeout; or the output cannot be written
  126  COMMAND is not executable
  127  COMMAND is not there";

const HEADLESS: &str = "Instead of drawing, print a JSON object on a line for each interval: time, interval_s, requests, ops_per_s, errors, \
                        unknown, lost, latency_us, rtnl_wait_us, rtnl_wait_percent, rows and holders; what is not known or not measured is null";

/// Whom to follow, and how often to show it.
#[derive(Args)]
pub(super) struct Arguments {
    /// How often figures are new
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
    /// What has a row of its own, at first
    #[arg(long, value_enum, default_value = "process")]
    by: Group,
    #[arg(long, help = HEADLESS)]
    headless: bool,
    /// With --headless, end after so many intervals; COMMAND runs on
    #[arg(long, value_name = "N", requires = "headless", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    followed: Followed,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_seconds(text) {
        Ok(interval) if (Duration::from_millis(50)..=Duration::from_hours(24)).contains(&interval) => {
            Ok(interval)
        }
        _ => Err("give seconds from 0.05 to 86400".into()),
    }
}

impl Arguments {
    fn top(&self) -> Result<Top, Failure> {
        let streams = if self.headless { Streams::OutputToError } else { Streams::NoTerminal };
        Ok(Top {
            watch: self.followed.watch(streams)?,
            interval: self.interval,
            group: self.by,
            headless: self.headless,
            count: self.count,
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let top = arguments.top()?;
    let ended = top::top(&top, &mut say)?;
    if !ended.unread {
        match &ended.losses {
            Ok(losses) if losses.is_none() => {}
            Ok(losses) => say(&format!("{} requests seen, {losses}", ended.seen)),
            Err(reason) => say(&format!("how many requests were lost is not known: {reason}")),
        }
        if let Some(note) = followed::any_mutex(&ended) {
            say(note.trim_end());
        }
    }
    followed::exit(&ended, &top.watch, "standard output")
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

    fn parse(line: &str) -> Result<Top, String> {
        let words = std::iter::once("top").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.arguments.top().map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_command_gets_neither_the_picture_nor_the_objects() {
        assert_eq!(parse("-- tc").unwrap().watch.streams, Streams::NoTerminal);
        assert_eq!(parse("--headless -- tc").unwrap().watch.streams, Streams::OutputToError);
    }

    #[test]
    fn intervals_are_times() {
        let plain = parse("").unwrap();
        assert_eq!((plain.interval, plain.count), (Duration::from_secs(1), None));
        let top = parse("--headless --interval 0.5 --count 3 --by type").unwrap();
        assert_eq!((top.interval, top.count, top.group), (Duration::from_millis(500), Some(3), Group::Type));
        for line in ["--interval 0", "--interval 1e6", "--interval x", "--count 3", "--headless --count 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
