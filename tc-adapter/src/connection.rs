//! The blocking core: one socket, one request at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::Error;
use crate::exchange::{Outcome, Sent};
use crate::handle::Handle;
use crate::message::MessageType;
use crate::reply::Malformed;
use crate::request::{self, Dump, Request};
use crate::socket::{DATAGRAM, Socket, SocketOptions};

/// A connection to the traffic control of one network namespace, for one thread at a time.
///
/// [`Client`](crate::Client) shares one among tasks. Use it directly where there is no asynchronous runtime.
pub struct Connection {
    socket: Socket,
    options: SocketOptions,
    last_sequence: Arc<AtomicU32>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// What the kernel said to a request that it carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sequence number under which the request was sent; with the port id it names the request in kernel traces.
    pub sequence: u32,
    /// The kernel carried the request out, but has a remark (ext-ack text with error 0), such as
    /// "quantum of class 10001 is big. Consider r2q change." (since Linux 6.4; before, HTB wrote it to the kernel's log).
    pub warning: Option<String>,
    /// The class: the one asked for by [`Request::GetClass`]; also where the kernel was made to echo it for a check of its
    /// parent, then as it is after the request.
    pub class: Option<ClassEntry>,
}

/// How often a dump that the kernel calls interrupted is tried.
const DUMP_ATTEMPTS: u32 = 5;

const RTM_NEWQDISC: u16 = MessageType::NewQdisc.value();
const RTM_NEWTCLASS: u16 = MessageType::NewClass.value();

impl Connection {
    /// Opens a socket in the calling thread's network namespace, in which it stays. Needs no privilege to list, and
    /// `CAP_NET_ADMIN` over the namespace to change.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_with(SocketOptions::default())
    }

    /// As [`Connection::connect`], with other buffers or another deadline.
    pub fn connect_with(options: SocketOptions) -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(options)?,
            options,
            last_sequence: Arc::default(),
            outgoing: Vec::with_capacity(256),
            incoming: Vec::with_capacity(DATAGRAM),
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

    /// Sends the request and waits for the kernel to have carried it out.
    ///
    /// [`Error`] says when nothing was sent ([`Error::Invalid`], [`Error::MissingParent`]), when nothing was changed
    /// ([`Error::Kernel`]), and when that is unknown ([`Error::AnswerLost`]).
    pub fn request(&mut self, request: &Request) -> Result<Answer, Error> {
        request.validate()?;
        if let Some(parent) = request.parent_to_check() {
            self.check_parent(request, parent)?;
        }
        let answer = self.exchange(request)?;
        match &answer.class {
            Some(class) if request.verifies_parent() && !is_under(class.parent, request.parent()) => {
                Err(Error::ParentNotApplied {
                    device: request.device(),
                    classid: request.handle(),
                    asked: request.parent(),
                    actual: class.parent,
                })
            }
            _ => Ok(answer),
        }
    }

    fn check_parent(&mut self, request: &Request, parent: Handle) -> Result<(), Error> {
        let device = request.device();
        match self.exchange(&Request::GetClass { device, classid: parent }) {
            Err(Error::Kernel { errno: libc::ENOENT, ext_ack, .. }) => {
                Err(Error::MissingParent { device, classid: request.handle(), parent, ext_ack })
            }
            other => other.map(drop),
        }
    }

    /// One request, one message, its answer.
    fn exchange(&mut self, request: &Request) -> Result<Answer, Error> {
        let sent = self.subject(request.message_type(), request.device(), request.handle());
        request.encode(sent.sequence, sent.port, &mut self.outgoing);
        let mut class = None;
        let Outcome { warning, loss, .. } = self.send_and_collect(&sent, |message_type, payload| {
            if message_type == RTM_NEWTCLASS {
                class = Some(ClassEntry::decode(payload)?);
            }
            Ok(())
        })?;
        let wants_class = request.verifies_parent() || matches!(request, Request::GetClass { .. });
        if wants_class && class.is_none() {
            return Err(match loss {
                Some(loss) => sent.lost(loss),
                None => Malformed("an acknowledgement without the class that was asked for").into(),
            });
        }
        Ok(Answer { sequence: sent.sequence, warning, class })
    }

    /// Every qdisc of the namespace, or of one device: `tc -s qdisc show [dev …]`. Qdiscs that the kernel hides from
    /// `tc` without `invisible` are not among them.
    pub fn qdiscs(&mut self, device: Option<u32>) -> Result<Vec<QdiscEntry>, Error> {
        let list = self.dump(Dump::Qdiscs { device }, |message_type, payload, list| {
            if message_type == RTM_NEWQDISC {
                let entry = QdiscEntry::decode(payload)?;
                // The kernel has no filter by device here.
                if device.is_none_or(|device| device == entry.device) {
                    list.push(entry);
                }
            }
            Ok(())
        })?;
        if let (Some(device), true) = (device, list.is_empty()) {
            self.check_device(device)?;
        }
        Ok(list)
    }

    /// Every class of a device with its statistics: `tc -s class show dev …`.
    ///
    /// The list is put together from datagrams of 32 KiB, and the kernel flags no change in between (it fills no
    /// generation number for classes): while others add or delete, a class may be missing or listed twice.
    pub fn classes(&mut self, device: u32) -> Result<Vec<ClassEntry>, Error> {
        let list = self.dump(Dump::Classes { device }, |message_type, payload, list| {
            if message_type == RTM_NEWTCLASS {
                list.push(ClassEntry::decode(payload)?);
            }
            Ok(())
        })?;
        if list.is_empty() {
            self.check_device(device)?;
        }
        Ok(list)
    }

    fn dump<T>(
        &mut self,
        dump: Dump,
        mut read: impl FnMut(u16, &[u8], &mut Vec<T>) -> Result<(), Malformed>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let sent = self.subject(dump.message_type(), dump.device(), Handle::UNSPEC);
            dump.encode(sent.sequence, sent.port, &mut self.outgoing);
            let mut list = Vec::new();
            let outcome =
                self.send_and_collect(&sent, |message_type, payload| read(message_type, payload, &mut list))?;
            match outcome {
                Outcome { loss: Some(loss), .. } => return Err(sent.lost(loss)),
                Outcome { interrupted: true, .. } => {}
                Outcome { .. } => return Ok(list),
            }
        }
        Err(Error::DumpInterrupted { operation: dump.message_type(), attempts: DUMP_ATTEMPTS })
    }

    /// To a dump, a device that does not exist is one without qdiscs and classes.
    fn check_device(&mut self, device: u32) -> Result<(), Error> {
        let missing = || Error::NoSuchDevice { device: format!("index {device}") };
        if device == 0 {
            return Err(missing());
        }
        let sent = self.subject(MessageType::GetLink, device, Handle::UNSPEC);
        request::encode_get_link(device, sent.sequence, sent.port, &mut self.outgoing);
        match self.send_and_collect(&sent, |_, _| Ok(())) {
            Err(Error::Kernel { errno: libc::ENODEV, .. }) => Err(missing()),
            other => other.map(drop),
        }
    }

    /// Takes the next sequence number; 0 is left out, it marks messages that answer nobody.
    fn subject(&mut self, operation: MessageType, device: u32, handle: Handle) -> Sent {
        let sequence = self.last_sequence().checked_add(1).unwrap_or(1);
        Sent { operation, device, handle, sequence, port: self.socket.port() }
    }

    /// Sends what is in `outgoing` and reads to the end of its answer.
    fn send_and_collect(
        &mut self,
        sent: &Sent,
        object: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Outcome, Error> {
        self.last_sequence.store(sent.sequence, Ordering::Release);
        self.socket.send(&self.outgoing)?;
        let socket = &self.socket;
        let receive = |buffer: &mut Vec<u8>, at_once| socket.receive(buffer, at_once);
        sent.collect(self.options.deadline, &mut self.incoming, receive, object)
    }
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
fn is_under(actual: Handle, asked: Handle) -> bool {
    actual == asked || (actual == Handle::ROOT && asked.minor() == 0)
}
