//! A device with an HTB qdisc, and short ways to ask about it.

use libtest_mimic::Failed;
use support::veth;
use tc_adapter::{Answer, ClassEntry, Connection, Device, Error, Handle, HtbClass, HtbQdisc, Request};

/// The device that the tests work on.
pub(crate) const DEVICE: &str = "tc0";
/// Its peer.
pub(crate) const PEER: &str = "tc1";
/// The qdisc on it.
pub(crate) const QDISC: Handle = Handle::qdisc(1);

/// A fresh device with HTB as `1:`, and a connection.
pub(crate) struct World {
    pub(crate) connection: Connection,
    pub(crate) device: u32,
}

impl World {
    pub(crate) fn new() -> Result<Self, Failed> {
        veth(DEVICE, PEER)?;
        let device = Device::by_name(DEVICE)?.index;
        let mut connection = Connection::connect()?;
        connection.request(&add_qdisc(device, QDISC))?;
        Ok(Self { connection, device })
    }

    /// As [`World::new`]; in a namespace that has one already, that one with a fresh qdisc.
    pub(crate) fn new_or_clean() -> Result<Self, Failed> {
        let Ok(device) = Device::by_name(DEVICE) else { return Self::new() };
        let mut connection = Connection::connect()?;
        let (device, parent) = (device.index, Handle::ROOT);
        connection.request(&Request::DeleteQdisc { device, parent, handle: QDISC })?;
        connection.request(&add_qdisc(device, QDISC))?;
        Ok(Self { connection, device })
    }

    pub(crate) fn add(&mut self, parent: Handle, minor: u16) -> Result<Answer, Error> {
        self.connection.request(&add_class(self.device, parent, minor))
    }

    /// `None` when there is no such class.
    pub(crate) fn class(&mut self, minor: u16) -> Result<Option<ClassEntry>, Failed> {
        match self.connection.request(&Request::GetClass { device: self.device, classid: class(minor) }) {
            Ok(answer) => Ok(Some(*answer.class.ok_or("an answer without the class")?)),
            Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many messages `work` sends.
    pub(crate) fn messages<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (u32, T) {
        let before = self.connection.last_sequence();
        let result = work(self);
        (self.connection.last_sequence() - before, result)
    }
}

/// The class `1:<minor>`.
pub(crate) fn class(minor: u16) -> Handle {
    Handle::new(QDISC.major(), minor)
}

/// A class of 8 Mbit/s, whose quantum the kernel has nothing to say about.
pub(crate) fn settings() -> HtbClass {
    mbit(8)
}

pub(crate) fn mbit(rate: u32) -> HtbClass {
    HtbClass::new(format!("{rate}mbit").parse().unwrap_or_else(|error| panic!("{error}")))
}

pub(crate) fn add_class(device: u32, parent: Handle, minor: u16) -> Request {
    Request::AddClass { device, parent, classid: class(minor), class: settings() }
}

pub(crate) fn add_qdisc(device: u32, handle: Handle) -> Request {
    Request::AddQdisc { device, parent: Handle::ROOT, handle, qdisc: HtbQdisc::new().into() }
}
