//! From sent requests to what was heard of them: which datagrams to wait for, and when to give up.
//!
//! Knows the socket only as something that receives, so that lost, late and hostile answers can be tested without one.

use std::time::{Duration, Instant};

use crate::error::{Error, Loss};
use crate::reply::{Event, Flagged, Malformed, Span, events};
use crate::socket::Received;

/// How reading ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The last request's verdict came, and with it everything that came before it.
    pub(crate) to_the_end: bool,
    /// Answers may be missing.
    pub(crate) loss: Option<Loss>,
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

/// Receives until the verdict on the last request of `span`, handing on each event with the index of its request.
///
/// `receive` fills the buffer; its second argument forbids waiting. Damage does not stop the reading: what is left unread of a
/// dump would keep the kernel from starting another one (`EBUSY`).
pub(crate) fn collect(
    span: Span,
    deadline: Duration,
    buffer: &mut Vec<u8>,
    mut receive: impl FnMut(&mut Vec<u8>, bool) -> Result<Received, Error>,
    mut each: impl FnMut(usize, Flagged<'_>) -> Result<(), Malformed>,
) -> Heard {
    let last = span.count.saturating_sub(1) as usize;
    let mut patience = Patience { deadline, until: None };
    let mut loss = None;
    let mut odd_object = false;
    loop {
        // Once something is damaged, the verdict may be what is missing. It is not waited for then: whatever the kernel
        // answered lies in the receive buffer already.
        let damaged = loss.is_some() || odd_object;
        match receive(buffer, damaged) {
            Ok(Received::Datagram) => {}
            Ok(Received::Overrun) => {
                loss = Some(Loss::Overrun);
                continue;
            }
            Ok(Received::Truncated(length)) => loss = Some(Loss::Truncated(length)),
            Ok(Received::Nothing) if !patience.is_over() => continue,
            Ok(Received::Nothing | Received::TimedOut) => {
                return Heard { to_the_end: false, loss: loss.or(Some(Loss::Deadline(deadline))) };
            }
            Err(error) => {
                let errno = error.errno().unwrap_or_default();
                return Heard { to_the_end: false, loss: Some(Loss::Receive(errno)) };
            }
        }
        let mut answered = false;
        for event in events(buffer, span) {
            answered = true;
            match event {
                Ok((index, flagged)) => {
                    let is_last = index == last && matches!(flagged.event, Event::End(_));
                    odd_object |= each(index, flagged).is_err();
                    if is_last {
                        return Heard { to_the_end: true, loss };
                    }
                }
                Err(malformed) => loss = Some(Loss::Malformed(malformed)),
            }
        }
        if answered {
            patience.until = None;
        } else if patience.is_over() {
            return Heard { to_the_end: false, loss: loss.or(Some(Loss::Deadline(deadline))) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Verdict;
    use netlink_packet_core::{Emitable, NetlinkHeader};
    use std::collections::VecDeque;

    const ONE: Span = Span { port: 77, first: 5, count: 1 };
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

    fn refusal(sequence: u32) -> Vec<u8> {
        message(3, sequence, &(-libc::EPERM).to_ne_bytes())
    }

    enum Step {
        Bytes(Vec<u8>),
        Cut(Vec<u8>),
        Other(Received),
    }

    /// What was handed on: the payload of an object, or the errno of an end.
    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Object(usize, Vec<u8>),
        End(usize, i32),
    }

    /// Plays the steps; when they are used up, nothing comes any more.
    fn play(span: Span, steps: Vec<Step>) -> (Heard, Vec<Told>) {
        let mut steps: VecDeque<_> = steps.into();
        let mut told = Vec::new();
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
        let heard =
            collect(
                span,
                Duration::from_millis(20),
                &mut Vec::new(),
                receive,
                |index, flagged| match flagged.event {
                    Event::Object { payload, .. } => {
                        told.push(Told::Object(index, payload.to_vec()));
                        if payload == b"bad!" { Err(Malformed("bad")) } else { Ok(()) }
                    }
                    Event::End(Verdict { errno, .. }) => {
                        told.push(Told::End(index, errno));
                        Ok(())
                    }
                },
            );
        (heard, told)
    }

    const WHOLE: Heard = Heard { to_the_end: true, loss: None };

    fn cut_short(loss: Loss) -> Heard {
        Heard { to_the_end: false, loss: Some(loss) }
    }

    #[test]
    fn late_answers_signals_and_strangers_do_not_disturb() {
        let (heard, told) = play(
            ONE,
            vec![
                Step::Bytes([message(OBJECT, 4, b"late"), done(4)].concat()),
                Step::Other(Received::Nothing),
                Step::Bytes(message(OBJECT, 5, b"ours")),
                Step::Bytes(done(5)),
            ],
        );
        assert_eq!(heard, WHOLE);
        assert_eq!(told, [Told::Object(0, b"ours".to_vec()), Told::End(0, 0)]);
    }

    #[test]
    fn a_packet_is_over_with_its_last_verdict() {
        let span = Span { count: 4, ..ONE };
        let (heard, told) = play(
            span,
            vec![
                Step::Bytes(refusal(6)),
                Step::Bytes(message(OBJECT, 7, b"ours")),
                Step::Bytes(done(8)),
                Step::Bytes(message(OBJECT, 5, b"next")),
            ],
        );
        assert_eq!(heard, WHOLE);
        assert_eq!(told, [Told::End(1, libc::EPERM), Told::Object(2, b"ours".to_vec()), Told::End(3, 0)]);
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (heard, _) = play(ONE, vec![Step::Bytes(done(4))]);
        assert_eq!(heard, cut_short(Loss::Deadline(Duration::from_millis(20))));
    }

    #[test]
    fn an_endless_stream_of_others_ends_at_the_deadline() {
        let deadline = Duration::from_millis(20);
        let receive = |buffer: &mut Vec<u8>, _at_once| {
            *buffer = done(4);
            Ok(Received::Datagram)
        };
        let heard = collect(ONE, deadline, &mut Vec::new(), receive, |_, _| Ok(()));
        assert_eq!(heard, cut_short(Loss::Deadline(deadline)));
        let signals = |_: &mut Vec<u8>, _at_once| Ok(Received::Nothing);
        let heard = collect(ONE, deadline, &mut Vec::new(), signals, |_, _| Ok(()));
        assert_eq!(heard, cut_short(Loss::Deadline(deadline)));
    }

    #[test]
    fn an_overrun_is_told_with_and_without_a_verdict() {
        let (heard, _) = play(ONE, vec![Step::Other(Received::Overrun)]);
        assert_eq!(heard, cut_short(Loss::Overrun));
        let (heard, told) = play(ONE, vec![Step::Other(Received::Overrun), Step::Bytes(done(5))]);
        assert_eq!(heard, Heard { to_the_end: true, loss: Some(Loss::Overrun) });
        assert_eq!(told, [Told::End(0, 0)]);
        let cut = message(OBJECT, 5, &[0; 40]);
        let (heard, _) = play(ONE, vec![Step::Cut(cut[..30].to_vec()), Step::Bytes(done(5))]);
        assert!(heard.to_the_end && heard.loss.is_some(), "{heard:?}");
    }

    #[test]
    fn a_malformed_object_is_told_after_the_rest_was_read() {
        let objects = [message(OBJECT, 5, b"bad!"), message(OBJECT, 5, b"good")].concat();
        let (heard, told) = play(ONE, vec![Step::Bytes(objects), Step::Bytes(done(5))]);
        assert_eq!((heard, told.len()), (WHOLE, 3));
        let (heard, _) = play(ONE, vec![Step::Bytes(vec![1, 2, 3])]);
        assert!(matches!(heard, Heard { to_the_end: false, loss: Some(Loss::Malformed(_)) }), "{heard:?}");
    }
}
