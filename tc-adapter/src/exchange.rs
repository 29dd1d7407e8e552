//! From a sent request to its verdict: which datagrams to wait for, and when to give up.
//!
//! Knows the socket only as something that receives, so that lost, late and hostile answers can be tested without one.

use std::time::{Duration, Instant};

use crate::error::{Error, Loss};
use crate::handle::Handle;
use crate::message::MessageType;
use crate::reply::{Event, Malformed, Verdict, events};
use crate::socket::Received;

/// What was sent, for matching its answers and for naming it in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) operation: MessageType,
    pub(crate) device: u32,
    pub(crate) handle: Handle,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
}

/// How an exchange that the kernel accepted ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) warning: Option<String>,
    /// The kernel flagged a dump as inconsistent.
    pub(crate) interrupted: bool,
    /// Objects may be missing.
    pub(crate) loss: Option<Loss>,
}

/// What has gone wrong so far. It does not stop the reading: what is left unread of a dump would keep the kernel from
/// starting another one (`EBUSY`).
#[derive(Default)]
struct Damage {
    loss: Option<Loss>,
    malformed: Option<Malformed>,
}

/// The time by which an answer must have come; the clock is read only when the first datagram was not it.
struct Patience {
    deadline: Duration,
    until: Option<Instant>,
}

impl Patience {
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.until.get_or_insert(now + self.deadline)
    }
}

impl Sent {
    pub(crate) fn lost(&self, loss: Loss) -> Error {
        let Self { operation, device, handle, sequence, .. } = *self;
        Error::AnswerLost { operation, device, handle, sequence, loss }
    }

    fn refused(&self, Verdict { errno, text }: Verdict) -> Error {
        let Self { operation, device, handle, .. } = *self;
        Error::Kernel { operation, device, handle, errno, ext_ack: text }
    }

    /// Receives until the verdict on this request, handing each object to `object`.
    ///
    /// `receive` fills the buffer; its second argument forbids waiting.
    pub(crate) fn collect(
        &self,
        deadline: Duration,
        buffer: &mut Vec<u8>,
        mut receive: impl FnMut(&mut Vec<u8>, bool) -> Result<Received, Error>,
        mut object: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Outcome, Error> {
        let mut patience = Patience { deadline, until: None };
        let mut damage = Damage::default();
        let mut interrupted = false;
        loop {
            // Once something is damaged, the verdict may be what is missing. It is not waited for then: whatever the kernel
            // answered lies in the receive buffer already.
            let damaged = damage.loss.is_some() || damage.malformed.is_some();
            match receive(buffer, damaged)? {
                Received::Datagram => {}
                Received::Overrun => {
                    damage.loss = Some(Loss::Overrun);
                    continue;
                }
                Received::Truncated(length) => damage.loss = Some(Loss::Truncated(length)),
                Received::Nothing if !patience.is_over() => continue,
                Received::Nothing | Received::TimedOut => return Err(self.missing(&damage, deadline)),
            }
            let mut answered = false;
            for flagged in events(buffer, self.port, self.sequence) {
                answered = true;
                let event = flagged.map(|flagged| {
                    interrupted |= flagged.interrupted;
                    flagged.event
                });
                let result = match event {
                    Ok(Event::End(verdict)) => return self.conclude(verdict, damage, interrupted),
                    Ok(Event::Object { message_type, payload }) => object(message_type, payload),
                    Err(malformed) => Err(malformed),
                };
                if let Err(malformed) = result {
                    damage.malformed = Some(malformed);
                }
            }
            if answered {
                patience.until = None;
            } else if patience.is_over() {
                return Err(self.missing(&damage, deadline));
            }
        }
    }

    fn conclude(&self, verdict: Verdict, damage: Damage, interrupted: bool) -> Result<Outcome, Error> {
        match (verdict.errno, damage) {
            (0, Damage { loss: None, malformed: Some(malformed) }) => Err(malformed.into()),
            (0, Damage { loss, .. }) => Ok(Outcome { warning: verdict.text, interrupted, loss }),
            _ => Err(self.refused(verdict)),
        }
    }

    /// The verdict did not come.
    fn missing(&self, damage: &Damage, deadline: Duration) -> Error {
        match damage {
            Damage { loss: Some(loss), .. } => self.lost(*loss),
            Damage { malformed: Some(malformed), .. } => (*malformed).into(),
            Damage { .. } => self.lost(Loss::Deadline(deadline)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Emitable, NetlinkHeader};
    use std::collections::VecDeque;

    const SENT: Sent =
        Sent { operation: MessageType::GetClass, device: 1, handle: Handle::UNSPEC, sequence: 5, port: 77 };
    const OBJECT: u16 = 40;

    fn message(message_type: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(16 + payload.len()).unwrap();
        (header.message_type, header.sequence_number, header.port_number) = (message_type, sequence, 77);
        let mut bytes = vec![0; 16];
        header.emit(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn done(sequence: u32) -> Vec<u8> {
        message(3, sequence, &[0; 4])
    }

    enum Step {
        Bytes(Vec<u8>),
        Cut(Vec<u8>),
        Other(Received),
    }

    /// Plays the steps; when they are used up, nothing comes any more. Gives the payloads of the objects seen too.
    fn play(steps: Vec<Step>) -> (Result<Outcome, Error>, Vec<Vec<u8>>) {
        let mut steps: VecDeque<_> = steps.into();
        let mut objects = Vec::new();
        let receive = |buffer: &mut Vec<u8>, _at_once| {
            Ok(match steps.pop_front() {
                Some(Step::Bytes(bytes)) => {
                    *buffer = bytes;
                    Received::Datagram
                }
                Some(Step::Cut(bytes)) => {
                    *buffer = bytes;
                    Received::Truncated(100_000)
                }
                Some(Step::Other(received)) => received,
                None => Received::TimedOut,
            })
        };
        let outcome =
            SENT.collect(Duration::from_millis(20), &mut Vec::new(), receive, |message_type, payload| {
                assert_eq!(message_type, OBJECT);
                objects.push(payload.to_vec());
                if payload == b"bad!" { Err(Malformed("bad")) } else { Ok(()) }
            });
        (outcome, objects)
    }

    #[test]
    fn late_answers_signals_and_strangers_do_not_disturb() {
        let (outcome, objects) = play(vec![
            Step::Bytes([message(OBJECT, 4, b"late"), done(4)].concat()),
            Step::Other(Received::Nothing),
            Step::Bytes(message(OBJECT, 5, b"ours")),
            Step::Bytes(done(5)),
        ]);
        assert_eq!(outcome.unwrap(), Outcome::default());
        assert_eq!(objects, [b"ours"]);
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (outcome, _) = play(vec![Step::Bytes(done(4))]);
        assert!(
            matches!(outcome, Err(Error::AnswerLost { loss: Loss::Deadline(_), sequence: 5, .. })),
            "{outcome:?}"
        );
    }

    #[test]
    fn an_endless_stream_of_others_ends_at_the_deadline() {
        let receive = |buffer: &mut Vec<u8>, _at_once| {
            *buffer = done(4);
            Ok(Received::Datagram)
        };
        let outcome = SENT.collect(Duration::from_millis(20), &mut Vec::new(), receive, |_, _| Ok(()));
        assert!(matches!(outcome, Err(Error::AnswerLost { loss: Loss::Deadline(_), .. })), "{outcome:?}");
        let signals = |_: &mut Vec<u8>, _at_once| Ok(Received::Nothing);
        let outcome = SENT.collect(Duration::from_millis(20), &mut Vec::new(), signals, |_, _| Ok(()));
        assert!(matches!(outcome, Err(Error::AnswerLost { loss: Loss::Deadline(_), .. })), "{outcome:?}");
    }

    #[test]
    fn an_overrun_is_told_with_and_without_a_verdict() {
        let (outcome, _) = play(vec![Step::Other(Received::Overrun)]);
        assert!(matches!(outcome, Err(Error::AnswerLost { loss: Loss::Overrun, .. })), "{outcome:?}");
        let (outcome, _) = play(vec![Step::Other(Received::Overrun), Step::Bytes(done(5))]);
        assert_eq!(outcome.unwrap().loss, Some(Loss::Overrun));
        let cut = message(OBJECT, 5, &[0; 40]);
        let (outcome, _) = play(vec![Step::Cut(cut[..30].to_vec()), Step::Bytes(done(5))]);
        assert_eq!(outcome.unwrap().loss, Some(Loss::Truncated(100_000)));
    }

    #[test]
    fn a_malformed_object_is_told_after_the_rest_was_read() {
        let (outcome, objects) = play(vec![
            Step::Bytes([message(OBJECT, 5, b"bad!"), message(OBJECT, 5, b"good")].concat()),
            Step::Bytes(done(5)),
        ]);
        assert!(matches!(outcome, Err(Error::Malformed(Malformed("bad")))), "{outcome:?}");
        assert_eq!(objects.len(), 2);
        let (outcome, _) = play(vec![Step::Bytes(vec![1, 2, 3])]);
        assert!(matches!(outcome, Err(Error::Malformed(_))), "{outcome:?}");
    }

    #[test]
    fn a_refusal_wins() {
        let refusal = message(3, 5, &(-libc::EPERM).to_ne_bytes());
        let (outcome, _) = play(vec![Step::Other(Received::Overrun), Step::Bytes(refusal)]);
        assert_eq!(outcome.unwrap_err().errno(), Some(libc::EPERM));
    }
}
