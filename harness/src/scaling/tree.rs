//! HTB classes on the shards: how they are filled, and what one operation is.

use std::time::Instant;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tc_adapter::{Connection, Handle, HtbQdisc, OnError, Request, SocketOptions};

use crate::exit::Failure;
use crate::load::Stop;
use crate::workload::{ROOT_QDISC, random_class};

/// Requests that fill travel together; between two of these packets a signal is heard.
const PACKET: u64 = 128;

/// The classes, dealt to the devices in turn. The first `standing` of them are in the kernel.
pub(super) struct Tree<'a> {
    devices: &'a [u32],
    /// Not the one that is measured, so that filling is not taken for it.
    filler: Connection,
    standing: u64,
    rng: ChaCha8Rng,
}

impl<'a> Tree<'a> {
    /// Root qdiscs without classes.
    pub(super) fn plant(devices: &'a [u32], seed: u64) -> Result<Self, Failure> {
        let mut filler = Connection::connect().map_err(|error| Failure::environment(error.to_string()))?;
        for &device in devices {
            let (handle, qdisc) = (ROOT_QDISC, HtbQdisc::new().into());
            let request = Request::AddQdisc { device, parent: Handle::ROOT, handle, qdisc };
            filler.request(&request).map_err(|error| unprepared(&error))?;
        }
        Ok(Self { devices, filler, standing: 0, rng: ChaCha8Rng::seed_from_u64(seed) })
    }

    /// Adds classes until `to` stand; fewer, when somebody asks to stop or the time is up.
    pub(super) fn fill(&mut self, to: u64, stop: &Stop, deadline: Instant) -> Result<(), Failure> {
        while self.standing < to && !stop.is_set() && Instant::now() < deadline {
            let end = to.min(self.standing + PACKET);
            let requests: Vec<Request> = (self.standing..end).map(|index| self.add(index)).collect();
            for outcome in self.filler.batch(&requests, OnError::Continue) {
                outcome.map_err(|error| unprepared(&error))?;
            }
            self.standing = end;
        }
        Ok(())
    }

    /// How many stand.
    pub(super) fn standing(&self) -> u64 {
        self.standing
    }

    /// The request that adds the class with this number.
    pub(super) fn add(&mut self, index: u64) -> Request {
        let (device, classid) = self.place(index);
        Request::AddClass { device, parent: ROOT_QDISC, classid, class: random_class(&mut self.rng) }
    }

    /// The request that deletes it.
    pub(super) fn delete(&self, index: u64) -> Request {
        let (device, classid) = self.place(index);
        Request::DeleteClass { device, classid }
    }

    /// The request that changes one of the first `among`, drawn by chance.
    pub(super) fn change(&mut self, among: u64) -> Request {
        let index = self.rng.random_range(0..among.max(1));
        let (device, classid) = self.place(index);
        Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class: random_class(&mut self.rng) }
    }

    fn place(&self, index: u64) -> (u32, Handle) {
        crate::workload::class_place(self.devices, index)
    }

    /// Deletes the root qdiscs, and with them the classes.
    pub(super) fn fell(mut self) -> Result<(), Failure> {
        for &device in self.devices {
            let request = Request::DeleteQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC };
            self.filler.request(&request).map_err(|error| unprepared(&error))?;
        }
        Ok(())
    }
}

/// A socket of one caller, whose requests travel alone.
pub(super) fn caller() -> Result<Connection, Failure> {
    let options =
        SocketOptions { messages_per_packet: Some(std::num::NonZeroU16::MIN), ..SocketOptions::default() };
    Connection::connect_with(options).map_err(|error| Failure::environment(error.to_string()))
}

pub(super) fn unprepared(error: &tc_adapter::Error) -> Failure {
    Failure::environment(format!("cannot build the classes: {error}"))
}
