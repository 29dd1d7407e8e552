//! The process that runs the loads, so that other tools can watch it and nothing but it.

use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::getppid;
use tc_adapter::{Connection, Handle, HtbClass, HtbQdisc, Request};

use super::attached::Probes;
use super::load::{Load, POPULATION, RATE};
use super::message::{Answer, Order, Window};
use super::sender::{Message, Sender};
use super::threads::Threads;
use crate::workload::ROOT_QDISC;

/// No device has this index.
const NO_DEVICE: u32 = i32::MAX.cast_unsigned();

/// What classes are changed from and to.
const RATES: [&str; 2] = ["10mbit", "11mbit"];

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

fn class(rate: &str) -> io::Result<HtbClass> {
    rate.parse().map(HtbClass::new).map_err(io::Error::other)
}

/// `tc class add dev … parent 1: classid 1:MINOR htb rate 10mbit`
fn add(device: u32, minor: u16) -> io::Result<Request> {
    Ok(Request::AddClass {
        device,
        parent: ROOT_QDISC,
        classid: Handle::new(1, minor),
        class: class(RATES[0])?,
    })
}

/// Changes of one class after the other, from 10 to 11 Mbit/s and back.
struct Changes {
    sender: Sender,
    messages: Vec<Message>,
    at: usize,
}

impl Changes {
    fn new(device: u32) -> io::Result<Self> {
        let sender = Sender::open()?;
        let mut messages = Vec::new();
        for rate in RATES {
            let class = class(rate)?;
            messages.extend((1..=POPULATION).map(|minor| {
                let (parent, classid) = (Handle::UNSPEC, Handle::new(1, minor));
                sender.encode(&Request::ChangeClass { device, parent, classid, class: class.clone() })
            }));
        }
        Ok(Self { sender, messages, at: 0 })
    }

    fn once(sender: &mut Sender, messages: &mut [Message], at: &mut usize) -> io::Result<()> {
        *at = (*at + 1) % messages.len();
        sender.must(&mut messages[*at])
    }
}

/// A class that is added and deleted.
pub(super) struct AddDelete {
    sender: Sender,
    add: Message,
    delete: Message,
}

impl AddDelete {
    pub(super) fn new(device: u32, minor: u16) -> io::Result<Self> {
        let sender = Sender::open()?;
        let classid = Handle::new(1, minor);
        let add = sender.encode(&add(device, minor)?);
        let delete = sender.encode(&Request::DeleteClass { device, classid });
        Ok(Self { sender, add, delete })
    }

    pub(super) fn once(&mut self) -> io::Result<()> {
        self.sender.must(&mut self.add)?;
        self.sender.must(&mut self.delete)
    }
}

/// A request that the kernel takes RTNL for and then refuses: the fastest there is.
struct Refused {
    sender: Sender,
    message: Message,
}

impl Refused {
    fn new() -> io::Result<Self> {
        let sender = Sender::open()?;
        let classid = Handle::new(1, 1);
        let message = sender.encode(&Request::DeleteClass { device: NO_DEVICE, classid });
        Ok(Self { sender, message })
    }

    fn once(sender: &mut Sender, message: &mut Message) -> io::Result<()> {
        match sender.ask(message)? {
            Err(Errno::ENODEV) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(()) => Err(io::Error::other("the kernel deleted a class of a device that does not exist")),
        }
    }
}
