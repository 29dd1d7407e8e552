//! Requests packed for one `sendmsg(2)`, and what must be known of each after it was sent. Pure.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};

use crate::checks::{Check, Checks};
use crate::connection::is_under;
use crate::error::{Error, Inquiry, Loss};
use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::message::{MessageType, NETLINK_HEADER};
use crate::reply::Verdict;
use crate::request::Request;

/// What a request about a qdisc or a class does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Add,
    Change,
    Replace,
    /// Anything else.
    Other,
}

/// What a replacement might do that was not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stake {
    Nothing,
    /// The class itself, which may be elsewhere.
    Itself,
    /// The root qdisc, which may be another one.
    Root,
}

/// What a message asks for: how errors name it, and how its answer is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) operation: MessageType,
    pub(crate) device: u32,
    pub(crate) handle: Handle,
    pub(crate) parent: Handle,
    pub(crate) act: Act,
    pub(crate) checks: Checks,
    /// The parent class that must be known before it is sent.
    pub(crate) needs: Option<Handle>,
    /// What must be known before, beside the parent.
    pub(crate) at_stake: Stake,
    /// The kernel answers with the class, of which, unless that was the question, the parent must be the one asked for.
    pub(crate) wants_class: bool,
    /// Success may come with a remark, which needs an acknowledgement to come in.
    pub(crate) remarkable: bool,
}

impl Subject {
    pub(crate) fn of(request: &Request, checks: Checks) -> Self {
        // What comes by the million asks nothing first, and is told at one glance.
        if let Request::ChangeClass { device, parent, classid, class } = request {
            return Self {
                handle: *classid,
                parent: *parent,
                act: Act::Change,
                checks,
                wants_class: request.verifies_parent(checks),
                remarkable: may_clamp_quantum(class),
                ..Self::named(MessageType::NewClass, *device)
            };
        }
        let mut subject = Self {
            operation: request.message_type(),
            device: request.device(),
            handle: request.handle(),
            parent: request.parent(),
            act: Act::Other,
            checks,
            needs: None,
            at_stake: Stake::Nothing,
            wants_class: request.verifies_parent(checks),
            remarkable: is_remarkable(request),
        };
        match request {
            Request::ChangeQdisc { .. } => subject.act = Act::Change,
            Request::AddClass { .. } => {
                subject.act = Act::Add;
                subject.needs = request.parent_to_check(checks);
            }
            Request::ReplaceClass { parent, .. } => {
                subject.act = Act::Replace;
                subject.needs = request.parent_to_check(checks);
                if checks.contains(Check::Reparenting) && *parent != Handle::UNSPEC {
                    subject.at_stake = Stake::Itself;
                }
            }
            Request::AddQdisc { .. } => subject.act = Act::Add,
            Request::ReplaceQdisc { parent, .. } => {
                subject.act = Act::Replace;
                if checks.contains(Check::RootReplacement) && *parent == Handle::ROOT {
                    subject.at_stake = Stake::Root;
                }
            }
            Request::GetClass { .. } => subject.wants_class = true,
            _ => {}
        }
        subject
    }

    /// One that is only to be named in errors.
    pub(crate) fn named(operation: MessageType, device: u32) -> Self {
        Self {
            operation,
            device,
            handle: Handle::UNSPEC,
            parent: Handle::UNSPEC,
            act: Act::Other,
            checks: Checks::NONE,
            needs: None,
            at_stake: Stake::Nothing,
            wants_class: false,
            remarkable: false,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn is_question(&self) -> bool {
        matches!(
            self.operation,
            MessageType::GetClass | MessageType::GetQdisc | MessageType::GetFilter | MessageType::GetLink
        )
    }

    /// The classes that must be known before it is sent, by device and classid.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, Handle)> + use<> {
        let device = self.device;
        let itself = (self.at_stake == Stake::Itself).then_some(self.handle);
        self.needs.into_iter().chain(itself).map(move |classid| (device, classid))
    }

    /// Whether a class is where it was asked for, or where the checks that were left out allow it to be.
    pub(crate) fn may_be_under(&self, actual: Handle) -> bool {
        // Who is made under a parent that does not exist is a root class.
        let made_at_root = actual == Handle::ROOT && self.act != Act::Change;
        self.parent == Handle::UNSPEC
            || is_under(actual, self.parent)
            || (self.act != Act::Add && !self.checks.contains(Check::Reparenting))
            || (made_at_root && !self.checks.contains(Check::MissingParent))
    }

    /// Whether the kernel must be asked for anything before it is sent.
    pub(crate) fn asks_first(&self) -> bool {
        self.needs.is_some() || self.at_stake != Stake::Nothing
    }

    pub(crate) fn lost(&self, sequence: u32, loss: Loss, inquiry: Inquiry) -> Error {
        let Self { operation, device, handle, .. } = *self;
        Error::AnswerLost { operation, device, handle, sequence, loss, inquiry }
    }

    pub(crate) fn refused(&self, Verdict { errno, text }: Verdict) -> Error {
        let Self { operation, device, handle, .. } = *self;
        Error::Kernel { operation, device, handle, errno, ext_ack: text }
    }

    pub(crate) fn expired(&self) -> Error {
        let Self { operation, device, handle, .. } = *self;
        Error::Expired { operation, device, handle }
    }

    pub(crate) fn without_parent(&self, parent: Handle, ext_ack: Option<String>) -> Error {
        Error::MissingParent { device: self.device, classid: self.handle, parent, ext_ack }
    }

    pub(crate) fn would_not_move(&self, actual: Handle) -> Error {
        Error::WouldNotMove { device: self.device, classid: self.handle, asked: self.parent, actual }
    }

    pub(crate) fn too_deep(&self) -> Error {
        Error::TooDeep { device: self.device, classid: self.handle, parent: self.parent }
    }

    pub(crate) fn would_destroy(&self, leaf: Handle) -> Error {
        Error::WouldDestroyLeaf { device: self.device, parent: self.parent, leaf, child: self.handle }
    }
}

/// HTB remarks on a quantum that it had to clamp (`htb_change_class`): what it derives from the rate by `r2q`, of which 10
/// is by far the most frequent. Qdiscs and filters
/// may say anything.
fn is_remarkable(request: &Request) -> bool {
    match request {
        Request::AddQdisc { .. }
        | Request::ChangeQdisc { .. }
        | Request::ReplaceQdisc { .. }
        | Request::AddFilter { .. }
        | Request::ChangeFilter { .. }
        | Request::ReplaceFilter { .. } => true,
        Request::AddClass { class, .. }
        | Request::ChangeClass { class, .. }
        | Request::ReplaceClass { class, .. } => may_clamp_quantum(class),
        Request::DeleteQdisc { .. }
        | Request::DeleteClass { .. }
        | Request::DeleteFilter { .. }
        | Request::GetClass { .. } => false,
    }
}

fn may_clamp_quantum(class: &HtbClass) -> bool {
    class.quantum.is_none() && !(1_000..=200_000).contains(&(class.rate.bytes_per_second() / 10))
}

/// How much goes into one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// Messages, one after the other, as `sendmsg(2)` takes them.
#[derive(Debug, Default)]
pub struct Packet {
    bytes: Vec<u8>,
    subjects: Vec<Subject>,
    /// Where each message begins.
    starts: Vec<usize>,
    wants_objects: bool,
}

impl Packet {
    /// What the client does with requests before it sends them, for benchmarks.
    #[doc(hidden)]
    pub fn pack(&mut self, requests: &[Request], first: u32, port: u32) -> &[u8] {
        self.clear();
        for request in requests {
            self.push(request, Checks::ALL);
        }
        self.seal(first, port);
        self.bytes()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.subjects.clear();
        self.starts.clear();
        self.wants_objects = false;
    }

    /// Whether any message is answered by more than its verdict.
    pub(crate) fn wants_objects(&self) -> bool {
        self.wants_objects
    }

    pub(crate) fn len(&self) -> usize {
        self.subjects.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The bytes of one message.
    pub(crate) fn message(&self, index: usize) -> &[u8] {
        let end = self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
        &self.bytes[self.starts[index]..end]
    }

    /// Whether one more message goes in. The first always does.
    pub(crate) fn has_room(&self, limits: Limits, length: usize) -> bool {
        self.is_empty() || (self.len() < limits.messages && self.bytes.len() + length <= limits.bytes)
    }

    /// Appends a request.
    pub(crate) fn push(&mut self, request: &Request, checks: Checks) {
        self.note(Subject::of(request, checks));
        request.encode_onto(0, 0, checks, &mut self.bytes);
    }

    /// Appends a message that was encoded before.
    pub(crate) fn push_message(&mut self, subject: Subject, message: &[u8]) {
        self.note(subject);
        self.bytes.extend_from_slice(message);
    }

    /// The same messages in another order.
    pub(crate) fn in_order(&self, order: &[usize]) -> Self {
        let mut packet = Self::default();
        for &index in order {
            packet.push_message(self.subjects[index], self.message(index));
        }
        packet
    }

    fn note(&mut self, subject: Subject) {
        self.starts.push(self.bytes.len());
        self.subjects.push(subject);
        self.wants_objects |= subject.wants_class;
    }

    /// Replaces the content by what `write` appends, as one message.
    pub(crate) fn only(&mut self, subject: Subject, write: impl FnOnce(&mut Vec<u8>)) {
        self.clear();
        self.note(subject);
        write(&mut self.bytes);
    }

    /// Numbers the messages from `first` on and decides which are to be acknowledged.
    ///
    /// The kernel carries a packet's messages out in their order and reports *every* failure, asked or not
    /// (`netlink_rcv_skb`). So the acknowledgement of the last one also says that each earlier one of which nothing was
    /// heard was carried out, unless the receive buffer overran, which the socket reports. An acknowledgement costs twice what
    /// changing a class does.
    pub(crate) fn seal(&mut self, first: u32, port: u32) {
        let last = self.starts.len().wrapping_sub(1);
        for (index, (&start, subject)) in self.starts.iter().zip(&self.subjects).enumerate() {
            // struct nlmsghdr: length, type, flags at 6, sequence at 8, port at 12
            let header = &mut self.bytes[start..start + NETLINK_HEADER];
            let flags = u16::from_ne_bytes([header[6], header[7]]);
            // A dump has an end of its own.
            if flags & NLM_F_DUMP != NLM_F_DUMP {
                let acknowledged = index == last || subject.remarkable;
                let flags = if acknowledged { flags | NLM_F_ACK } else { flags & !NLM_F_ACK };
                header[6..8].copy_from_slice(&flags.to_ne_bytes());
            }
            let sequence = first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX));
            header[8..12].copy_from_slice(&sequence.to_ne_bytes());
            header[12..16].copy_from_slice(&port.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(minor: u16, rate: &str) -> Request {
        let class = HtbClass::new(rate.parse().unwrap());
        Request::ChangeClass { device: 1, parent: Handle::UNSPEC, classid: Handle::new(1, minor), class }
    }

    fn flags(packet: &Packet, index: usize) -> u16 {
        let message = packet.message(index);
        u16::from_ne_bytes([message[6], message[7]])
    }

    #[test]
    fn a_packet_is_its_messages_numbered() {
        let requests = [change(1, "8mbit"), change(2, "40gbit"), change(3, "8mbit")];
        let mut packet = Packet::default();
        for request in &requests {
            packet.push(request, Checks::ALL);
        }
        packet.seal(7, 99);
        let mut whole = Vec::new();
        for (index, (request, sequence)) in requests.iter().zip(7_u32..).enumerate() {
            let mut alone = Vec::new();
            request.encode(sequence, 99, &mut alone);
            let mut within = packet.message(index).to_vec();
            assert_eq!(flags(&packet, index) | NLM_F_ACK, u16::from_ne_bytes([alone[6], alone[7]]));
            within[6..8].copy_from_slice(&alone[6..8]);
            assert_eq!(within, alone);
            whole.extend_from_slice(packet.message(index));
        }
        assert_eq!(packet.bytes(), whole);
    }

    #[test]
    fn the_last_and_the_remarkable_are_acknowledged() {
        let mut packet = Packet::default();
        // 10 Gbit/s / r2q is above the largest quantum.
        for request in [change(1, "8mbit"), change(2, "10gbit"), change(3, "8mbit"), change(4, "8mbit")] {
            packet.push(&request, Checks::ALL);
        }
        packet.seal(1, 1);
        let acknowledged: Vec<bool> = (0..4).map(|index| flags(&packet, index) & NLM_F_ACK != 0).collect();
        assert_eq!(acknowledged, [false, true, false, true]);
    }

    #[test]
    fn a_message_that_is_sent_again_alone_is_acknowledged() {
        let mut packet = Packet::default();
        packet.push(&change(1, "8mbit"), Checks::ALL);
        packet.push(&change(2, "8mbit"), Checks::ALL);
        packet.seal(1, 1);
        let mut again = Packet::default();
        again.push_message(packet.subjects()[0], packet.message(0));
        again.seal(3, 1);
        assert_ne!(flags(&again, 0) & NLM_F_ACK, 0);
    }

    #[test]
    fn the_first_message_always_has_room() {
        let limits = Limits { messages: 2, bytes: 250 };
        let mut packet = Packet::default();
        assert!(packet.has_room(limits, 100_000));
        packet.push(&change(1, "8mbit"), Checks::ALL);
        assert!(packet.has_room(limits, 100) && !packet.has_room(limits, 200));
        packet.push(&change(2, "8mbit"), Checks::ALL);
        assert!(!packet.has_room(limits, 1));
    }
}
