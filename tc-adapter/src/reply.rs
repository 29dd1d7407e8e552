//! What a datagram from the kernel says. Pure, and never panics whatever the bytes are.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR};

use crate::attribute::{each, text};
use crate::message::{Header, NETLINK_HEADER};

/// Bytes from the kernel that break the protocol's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// One message that answers our request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// An object: what follows the netlink header.
    Object { message_type: u16, payload: &'a [u8] },
    /// The end, of a single request (`NLMSG_ERROR`) or of a dump (`NLMSG_DONE`).
    End(Verdict),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// 0, or the positive error number.
    pub(crate) errno: i32,
    /// `NLMSGERR_ATTR_MSG`: the explanation of an error, a warning otherwise.
    pub(crate) text: Option<String>,
}

/// An event, and whether the kernel flagged the dump that it belongs to as inconsistent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flagged<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) interrupted: bool,
}

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Whose answers are waited for: requests of one socket with sequence numbers that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) port: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Span {
    /// Which of the requests a message answers.
    fn index(self, port: u32, sequence: u32) -> Option<usize> {
        let index = sequence.wrapping_sub(self.first);
        (port == self.port && index < self.count).then_some(index as usize)
    }
}

/// The messages of a datagram that answer the requests of `span`, each with the request's index; others, such as the late
/// answers to a request that was given up, are passed over. Ends after the first malformed message, since where the
/// next one starts is unknown then.
pub(crate) fn events(
    datagram: &[u8],
    span: Span,
) -> impl Iterator<Item = Result<(usize, Flagged<'_>), Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some(header) = Header::read(rest) else {
                rest = &[];
                return Some(Err(Malformed("a message's length exceeds its datagram")));
            };
            let bytes = &rest[..header.length];
            rest = rest.get(header.length.next_multiple_of(4)..).unwrap_or_default();
            let Some(index) = span.index(header.port, header.sequence) else { continue };
            match event(header.message_type, header.flags, &bytes[NETLINK_HEADER..]) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let interrupted = header.flags & NLM_F_DUMP_INTR != 0;
                    return Some(Ok((index, Flagged { event, interrupted })));
                }
                Err(malformed) => {
                    rest = &[];
                    return Some(Err(malformed));
                }
            }
        }
        None
    })
}

/// Whether a datagram is nothing but the acknowledgement of a request that succeeded, without a remark.
pub(crate) fn is_plain_acknowledgement(datagram: &[u8], port: u32, sequence: u32) -> bool {
    // struct nlmsgerr: error, the request's header
    const LENGTH: usize = NETLINK_HEADER + 4 + NETLINK_HEADER;
    datagram.len() == LENGTH
        && datagram[NETLINK_HEADER..].first_chunk() == Some(&[0; 4])
        && Header::read(datagram).is_some_and(|header| {
            header.length == LENGTH
                && header.message_type == NLMSG_ERROR
                && (header.port, header.sequence) == (port, sequence)
        })
}

fn event(message_type: u16, flags: u16, payload: &[u8]) -> Result<Option<Event<'_>>, Malformed> {
    Ok(Some(match message_type {
        NLMSG_NOOP | NLMSG_OVERRUN => return Ok(None),
        NLMSG_ERROR => {
            let errno = status(payload)?;
            // Then the request's header, and, unless NETLINK_CAP_ACK spared us, the request of a failure.
            let request = payload.get(4..).unwrap_or_default();
            let echoed = if errno == 0 || flags & NLM_F_CAPPED != 0 {
                NETLINK_HEADER
            } else {
                let header =
                    Header::read(request).ok_or(Malformed("an error that does not hold its request"))?;
                header.length.next_multiple_of(4)
            };
            Event::End(Verdict {
                errno,
                text: explanation(flags, request.get(echoed..).unwrap_or_default())?,
            })
        }
        // NLMSG_DONE may come without a status from kernels that have none to tell.
        NLMSG_DONE if payload.is_empty() => Event::End(Verdict { errno: 0, text: None }),
        NLMSG_DONE => Event::End(Verdict {
            errno: status(payload)?,
            text: explanation(flags, payload.get(4..).unwrap_or_default())?,
        }),
        message_type => Event::Object { message_type, payload },
    }))
}

/// The kernel's negative error number, made positive.
fn status(payload: &[u8]) -> Result<i32, Malformed> {
    let raw = payload.first_chunk().ok_or(Malformed("an acknowledgement without a status"))?;
    match i32::from_ne_bytes(*raw) {
        // A dump's status may be positive, which is no error (netlink_dump_done).
        code if code >= 0 => Ok(0),
        i32::MIN => Err(Malformed("an impossible error number")),
        code => Ok(-code),
    }
}

fn explanation(flags: u16, attributes: &[u8]) -> Result<Option<String>, Malformed> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return Ok(None);
    }
    let mut found = None;
    for attribute in each(attributes) {
        if let (NLMSGERR_ATTR_MSG, value) = attribute? {
            found = Some(text(value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::put;
    use netlink_packet_core::{Emitable, NetlinkHeader};
    use proptest::prelude::*;

    fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(NETLINK_HEADER + payload.len()).unwrap();
        (header.message_type, header.flags, header.sequence_number, header.port_number) =
            (message_type, flags, sequence, 77);
        let mut bytes = vec![0; NETLINK_HEADER];
        header.emit(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn error(code: i32, echoed: &[u8], text: &[u8]) -> Vec<u8> {
        let mut payload = [code.to_ne_bytes().as_slice(), echoed].concat();
        put(&mut payload, 2, &[0; 4]);
        put(&mut payload, NLMSGERR_ATTR_MSG, text);
        payload
    }

    const SPAN: Span = Span { port: 77, first: 5, count: 1 };

    fn only(datagram: &[u8]) -> Event<'_> {
        let mut events = events(datagram, SPAN);
        let (_, Flagged { event, .. }) = events.next().unwrap().unwrap();
        assert_eq!(events.next(), None);
        event
    }

    fn verdict(errno: i32, text: &str) -> Event<'static> {
        Event::End(Verdict { errno, text: Some(text.to_owned()) })
    }

    #[test]
    fn explanation_follows_the_capped_and_the_whole_request() {
        let request = message(40, 5, 5, &[0xAA; 21]);
        let header = &request[..NETLINK_HEADER];
        let capped = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        assert_eq!(only(&message(2, capped, 5, &error(-22, header, b"No\0"))), verdict(22, "No"));
        assert_eq!(only(&message(2, NLM_F_ACK_TLVS, 5, &error(-17, &request, b"Yes"))), verdict(17, "Yes"));
        // An acknowledgement holds the header alone, flagged or not.
        assert_eq!(
            only(&message(2, NLM_F_ACK_TLVS, 5, &error(0, header, b"warned\0"))),
            verdict(0, "warned")
        );
        let silent = Event::End(Verdict { errno: 1, text: None });
        assert_eq!(only(&message(2, NLM_F_CAPPED, 5, &error(-1, header, b"not flagged"))), silent);
    }

    #[test]
    fn answers_to_others_are_passed_over() {
        let datagram =
            [message(40, 2, 4, b"late"), message(40, 2, 5, b"ours"), message(3, 2, 5, &[0; 4])].concat();
        let found: Vec<_> = events(&datagram, SPAN).map(|item| item.unwrap().1.event).collect();
        let done = Event::End(Verdict { errno: 0, text: None });
        assert_eq!(found, [Event::Object { message_type: 40, payload: b"ours" }, done]);
        assert_eq!(events(&datagram, Span { port: 78, ..SPAN }).count(), 0);
    }

    #[test]
    fn answers_find_their_requests_also_where_numbers_wrap() {
        let span = Span { port: 77, first: u32::MAX, count: 3 };
        let datagram = [0, u32::MAX, 1, 2, 5].map(|sequence| message(3, 2, sequence, &[0; 4])).concat();
        let found: Vec<usize> = events(&datagram, span).map(|item| item.unwrap().0).collect();
        assert_eq!(found, [1, 0, 2]);
    }

    #[test]
    fn an_interrupted_dump_is_flagged() {
        let datagram = message(3, 2 | NLM_F_DUMP_INTR, 5, &[0; 4]);
        assert!(events(&datagram, SPAN).next().unwrap().unwrap().1.interrupted);
    }

    /// What is taken for one must be one to the general reader, too.
    #[test]
    fn a_plain_acknowledgement_is_told_from_all_else() {
        let header = message(40, 5, 5, &[]);
        let plain = message(2, NLM_F_CAPPED, 5, &[0_i32.to_ne_bytes().as_slice(), &header].concat());
        assert!(is_plain_acknowledgement(&plain, 77, 5));
        assert_eq!(only(&plain), Event::End(Verdict { errno: 0, text: None }));
        assert!(!is_plain_acknowledgement(&plain, 78, 5) && !is_plain_acknowledgement(&plain, 77, 6));
        let refused = message(2, NLM_F_CAPPED, 5, &[(-1_i32).to_ne_bytes().as_slice(), &header].concat());
        let remark = message(2, NLM_F_CAPPED | NLM_F_ACK_TLVS, 5, &error(0, &header, b"warned\0"));
        let object = message(40, 2, 5, &[0; 20]);
        for other in [refused, remark, object, plain[..35].to_vec(), [plain.clone(), plain].concat(), vec![]]
        {
            assert!(!is_plain_acknowledgement(&other, 77, 5), "{other:?}");
        }
    }

    #[test]
    fn a_cut_message_is_malformed() {
        let whole = message(2, NLM_F_CAPPED, 5, &error(-22, &[0; 16], b"text"));
        assert!(events(&whole[..whole.len() - 1], SPAN).next().unwrap().is_err());
        assert!(events(&message(2, 0, 5, &[1, 2]), SPAN).next().unwrap().is_err());
        assert!(events(&message(2, 0, 5, &i32::MIN.to_ne_bytes()), SPAN).next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, port: u32, first: u32, count: u32) {
            events(&bytes, Span { port, first, count }).for_each(drop);
        }

        #[test]
        fn never_panics_past_a_good_header(message_type in 0_u16..48, flags: u16, payload: Vec<u8>) {
            let datagram = message(message_type, flags, 5, &payload);
            prop_assert!(events(&datagram, SPAN).count() <= 1);
        }
    }
}
