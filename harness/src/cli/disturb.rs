//! `qdiscope disturb`: a command under load that is not its own. And the processes that this and `bench` start for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::followed::say;
use crate::disturb::rtnl::{self, Held, Holder, Pattern};
use crate::disturb::{Disturbance, memory};
use crate::duration::{self, Span};
use crate::exit::{Exit, Failure};
use crate::observe::{Command as Observed, Signals, Streams};

pub(super) const AFTER_HELP: &str = "Exit codes:
  that of COMMAND, 128 and the signal's number where a signal killed it; and
    1  internal error
    2  usage
    3  this environment cannot do it
  126  COMMAND is not executable
  127  COMMAND is not there";

/// How often it is looked whether the command has ended.
const TICK: Duration = Duration::from_millis(10);

/// What stands in the way.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Run COMMAND while another process holds RTNL, and say for how long that really was
    ///
    /// RTNL is the kernel's lock of all changes to the network. Whoever on this machine needs it waits, whatever namespace it is in: so
    /// programs can be tried on a busy host. The holder changes nothing, and RTNL is free as soon as it, this, or COMMAND has ended, killed
    /// too. Needs root, and a kernel with userfaultfd(2).
    #[command(after_help = AFTER_HELP)]
    Rtnl(Rtnl),
}

/// When RTNL is held, and what runs meanwhile.
#[derive(Args)]
pub(super) struct Rtnl {
    /// Hold it so much of the time, 1 to 90
    #[arg(long, value_name = "PERCENT", required_unless_present = "at", conflicts_with = "at")]
    percent: Option<f64>,
    /// Hold it once, so long after COMMAND has begun, as 1s
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    at: Option<Duration>,
    /// For how long at a time, 100us to 10s
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration::parse)]
    hold: Duration,
    /// What runs meanwhile
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Arguments of the process that holds RTNL.
#[derive(Args)]
pub(super) struct HolderArguments {
    #[arg(long, value_parser = duration::parse)]
    hold: Duration,
    #[arg(long)]
    percent: Option<f64>,
}

/// Arguments of the process that keeps a cgroup.
#[derive(Args)]
pub(super) struct KeeperArguments {
    folder: PathBuf,
}

impl Rtnl {
    fn disturbance(&self) -> Disturbance {
        let hold = Span(self.hold);
        match (self.percent, self.at) {
            (Some(percent), _) => Disturbance::RtnlShare { percent, hold, at: Span::default(), length: None },
            (None, at) => Disturbance::RtnlHold { at: Span(at.unwrap_or_default()), length: hold },
        }
    }
}

pub(super) fn run(command: Command) -> Result<Exit, Failure> {
    let Command::Rtnl(arguments) = command;
    arguments.disturbance().check()?;
    let observed = Observed::new(&arguments.command).ok_or_else(|| Failure::usage("give a COMMAND"))?;
    let mut holder = Some(Holder::prepare(Pattern { hold: arguments.hold, percent: arguments.percent })?);
    let signals = Signals::block().map_err(|error| Failure::internal(format!("take signals: {error}")))?;
    let mut running = observed.start(signals.before(), Streams::Ours)?;
    let due = Instant::now() + arguments.at.unwrap_or_default();
    let mut begun = false;
    let code = loop {
        if !begun && Instant::now() >= due {
            holder.as_mut().map_or(Ok(()), Holder::begin)?;
            begun = true;
        }
        if let Some(code) = running.ended() {
            break code;
        }
        // One of the terminal's has reached the command already.
        if let Some(taken) = signals.wait(TICK).filter(|taken| !taken.to_the_group) {
            running.signal(taken.signal);
        }
    };
    let held = holder.take().map(Holder::end).transpose()?.unwrap_or_default();
    say(&told(&held, arguments.percent));
    match code {
        0 => Ok(Exit::Pass),
        // A code of the command's own, which no list of ours has.
        code => process::exit(code.into()),
    }
}

fn told(held: &Held, asked: Option<f64>) -> String {
    let span = |nanos| {
        Span(Duration::from_micros(Duration::from_nanos(nanos).as_micros().try_into().unwrap_or(u64::MAX)))
    };
    if held.count == 0 {
        return "RTNL was not held: the command had ended before".into();
    }
    let share = match (asked, held.percent()) {
        (Some(asked), Some(percent)) => {
            format!(", {percent:.1} % of {} ({asked} % asked)", span(held.elapsed_ns))
        }
        _ => String::new(),
    };
    let times = if held.count == 1 { "time" } else { "times" };
    format!(
        "RTNL was held {} {times}, {} in all{share}, {} at the longest",
        held.count,
        span(held.total_ns),
        span(held.longest_ns)
    )
}

/// Is the process that holds RTNL.
pub(super) fn hold(arguments: &HolderArguments) -> Result<Exit, Failure> {
    let pattern = Pattern { hold: arguments.hold, percent: arguments.percent };
    let (hold, at) = (Span(pattern.hold), Span::default());
    match pattern.percent {
        Some(percent) => Disturbance::RtnlShare { percent, hold, at, length: None },
        None => Disturbance::RtnlHold { at, length: hold },
    }
    .check()?;
    rtnl::serve(pattern);
    Ok(Exit::Pass)
}

/// Is the process that keeps a cgroup.
pub(super) fn keep(arguments: &KeeperArguments) -> Exit {
    memory::keep(&arguments.folder);
    Exit::Pass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_is_told_in_words() {
        let mut held = Held { count: 3, total_ns: 15_300_400, longest_ns: 5_200_000, elapsed_ns: 50_000_000 };
        assert_eq!(
            told(&held, Some(30.0)),
            "RTNL was held 3 times, 15.3ms in all, 30.6 % of 50ms (30 % asked), 5.2ms at the longest"
        );
        held.count = 1;
        assert_eq!(told(&held, None), "RTNL was held 1 time, 15.3ms in all, 5.2ms at the longest");
        assert!(told(&Held::default(), None).contains("not held"));
    }
}
