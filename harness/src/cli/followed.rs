//! Whom to follow and by which probes, and what the process ends with: of every subcommand that watches other programs.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process;
use std::time::Duration;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::observe::{self, Command, Ended, Streams, Subject, Watch};
use crate::probes::Choice;

/// Whom to follow.
#[derive(Args)]
pub(super) struct Followed {
    /// Follow this process, its threads, and all that it has started or starts
    #[arg(long, value_name = "PID", conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
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

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, as 5 or 0.5".into()),
    }
}

impl Followed {
    /// The kind of probes that is asked for.
    pub(super) fn probes(&self) -> Choice {
        self.probes
    }

    pub(super) fn watch(&self, streams: Streams) -> Result<Watch, Failure> {
        if self.probes == Choice::Off {
            return Err(Failure::usage("--probes off: without probes there is nothing to show"));
        }
        let subject = match (Command::new(&self.command), self.pid) {
            (Some(command), _) => Subject::Command(command),
            (None, Some(process)) => Subject::Process(process),
            (None, None) => Subject::Everybody,
        };
        Ok(Watch {
            subject,
            streams,
            timeout: (!self.timeout.is_zero()).then_some(self.timeout),
            probes: observe::options(self.probes.kind()),
        })
    }
}

/// Says a line on stderr. Whoever has closed it does not want to know.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "qdiscope: {line}");
}

/// A note for where waits for RTNL are shown that may be others.
pub(super) fn any_mutex(ended: &Ended) -> Option<String> {
    let reason = ended.any_mutex.as_ref().filter(|_| ended.seen > 0)?;
    Some(format!("waits for RTNL are those for any mutex, for it could not be identified: {reason}\n"))
}

/// Ends as the command did, where that failed, and else as the watching did. `place` is where that was written.
pub(super) fn exit(ended: &Ended, watch: &Watch, place: &str) -> Result<Exit, Failure> {
    let outcome = outcome(ended, watch, place);
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

fn outcome(ended: &Ended, watch: &Watch, place: &str) -> Result<(), Failure> {
    if let Some(error) = &ended.failed {
        return Err(Failure::environment(format!("cannot write to {place}: {error}; the trace ends there")));
    }
    if ended.silent {
        let seconds = watch.timeout.unwrap_or_default().as_secs_f64();
        let left = match watch.subject {
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
        arguments: Followed,
    }

    fn parse(line: &str) -> Result<Watch, String> {
        let words = std::iter::once("trace").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.arguments.watch(Streams::Ours).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_followed_is_said_by_one_of_two_or_none() {
        assert_eq!(parse("").unwrap().subject, Subject::Everybody);
        assert_eq!(parse("--pid 7").unwrap().subject, Subject::Process(7));
        assert!(matches!(parse("--timeout 1 -- tc --pid 3").unwrap().subject, Subject::Command(_)));
        for line in ["--pid 7 -- tc", "--pid 0", "--pid x", "tc qdisc show", "--probes off"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn no_time_is_no_limit() {
        assert_eq!(parse("--timeout 0").unwrap().timeout, None);
        assert_eq!(parse("--timeout 0.5").unwrap().timeout, Some(Duration::from_millis(500)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--type link", "--min-latency 3"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
