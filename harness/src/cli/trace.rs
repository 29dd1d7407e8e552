//! `qdiscope trace`: what programs ask of traffic control, as they ask it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::followed::{self, Followed, say};
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::observe::{self, Ended, Filter, Format, Streams, Summary, Trace};

pub(super) const AFTER_HELP: &str = "A line:
12:34:56.123456 tc[4242] RTM_NEWTCLASS dev eth0 parent 1: classid 1:10 htb 14.2 µs (rtnl 3.10 µs behind tc[977] + on CPU 11.1 µs) = ok

Exit codes:
  that of COMMAND, 128 and the signal's number where a signal killed it; and
    0  without COMMAND: what was followed has ended, or a signal has ended the trace
    1  internal error
    2  usage, or no process has this PID
    3  this environment cannot do it; no request within --timeout; or the output cannot be written
  126  COMMAND is not executable
  127  COMMAND is not there";

const JSON: &str = "A JSON object on each line: time, type, dev, parent, classid, kind, pid, comm, errno, ext_ack, total_us, \
                    phases_us and others; what is not known or not measured is null";

/// Whom to follow, what to show, and where.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    followed: Followed,
    #[arg(long, help = JSON)]
    json: bool,
    /// Write the lines to FILE; standard output is the command's alone then
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show only requests of this process; may be repeated
    #[arg(long, value_name = "PID")]
    filter_pid: Vec<u32>,
    /// Show only requests of threads with this name; may be repeated
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Show only requests about a device of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    dev: Vec<String>,
    #[arg(long = "type", help = "Show only messages of this type, as RTM_NEWTCLASS or newtclass; may be repeated", value_name = "TYPE", value_parser = observe::parse_type)]
    types: Vec<u16>,
    /// Show only requests that took at least this time in the kernel, as 500us or 2ms
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    min_latency: Option<Duration>,
}

impl Arguments {
    fn trace(&self) -> Result<Trace, Failure> {
        Ok(Trace {
            watch: self.followed.watch(Streams::Ours)?,
            filter: Filter {
                pids: self.filter_pid.clone(),
                comms: self.comm.clone(),
                devices: self.dev.clone(),
                types: self.types.clone(),
                min_ns: self
                    .min_latency
                    .map_or(0, |least| u64::try_from(least.as_nanos()).unwrap_or(u64::MAX)),
            },
            format: if self.json { Format::Json } else { Format::Lines },
            output: self.output.clone(),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let trace = arguments.trace()?;
    let (ended, counts) = observe::trace(&trace, &mut say)?;
    // Who went away in the middle has seen enough.
    if !ended.unread {
        let _ = write!(io::stderr(), "{}", summary(&ended, &counts));
    }
    let place =
        trace.output.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    followed::exit(&ended, &trace.watch, &place)
}

fn summary(ended: &Ended, counts: &Summary) -> String {
    let text = counts.lines(&ended.losses);
    let probes = format!(" ({} probes)\n", ended.kind);
    text.replacen('\n', &probes, 1) + &followed::any_mutex(ended).unwrap_or_default()
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

    fn parse(line: &str) -> Result<Trace, String> {
        let words = std::iter::once("trace").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.arguments.trace().map_err(|failure| failure.to_string())
    }

    #[test]
    fn filters_add_up() {
        let trace =
            parse("--filter-pid 1 --filter-pid 2 --comm tc --dev a --type newtclass --min-latency 2ms")
                .unwrap();
        let expected = Filter {
            pids: vec![1, 2],
            comms: vec!["tc".into()],
            devices: vec!["a".into()],
            types: vec![40],
            min_ns: 2_000_000,
        };
        assert_eq!(trace.filter, expected);
    }
}
