//! Random callers over the queue, each step of `client.rs` under its lock a step here: nobody may wait whom nobody wakes, and
//! nobody gets another one's outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::{Queue, Ticket};
use crate::checks::Checks;
use crate::connection::{Answer, Evidence};
use crate::error::Error;
use crate::handle::Handle;
use crate::packet::{Limits, Packet};
use crate::request::Request;

/// What may happen to callers beside being polled when they are woken.
#[expect(clippy::struct_excessive_bools, reason = "any of them together")]
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Futures are dropped.
    cancels: bool,
    /// Futures go from task to task, so that the old waker wakes nobody any more.
    moves: bool,
    /// Tasks are woken by something else.
    spurious: bool,
    /// Some want the wire for themselves.
    dumps: bool,
    /// The client is closed in the middle.
    closes: bool,
}

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Where a caller is in its poll: what is between two of these happens under one lock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Not in a poll.
    Rest,
    /// Has tried to enter.
    Entered { first: bool, inside: bool },
    /// Has the wire, for what waits.
    Leads { first: bool, rounds: usize },
    /// Has the wire, for itself.
    Alone,
}

#[expect(clippy::struct_excessive_bools, reason = "independent of each other")]
struct Caller {
    id: u16,
    awake: Arc<Awake>,
    waker: Waker,
    at: At,
    polled: bool,
    ticket: Option<Ticket>,
    outside: Option<u64>,
    /// Lets others join.
    gathers: bool,
    dumps: bool,
    reservation: Option<u64>,
    alive: bool,
}

impl Caller {
    fn new(id: u16, random: &mut Random, weather: Weather) -> Self {
        let awake = Arc::new(Awake(AtomicBool::new(true)));
        Self {
            id,
            waker: Waker::from(Arc::clone(&awake)),
            awake,
            at: At::Rest,
            polled: false,
            ticket: None,
            outside: None,
            gathers: random.below(4) != 0,
            dumps: weather.dumps && random.below(8) == 0,
            reservation: None,
            alive: true,
        }
    }

    fn is_ready(&self) -> bool {
        self.alive && (self.at != At::Rest || self.awake.0.load(Ordering::SeqCst))
    }

    fn ends(&mut self) {
        (self.alive, self.at) = (false, At::Rest);
    }
}

/// Xorshift, so that a seed is a run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

const AT_FIRST: u16 = 8;
const IN_ALL: u16 = 38;
const STEPS: usize = 5_000;

struct World {
    queue: Queue,
    limits: Limits,
    weather: Weather,
    random: Random,
    callers: Vec<Caller>,
    /// On the wire, and whose they are.
    sent: Vec<(Ticket, u16)>,
    to_wake: Vec<Waker>,
}

impl World {
    fn new(seed: u64, capacity: usize, messages: usize, weather: Weather) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let callers = (0..AT_FIRST).map(|id| Caller::new(id, &mut random, weather)).collect();
        let limits = Limits { messages, bytes: 100_000 };
        let (sent, to_wake) = (Vec::new(), Vec::new());
        Self { queue: Queue::new(capacity), limits, weather, random, callers, sent, to_wake }
    }

    fn run(mut self) -> Result<(), String> {
        for step in 0..STEPS {
            let which = |wanted: fn(&Caller) -> bool| -> Vec<usize> {
                (0..self.callers.len()).filter(|&index| wanted(&self.callers[index])).collect()
            };
            let (ready, alive) = (which(Caller::is_ready), which(|caller| caller.alive));
            let more = self.callers.len() < usize::from(IN_ALL);
            if ready.is_empty() && !alive.is_empty() {
                return Err(format!("step {step}: {alive:?} wait and nobody is woken"));
            }
            if alive.is_empty() && !more {
                return if self.queue.busy { Err("busy at the end".into()) } else { Ok(()) };
            }
            if self.weather.closes && step == 60 {
                self.queue.close().into_iter().for_each(Waker::wake);
            }
            let dice = self.random.below(20);
            // Newcomers come while others are ready, so that they do not hide who is stuck.
            if more && (dice == 0 || ready.is_empty()) {
                let id = u16::try_from(self.callers.len()).expect("few");
                self.callers.push(Caller::new(id, &mut self.random, self.weather));
                continue;
            }
            let Some(&any) = alive.get(self.random.below(alive.len().max(1))) else { continue };
            match dice {
                1..=3 if self.weather.cancels => self.drop_caller(any),
                4 if self.weather.moves => self.move_caller(any),
                5..=7 if self.weather.spurious => self.callers[any].awake.0.store(true, Ordering::SeqCst),
                _ => {
                    let index = ready[self.random.below(ready.len())];
                    if self.callers[index].dumps { self.dump(index) } else { self.advance(index)? }
                }
            }
        }
        Err("no end".into())
    }

    fn drop_caller(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        if caller.at != At::Rest {
            return;
        }
        caller.alive = false;
        let next = if let Some(number) = caller.reservation {
            self.queue.cancel_reservation(number)
        } else if let Some(ticket) = caller.ticket {
            self.queue.leave(ticket)
        } else if caller.polled && !caller.dumps {
            self.queue.wait_no_more(&mut caller.outside);
            self.queue.next_waker()
        } else {
            None
        };
        next.into_iter().for_each(Waker::wake);
    }

    fn move_caller(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        if caller.at == At::Rest {
            caller.awake = Arc::new(Awake(AtomicBool::new(true)));
            caller.waker = Waker::from(Arc::clone(&caller.awake));
        }
    }

    fn dump(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        if caller.at == At::Rest {
            caller.awake.0.store(false, Ordering::SeqCst);
            if self.queue.reserve(&mut caller.reservation, &caller.waker) {
                (caller.reservation, caller.at) = (None, At::Alone);
            }
        } else {
            caller.ends();
            self.queue.free().into_iter().for_each(Waker::wake);
        }
    }

    fn enter(&mut self, index: usize) -> bool {
        let caller = &mut self.callers[index];
        if caller.ticket.is_none() {
            let request = Request::DeleteClass { device: 1, classid: Handle::new(1, 1 + caller.id) };
            caller.ticket = self.queue.enter(&request, Checks::ALL, None, &caller.waker);
            if caller.ticket.is_some() {
                self.queue.wait_no_more(&mut caller.outside);
            }
        }
        caller.ticket.is_some()
    }

    /// One step of `Turn::poll`.
    fn advance(&mut self, index: usize) -> Result<(), String> {
        let caller = &mut self.callers[index];
        match caller.at {
            At::Rest => {
                caller.awake.0.store(false, Ordering::SeqCst);
                caller.polled = true;
                let first = caller.ticket.is_none();
                if first && self.queue.occupy_alone(&caller.waker, caller.gathers) {
                    self.queue.wait_no_more(&mut caller.outside);
                    caller.at = At::Alone;
                } else {
                    let inside = self.enter(index);
                    self.callers[index].at = At::Entered { first, inside };
                }
            }
            At::Alone => {
                caller.ends();
                self.queue.free().into_iter().for_each(Waker::wake);
            }
            At::Entered { first, inside } => {
                caller.at = At::Rest;
                if let Some(ticket) = caller.ticket {
                    match self.queue.outcome(ticket, &caller.waker) {
                        Some(Ok(answer)) if answer.sequence != u32::from(caller.id) => {
                            return Err(format!("{} got the outcome of {}", caller.id, answer.sequence));
                        }
                        Some(Err(error)) if !(self.weather.closes && matches!(error, Error::Closed)) => {
                            return Err(error.to_string());
                        }
                        Some(_) => {
                            caller.ends();
                            return Ok(());
                        }
                        None => {}
                    }
                    if first && caller.gathers && self.queue.expects_more(self.limits) {
                        if self.queue.is_idle() {
                            caller.awake.0.store(true, Ordering::SeqCst);
                        }
                        return Ok(());
                    }
                }
                if self.queue.occupy() {
                    caller.at = At::Leads { first, rounds: 0 };
                } else if !inside {
                    self.queue.wait_for_room(&mut caller.outside, &caller.waker);
                }
            }
            At::Leads { first, rounds } => self.lead(index, first, rounds),
        }
        Ok(())
    }

    /// One step of `Shared::carry_out`.
    fn lead(&mut self, index: usize, first: bool, rounds: usize) {
        let own = self.callers[index].ticket;
        let rounds = rounds + usize::from(!self.sent.is_empty());
        for (ticket, id) in self.sent.drain(..) {
            let (sequence, evidence) = (id.into(), Evidence::Acknowledged);
            let outcome = Ok(Answer { sequence, warning: None, class: None, evidence, timing: None });
            self.to_wake.extend(self.queue.settle(ticket, outcome).filter(|_| own != Some(ticket)));
        }
        if rounds < (16 / self.limits.messages).max(1) {
            let (mut window, mut tickets) = (Packet::default(), Vec::new());
            self.queue.take(self.limits, &mut window, &mut tickets, &mut self.to_wake);
            let ids = window.subjects().iter().map(|subject| subject.handle.minor() - 1);
            self.sent = tickets.into_iter().zip(ids).collect();
            if !self.sent.is_empty() {
                self.callers[index].at = At::Leads { first, rounds };
                return;
            }
        }
        self.to_wake.drain(..).for_each(Waker::wake);
        self.queue.free().into_iter().for_each(Waker::wake);
        let inside = self.enter(index);
        self.callers[index].at = At::Entered { first, inside };
    }
}

fn hold(weather: Weather) {
    const SEEDS: u64 = 400;
    for capacity in [1, 2, 3, 100] {
        for messages in [1, 2, 256] {
            for seed in 1..=SEEDS {
                if let Err(error) = World::new(seed, capacity, messages, weather).run() {
                    panic!("{weather:?}, capacity {capacity}, messages {messages}, seed {seed}: {error}");
                }
            }
        }
    }
}

#[test]
fn nobody_is_forgotten_in_fair_weather() {
    hold(Weather::default());
    hold(Weather { dumps: true, ..Weather::default() });
}

#[test]
fn nobody_is_forgotten_when_others_give_up() {
    hold(Weather { cancels: true, ..Weather::default() });
    hold(Weather { cancels: true, dumps: true, ..Weather::default() });
}

#[test]
fn nobody_is_forgotten_when_futures_move_or_are_polled_for_no_reason() {
    hold(Weather { moves: true, dumps: true, ..Weather::default() });
    hold(Weather { spurious: true, ..Weather::default() });
}

#[test]
fn nobody_is_forgotten_when_the_client_is_closed() {
    hold(Weather { closes: true, cancels: true, dumps: true, ..Weather::default() });
}

#[test]
fn nobody_is_forgotten_when_all_of_it_happens() {
    hold(Weather { cancels: true, moves: true, spurious: true, dumps: true, closes: true });
}
