//! The process that runs the loads, so that other tools can watch it and nothing but it.

use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use nix::unistd::getppid;
use tc_adapter::{Connection, Handle, HtbQdisc, Request};

use super::attached::Probes;
use super::load::{Load, POPULATION, RATE};
use super::message::{Answer, Order, Socket, Window};
use super::threads::Threads;
use super::work::{AddDelete, Changes, Refused, add};
use crate::workload::ROOT_QDISC;

/// How many operations are made between two looks at the clock.
const STRIDE: u32 = 16;

/// Serves orders until standard input ends. Runs in the network namespace that it was started in, and keeps to `device`; without
/// one it can watch, and of the loads run [`Load::Syscall`]. Problems go to the one who gives the orders.
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
    let mut probes = None;
    answer(&Answer::Ready)?;
    for line in io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?)?;
        let outcome = obey(&order, loads.as_mut(), &mut probes);
        answer(&outcome.unwrap_or_else(|error| Answer::Failed { reason: error.to_string() }))?;
    }
    Ok(())
}

fn obey(order: &Order, loads: Option<&mut Loads>, probes: &mut Option<Probes>) -> io::Result<Answer> {
    let loads = || loads.ok_or_else(|| io::Error::other("this process has no device"));
    let attached = || io::Error::other("no probes are attached");
    match order {
        Order::Window { load: Load::Syscall, milliseconds } => system_calls(*milliseconds),
        Order::Window { load, milliseconds } => {
            loads()?.window(*load, Duration::from_millis(*milliseconds)).map(Answer::Window)
        }
        Order::Flood { requests } => loads()?.flood(*requests).map(Answer::Window),
        Order::Socket => {
            let sender = &loads()?.refused.sender;
            Ok(Answer::Socket(Socket { port_id: sender.port(), sequence: sender.sequence() }))
        }
        Order::Attach { setup, process } => Ok(match Probes::attach(setup, *process) {
            Ok(attached) => {
                *probes = Some(attached);
                Answer::Ready
            }
            Err(reason) => Answer::Absent { reason },
        }),
        Order::Watch { socket } => {
            probes.as_mut().ok_or_else(attached)?.watch(*socket).map_err(io::Error::other)?;
            Ok(Answer::Ready)
        }
        Order::Pause { paused } => {
            probes.as_ref().ok_or_else(attached)?.pause(*paused);
            Ok(Answer::Ready)
        }
        Order::Count => {
            probes.as_ref().ok_or_else(attached)?.seen().map(Answer::Seen).map_err(io::Error::other)
        }
        Order::Detach => {
            *probes = None;
            Ok(Answer::Ready)
        }
    }
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
        })
    }

    fn window(&mut self, load: Load, length: Duration) -> io::Result<Window> {
        match load {
            Load::Change => sliced(load, length, 1, || self.changes.once()),
            Load::Add => sliced(load, length, 2, || self.adds.once()),
            Load::Concurrent => self.threads.window(length),
            Load::Rate => at_rate(length, || self.refused.once()),
            Load::Syscall => Err(io::Error::other("this process is watched")),
        }
    }

    fn flood(&mut self, requests: u64) -> io::Result<Window> {
        let start = Instant::now();
        (0..requests).try_for_each(|_| self.refused.once())?;
        Ok(Window { requests, elapsed_ns: nanoseconds(start.elapsed()), slices: Vec::new() })
    }
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
