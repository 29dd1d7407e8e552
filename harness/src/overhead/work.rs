//! Single operations, encoded beforehand.

use std::io;

use nix::errno::Errno;
use tc_adapter::{Handle, HtbClass, Request};

use super::load::POPULATION;
use super::sender::{Message, Sender};
use crate::workload::ROOT_QDISC;

/// No device has this index.
const NO_DEVICE: u32 = i32::MAX.cast_unsigned();

/// What classes are changed from and to.
const RATES: [&str; 2] = ["10mbit", "11mbit"];

fn class(rate: &str) -> io::Result<HtbClass> {
    rate.parse().map(HtbClass::new).map_err(io::Error::other)
}

/// `tc class add dev … parent 1: classid 1:MINOR htb rate 10mbit`
pub(super) fn add(device: u32, minor: u16) -> io::Result<Request> {
    Ok(Request::AddClass {
        device,
        parent: ROOT_QDISC,
        classid: Handle::new(1, minor),
        class: class(RATES[0])?,
    })
}

/// Changes of one class after the other, from 10 to 11 Mbit/s and back.
pub(super) struct Changes {
    sender: Sender,
    messages: Vec<Message>,
    at: usize,
}

impl Changes {
    pub(super) fn new(device: u32) -> io::Result<Self> {
        let sender = Sender::open()?;
        let mut messages = Vec::new();
        for rate in RATES {
            let class = class(rate)?;
            messages.extend((1..=POPULATION).map(|minor| {
                let (parent, classid) = (Handle::UNSPEC, Handle::new(1, minor));
                sender.encode(&Request::ChangeClass { device, parent, classid, class: class.clone() })
            }));
        }
        Ok(Self { sender, messages, at: 0 })
    }

    pub(super) fn once(&mut self) -> io::Result<()> {
        self.at = (self.at + 1) % self.messages.len();
        self.sender.must(&mut self.messages[self.at])
    }
}

/// A class that is added and deleted.
pub(super) struct AddDelete {
    sender: Sender,
    add: Message,
    delete: Message,
}

impl AddDelete {
    pub(super) fn new(device: u32, minor: u16) -> io::Result<Self> {
        let sender = Sender::open()?;
        let classid = Handle::new(1, minor);
        let add = sender.encode(&add(device, minor)?);
        let delete = sender.encode(&Request::DeleteClass { device, classid });
        Ok(Self { sender, add, delete })
    }

    pub(super) fn once(&mut self) -> io::Result<()> {
        self.sender.must(&mut self.add)?;
        self.sender.must(&mut self.delete)
    }
}

/// A request that the kernel takes RTNL for and then refuses: the fastest there is.
pub(super) struct Refused {
    pub(super) sender: Sender,
    message: Message,
}

impl Refused {
    pub(super) fn new() -> io::Result<Self> {
        let sender = Sender::open()?;
        let classid = Handle::new(1, 1);
        let message = sender.encode(&Request::DeleteClass { device: NO_DEVICE, classid });
        Ok(Self { sender, message })
    }

    pub(super) fn once(&mut self) -> io::Result<()> {
        match self.sender.ask(&mut self.message)? {
            Err(Errno::ENODEV) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(()) => Err(io::Error::other("the kernel deleted a class of a device that does not exist")),
        }
    }
}
