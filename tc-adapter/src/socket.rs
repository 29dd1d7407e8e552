//! The netlink socket: one datagram out, datagrams in, never for ever.

use std::io;
use std::mem::size_of;
use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as NetlinkSocket, SocketAddr};

use crate::checks::Checks;
use crate::error::Error;

/// How a [`Connection`](crate::Connection)'s socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes of the receive buffer (`SO_RCVBUFFORCE`, or `SO_RCVBUF` without `CAP_NET_ADMIN` over the host, which
    /// `net.core.rmem_max` limits). 1 MiB by default: one request's answers need a few KiB, and dumps are produced as they
    /// are read, so this only has to be more than enough. Too small a buffer shows as
    /// [`Error::AnswerLost`](crate::Error::AnswerLost).
    pub receive_buffer: u32,
    /// How long to wait for an answer, 5 s by default. The kernel answers before `sendto(2)` returns, whatever time that
    /// call takes, so that this limits only the wait for an answer that was lost. At least 1 ms.
    pub deadline: Duration,
    /// How many requests go into one `sendmsg(2)` at most: 256 by default, from where on more bring nothing, and never more than
    /// the receive buffer has room for answers. 1: each request has a system call of its own, by which a tracer tells
    /// it from others. Another number is taken as it is, also where answers may then be lost.
    pub messages_per_packet: Option<NonZeroU16>,
    /// How many requests may wait in a [`Client`](crate::Client)'s queue, 4,096 by default; further callers wait to be let in.
    pub queue: NonZeroU16,
    /// Which accidents are looked out for where a call does not say it, all by default. See [`Check`](crate::Check).
    pub checks: Checks,
    /// Whether answers tell when their request was where ([`Answer::timing`](crate::Answer::timing)); not by default.
    pub timed: bool,
}

/// Most messages in a packet: changes reached their full speed at 256.
const MESSAGES_PER_PACKET: usize = 256;

/// Sixteen packets' worth.
const QUEUE: NonZeroU16 = NonZeroU16::new(4_096).expect("not zero");

/// Most bytes in a packet; a single message may be longer.
pub(crate) const PACKET_BYTES: usize = 32 * 1024;

/// What an answer takes of the receive buffer at most, with the kernel's own accounts: `tclass_notify()` fills a page.
const ANSWER_BYTES: usize = 4096 + 512;

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            receive_buffer: 1 << 20,
            deadline: Duration::from_secs(5),
            messages_per_packet: None,
            queue: QUEUE,
            checks: Checks::ALL,
            timed: false,
        }
    }
}

/// What came of waiting for a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// One from the kernel is in the buffer.
    Datagram,
    /// One of so many bytes, more than the buffer takes; what fitted is in it.
    Truncated(usize),
    /// A signal came: look at the clock, try again.
    Nothing,
    /// Nothing came before the deadline, or nothing was there and no waiting was asked for.
    TimedOut,
    /// The kernel had to drop at least one answer.
    Overrun,
}

pub(crate) struct Socket {
    inner: NetlinkSocket,
    port: u32,
}

/// Largest dump datagram that the kernel builds (`netlink_dump` allocates what the reader's buffer takes, up to this),
/// and far more than any single answer.
pub(crate) const DATAGRAM: usize = 32 * 1024;

impl Socket {
    /// Opens a socket in the calling thread's network namespace, where it stays.
    pub(crate) fn open(options: SocketOptions) -> Result<Self, Error> {
        let failed = |operation| move |source| Error::Socket { operation, source };
        let mut socket = NetlinkSocket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        let port = socket.bind_auto().map_err(failed("bind"))?.port_number();
        socket.set_ext_ack(true).map_err(failed("setsockopt NETLINK_EXT_ACK"))?;
        socket.set_cap_ack(true).map_err(failed("setsockopt NETLINK_CAP_ACK"))?;
        let bytes = libc::c_int::try_from(options.receive_buffer).unwrap_or(libc::c_int::MAX);
        set_option(&socket, libc::SO_RCVBUFFORCE, &bytes)
            .or_else(|_| set_option(&socket, libc::SO_RCVBUF, &bytes))
            .map_err(failed("setsockopt SO_RCVBUF"))?;
        let deadline = options.deadline.max(Duration::from_millis(1)); // zero would mean for ever
        let deadline = libc::timeval {
            tv_sec: libc::time_t::try_from(deadline.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: libc::suseconds_t::from(deadline.subsec_micros()),
        };
        set_option(&socket, libc::SO_RCVTIMEO, &deadline).map_err(failed("setsockopt SO_RCVTIMEO"))?;
        // From now on the kernel refuses whatever another process sends here (`netlink_getsockbyportid`), and neither
        // sending nor receiving has to handle addresses.
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        let socket = Self { inner: socket, port };
        socket.discard();
        Ok(socket)
    }

    /// Joins a multicast group (`RTNLGRP_*`).
    pub(crate) fn join(&mut self, group: u32) -> Result<(), Error> {
        self.inner
            .add_membership(group)
            .map_err(|source| Error::Socket { operation: "setsockopt NETLINK_ADD_MEMBERSHIP", source })
    }

    /// Waits up to the deadline for a datagram from the kernel. To a group others may send as well.
    pub(crate) fn receive_news(&self, buffer: &mut Vec<u8>) -> Result<Received, Error> {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        let received = self.inner.recv_from(buffer, libc::MSG_TRUNC);
        if matches!(&received, Ok((_, sender)) if sender.port_number() != 0) {
            return Ok(Received::Nothing);
        }
        conclude(received.map(|(length, _)| length), buffer)
    }

    /// Throws away what others may have sent between binding and connecting.
    fn discard(&self) {
        let mut buffer = Vec::with_capacity(DATAGRAM);
        while let Ok(Received::Datagram | Received::Truncated(_) | Received::Overrun | Received::Nothing) =
            self.receive(&mut buffer, true)
        {}
    }

    /// As many as were asked for, or as many as can all be refused at once without overrunning the receive buffer.
    pub(crate) fn messages_per_packet(&self, options: SocketOptions) -> Result<usize, Error> {
        if let Some(messages) = options.messages_per_packet {
            return Ok(usize::from(messages.get()));
        }
        // What the kernel made of the size that was asked for, doubled for its own accounts.
        let buffer = self
            .inner
            .get_rx_buf_sz()
            .map_err(|source| Error::Socket { operation: "getsockopt SO_RCVBUF", source })?;
        Ok((buffer / ANSWER_BYTES).clamp(1, MESSAGES_PER_PACKET))
    }

    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// One `sendto(2)` of a packet, in which the kernel carries it out. A signal before that is waited out; once it has
    /// begun there is no interruption.
    pub(crate) fn send(&self, packet: &[u8]) -> Result<(), Error> {
        loop {
            match self.inner.send(packet, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Socket { operation: "sendto", source }),
            }
        }
    }

    /// Waits up to the deadline (or, `at_once`, not at all) for a datagram, which replaces the buffer's content.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>, at_once: bool) -> Result<Received, Error> {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        let flags = libc::MSG_TRUNC | if at_once { libc::MSG_DONTWAIT } else { 0 };
        conclude(self.inner.recv(buffer, flags), buffer)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// What came of a receiving system call.
fn conclude(received: io::Result<usize>, buffer: &[u8]) -> Result<Received, Error> {
    match received {
        Ok(length) if length > buffer.len() => Ok(Received::Truncated(length)),
        Ok(_) => Ok(Received::Datagram),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOBUFS) => Ok(Received::Overrun),
            Some(libc::EAGAIN) => Ok(Received::TimedOut),
            Some(libc::EINTR) => Ok(Received::Nothing),
            _ => Err(Error::Socket { operation: "recvfrom", source: error }),
        },
    }
}

fn set_option<T>(socket: &NetlinkSocket, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the descriptor is open, and `value` points to `length` readable bytes for the duration of the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
