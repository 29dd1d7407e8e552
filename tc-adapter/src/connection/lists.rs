//! Dumps: lists of qdiscs and classes, whole or as they come.

use super::{Connection, RTM_NEWTCLASS};
use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::{Error, Inquiry};
use crate::exchange::collect;
use crate::filter::{FilterEntry, FilterName};
use crate::handle::Handle;
use crate::link::Link;
use crate::message::MessageType;
use crate::packet::Subject;
use crate::reply::{Event, Malformed, Span};
use crate::request::{self, Dump};

/// How often a dump that the kernel calls interrupted is tried.
const DUMP_ATTEMPTS: u32 = 5;

const RTM_NEWQDISC: u16 = MessageType::NewQdisc.value();
const RTM_NEWTFILTER: u16 = MessageType::NewFilter.value();
const RTM_NEWLINK: u16 = 16;

impl Connection {
    /// Every qdisc of the namespace, or of one device: `tc -s qdisc show [dev …]`. Qdiscs that the kernel hides from
    /// `tc` without `invisible` are not among them.
    pub fn qdiscs(&mut self, device: Option<u32>) -> Result<Vec<QdiscEntry>, Error> {
        let list = self.list(Dump::Qdiscs { device }, |message_type, payload, list| {
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
        let list = self.list(Dump::Classes { device }, |message_type, payload, list| {
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

    /// As [`Connection::classes`], one at a time as they come: the memory does not grow with their number. Gives the
    /// number of classes. After an error, `each` has seen some of them.
    pub fn for_each_class(&mut self, device: u32, mut each: impl FnMut(ClassEntry)) -> Result<u64, Error> {
        let mut count = 0;
        let interrupted = self.dump(Dump::Classes { device }, |message_type, payload| {
            if message_type == RTM_NEWTCLASS {
                each(ClassEntry::decode(payload)?);
                count += 1;
            }
            Ok(())
        })?;
        if interrupted {
            return Err(Error::DumpInterrupted { operation: MessageType::GetClass, attempts: 1 });
        }
        if count == 0 {
            self.check_device(device)?;
        }
        Ok(count)
    }

    /// The filters that hang on a qdisc or a class, with an entry of handle 0 for each prio: `tc -s filter show dev … parent …`.
    /// `EINVAL` where there can be none, `ENOENT` where there is no such qdisc or class.
    pub fn filters(&mut self, device: u32, parent: Handle) -> Result<Vec<FilterEntry>, Error> {
        let dump = Dump::Filters { device, parent, chain: None };
        let list = self.list(dump, |message_type, payload, list| {
            if message_type == RTM_NEWTFILTER {
                list.push(FilterEntry::decode(payload)?);
            }
            Ok(())
        })?;
        if list.is_empty() {
            self.check_device(device)?;
        }
        Ok(list)
    }

    /// The hash table that a prio of `u32` filters starts from.
    ///
    /// The kernel lists the tables of a prio for every class of the qdisc that has filters of this prio (`u32_walk` goes through
    /// those of the whole qdisc), so that only by asking it can be told whose is which.
    pub(crate) fn root_table(
        &mut self,
        device: u32,
        parent: Handle,
        place: &FilterEntry,
    ) -> Result<u32, Error> {
        /// `TC_U32_ROOT`
        const ROOT: Handle = Handle::from_raw(0xFFF0_0000);
        let name = FilterName { handle: ROOT.raw(), ..place.name() };
        let subject = Subject { handle: ROOT, parent, ..Subject::named(MessageType::GetFilter, device) };
        self.packet.only(subject, |buffer| name.encode_question(device, parent, buffer));
        let mut table = None;
        self.ask(&subject, |message_type, payload| {
            if message_type == RTM_NEWTFILTER {
                table = Some(FilterEntry::decode(payload)?.handle);
            }
            Ok(())
        })?;
        table.ok_or(Error::Malformed(Malformed("an answer without the filter that was asked for")))
    }

    /// The properties of a device on which defaults depend.
    pub fn link(&mut self, device: u32) -> Result<Link, Error> {
        let subject = Subject::named(MessageType::GetLink, device);
        self.packet.only(subject, |buffer| request::encode_get_link(device, buffer));
        let mut link = None;
        self.ask(&subject, |message_type, payload| {
            if message_type == RTM_NEWLINK {
                link = Some(Link::decode(payload)?);
            }
            Ok(())
        })?;
        link.ok_or(Error::Malformed(Malformed("an answer without the device that was asked for")))
    }

    /// A dump into a list, again when the kernel says that changes came in between.
    fn list<T>(
        &mut self,
        dump: Dump,
        mut read: impl FnMut(u16, &[u8], &mut Vec<T>) -> Result<(), Malformed>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut list = Vec::new();
            let interrupted =
                self.dump(dump, |message_type, payload| read(message_type, payload, &mut list))?;
            if !interrupted {
                return Ok(list);
            }
        }
        Err(Error::DumpInterrupted { operation: dump.message_type(), attempts: DUMP_ATTEMPTS })
    }

    /// One dump. Gives whether the kernel flagged it as inconsistent.
    fn dump(
        &mut self,
        dump: Dump,
        read: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<bool, Error> {
        let subject = Subject::named(dump.message_type(), dump.device());
        self.packet.only(subject, |buffer| dump.encode(0, 0, buffer));
        self.ask(&subject, read)
    }

    /// To a dump, a device that does not exist is one without qdiscs and classes.
    fn check_device(&mut self, device: u32) -> Result<(), Error> {
        let missing = || Error::NoSuchDevice { device: format!("index {device}") };
        if device == 0 {
            return Err(missing());
        }
        let subject = Subject::named(MessageType::GetLink, device);
        self.packet.only(subject, |buffer| request::encode_get_link(device, buffer));
        match self.ask(&subject, |_, _| Ok(())) {
            Err(Error::Kernel { errno: libc::ENODEV, .. }) => Err(missing()),
            other => other.map(drop),
        }
    }

    /// Sends the only message of the packet, a question, and hands its objects to `object`.
    pub(super) fn ask(
        &mut self,
        subject: &Subject,
        mut object: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<bool, Error> {
        let sequence = self.dispatch()?;
        let span = Span { port: self.socket.port(), first: sequence, count: 1 };
        let (mut interrupted, mut verdict, mut malformed) = (false, None, None);
        let socket = &self.socket;
        let receive = |buffer: &mut Vec<u8>, at_once| socket.receive(buffer, at_once);
        let heard = collect(span, self.options.deadline, &mut self.incoming, receive, |_, flagged| {
            interrupted |= flagged.interrupted;
            match flagged.event {
                Event::End(end) => verdict = Some(end),
                Event::Object { message_type, payload } => {
                    return object(message_type, payload).inspect_err(|error| malformed = Some(*error));
                }
            }
            Ok(())
        });
        match (verdict, heard.loss, malformed) {
            (Some(verdict), ..) if verdict.errno != 0 => Err(subject.refused(verdict)),
            (_, Some(loss), _) => Err(subject.lost(sequence, loss, Inquiry::NotNeeded)),
            (.., Some(malformed)) => Err(malformed.into()),
            _ => Ok(interrupted),
        }
    }
}
