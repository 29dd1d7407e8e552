//! A blocking netlink socket and nothing else: what can be sent at best, so that a probe's cost is the largest share.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use tc_adapter::Request;

/// Where `struct nlmsghdr` has its sequence number.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// An answer's `nlmsg_type`, and behind `struct nlmsghdr` its errno.
const TYPE: std::ops::Range<usize> = 4..6;
const ERRNO: std::ops::Range<usize> = 16..20;
const NLMSG_ERROR: u16 = 2;

/// Far more than an acknowledgement.
const ANSWER: usize = 8192;

/// A request, encoded beforehand.
pub(super) struct Message(Vec<u8>);

pub(super) struct Sender {
    socket: Socket,
    port: u32,
    sequence: u32,
    answer: Vec<u8>,
}

impl Sender {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, port, sequence: 0, answer: Vec::with_capacity(ANSWER) })
    }

    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Of the last request.
    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    pub(super) fn encode(&self, request: &Request) -> Message {
        let mut bytes = Vec::new();
        request.encode(0, self.port, &mut bytes);
        Message(bytes)
    }

    /// Sends under the next sequence number and waits for the answer.
    pub(super) fn ask(&mut self, message: &mut Message) -> io::Result<Result<(), Errno>> {
        self.sequence = self.sequence.wrapping_add(1);
        message.0[SEQUENCE].copy_from_slice(&self.sequence.to_ne_bytes());
        self.socket.send(&message.0, 0)?;
        loop {
            self.answer.clear();
            self.socket.recv(&mut self.answer, 0)?;
            // What is echoed comes before the acknowledgement.
            if let Some(verdict) = verdict(&self.answer, self.sequence) {
                return Ok(verdict);
            }
        }
    }

    /// As [`Self::ask`], for what the kernel is to do.
    pub(super) fn must(&mut self, message: &mut Message) -> io::Result<()> {
        self.ask(message)?.map_err(io::Error::from)
    }
}

/// What an answer says of the request with this sequence number; `None`: nothing.
fn verdict(answer: &[u8], sequence: u32) -> Option<Result<(), Errno>> {
    let word = |range: std::ops::Range<usize>| answer.get(range)?.try_into().ok().map(i32::from_ne_bytes);
    let kind = u16::from_ne_bytes(answer.get(TYPE)?.try_into().ok()?);
    if kind != NLMSG_ERROR || word(SEQUENCE)?.cast_unsigned() != sequence {
        return None;
    }
    Some(match word(ERRNO)? {
        0 => Ok(()),
        negative => Err(Errno::from_raw(negative.saturating_neg())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, sequence: u32, errno: i32) -> Vec<u8> {
        let mut bytes = vec![20, 0, 0, 0];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(errno.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_requests_own_acknowledgement_counts() {
        assert_eq!(verdict(&answer(NLMSG_ERROR, 7, 0), 7), Some(Ok(())));
        assert_eq!(verdict(&answer(NLMSG_ERROR, 7, -19), 7), Some(Err(Errno::ENODEV)));
        assert_eq!(verdict(&answer(NLMSG_ERROR, 6, 0), 7), None);
        assert_eq!(verdict(&answer(40, 7, 0), 7), None);
        assert_eq!(verdict(&[0; 3], 7), None);
    }
}
