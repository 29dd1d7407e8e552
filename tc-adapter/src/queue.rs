//! What waits for the wire, and who is woken next. Pure: no socket, no thread.
//!
//! Each request has a slot, which its caller knows by a ticket. The order of sending is that of coming in; whoever wants the
//! connection for itself (a dump) is let in before the next packet.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::connection::Answer;
use crate::error::Error;
use crate::packet::{Limits, Packet, Subject};

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
    state: State,
}

enum State {
    Free,
    Waiting(Waker),
    /// On the wire; `None`: the caller has gone.
    Sent(Option<Waker>),
    Done(Result<Answer, Error>),
}

/// Buffers that are kept for messages to come.
const SPARE_BUFFERS: usize = 256;

pub(crate) struct Queue {
    capacity: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Waiting slots, first come first; those whose caller has left meanwhile are passed over.
    order: VecDeque<Ticket>,
    waiting: usize,
    /// Those whom the bound keeps out.
    outside: VecDeque<Waker>,
    reservations: VecDeque<(u64, Waker)>,
    last_reservation: u64,
    /// Somebody uses the wire.
    busy: bool,
    closed: bool,
    /// By whom the last request came.
    last_caller: Option<Waker>,
    spare: Vec<Vec<u8>>,
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
            reservations: VecDeque::new(),
            last_reservation: 0,
            busy: false,
            closed: false,
            last_caller: None,
            spare: Vec::new(),
        }
    }

    /// An empty buffer for a message.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Takes a request in and its message along. `None`: there is no room.
    pub(crate) fn enter(
        &mut self,
        subject: Subject,
        message: &mut Vec<u8>,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> Option<Ticket> {
        if self.waiting >= self.capacity && !self.closed {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                turn: 0,
                subject,
                message: Vec::new(),
                deadline: None,
                state: State::Free,
            });
            self.slots.len() - 1
        });
        let place = &mut self.slots[slot];
        place.turn += 1;
        let ticket = Ticket { slot, turn: place.turn };
        (place.subject, place.deadline) = (subject, deadline);
        std::mem::swap(&mut place.message, message);
        if self.closed {
            place.state = State::Done(Err(Error::Closed));
        } else {
            place.state = State::Waiting(waker.clone());
            self.order.push_back(ticket);
            self.waiting += 1;
        }
        let buffer = std::mem::take(message);
        self.recycle(buffer);
        Some(ticket)
    }

    /// Whether others may be about to join: the request before this one came from somebody else, and what waits does not fill
    /// a packet yet.
    pub(crate) fn expects_more(&mut self, limits: Limits, waker: &Waker) -> bool {
        let same = self.last_caller.as_ref().map(|last| last.will_wake(waker));
        if same != Some(true) {
            self.last_caller = Some(waker.clone());
        }
        (same == Some(false) || self.waiting > 1) && self.waiting < limits.messages
    }

    /// Whether this is the request that is sent next, and nobody is at work who would see to it.
    pub(crate) fn is_next(&self, ticket: Ticket) -> bool {
        !self.busy && self.order.front() == Some(&ticket)
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

    pub(crate) fn wait_for_room(&mut self, waker: &Waker) {
        if !self.outside.iter().any(|held| held.will_wake(waker)) {
            self.outside.push_back(waker.clone());
        }
    }

    /// Moves what waits into `window`, as much as fits. Gives the wakers of those whose deadline has passed, and of those who
    /// may come in now.
    pub(crate) fn take(
        &mut self,
        limits: Limits,
        window: &mut Packet,
        tickets: &mut Vec<Ticket>,
    ) -> Vec<Waker> {
        let mut wakers = Vec::new();
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
                let Subject { operation, device, handle, .. } = slot.subject;
                slot.state = State::Done(Err(Error::Expired { operation, device, handle }));
                wakers.push(waker);
                continue;
            }
            window.push_message(slot.subject, &slot.message);
            slot.message.clear();
            slot.state = State::Sent(Some(waker));
            tickets.push(ticket);
        }
        let room = self.capacity.saturating_sub(self.waiting).min(self.outside.len());
        wakers.extend(self.outside.drain(..room));
        wakers
    }

    /// Keeps the outcome of a request that was sent. Gives whom to tell.
    pub(crate) fn settle(&mut self, ticket: Ticket, outcome: Result<Answer, Error>) -> Option<Waker> {
        let slot = self.slot(ticket)?;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Sent(Some(waker)) => {
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
        self.outside.pop_front()
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
        let mut wakers: Vec<Waker> = self.outside.drain(..).collect();
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
