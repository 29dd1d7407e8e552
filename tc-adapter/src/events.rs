//! What changes in traffic control, as it changes.

use std::os::fd::{AsFd, BorrowedFd};

use crate::attribute::u32_at;
use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::Error;
use crate::filter::FilterEntry;
use crate::message::{Header, MessageType, NETLINK_HEADER};
use crate::reply::Malformed;
use crate::socket::{Received, Socket, SocketOptions};

/// `RTNLGRP_TC` of `include/uapi/linux/rtnetlink.h`.
const RTNLGRP_TC: u32 = 4;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A qdisc was made, or has new settings.
    QdiscSet(QdiscEntry),
    /// A qdisc has gone, and its classes and filters with it, of which nothing is said.
    QdiscDeleted(QdiscEntry),
    /// A class was made, or has new settings.
    ClassSet(ClassEntry),
    /// A class has gone.
    ClassDeleted(ClassEntry),
    /// A filter was made, or has new settings.
    FilterSet(Box<FilterEntry>),
    /// A filter has gone.
    FilterDeleted(Box<FilterEntry>),
    /// Something else of traffic control changed: chains, actions.
    Other {
        /// `nlmsg_type`, such as `RTM_NEWCHAIN` (100).
        message_type: u16,
        /// Interface index, where it is about one.
        device: u32,
    },
    /// Changes came faster than they were read, and an unknown number of them is missing: read the lists anew.
    Lost,
}

/// The changes of one network namespace's traffic control, whoever makes them: `tc monitor`.
///
/// While anybody listens, the kernel builds and sends a message for each change: one listener somewhere raises the time of a
/// class change from 2 to 9 µs, for everybody.
///
/// ```no_run
/// use tc_adapter::{Event, Events, SocketOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = Events::subscribe(SocketOptions::default())?;
/// loop {
///     match events.wait()? {
///         Some(Event::ClassDeleted(class)) => println!("{} has gone", class.classid),
///         Some(Event::Lost) => println!("too fast: start again from a list"),
///         Some(_) => {}
///         None => println!("quiet for a while"),
///     }
/// }
/// # }
/// ```
///
/// To wait in an event loop, register the descriptor ([`AsFd`]) for reading and call [`Events::wait`] when it is readable.
pub struct Events {
    socket: Socket,
    buffer: Vec<u8>,
    /// Where the next message in the buffer begins.
    next: usize,
}

impl Events {
    /// Listens from now on, in the calling thread's network namespace. Needs no privilege. A larger receive buffer bears longer
    /// bursts.
    pub fn subscribe(options: SocketOptions) -> Result<Self, Error> {
        let mut socket = Socket::open(options)?;
        socket.join(RTNLGRP_TC)?;
        Ok(Self { socket, buffer: Vec::new(), next: 0 })
    }

    /// The next change; waits for it, up to [`SocketOptions::deadline`], after which it is `None`.
    pub fn wait(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.next_in_buffer() {
                return event.map(Some).map_err(Error::from);
            }
            match self.socket.receive_news(&mut self.buffer)? {
                Received::Datagram => self.next = 0,
                Received::Overrun | Received::Truncated(_) => {
                    self.next = self.buffer.len();
                    return Ok(Some(Event::Lost));
                }
                Received::Nothing => self.next = self.buffer.len(),
                Received::TimedOut => return Ok(None),
            }
        }
    }

    fn next_in_buffer(&mut self) -> Option<Result<Event, Malformed>> {
        let rest = self.buffer.get(self.next..).filter(|rest| !rest.is_empty())?;
        let Some(header) = Header::read(rest) else {
            self.next = self.buffer.len();
            return Some(Err(Malformed("a message's length exceeds its datagram")));
        };
        let event = event(header.message_type, &rest[NETLINK_HEADER..header.length]);
        self.next += header.length.next_multiple_of(4);
        Some(event)
    }
}

fn event(message_type: u16, payload: &[u8]) -> Result<Event, Malformed> {
    const NEW_QDISC: u16 = MessageType::NewQdisc.value();
    const DEL_QDISC: u16 = MessageType::DelQdisc.value();
    const NEW_CLASS: u16 = MessageType::NewClass.value();
    const DEL_CLASS: u16 = MessageType::DelClass.value();
    const NEW_FILTER: u16 = MessageType::NewFilter.value();
    const DEL_FILTER: u16 = MessageType::DelFilter.value();
    Ok(match message_type {
        NEW_QDISC => Event::QdiscSet(QdiscEntry::decode(payload)?),
        DEL_QDISC => Event::QdiscDeleted(QdiscEntry::decode(payload)?),
        NEW_CLASS => Event::ClassSet(ClassEntry::decode(payload)?),
        DEL_CLASS => Event::ClassDeleted(ClassEntry::decode(payload)?),
        NEW_FILTER => Event::FilterSet(Box::new(FilterEntry::decode(payload)?)),
        DEL_FILTER => Event::FilterDeleted(Box::new(FilterEntry::decode(payload)?)),
        message_type => Event::Other { message_type, device: u32_at(payload, 4).unwrap_or(0) },
    })
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_ends(bytes: Vec<u8>, message_type in 30_u16..50) {
            let _ = event(message_type, &bytes);
        }
    }
}
