//! The holder's own process.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use tc_adapter::{Connection, Handle, Request};

use super::page::{Page, Woken};
use super::share::Share;
use super::watchdog::Watchdog;
use super::{Held, Pattern, Word};
use crate::disturb::DisturbError;

/// As whom the probes show it, beside its process id.
const NAME: &std::ffi::CStr = c"rtnl-holder";

/// How long the rehearsal holds RTNL, and somebody else has the time to come in where it does not.
const REHEARSED: Duration = Duration::from_millis(10);

/// Timers come as exactly as the kernel can: by itself it lets them be 50 µs late.
const SLACK_NS: u64 = 1;

/// How much longer than meant RTNL is held at most, whatever goes wrong.
const GRACE: Duration = Duration::from_secs(1);

/// The same before it is known to be held: others may have it for so long.
const BESIDE: Duration = Duration::from_secs(10);

/// A device that cannot exist: interface indices are positive numbers of 31 bits, given out from 1.
const NO_DEVICE: u32 = i32::MAX.cast_unsigned();

/// Is the holder: says what it has to say on standard output, and returns when standard input ends.
pub fn serve(pattern: Pattern) {
    let over = hold_on_demand(pattern);
    let word =
        over.map_or_else(|error| Word::Failed { reason: error.to_string() }, |held| Word::Over { held });
    // Whoever does not listen any more has ended.
    let _ = say(&word);
}

fn say(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut stdout = io::stdout();
    stdout.write_all(&line)?;
    stdout.flush()
}

fn hold_on_demand(pattern: Pattern) -> Result<Held, DisturbError> {
    // A thread that panicked would leave the other asleep, with RTNL.
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        told(panic);
        process::exit(1)
    }));
    // Where this fails it has another name.
    let _ = prctl::set_name(NAME);
    let _ = prctl::set_timerslack(SLACK_NS);
    let page = Arc::new(Page::new().map_err(DisturbError::unavailable(
        "userfaultfd",
        "holding RTNL needs a kernel with CONFIG_USERFAULTFD, and root (CAP_SYS_PTRACE) or /dev/userfaultfd",
    ))?);
    let watchdog = Arc::new(Watchdog::new().map_err(DisturbError::failed("timer_create"))?);
    rehearse(&page, &watchdog)?;
    let talk = |error| DisturbError::failed("talk to qdiscope")(error);
    say(&Word::Ready).map_err(talk)?;
    // Nothing is read ahead: the end is waited for by the descriptor.
    if io::stdin().read(&mut [0]).map_err(talk)? == 0 {
        return Ok(Held::default());
    }
    let shared = Arc::new(Shared::default());
    thread::Builder::new()
        .name("rtnl-timekeeper".into())
        .spawn({
            let (page, shared, watchdog) = (Arc::clone(&page), Arc::clone(&shared), Arc::clone(&watchdog));
            move || or_end(keep_time(&page, pattern.hold, &shared, &watchdog))
        })
        .map_err(DisturbError::failed("start a thread"))?;
    hold(&page, pattern, &shared, &watchdog)
}

/// Holds RTNL once and has another thread ask for it: whether it is held is tried, not known by the kernel's version.
fn rehearse(page: &Page, watchdog: &Watchdog) -> Result<(), DisturbError> {
    let failed = |error| DisturbError::failed("rehearse")(error);
    let mut connection = Connection::connect().map_err(io::Error::other).map_err(failed)?;
    let [asked, missed, came_in, too_early] = [const { AtomicBool::new(false) }; 4];
    thread::scope(|scope| {
        scope.spawn(|| {
            while or_end(page.wait(None, Some(REHEARSED))) != Woken::Question {
                if asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            missed.store(true, Ordering::Relaxed);
            scope.spawn(|| {
                // Refused, after RTNL was waited for.
                let request = Request::DeleteClass { device: NO_DEVICE, classid: Handle::new(1, 1) };
                let _ = connection.request(&request);
                came_in.store(true, Ordering::Relaxed);
            });
            thread::sleep(REHEARSED);
            too_early.store(came_in.load(Ordering::Relaxed), Ordering::Relaxed);
            or_end(page.appear());
        });
        let answer = watchdog.watch(REHEARSED + BESIDE).and_then(|()| page.ask());
        watchdog.rest();
        asked.store(true, Ordering::Relaxed);
        answer.map_err(failed)?;
        let held = missed.load(Ordering::Relaxed) && !too_early.load(Ordering::Relaxed);
        if held { Ok(()) } else { Err(DisturbError::NotHeld) }
    })
}

/// RTNL must not stay held by a process whose clock has stopped: when that ends, the kernel takes it away.
fn or_end<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        let _ = say(&Word::Failed { reason: format!("the timekeeper: {error}") });
        process::exit(1)
    })
}

/// Between who holds RTNL and who watches the clock.
struct Shared {
    epoch: Instant,
    /// When RTNL was last seen to be held: nanoseconds after `epoch`; 0 where it was not, since it was last asked for.
    held_since: AtomicU64,
    ended: Mutex<bool>,
    told: Condvar,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            held_since: AtomicU64::new(0),
            ended: Mutex::new(false),
            told: Condvar::new(),
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }

    /// Pauses, and says whether to go on.
    fn pause(&self, pause: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, _) = self
            .told
            .wait_timeout_while(ended, pause, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        !*ended
    }
}

/// Lets RTNL be held as long as it is to be, each time; at the end no longer at all.
fn keep_time(page: &Page, hold: Duration, shared: &Shared, watchdog: &Watchdog) -> io::Result<Infallible> {
    let _ = prctl::set_timerslack(SLACK_NS);
    let stdin = io::stdin();
    let mut ended = false;
    loop {
        match page.wait((!ended).then(|| stdin.as_fd()), None)? {
            Woken::Question => {}
            Woken::End => {
                ended = true;
                shared.end();
                continue;
            }
            Woken::Time => continue,
        }
        let since = Instant::now();
        watchdog.watch(hold + GRACE)?;
        shared.held_since.store(shared.now().max(1), Ordering::Relaxed);
        while !ended {
            let left = hold.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            if page.wait(Some(stdin.as_fd()), Some(left))? == Woken::End {
                ended = true;
                shared.end();
            }
        }
        page.appear()?;
    }
}

/// Asks for RTNL as often as it is to be held.
fn hold(page: &Page, pattern: Pattern, shared: &Shared, watchdog: &Watchdog) -> Result<Held, DisturbError> {
    let mut share = pattern.percent.map(Share::new);
    let mut held = Held::default();
    let mut first = None;
    let mut free_since = shared.now();
    while shared.pause(Duration::ZERO) {
        shared.held_since.store(0, Ordering::Relaxed);
        let answer = watchdog.watch(pattern.hold + BESIDE).and_then(|()| page.ask());
        watchdog.rest();
        answer.map_err(DisturbError::failed("ioctl SIOCETHTOOL (ETHTOOL_GSTRINGS)"))?;
        let now = shared.now();
        let since = match shared.held_since.load(Ordering::Relaxed) {
            0 => return Err(DisturbError::NotHeld),
            since => since,
        };
        let took = now - since;
        held.count += 1;
        held.total_ns += took;
        held.longest_ns = held.longest_ns.max(took);
        let first = *first.get_or_insert(since);
        held.elapsed_ns = now - first;
        let Some(share) = &mut share else { break };
        let free = Duration::from_nanos(since.saturating_sub(free_since));
        free_since = now;
        if !shared.pause(share.pause(free, Duration::from_nanos(took))) {
            break;
        }
    }
    if let Some(first) = first
        && share.is_some()
    {
        held.elapsed_ns = shared.now() - first;
    }
    Ok(held)
}
