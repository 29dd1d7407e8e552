//! What waits for the wire, and who is woken next. Pure: no socket, no thread.
//!
//! Each request has a slot, which its caller knows by a ticket. The order of sending is that of coming in; whoever wants the
//! connection for itself (a dump) is let in before the next packet.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::checks::Checks;
use crate::connection::Answer;
use crate::error::Error;
use crate::packet::{Limits, Packet, Subject};
use crate::request::Request;

/// A slot, and which of its uses: a slot is used again as soon as it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: usize,
    turn: u64,
}

struct Slot {
    turn: u64,
    subject: Subject,
    message: Vec<u8>,
    deadline: Option<Instant>,
    /// When it was encoded, where its caller wants to know.
    encoded: Option<Instant>,
    state: State,
}

enum State {
    Free,
    Waiting(Waker),
    /// On the wire; `None`: the caller has gone.
    Sent(Option<Waker>),
    Done(Result<Answer, Error>),
}

pub(crate) struct Queue {
    capacity: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Waiting slots, first come first; those whose caller has left meanwhile are passed over.
    order: VecDeque<Ticket>,
    waiting: usize,
    /// Those whom the bound keeps out.
    outside: VecDeque<(u64, Waker)>,
    last_outside: u64,
    reservations: VecDeque<(u64, Waker)>,
    last_reservation: u64,
    /// Somebody uses the wire.
    busy: bool,
    closed: bool,
    /// By whom the last request came: what tells its waker from others. Not the waker, which could hold the caller's task.
    last_caller: Option<(usize, usize)>,
    /// Whether it is noted when requests come in.
    timed: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            waiting: 0,
            outside: VecDeque::new(),
            last_outside: 0,
            reservations: VecDeque::new(),
            last_reservation: 0,
            busy: false,
            closed: false,
            last_caller: None,
            timed: false,
        }
    }

    /// As [`Queue::new`], noting when each request comes in.
    pub(crate) fn timed(capacity: usize) -> Self {
        Self { timed: true, ..Self::new(capacity) }
    }

    /// Takes a request in. `None`: there is no room.
    pub(crate) fn enter(
        &mut self,
        request: &Request,
        checks: Checks,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> Option<Ticket> {
        if self.waiting >= self.capacity && !self.closed {
            return None;
        }
        let subject = Subject::of(request, checks);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                turn: 0,
                subject,
                message: Vec::new(),
                deadline: None,
                encoded: None,
                state: State::Free,
            });
            self.slots.len() - 1
        });
        let place = &mut self.slots[slot];
        place.turn += 1;
        let ticket = Ticket { slot, turn: place.turn };
        (place.subject, place.deadline) = (subject, deadline);
        if self.closed {
            place.state = State::Done(Err(Error::Closed));
        } else {
            place.message.clear();
            request.encode_onto(0, 0, checks, &mut place.message);
            place.encoded = self.timed.then(Instant::now);
            place.state = State::Waiting(waker.clone());
            self.order.push_back(ticket);
            self.waiting += 1;
        }
        Some(ticket)
    }

    /// Takes the wire for a caller that is alone: nobody waits, and (`by_caller`) the request before this one was the same
    /// caller's, so that nobody is about to join.
    pub(crate) fn occupy_alone(&mut self, waker: &Waker, by_caller: bool) -> bool {
        if by_caller {
            let caller = (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr());
            if self.last_caller.replace(caller).is_some_and(|last| last != caller) {
                return false;
            }
        }
        self.waiting == 0 && !self.closed && self.occupy()
    }

    /// Whether others may join before a packet is full.
    pub(crate) fn expects_more(&self, limits: Limits) -> bool {
        self.waiting < limits.messages
    }

    /// Whether nobody is at work, who would wake the next.
    pub(crate) fn is_idle(&self) -> bool {
        !self.busy
    }

    /// The outcome of a request, once. Where there is none yet, `waker` is woken for it.
    pub(crate) fn outcome(&mut self, ticket: Ticket, waker: &Waker) -> Option<Result<Answer, Error>> {
        let slot = self.slot(ticket)?;
        match &mut slot.state {
            State::Waiting(held) | State::Sent(Some(held)) => {
                held.clone_from(waker);
                None
            }
            State::Done(_) => {
                let State::Done(outcome) = std::mem::replace(&mut slot.state, State::Free) else {
                    return None;
                };
                self.free.push(ticket.slot);
                Some(outcome)
            }
            State::Sent(None) | State::Free => None,
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        self.slots.get_mut(ticket.slot).filter(|slot| slot.turn == ticket.turn)
    }

    /// Takes the wire, if it is free and nobody has reserved it.
    pub(crate) fn occupy(&mut self) -> bool {
        if self.busy || !self.reservations.is_empty() {
            return false;
        }
        self.busy = true;
        true
    }

    /// Has the caller woken when there is room. `held` is its place among those outside, until [`Self::wait_no_more`].
    pub(crate) fn wait_for_room(&mut self, held: &mut Option<u64>, waker: &Waker) {
        if self.closed {
            // There is room for its refusal.
            waker.wake_by_ref();
        } else if let Some((_, old)) = self.outside.iter_mut().find(|(number, _)| Some(*number) == *held) {
            old.clone_from(waker);
        } else {
            self.last_outside += 1;
            *held = Some(self.last_outside);
            self.outside.push_back((self.last_outside, waker.clone()));
        }
    }

    /// The caller is in, or has gone: it must not take a wake-up from those who still wait.
    pub(crate) fn wait_no_more(&mut self, held: &mut Option<u64>) {
        if let Some(number) = held.take() {
            self.outside.retain(|(other, _)| *other != number);
        }
    }

    /// Moves what waits into `window`, as much as fits. Adds to `wakers` those of whom the deadline has passed, and those who may
    /// come in now.
    pub(crate) fn take(
        &mut self,
        limits: Limits,
        window: &mut Packet,
        tickets: &mut Vec<Ticket>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut now = None;
        while let Some(&ticket) = self.order.front() {
            let Some(slot) = self.slots.get_mut(ticket.slot).filter(|slot| slot.turn == ticket.turn) else {
                self.order.pop_front();
                continue;
            };
            let State::Waiting(waker) = &mut slot.state else {
                self.order.pop_front();
                continue;
            };
            if !window.has_room(limits, slot.message.len()) {
                break;
            }
            self.order.pop_front();
            self.waiting -= 1;
            let waker = std::mem::replace(waker, Waker::noop().clone());
            if slot.deadline.is_some_and(|deadline| deadline <= *now.get_or_insert_with(Instant::now)) {
                slot.state = State::Done(Err(slot.subject.expired()));
                wakers.push(waker);
                continue;
            }
            window.push_message(slot.subject, &slot.message);
            slot.message.clear();
            slot.state = State::Sent(Some(waker));
            tickets.push(ticket);
        }
        let room = self.capacity.saturating_sub(self.waiting).min(self.outside.len());
        wakers.extend(self.outside.drain(..room).map(|(_, waker)| waker));
    }

    /// Keeps the outcome of a request that was sent. Gives whom to tell.
    pub(crate) fn settle(&mut self, ticket: Ticket, mut outcome: Result<Answer, Error>) -> Option<Waker> {
        let slot = self.slot(ticket)?;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Sent(Some(waker)) => {
                if let (Some(encoded), Ok(Answer { timing: Some(timing), .. })) = (slot.encoded, &mut outcome)
                {
                    timing.encoded = encoded;
                }
                slot.state = State::Done(outcome);
                Some(waker)
            }
            State::Sent(None) => {
                self.free.push(ticket.slot);
                None
            }
            other => {
                slot.state = other;
                None
            }
        }
    }

    /// Settles everything that is on the wire.
    pub(crate) fn settle_sent(&mut self, outcome: impl Fn(&Subject) -> Error) -> Vec<Waker> {
        let sent: Vec<_> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| matches!(slot.state, State::Sent(_)))
            .map(|(index, slot)| (Ticket { slot: index, turn: slot.turn }, outcome(&slot.subject)))
            .collect();
        sent.into_iter().filter_map(|(ticket, error)| self.settle(ticket, Err(error))).collect()
    }

    /// The wire is free. Gives whom to wake.
    pub(crate) fn free(&mut self) -> Option<Waker> {
        self.busy = false;
        self.next_waker()
    }

    /// Who is to take the wire next, if it is free: who has reserved it, else the first that waits.
    pub(crate) fn next_waker(&mut self) -> Option<Waker> {
        if self.busy {
            return None;
        }
        if let Some((_, waker)) = self.reservations.front() {
            return Some(waker.clone());
        }
        while let Some(&ticket) = self.order.front() {
            match self.slot(ticket).map(|slot| &slot.state) {
                Some(State::Waiting(waker)) => return Some(waker.clone()),
                _ => {
                    self.order.pop_front();
                }
            }
        }
        self.outside.pop_front().map(|(_, waker)| waker)
    }

    /// The caller goes. What it asked for is not sent any more, or its outcome is nobody's.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let slot = self.slot(ticket)?;
        match &mut slot.state {
            State::Sent(waker) => {
                *waker = None;
                return None;
            }
            State::Waiting(_) => {
                slot.state = State::Free;
                slot.turn += 1;
                slot.message.clear();
                self.waiting -= 1;
                self.free.push(ticket.slot);
            }
            State::Done(_) => {
                slot.state = State::Free;
                self.free.push(ticket.slot);
            }
            State::Free => return None,
        }
        // It may have been the one whose turn it was.
        self.next_waker()
    }

    /// Whether the wire is this caller's now, which then has [`Self::busy`] set; else it is woken.
    pub(crate) fn reserve(&mut self, held: &mut Option<u64>, waker: &Waker) -> bool {
        let number = *held.get_or_insert_with(|| {
            self.last_reservation += 1;
            self.reservations.push_back((self.last_reservation, waker.clone()));
            self.last_reservation
        });
        let first = self.reservations.front().is_some_and(|(front, _)| *front == number);
        if first && !self.busy {
            self.reservations.pop_front();
            self.busy = true;
            return true;
        }
        if let Some((_, held)) = self.reservations.iter_mut().find(|(other, _)| *other == number) {
            held.clone_from(waker);
        }
        false
    }

    pub(crate) fn cancel_reservation(&mut self, number: u64) -> Option<Waker> {
        self.reservations.retain(|(other, _)| *other != number);
        self.next_waker()
    }

    /// Refuses from now on, and ends what waits. Gives whom to tell.
    pub(crate) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        let mut wakers: Vec<Waker> = self.outside.drain(..).map(|(_, waker)| waker).collect();
        for ticket in std::mem::take(&mut self.order) {
            let Some(slot) = self.slot(ticket) else { continue };
            if matches!(slot.state, State::Waiting(_)) {
                let state = std::mem::replace(&mut slot.state, State::Done(Err(Error::Closed)));
                if let State::Waiting(waker) = state {
                    wakers.push(waker);
                }
                self.waiting -= 1;
            }
        }
        wakers
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::connection::Evidence;
    use crate::error::{Inquiry, Loss};
    use crate::handle::Handle;

    const LIMITS: Limits = Limits { messages: 3, bytes: 10_000 };

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker, and how often it was woken.
    fn waker() -> (Waker, Arc<Count>) {
        let count = Arc::new(Count(AtomicU32::new(0)));
        (Waker::from(Arc::clone(&count)), count)
    }

    fn delete(minor: u16) -> Request {
        Request::DeleteClass { device: 1, classid: Handle::new(1, minor) }
    }

    fn enter(queue: &mut Queue, minor: u16, waker: &Waker) -> Ticket {
        queue.enter(&delete(minor), Checks::ALL, None, waker).unwrap()
    }

    fn done() -> Answer {
        Answer { sequence: 1, warning: None, class: None, evidence: Evidence::Acknowledged, timing: None }
    }

    /// Takes a packet and gives the minors in it.
    fn take(queue: &mut Queue, tickets: &mut Vec<Ticket>) -> (Vec<u16>, Vec<Waker>) {
        let mut window = Packet::default();
        tickets.clear();
        let mut wakers = Vec::new();
        queue.take(LIMITS, &mut window, tickets, &mut wakers);
        (window.subjects().iter().map(|subject| subject.handle.minor()).collect(), wakers)
    }

    #[test]
    fn who_comes_first_is_sent_first_and_who_left_is_not_sent() {
        let (waker, _) = waker();
        let mut queue = Queue::new(100);
        let entered: Vec<Ticket> = (1..=6).map(|minor| enter(&mut queue, minor, &waker)).collect();
        queue.leave(entered[1]);
        let mut tickets = Vec::new();
        assert!(queue.occupy() && !queue.occupy());
        assert_eq!(take(&mut queue, &mut tickets).0, [1, 3, 4]);
        // Who leaves now is sent all the same, and nobody is told.
        queue.leave(entered[2]);
        let told: Vec<bool> =
            tickets.iter().map(|ticket| queue.settle(*ticket, Ok(done())).is_some()).collect();
        assert_eq!(told, [true, false, true]);
        assert!(queue.outcome(entered[0], &waker).is_some_and(|outcome| outcome.is_ok()));
        assert!(queue.outcome(entered[0], &waker).is_none(), "once");
        assert!(queue.free().is_some());
        assert_eq!(take(&mut queue, &mut tickets).0, [5, 6]);
    }

    /// A slot is used again; the ticket of its last use opens nothing.
    #[test]
    fn an_old_ticket_is_worth_nothing() {
        let (waker, _) = waker();
        let mut queue = Queue::new(100);
        let old = enter(&mut queue, 1, &waker);
        queue.leave(old);
        let new = enter(&mut queue, 2, &waker);
        assert_eq!(old.slot, new.slot);
        assert!(queue.settle(old, Ok(done())).is_none() && queue.leave(old).is_none());
        let mut tickets = Vec::new();
        assert_eq!(take(&mut queue, &mut tickets).0, [2]);
    }

    #[test]
    fn a_full_queue_lets_in_as_many_as_leave() {
        let (inside, _) = waker();
        let (outside, woken) = waker();
        let mut queue = Queue::new(3);
        for minor in 1..=3 {
            enter(&mut queue, minor, &inside);
        }
        assert!(queue.enter(&delete(4), Checks::ALL, None, &outside).is_none());
        let mut held = None;
        queue.wait_for_room(&mut held, &outside);
        queue.wait_for_room(&mut held, &outside);
        let (sent, wakers) = take(&mut queue, &mut Vec::new());
        assert_eq!(sent, [1, 2, 3]);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(queue.enter(&delete(4), Checks::ALL, None, &outside).is_some());
    }

    #[test]
    fn who_reserved_the_wire_comes_before_the_next_packet() {
        let (waker, _) = waker();
        let (dumper, woken) = self::waker();
        let mut queue = Queue::new(100);
        assert!(queue.occupy());
        enter(&mut queue, 1, &waker);
        let mut reservation = None;
        assert!(!queue.reserve(&mut reservation, &dumper));
        queue.free().unwrap().wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(!queue.occupy(), "it is reserved");
        assert!(queue.reserve(&mut reservation, &dumper));
        assert!(!queue.occupy(), "it is busy");
        assert!(queue.free().unwrap().will_wake(&waker));
        // One that gives up does not stop the others.
        let mut given_up = None;
        assert!(queue.occupy());
        assert!(!queue.reserve(&mut given_up, &dumper));
        assert!(queue.cancel_reservation(given_up.unwrap()).is_none(), "still busy");
        assert!(queue.free().unwrap().will_wake(&waker));
        assert!(queue.occupy());
    }

    #[test]
    fn who_is_alone_passes_and_who_is_not_waits_for_the_others() {
        let (one, _) = waker();
        let (other, _) = waker();
        let mut queue = Queue::new(100);
        for _ in 0..2 {
            assert!(queue.occupy_alone(&one, true));
            queue.free();
        }
        assert!(!queue.occupy_alone(&other, true), "somebody else was here just now");
        enter(&mut queue, 1, &other);
        assert!(queue.is_idle() && queue.expects_more(LIMITS));
        assert!(!queue.occupy_alone(&other, true), "somebody waits");
        enter(&mut queue, 2, &one);
        enter(&mut queue, 3, &one);
        assert!(!queue.expects_more(LIMITS), "the packet is full");
    }

    #[test]
    fn what_is_late_or_closed_is_answered_without_being_sent() {
        let (waker, _) = waker();
        let mut queue = Queue::new(100);
        let past = Instant::now().checked_sub(Duration::from_secs(1));
        let late = queue.enter(&delete(1), Checks::ALL, past, &waker).unwrap();
        let good = enter(&mut queue, 2, &waker);
        let mut tickets = Vec::new();
        assert_eq!(take(&mut queue, &mut tickets).0, [2]);
        assert!(matches!(queue.outcome(late, &waker), Some(Err(Error::Expired { .. }))));
        let waiting = enter(&mut queue, 3, &waker);
        assert_eq!(queue.close().len(), 1);
        assert!(matches!(queue.outcome(waiting, &waker), Some(Err(Error::Closed))));
        let refused = enter(&mut queue, 4, &waker);
        assert!(matches!(queue.outcome(refused, &waker), Some(Err(Error::Closed))));
        // What is on the wire ends as it ends; here by a panic.
        queue.settle_sent(|subject| subject.lost(0, Loss::Panicked, Inquiry::Failed));
        assert!(matches!(
            queue.outcome(good, &waker),
            Some(Err(Error::AnswerLost { loss: Loss::Panicked, .. }))
        ));
    }
}
