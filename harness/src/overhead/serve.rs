//! The process that runs the loads, so that other tools can watch it and nothing but it.

use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use nix::unistd::getppid;
use tc_adapter::{Connection, Handle, HtbQdisc, Request};

use super::attached::Probes;
use super::load::{Load, POPULATION, RATE};
use super::message::{Answer, Order, Window};
use super::sender::Sender;
use super::threads::Threads;
use super::work::{AddDelete, Changes, Refused, add};
use crate::workload::ROOT_QDISC;

/// How many operations are made between two looks at the clock.
const STRIDE: u32 = 16;

/// Serves orders until standard input ends. Runs in the network namespace that it was started in, and keeps to `device`; without
/// one it can run [`Load::Syscall`] only. Problems go to the one who gives the orders.
pub fn serve(device: Option<u32>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut answer = |answer: &Answer| -> io::Result<()> {
        serde_json::to_writer(&mut stdout, answer)?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    };
    let mut loads = match device.map(Loads::prepare).transpose() {
        Ok(loads) => loads,
        Err(error) => return answer(&Answer::Failed { reason: format!("prepare the load: {error}") }),
    };
    answer(&Answer::Ready)?;
    for line in io::stdin().lock().lines() {
        let outcome = match (serde_json::from_str(&line?)?, &mut loads) {
            (Order::Window { load: Load::Syscall, milliseconds }, _) => system_calls(milliseconds),
            (order, Some(loads)) => loads.obey(&order),
            (order, None) => Err(io::Error::other(format!("{order:?} needs a device"))),
        };
        answer(&outcome.unwrap_or_else(|error| Answer::Failed { reason: error.to_string() }))?;
    }
    Ok(())
}

fn system_calls(milliseconds: u64) -> io::Result<Answer> {
    let once = || {
        getppid();
        Ok(())
    };
    sliced(Load::Syscall, Duration::from_millis(milliseconds), 1, once).map(Answer::Window)
}

struct Loads {
    changes: Changes,
    adds: AddDelete,
    threads: Threads,
    refused: Refused,
    probes: Option<Probes>,
}

impl Loads {
    fn prepare(device: u32) -> io::Result<Self> {
        let mut connection = Connection::connect().map_err(io::Error::other)?;
        let mut request = |request: &Request| connection.request(request).map(drop).map_err(io::Error::other);
        let qdisc = HtbQdisc::new().into();
        request(&Request::AddQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC, qdisc })?;
        for minor in 1..=POPULATION {
            request(&add(device, minor)?)?;
        }
        Ok(Self {
            changes: Changes::new(device)?,
            adds: AddDelete::new(device, POPULATION + 1)?,
            threads: Threads::start(device)?,
            refused: Refused::new()?,
            probes: None,
        })
    }

    fn obey(&mut self, order: &Order) -> io::Result<Answer> {
        match order {
            Order::Window { load, milliseconds } => {
                self.window(*load, Duration::from_millis(*milliseconds)).map(Answer::Window)
            }
            Order::Flood { requests } => self.flood(*requests).map(Answer::Window),
            Order::Attach { kind, stacks } => Ok(match Probes::attach(kind, *stacks) {
                Ok(probes) => {
                    self.probes = Some(probes);
                    Answer::Ready
                }
                Err(reason) => Answer::Absent { reason },
            }),
            Order::Detach => {
                self.probes = None;
                Ok(Answer::Ready)
            }
        }
    }

    fn window(&mut self, load: Load, length: Duration) -> io::Result<Window> {
        let Self { changes, adds, threads, refused, probes } = self;
        match load {
            Load::Change => watched(probes.as_ref(), &mut changes.sender, |sender| {
                let (messages, at) = (&mut changes.messages, &mut changes.at);
                sliced(load, length, 1, || Changes::once(sender, messages, at))
            }),
            Load::Add => sliced(load, length, 2, || adds.once()),
            Load::Concurrent => threads.window(length),
            Load::Syscall => Err(io::Error::other("this process is watched")),
            Load::Rate => watched(probes.as_ref(), &mut refused.sender, |sender| {
                at_rate(length, || Refused::once(sender, &mut refused.message))
            }),
        }
    }

    fn flood(&mut self, requests: u64) -> io::Result<Window> {
        let Refused { sender, message } = &mut self.refused;
        watched(self.probes.as_ref(), sender, |sender| {
            let start = Instant::now();
            let mut send = || (0..requests).try_for_each(|_| Refused::once(sender, message));
            match &self.probes {
                Some(probes) => probes.unread(send)?,
                None => send()?,
            }
            Ok(Window { requests, elapsed_ns: nanoseconds(start.elapsed()), ..Window::default() })
        })
    }
}

/// With what the probes report of it, if there are any.
fn watched(
    probes: Option<&Probes>,
    sender: &mut Sender,
    work: impl FnOnce(&mut Sender) -> io::Result<Window>,
) -> io::Result<Window> {
    let before = probes.map(|probes| probes.watch(sender)).transpose().map_err(io::Error::other)?;
    let window = work(sender)?;
    let seen = probes
        .zip(before)
        .map(|(probes, before)| probes.seen(before))
        .transpose()
        .map_err(io::Error::other)?;
    Ok(Window { seen, ..window })
}

/// Repeats `once`, which is `requests` requests, and times it slice by slice.
fn sliced(
    load: Load,
    length: Duration,
    requests: u64,
    mut once: impl FnMut() -> io::Result<()>,
) -> io::Result<Window> {
    let slice = Duration::from_millis(load.slice_ms());
    let mut window = Window::default();
    let start = Instant::now();
    let (mut since, mut operations) = (start, 0_u64);
    while since - start < length {
        for _ in 0..STRIDE {
            once()?;
        }
        operations += u64::from(STRIDE);
        let now = Instant::now();
        if now - since >= slice {
            window.slices.push((now - since).as_nanos() as f64 / operations as f64);
            window.requests += operations * requests;
            (since, operations) = (now, 0);
        }
    }
    window.elapsed_ns = nanoseconds(since - start);
    Ok(window)
}

/// Repeats `once` at [`RATE`], a millisecond's worth at a time, as far as it is fast enough.
fn at_rate(length: Duration, mut once: impl FnMut() -> io::Result<()>) -> io::Result<Window> {
    let milliseconds = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
    let start = Instant::now();
    for millisecond in 1..=milliseconds {
        for _ in 0..RATE / 1_000 {
            once()?;
        }
        while start.elapsed() < Duration::from_millis(1) * millisecond {
            std::hint::spin_loop();
        }
    }
    let requests = u64::from(milliseconds) * u64::from(RATE / 1_000);
    Ok(Window { requests, elapsed_ns: nanoseconds(start.elapsed()), ..Window::default() })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
