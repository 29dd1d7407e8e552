//! The blocking core: one socket, one packet of requests at a time.

mod guard;
mod inquiry;
mod lists;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::checks::Checks;
use crate::entry::ClassEntry;
use crate::error::{Error, Loss};
use crate::exchange::{Heard, collect};
use crate::handle::Handle;
use crate::message::MessageType;
use crate::order::parents_first;
use crate::packet::{Limits, Packet, Subject};
use crate::parents::Parents;
use crate::reply::{Event, Malformed, Span, Verdict, is_plain_acknowledgement};
use crate::request::Request;
use crate::socket::{DATAGRAM, PACKET_BYTES, Received, Socket, SocketOptions};
use crate::timing::{Stamps, Timing};

/// A connection to the traffic control of one network namespace, for one thread at a time.
///
/// [`Client`](crate::Client) shares one among tasks and threads.
pub struct Connection {
    socket: Socket,
    options: SocketOptions,
    limits: Limits,
    last_sequence: Arc<AtomicU32>,
    packet: Packet,
    heard: Vec<Told>,
    incoming: Vec<u8>,
    stamps: Stamps,
    #[cfg(feature = "fault-injection")]
    delay: Option<std::time::Duration>,
}

/// What the kernel said to a request that it carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sequence number under which the request was sent; with the port id it names the request in kernel traces.
    pub sequence: u32,
    /// The kernel carried the request out, but has a remark (ext-ack text with error 0), such as
    /// "quantum of class 10001 is big. Consider r2q change." (since Linux 6.4; before, HTB wrote it to the kernel's log).
    ///
    /// Remarks come with acknowledgements. Of requests that were sent together only the last, those about qdiscs, and
    /// those whose quantum HTB would clamp with the usual r2q of 10 are acknowledged.
    pub warning: Option<String>,
    /// The class: the one asked for by [`Request::GetClass`]; also where the kernel was made to echo it for a check of its
    /// parent, then as it is after the request.
    pub class: Option<Box<ClassEntry>>,
    /// How it is known that the request was carried out.
    pub evidence: Evidence,
    /// When the request was where; `None` unless [`SocketOptions::timed`] asks for it, and where the answer was lost.
    pub timing: Option<Box<Timing>>,
}

/// How it is known that a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// The kernel acknowledged it, or a later request of the same packet without having reported a failure of this one.
    Acknowledged,
    /// Its answer was lost, and the kernel, asked afterwards, shows what the request was to bring about. Whether it was this
    /// request that did so, or it had been so before (an add would have been refused), nobody knows.
    State,
}

/// What to do when a request of a batch fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Carry out the others, as `tc -force -batch` does. As many go into one system call as fit.
    Continue,
    /// Send nothing more, as `tc -batch` does; those that would have been sent after it are [`Error::NotReached`]. The kernel knows
    /// no such mode and carries out the rest of a packet whatever happens, so each request is sent alone.
    Stop,
}

/// What was heard of one request of a packet.
#[derive(Debug, Default)]
struct Told {
    verdict: Option<Verdict>,
    class: Option<Box<ClassEntry>>,
    malformed: Option<Malformed>,
}

const RTM_NEWTCLASS: u16 = MessageType::NewClass.value();

impl Answer {
    fn acknowledged(sequence: u32, timing: Option<Box<Timing>>) -> Self {
        Self { sequence, warning: None, class: None, evidence: Evidence::Acknowledged, timing }
    }
}

impl Connection {
    /// Opens a socket in the calling thread's network namespace, in which it stays. Needs no privilege to list, and
    /// `CAP_NET_ADMIN` over the namespace to change.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_with(SocketOptions::default())
    }

    /// As [`Connection::connect`], with other buffers or another deadline.
    pub fn connect_with(options: SocketOptions) -> Result<Self, Error> {
        let socket = Socket::open(options)?;
        let limits = Limits { messages: socket.messages_per_packet(options)?, bytes: PACKET_BYTES };
        Ok(Self {
            socket,
            options,
            limits,
            last_sequence: Arc::default(),
            packet: Packet::default(),
            heard: Vec::new(),
            incoming: Vec::with_capacity(DATAGRAM),
            stamps: Stamps::new(options.timed),
            #[cfg(feature = "fault-injection")]
            delay: crate::fault::delay()?,
        })
    }

    /// The socket's port id (`nlmsg_pid`), unique in the network namespace while the connection lives.
    pub fn port_id(&self) -> u32 {
        self.socket.port()
    }

    /// The sequence number of the newest request sent, 0 before the first. The next has one more; after 2^32 - 1 comes 1.
    pub fn last_sequence(&self) -> u32 {
        self.last_sequence.load(Ordering::Acquire)
    }

    pub(crate) fn shared_sequence(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.last_sequence)
    }

    pub(crate) fn options(&self) -> SocketOptions {
        self.options
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Which accidents are looked out for where a call does not say it: those of [`SocketOptions::checks`] or of
    /// [`Connection::set_checks`].
    pub fn checks(&self) -> Checks {
        self.options.checks
    }

    /// Sets what [`Connection::checks`] gives, from the next call on.
    pub fn set_checks(&mut self, checks: Checks) {
        self.options.checks = checks;
    }

    /// Sends the request and waits for the kernel to have carried it out.
    ///
    /// [`Error`] says when nothing was sent (such as [`Error::Invalid`], [`Error::MissingParent`]), when nothing was changed
    /// ([`Error::Kernel`]), and when that is unknown ([`Error::AnswerLost`]).
    pub fn request(&mut self, request: &Request) -> Result<Answer, Error> {
        self.request_with(request, self.options.checks)
    }

    /// As [`Connection::request`], looking out for these accidents only: what is left out is allowed by name.
    pub fn request_with(&mut self, request: &Request, checks: Checks) -> Result<Answer, Error> {
        request.validate_with(checks)?;
        self.request_valid(request, checks)
    }

    /// As [`Connection::request_with`], for one that has been validated.
    pub(crate) fn request_valid(&mut self, request: &Request, checks: Checks) -> Result<Answer, Error> {
        let subject = Subject::of(request, checks);
        if subject.asks_first() {
            self.ask_first(&subject, request)?;
        }
        self.packet.only(subject, |buffer| request.encode_onto(0, 0, checks, buffer));
        self.stamps.encoded();
        self.transmit_one()
    }

    /// Sends many requests, as many in one `sendmsg(2)` as fit, and gives each its own outcome, in their order.
    ///
    /// The kernel carries them out in their order, except that a hierarchy is built parents first, whatever the order of its
    /// requests: what adds a class or a qdisc is sent before those of the batch that hang something on it, which are sent when it
    /// has been acknowledged. So a batch may be a whole tree in any order. Nothing is moved past a request that takes something
    /// away (deletes, or changes or replaces a qdisc) on the same device, nor past one for the same class, and only where a parent
    /// would come too late: otherwise, all stay as they are. A parent that never comes, or is its own descendant, ends in
    /// [`Error::MissingParent`].
    ///
    /// ```no_run
    /// # fn run(device: u32) -> Result<(), Box<dyn std::error::Error>> {
    /// use tc_adapter::{Connection, Handle, HtbClass, OnError, Request};
    /// let class = HtbClass::new("5mbit".parse()?);
    /// let requests: Vec<Request> = (1..=1000)
    ///     .map(|minor| Request::AddClass {
    ///         device,
    ///         parent: Handle::qdisc(1),
    ///         classid: Handle::new(1, minor),
    ///         class: class.clone(),
    ///     })
    ///     .collect();
    /// let failed = Connection::connect()?.batch(&requests, OnError::Continue).iter().filter(|outcome| outcome.is_err()).count();
    /// # Ok(()) }
    /// ```
    pub fn batch(&mut self, requests: &[Request], on_error: OnError) -> Vec<Result<Answer, Error>> {
        self.batch_with(requests, on_error, self.options.checks)
    }

    /// As [`Connection::batch`], looking out for these accidents only.
    pub fn batch_with(
        &mut self,
        requests: &[Request],
        on_error: OnError,
        checks: Checks,
    ) -> Vec<Result<Answer, Error>> {
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(Error::NotReached)).collect();
        let order = parents_first(requests).unwrap_or_else(|| (0..requests.len()).collect());
        if on_error == OnError::Stop {
            for index in order {
                outcomes[index] = self.request_with(&requests[index], checks);
                if outcomes[index].is_err() {
                    break;
                }
            }
            return outcomes;
        }
        let mut parents = Parents::default();
        let mut window = Packet::default();
        let mut rest = order.into_iter().peekable();
        // Whose outcomes those of the window are.
        let mut places = Vec::new();
        while rest.peek().is_some() {
            window.clear();
            places.clear();
            while let Some(index) =
                rest.next_if(|&index| window.has_room(self.limits, requests[index].largest()))
            {
                let request = &requests[index];
                match request.validate_with(checks) {
                    Ok(()) => {
                        places.push(index);
                        window.push(request, checks);
                    }
                    Err(invalid) => outcomes[index] = Err(invalid.into()),
                }
            }
            self.carry_out(&mut window, &mut parents, |index, outcome| outcomes[places[index]] = outcome);
        }
        outcomes
    }

    fn transmit_one(&mut self) -> Result<Answer, Error> {
        let mut only = Err(Error::NotReached);
        self.transmit(|_, outcome| only = outcome);
        // It is not that of the next packet.
        self.stamps.forget_encoded();
        only
    }

    /// Sends the packet and tells each message's outcome. Where answers were lost, the kernel is asked.
    fn transmit(&mut self, mut outcome: impl FnMut(usize, Result<Answer, Error>)) {
        if self.packet.is_empty() {
            return;
        }
        let first = match self.dispatch() {
            Ok(first) => first,
            Err(error) => {
                let errno = error.errno().unwrap_or_default();
                for index in 0..self.packet.len() {
                    let source = io::Error::from_raw_os_error(errno);
                    outcome(index, Err(Error::Socket { operation: "sendto", source }));
                }
                return;
            }
        };
        let received = self.socket.receive(&mut self.incoming, false);
        self.stamps.answered();
        if self.says_that_all_is_done(first, &received) {
            for index in 0..self.packet.len() {
                outcome(index, Ok(Answer::acknowledged(sequence_at(first, index), self.stamps.timing())));
            }
            return;
        }
        let heard = self.listen(first, received);
        self.stamps.answered();
        let mut silent = Vec::new();
        for (index, told) in self.heard.iter_mut().enumerate() {
            let subject = &self.packet.subjects()[index];
            let sequence = sequence_at(first, index);
            match conclude(subject, sequence, std::mem::take(told), &heard) {
                Some(result) => {
                    outcome(index, result.map(|answer| Answer { timing: self.stamps.timing(), ..answer }));
                }
                None => silent.push(index),
            }
        }
        if silent.is_empty() {
            return;
        }
        let loss = heard.loss.unwrap_or(Loss::Deadline(self.options.deadline));
        let packet = std::mem::take(&mut self.packet);
        for index in silent {
            let subject = packet.subjects()[index];
            let sequence = sequence_at(first, index);
            let result = self.inquire(&subject, sequence, loss, packet.message(index));
            outcome(index, result);
        }
        self.packet = packet;
    }

    /// Numbers the packet's messages and sends them. Gives the first number.
    fn dispatch(&mut self) -> Result<u32, Error> {
        let first = self.take_sequences(self.packet.len());
        self.packet.seal(first, self.port_id());
        self.stamps.sent();
        self.socket.send(self.packet.bytes())?;
        self.stamps.returned();
        #[cfg(feature = "fault-injection")]
        crate::fault::spin(self.delay);
        Ok(first)
    }

    /// Whether the first datagram is the last message's acknowledgement, without a remark: then nothing was said of any other
    /// message, because there was nothing to say. So it is nearly always.
    fn says_that_all_is_done(&self, first: u32, received: &Result<Received, Error>) -> bool {
        let last = sequence_at(first, self.packet.len().saturating_sub(1));
        matches!(received, Ok(Received::Datagram))
            && !self.packet.wants_objects()
            && is_plain_acknowledgement(&self.incoming, self.socket.port(), last)
    }

    /// Reads the answers to the packet that was sent, of which `received` is the first datagram.
    fn listen(&mut self, first: u32, received: Result<Received, Error>) -> Heard {
        self.heard.clear();
        self.heard.resize_with(self.packet.len(), Told::default);
        let count = u32::try_from(self.packet.len()).unwrap_or(u32::MAX);
        let span = Span { port: self.socket.port(), first, count };
        let Self { socket, heard, incoming, options, .. } = self;
        let mut received = Some(received);
        let receive = |buffer: &mut Vec<u8>, at_once| {
            received.take().unwrap_or_else(|| socket.receive(buffer, at_once))
        };
        collect(span, options.deadline, incoming, receive, |index, flagged| {
            let told = &mut heard[index];
            match flagged.event {
                Event::End(verdict) => told.verdict = Some(verdict),
                Event::Object { message_type: RTM_NEWTCLASS, payload } => match ClassEntry::decode(payload) {
                    Ok(class) => told.class = Some(Box::new(class)),
                    Err(malformed) => {
                        told.malformed = Some(malformed);
                        return Err(malformed);
                    }
                },
                Event::Object { .. } => {}
            }
            Ok(())
        })
    }

    /// Takes the next `count` sequence numbers and gives the first; 0 is left out, it marks messages that answer nobody.
    fn take_sequences(&mut self, count: usize) -> u32 {
        let (first, last) = next_sequences(self.last_sequence(), u32::try_from(count).unwrap_or(u32::MAX));
        self.last_sequence.store(last, Ordering::Release);
        first
    }
}

/// The first and the last of the `count` sequence numbers after `last`. They do not wrap within a packet.
fn next_sequences(last: u32, count: u32) -> (u32, u32) {
    match last.checked_add(count) {
        Some(end) => (last + 1, end),
        None => (1, count),
    }
}

fn sequence_at(first: u32, index: usize) -> u32 {
    first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX))
}

/// The outcome of a message, from what was heard of it and of the packet; `None`: it cannot be known from that.
fn conclude(subject: &Subject, sequence: u32, told: Told, heard: &Heard) -> Option<Result<Answer, Error>> {
    let Told { verdict, class, malformed } = told;
    let (acknowledged, warning) = match verdict {
        Some(verdict) if verdict.errno != 0 => return Some(Err(subject.refused(verdict))),
        Some(verdict) => (true, verdict.text),
        None => (false, None),
    };
    if let Some(malformed) = malformed {
        return Some(Err(malformed.into()));
    }
    // Without a loss, silence until the packet's last verdict is consent.
    let consent = heard.to_the_end && heard.loss.is_none();
    if !(acknowledged || consent) {
        return None;
    }
    if subject.wants_class {
        match &class {
            None if heard.loss.is_some() => return None,
            None => {
                return Some(
                    Err(Malformed("an acknowledgement without the class that was asked for").into()),
                );
            }
            Some(class) if !subject.may_be_under(class.parent) => {
                return Some(Err(Error::ParentNotApplied {
                    device: subject.device,
                    classid: subject.handle,
                    asked: subject.parent,
                    actual: class.parent,
                }));
            }
            Some(_) => {}
        }
    }
    Some(Ok(Answer { sequence, warning, class, evidence: Evidence::Acknowledged, timing: None }))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("port_id", &self.port_id())
            .field("last_sequence", &self.last_sequence())
            .finish_non_exhaustive()
    }
}

/// The kernel reports a class directly under its qdisc as a child of `root`.
pub(crate) fn is_under(actual: Handle, asked: Handle) -> bool {
    actual == asked || (actual == Handle::ROOT && asked.minor() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Check;
    use crate::htb::HtbClass;

    fn subject() -> Subject {
        let class = HtbClass::new("8mbit".parse().unwrap());
        let (device, parent, classid) = (1, Handle::qdisc(1), Handle::new(1, 1));
        Subject::of(&Request::AddClass { device, parent, classid, class }, Checks::ALL)
    }

    #[test]
    fn where_a_class_may_be() {
        let (parent, elsewhere) = (Handle::new(1, 1), Handle::new(1, 2));
        let (device, classid, class) = (1, Handle::new(1, 3), HtbClass::new("8mbit".parse().unwrap()));
        let request = Request::ReplaceClass { device, parent, classid, class };
        for (checks, at_root, under_another) in [
            (Checks::ALL, false, false),
            // It may have become a root class, but not have been another one's child.
            (Checks::ALL.without(Check::MissingParent), true, false),
            (Checks::ALL.without(Check::Reparenting), true, true),
        ] {
            let subject = Subject::of(&request, checks);
            let allowed = [parent, Handle::ROOT, elsewhere].map(|actual| subject.may_be_under(actual));
            assert_eq!(allowed, [true, at_root, under_another], "{checks:?}");
        }
    }

    #[test]
    fn sequence_numbers_do_not_wrap_within_a_packet() {
        assert_eq!(next_sequences(0, 3), (1, 3));
        assert_eq!(next_sequences(u32::MAX - 3, 3), (u32::MAX - 2, u32::MAX));
        assert_eq!(next_sequences(u32::MAX - 2, 3), (1, 3));
        assert_eq!(next_sequences(u32::MAX, 1), (1, 1));
    }

    #[test]
    fn silence_is_consent_only_where_nothing_was_lost() {
        let whole = Heard { to_the_end: true, loss: None };
        let answer = conclude(&subject(), 7, Told::default(), &whole).unwrap().unwrap();
        assert_eq!((answer.sequence, answer.evidence), (7, Evidence::Acknowledged));
        for heard in [
            Heard { to_the_end: true, loss: Some(Loss::Overrun) },
            Heard { to_the_end: false, loss: Some(Loss::Overrun) },
        ] {
            assert!(conclude(&subject(), 7, Told::default(), &heard).is_none(), "{heard:?}");
            let verdict = |errno| Told { verdict: Some(Verdict { errno, text: None }), ..Told::default() };
            assert!(conclude(&subject(), 7, verdict(0), &heard).unwrap().is_ok());
            let refused = conclude(&subject(), 7, verdict(libc::EEXIST), &heard).unwrap();
            assert_eq!(refused.unwrap_err().errno(), Some(libc::EEXIST));
        }
    }
}
