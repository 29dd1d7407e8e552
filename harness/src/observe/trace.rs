//! The loop: from the probes to the lines, until there is nobody left to follow.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ebpf_loader::{Follow, ProbeKind, Probes, RtnlLock};

use super::attach::attach;
use super::clock::Clock;
use super::command::{Command, Running};
use super::devices::Devices;
use super::family;
use super::filter::Filter;
use super::request::{Measures, Request};
use super::signals::{Signals, Taken};
use super::sink::{Sink, State};
use super::summary::{Losses, Summary};
use crate::exit::Failure;

/// How often the ring buffer is emptied: without wakeups, which would slow those who are observed.
const TICK: Duration = Duration::from_millis(5);
/// How often it is asked who is still followed, which costs the kernel some time.
const CENSUS: Duration = Duration::from_millis(50);
/// Processes that a command has started and that end with it are no news.
const GRACE: Duration = Duration::from_millis(300);

/// Whom to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A command that is yet to start, and whatever it starts.
    Command(Command),
    /// A process, and whatever it has started or starts.
    Process(u32),
    /// Everybody.
    Everybody,
}

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Lines,
    /// An object on each line.
    Json,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Whom to follow.
    pub subject: Subject,
    /// Which requests to show.
    pub filter: Filter,
    /// How.
    pub format: Format,
    /// Where; `None`: standard output.
    pub output: Option<PathBuf>,
    /// When to give up on somebody of whom no request has been seen.
    pub timeout: Option<Duration>,
    /// The kind of probes; `None`: the first that works.
    pub probes: Option<ProbeKind>,
}

/// How it ended.
pub struct Ended {
    /// The command's exit code, if there was one and it has ended.
    pub code: Option<u8>,
    /// No request was seen until the timeout.
    pub silent: bool,
    /// The reader went away, and what was still to come was not looked at.
    pub unread: bool,
    /// The lines could not be written.
    pub failed: Option<std::io::Error>,
    /// The probes' kind.
    pub kind: ProbeKind,
    /// Why RTNL could not be told from other mutexes, if it could not: then waits for any are shown as waits for RTNL.
    pub any_mutex: Option<String>,
    /// What was seen.
    pub summary: Summary,
    /// What was lost, or why that is not known.
    pub losses: Result<Losses, String>,
}

/// Follows, and writes what is seen. `say` is told what a person should know meanwhile.
pub fn trace(trace: &Trace, say: &mut dyn FnMut(&str)) -> Result<Ended, Failure> {
    let process = match trace.subject {
        Subject::Process(id) => Some(family::process_of(id)?),
        Subject::Command(_) | Subject::Everybody => None,
    };
    let sink = match &trace.output {
        None => Sink::stdout()
            .map_err(|error| Failure::environment(format!("cannot write to standard output: {error}")))?,
        Some(path) => Sink::file(path)
            .map_err(|error| Failure::environment(format!("--output {}: {error}", path.display())))?,
    };
    let signals =
        Signals::block().map_err(|error| Failure::internal(format!("listen for signals: {error}")))?;
    let follow = if trace.subject == Subject::Everybody { Follow::Everyone } else { Follow::Families };
    let mut probes = attach(trace.probes, follow)?;
    let kind = probes.report().kind;
    let running = match (&trace.subject, process) {
        (Subject::Command(command), _) => Some(start(&mut probes, command, &signals)?),
        (_, Some(process)) => {
            family::follow(&mut probes, process)?;
            say(&format!(
                "following process {process} and whatever it starts, by {kind} probes; Ctrl-C ends"
            ));
            None
        }
        (_, None) => {
            say(&format!("following every process, by {kind} probes; Ctrl-C ends"));
            None
        }
    };
    let watch = Watch {
        measures: Measures::of(probes.report()),
        probes,
        sink,
        devices: Devices::start(),
        summary: Summary::default(),
        trace,
        process,
    };
    Ok(watch.run(running, &signals, kind, say))
}

/// Starts the command as a child of a process that is followed: so the kernel notes the child before it runs.
fn start(probes: &mut Probes, command: &Command, signals: &Signals) -> Result<Running, Failure> {
    let failed = |error: ebpf_loader::Error| Failure::internal(format!("follow the command: {error}"));
    let this = probes.this_process();
    probes.follow(this).map_err(failed)?;
    let started = command.start(signals.before());
    probes.unfollow(this).map_err(failed)?;
    started
}

struct Watch<'a> {
    trace: &'a Trace,
    /// The one that was named, if one was.
    process: Option<u32>,
    probes: Probes,
    measures: Measures,
    devices: Devices,
    sink: Sink,
    summary: Summary,
}

/// Why the loop was left.
enum Reason {
    /// Nobody is left, or a person has had enough.
    Done,
    /// Nothing was seen in time.
    Silent,
    /// The lines go nowhere.
    Unread(Option<std::io::Error>),
}

impl Watch<'_> {
    fn run(
        mut self,
        mut running: Option<Running>,
        signals: &Signals,
        kind: ProbeKind,
        say: &mut dyn FnMut(&str),
    ) -> Ended {
        let mut reason = self.until_nobody_is_left(running.as_mut(), signals, say);
        if !matches!(reason, Reason::Unread(_)) {
            reason = self.write_the_rest(signals).unwrap_or(reason);
        }
        let any_mutex = match &self.probes.report().rtnl_lock {
            RtnlLock::AnyMutex { reason } => Some(reason.clone()),
            _ => None,
        };
        let losses = self.probes.counters().map(Losses::from).map_err(|error| error.to_string());
        let Self { probes, summary, .. } = self;
        // Before a command is waited for that nobody looks at any more.
        drop(probes);
        let silent = matches!(reason, Reason::Silent);
        let (unread, failed) = match reason {
            Reason::Unread(error) => (true, error),
            Reason::Done | Reason::Silent => (false, None),
        };
        let code =
            running.and_then(
                |mut running| {
                    if unread { Some(wait_for(&mut running, signals)) } else { running.ended() }
                },
            );
        Ended { code, silent, unread, failed, kind, any_mutex, summary, losses }
    }

    fn until_nobody_is_left(
        &mut self,
        mut running: Option<&mut Running>,
        signals: &Signals,
        say: &mut dyn FnMut(&str),
    ) -> Reason {
        let started = Instant::now();
        let mut census = started;
        let mut ended_at = None;
        let mut told = false;
        loop {
            if let Some(taken) = signals.wait(TICK)
                && passed_on(running.as_deref_mut(), taken) == Passed::ToNobody
            {
                return Reason::Done;
            }
            // Before reading: what is followed no longer has sent all that it ever will.
            let code = running.as_mut().and_then(|running| running.ended());
            let mut left = None;
            let is_to_be_counted = match self.trace.subject {
                Subject::Command(_) => code.is_some(),
                Subject::Process(_) => true,
                Subject::Everybody => false,
            };
            if is_to_be_counted && (census.elapsed() >= CENSUS || ended_at.is_none() && code.is_some()) {
                census = Instant::now();
                left = Some(self.probes.followed());
            }
            self.read();
            match self.sink.flush() {
                State::Open => {}
                State::Closed => return Reason::Unread(None),
                State::Failed(error) => return Reason::Unread(Some(error)),
            }
            if left.as_ref().is_some_and(Vec::is_empty) {
                return Reason::Done;
            }
            if let (Some(gone), Some(left)) = (self.gone(code, left.as_deref()), left) {
                let since = *ended_at.get_or_insert_with(Instant::now);
                if !told && since.elapsed() >= GRACE {
                    told = true;
                    let left = match left.len() {
                        1 => "the process".to_owned(),
                        several => format!("the {several} processes"),
                    };
                    say(&format!(
                        "{gone}; following {left} that it started until they end; Ctrl-C ends this trace"
                    ));
                }
            }
            if self.summary.is_empty() && self.trace.timeout.is_some_and(|most| started.elapsed() >= most) {
                return Reason::Silent;
            }
        }
    }

    /// That whom this trace is about has ended, which is news when others of its family have not.
    fn gone(&self, code: Option<u8>, left: Option<&[u32]>) -> Option<String> {
        match (code, self.process, left) {
            (Some(code), ..) => Some(format!("the command has ended with {code}")),
            (None, Some(process), Some(left)) if !left.contains(&process) => {
                Some(format!("process {process} has ended"))
            }
            _ => None,
        }
    }

    /// Takes what the probes have, unless there is no room for its lines. Returns how many requests these were.
    fn read(&mut self) -> Option<u64> {
        if !self.sink.has_room() {
            return None;
        }
        let Self { trace, probes, measures, devices, sink, summary, .. } = self;
        let clock = Clock::now();
        devices.begin_batch();
        let read = probes.drain_detailed(|seen| {
            let mut request = Request::describe(&seen, *measures, clock, |netns, index, event| {
                devices.name(netns, index, event.tid)
            });
            let shown = trace.filter.lets_through(&request);
            summary.count(&request, shown);
            if shown {
                match trace.format {
                    Format::Lines => sink.push(&request.line()),
                    // Numbers and strings: there is nothing in it that JSON has not.
                    Format::Json => sink.push(&request.json().unwrap_or_default()),
                }
            }
            if sink.has_room() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        probes.flush_diagnostics();
        Some(read)
    }

    /// Reads and writes what is still there, unless it cannot be written.
    fn write_the_rest(&mut self, signals: &Signals) -> Option<Reason> {
        loop {
            let read = self.read();
            match self.sink.flush() {
                State::Open => {
                    let all_is_read = read.is_some_and(|read| read == 0 || !self.is_over());
                    if all_is_read && self.sink.is_empty() {
                        return None;
                    }
                }
                State::Closed => return Some(Reason::Unread(None)),
                State::Failed(error) => return Some(Reason::Unread(Some(error))),
            }
            let longest = if self.sink.is_empty() { Duration::ZERO } else { TICK };
            if signals.wait(longest).is_some_and(Taken::asks_to_end) {
                return None;
            }
        }
    }

    /// Whether nobody sends any more. Else there may always be something to read.
    fn is_over(&self) -> bool {
        matches!(self.trace.subject, Subject::Command(_)) && self.probes.followed().is_empty()
    }
}

#[derive(PartialEq, Eq)]
enum Passed {
    ToTheCommand,
    ToNobody,
    /// It asks for nothing that concerns us.
    Ignored,
}

/// A signal is the command's while that runs, and then ours.
fn passed_on(running: Option<&mut Running>, taken: Taken) -> Passed {
    if let Some(running) = running
        && running.ended().is_none()
    {
        if !taken.to_the_group {
            running.signal(taken.signal);
        }
        return Passed::ToTheCommand;
    }
    if taken.asks_to_end() { Passed::ToNobody } else { Passed::Ignored }
}

/// Waits for the command alone.
fn wait_for(running: &mut Running, signals: &Signals) -> u8 {
    loop {
        if let Some(code) = running.ended() {
            return code;
        }
        if let Some(taken) = signals.wait(TICK) {
            passed_on(Some(running), taken);
        }
    }
}
