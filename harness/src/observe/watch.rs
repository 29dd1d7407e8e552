//! The loop: from the probes to an audience, until there is nobody left to follow.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ebpf_loader::{Follow, Found, Options, ProbeKind, Probes, RtnlLock};

use super::attach::attach;
use super::audience::{Audience, Ending, State};
use super::clock::Clock;
use super::command::{Command, Running, Streams};
use super::devices::Devices;
use super::family;
use super::request::{Measures, Request};
use super::signals::{Signals, Taken};
use super::summary::Losses;
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

impl Subject {
    /// The process that is named, if one is.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn process(&self) -> Result<Option<u32>, Failure> {
        match self {
            Self::Process(id) => family::process_of(*id).map(Some),
            Self::Command(_) | Self::Everybody => Ok(None),
        }
    }
}

/// `everybody`, `process 42`, `tc`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.write_str(&command.name()),
            Self::Process(id) => write!(f, "process {id}"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Whom to follow.
    pub subject: Subject,
    /// Where the command reads and writes.
    pub streams: Streams,
    /// When to give up on somebody of whom no request has been seen.
    pub timeout: Option<Duration>,
    /// The probes, as [`options`](super::options) has them; whom they follow is the subject's to say.
    pub probes: Options,
}

/// How it ended.
pub struct Ended {
    /// The command's exit code, if there was one and it has ended.
    pub code: Option<u8>,
    /// How many requests were handed over.
    pub seen: u64,
    /// No request was seen until the timeout.
    pub silent: bool,
    /// The reader went away, and what was still to come was not looked at.
    pub unread: bool,
    /// What was for the audience could not be written.
    pub failed: Option<std::io::Error>,
    /// The probes' kind.
    pub kind: ProbeKind,
    /// Why RTNL could not be told from other mutexes, if it could not: then waits for any are shown as waits for RTNL.
    pub any_mutex: Option<String>,
    /// What was lost, or why that is not known.
    pub losses: Result<Losses, String>,
}

/// Follows, and hands over what is seen.
pub fn watch(watch: &Watch, audience: &mut dyn Audience) -> Result<Ended, Failure> {
    let process = watch.subject.process()?;
    let signals =
        Signals::block().map_err(|error| Failure::internal(format!("listen for signals: {error}")))?;
    let follow = if watch.subject == Subject::Everybody { Follow::Everyone } else { Follow::Families };
    // Dropped last.
    let (mut probes, _place) = attach(Options { follow, ..watch.probes.clone() })?;
    let kind = probes.report().kind;
    audience.begin(&mut probes)?;
    let running = match (&watch.subject, process) {
        (Subject::Command(command), _) => Some(start(&mut probes, command, watch.streams, &signals)?),
        (_, Some(process)) => {
            family::follow(&mut probes, process)?;
            audience.tell(&format!(
                "following process {process} and whatever it starts, by {kind} probes; Ctrl-C ends"
            ));
            None
        }
        (_, None) => {
            audience.tell(&format!("following every process, by {kind} probes; Ctrl-C ends"));
            None
        }
    };
    let watching = Watching {
        measures: Measures::of(probes.report()),
        probes,
        audience,
        devices: Devices::start(),
        seen: 0,
        watch,
        process,
    };
    Ok(watching.run(running, &signals, kind))
}

/// Starts the command as a child of a process that is followed: so the kernel notes the child before it runs.
fn start(
    probes: &mut Probes,
    command: &Command,
    streams: Streams,
    signals: &Signals,
) -> Result<Running, Failure> {
    let failed = |error: ebpf_loader::Error| Failure::internal(format!("follow the command: {error}"));
    let this = probes.this_process();
    probes.follow(this).map_err(failed)?;
    let started = command.start(signals.before(), streams);
    probes.unfollow(this).map_err(failed)?;
    started
}

struct Watching<'a> {
    watch: &'a Watch,
    /// The one that was named, if one was.
    process: Option<u32>,
    probes: Probes,
    measures: Measures,
    devices: Devices,
    audience: &'a mut dyn Audience,
    seen: u64,
}

/// Why the loop was left.
enum Reason {
    /// There is no more to come, or need not.
    Over(Ending),
    /// What is seen goes nowhere.
    Unread(Option<std::io::Error>),
}

impl Watching<'_> {
    fn run(mut self, mut running: Option<Running>, signals: &Signals, kind: ProbeKind) -> Ended {
        let mut reason = self.until_nobody_is_left(running.as_mut(), signals);
        if let Reason::Over(ending) = reason {
            reason = self.hand_over_the_rest(ending, signals);
        }
        let any_mutex = match &self.probes.report().rtnl_lock {
            RtnlLock::AnyMutex { reason } => Some(reason.clone()),
            _ => None,
        };
        let losses = self.probes.counters().map(Losses::from).map_err(|error| error.to_string());
        let Self { probes, seen, .. } = self;
        // Before a command is waited for that nobody looks at any more.
        drop(probes);
        let (silent, unread, failed) = match reason {
            Reason::Unread(error) => (false, true, error),
            Reason::Over(ending) => (ending == Ending::Silent, false, None),
        };
        let code =
            running.and_then(
                |mut running| {
                    if unread { Some(wait_for(&mut running, signals)) } else { running.ended() }
                },
            );
        Ended { code, seen, silent, unread, failed, kind, any_mutex, losses }
    }

    fn until_nobody_is_left(&mut self, mut running: Option<&mut Running>, signals: &Signals) -> Reason {
        let started = Instant::now();
        let mut census = started;
        let mut ended_at = None;
        let mut told = false;
        loop {
            if let Some(taken) = signals.wait(TICK)
                && (self.watch.streams == Streams::NoTerminal && taken.asks_to_end()
                    || passed_on(running.as_deref_mut(), taken) == Passed::ToNobody)
            {
                return Reason::Over(Ending::Asked);
            }
            // Before reading: what is followed no longer has sent all that it ever will.
            let code = running.as_mut().and_then(|running| running.ended());
            let mut left = None;
            let is_to_be_counted = match self.watch.subject {
                Subject::Command(_) => code.is_some(),
                Subject::Process(_) => true,
                Subject::Everybody => false,
            };
            if is_to_be_counted && (census.elapsed() >= CENSUS || ended_at.is_none() && code.is_some()) {
                census = Instant::now();
                left = Some(self.probes.followed());
            }
            self.read();
            match self.audience.flush(&mut self.probes) {
                State::Open => {}
                State::Enough => return Reason::Over(Ending::Asked),
                State::Closed => return Reason::Unread(None),
                State::Failed(error) => return Reason::Unread(Some(error)),
            }
            if left.as_ref().is_some_and(Vec::is_empty) {
                return Reason::Over(Ending::Nobody(code));
            }
            if let (Some(gone), Some(left)) = (self.gone(code, left.as_deref()), left) {
                let since = *ended_at.get_or_insert_with(Instant::now);
                if !told && since.elapsed() >= GRACE {
                    told = true;
                    let left = match left.len() {
                        1 => "the process".to_owned(),
                        several => format!("the {several} processes"),
                    };
                    self.audience.tell(&format!(
                        "{gone}; following {left} that it started until they end; Ctrl-C ends this trace"
                    ));
                }
            }
            if self.seen == 0 && self.watch.timeout.is_some_and(|most| started.elapsed() >= most) {
                return Reason::Over(Ending::Silent);
            }
        }
    }

    /// That whom this is about has ended, which is news when others of its family have not.
    fn gone(&self, code: Option<u8>, left: Option<&[u32]>) -> Option<String> {
        match (code, self.process, left) {
            (Some(code), ..) => Some(format!("the command has ended with {code}")),
            (None, Some(process), Some(left)) if !left.contains(&process) => {
                Some(format!("process {process} has ended"))
            }
            _ => None,
        }
    }

    /// Takes what the probes have, unless there is no room for it. Returns how much that was.
    fn read(&mut self) -> Option<u64> {
        if !self.audience.has_room() {
            return None;
        }
        let Self { probes, measures, devices, audience, seen, .. } = self;
        let clock = Clock::now();
        devices.begin_batch();
        let mut read: u64 = 0;
        probes.drain_all(|found| {
            read += 1;
            match found {
                Found::Request(event) => {
                    let request = Request::describe(&event, *measures, clock, |netns, index, event| {
                        devices.name(netns, index, event.tid)
                    });
                    *seen += 1;
                    audience.take(&event, request);
                }
                Found::Sample(sample) => audience.sample(sample),
            }
            if audience.has_room() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        probes.flush_diagnostics();
        Some(read)
    }

    /// Hands over what is still there, and waits until the audience is done with it, unless it cannot be.
    fn hand_over_the_rest(&mut self, ending: Ending, signals: &Signals) -> Reason {
        let mut has_ended = false;
        loop {
            if !has_ended {
                let read = self.read();
                let is_all = |read| read == 0 || self.audience.has_room() && !self.is_over();
                if read.is_some_and(is_all) {
                    has_ended = true;
                    self.audience.end(&mut self.probes, ending);
                }
            }
            match self.audience.flush(&mut self.probes) {
                State::Open if has_ended && self.audience.is_empty() => break,
                State::Open => {}
                State::Enough => break,
                State::Closed => return Reason::Unread(None),
                State::Failed(error) => return Reason::Unread(Some(error)),
            }
            let longest = if self.audience.is_empty() { Duration::ZERO } else { TICK };
            if signals.wait(longest).is_some_and(Taken::asks_to_end) {
                break;
            }
        }
        if !has_ended {
            self.audience.end(&mut self.probes, ending);
        }
        Reason::Over(ending)
    }

    /// Whether nobody sends any more. Else there may always be something to read.
    fn is_over(&self) -> bool {
        matches!(self.watch.subject, Subject::Command(_)) && self.probes.followed().is_empty()
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
