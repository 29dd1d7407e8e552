//! `qdiscope trace`: what programs ask of traffic control, as they ask it.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::observe::{self, Command, Ended, Filter, Format, Subject, Trace};
use crate::probes::Choice;

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
    /// Follow this process, its threads, and all that it has started or starts
    #[arg(long, value_name = "PID", conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
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
    #[arg(long, value_name = "TIME", value_parser = parse_latency)]
    min_latency: Option<Duration>,
    /// Give up, with 3, when no request has been seen after so many seconds; 0: never. A command runs on
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse_seconds)]
    timeout: Duration,
    /// Which probes to attach
    #[arg(long, value_enum, default_value = "auto")]
    probes: Choice,
    /// Start this command and follow it and all that it starts. Without it and without --pid: everybody
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn parse_latency(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        other => return Err(format!("`{other}` is none of the units us, ms and s")),
    };
    match digits.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&(value * unit)) => Ok(Duration::from_secs_f64(value * unit)),
        _ => Err("give a time up to a day, as 500us".into()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, as 5 or 0.5".into()),
    }
}

impl Arguments {
    fn trace(&self) -> Result<Trace, Failure> {
        if self.probes == Choice::Off {
            return Err(Failure::usage("--probes off: without probes there is nothing to show"));
        }
        let subject = match (Command::new(&self.command), self.pid) {
            (Some(command), _) => Subject::Command(command),
            (None, Some(process)) => Subject::Process(process),
            (None, None) => Subject::Everybody,
        };
        Ok(Trace {
            subject,
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
            timeout: (!self.timeout.is_zero()).then_some(self.timeout),
            probes: self.probes.kind(),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let trace = arguments.trace()?;
    let mut say = |line: &str| {
        // Whoever has closed stderr does not want to know.
        let _ = writeln!(io::stderr(), "qdiscope: {line}");
    };
    let ended = observe::trace(&trace, &mut say)?;
    // Who went away in the middle has seen enough.
    if !ended.unread {
        let _ = write!(io::stderr(), "{}", summary(&ended));
    }
    let outcome = outcome(&ended, &trace);
    match ended.code {
        // A code of the command's own, which no list of ours has.
        Some(code) if code != 0 => {
            if let Err(failure) = outcome {
                say(&failure.to_string());
            }
            process::exit(code.into())
        }
        _ => outcome.map(|()| Exit::Pass),
    }
}

fn summary(ended: &Ended) -> String {
    let text = ended.summary.lines(&ended.losses);
    let probes = format!(" ({} probes)\n", ended.kind);
    let mut text = text.replacen('\n', &probes, 1);
    if let Some(reason) = ended.any_mutex.as_ref().filter(|_| !ended.summary.is_empty()) {
        // Writing to a string cannot fail.
        let _ = fmt::Write::write_fmt(
            &mut text,
            format_args!(
                "waits for RTNL are those for any mutex, for it could not be identified: {reason}\n"
            ),
        );
    }
    text
}

fn outcome(ended: &Ended, trace: &Trace) -> Result<(), Failure> {
    if let Some(error) = &ended.failed {
        let place = trace
            .output
            .as_ref()
            .map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        return Err(Failure::environment(format!("cannot write to {place}: {error}; the trace ends there")));
    }
    if ended.silent {
        let seconds = trace.timeout.unwrap_or_default().as_secs_f64();
        let left = match trace.subject {
            Subject::Command(_) if ended.code.is_none() => "; the command runs on",
            _ => "",
        };
        return Err(Failure::environment(format!(
            "no traffic-control request within {seconds} s: nobody who is followed has sent one{left}"
        )));
    }
    Ok(())
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
    fn what_is_followed_is_said_by_one_of_two_or_none() {
        assert_eq!(parse("").unwrap().subject, Subject::Everybody);
        assert_eq!(parse("--pid 7").unwrap().subject, Subject::Process(7));
        assert!(matches!(parse("--json -- tc --pid 3").unwrap().subject, Subject::Command(_)));
        for line in ["--pid 7 -- tc", "--pid 0", "--pid x", "tc qdisc show", "--probes off", "--type link"] {
            assert!(parse(line).is_err(), "{line}");
        }
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

    #[test]
    fn times_have_units() {
        assert_eq!(parse_latency("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(parse_latency("1.5ms"), Ok(Duration::from_micros(1_500)));
        for text in ["500", "ms", "-1s", "1y", "infs", ""] {
            assert!(parse_latency(text).is_err(), "{text}");
        }
        assert_eq!(parse("--timeout 0").unwrap().timeout, None);
        assert_eq!(parse("--timeout 0.5").unwrap().timeout, Some(Duration::from_millis(500)));
    }
}
