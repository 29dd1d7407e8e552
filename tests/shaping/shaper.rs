//! Qdiscs, classes and filters on a device, made by the adapter from what one would give `tc`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::libc::ENOENT;
use tc_adapter::command::Command;
use tc_adapter::{ClassEntry, Connection, Device, Handle, QdiscEntry, Request};

use crate::outcome::Stop;

/// A device and the adapter.
pub(crate) struct Shaper {
    connection: Connection,
    device: u32,
    name: String,
}

impl Shaper {
    /// For a device of the calling thread's namespace.
    pub(crate) fn new(device: &str) -> Result<Self, Failed> {
        let name = device.to_owned();
        Ok(Self { connection: Connection::connect()?, device: Device::by_name(device)?.index, name })
    }

    /// Adds what `text` says, such as `class parent 1: classid 1:1 htb rate 1mbit`.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Failed> {
        self.connection
            .request(&self.request(text)?)
            .map(drop)
            .map_err(|error| format!("{text}: {error}").into())
    }

    /// As [`Shaper::add`], for a kind that not every kernel has.
    pub(crate) fn add_if_known(&mut self, kind: &str, text: &str) -> Result<(), Stop> {
        match self.connection.request(&self.request(text)?) {
            Ok(_) => Ok(()),
            // What is named beside the kind was made just before, so that it is the kind which does not exist.
            Err(error) if error.errno() == Some(ENOENT) => {
                Err(Stop::forced(format!("this kernel has no {kind}: {error}")))
            }
            Err(error) => Err(Stop::failed(format!("{text}: {error}"))),
        }
    }

    fn request(&self, text: &str) -> Result<Request, Failed> {
        let (object, rest) = text.split_once(' ').ok_or("not a command")?;
        let command: Command = format!("{object} add dev {} {rest}", self.name).parse()?;
        Ok(command.request(|_| Ok::<_, tc_adapter::Error>(self.device))?)
    }

    /// The class `1:<minor>` with its counters.
    pub(crate) fn class(&mut self, minor: u16) -> Result<ClassEntry, Failed> {
        let request = Request::GetClass { device: self.device, classid: Handle::new(1, minor) };
        Ok(*self.connection.request(&request)?.class.ok_or("an answer without the class")?)
    }

    /// A qdisc with its counters.
    pub(crate) fn qdisc(&mut self, handle: Handle) -> Result<QdiscEntry, Failed> {
        let qdiscs = self.connection.qdiscs(Some(self.device))?;
        qdiscs.into_iter().find(|entry| entry.handle == handle).ok_or_else(|| format!("no {handle}").into())
    }

    /// Waits until nothing waits in the class `1:<minor>`.
    pub(crate) fn settle(&mut self, minor: u16) -> Result<(), Failed> {
        let give_up = Instant::now() + Duration::from_secs(10);
        while self.class(minor)?.stats.qlen > 0 {
            if Instant::now() > give_up {
                return Err(format!("1:{minor:x} does not send what waits in it").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// `rate … ceil …` in Mbit/s for a class, and both bursts: what the class may make up for after the machine did not let it send.
/// With `tc`'s default, one frame, whatever a timer is late is lost. At 50 ms they add 1.25 % to four seconds at most.
pub(crate) fn rate_and_ceil(rate: u32, ceil: u32) -> String {
    format!("rate {rate}mbit burst {}b ceil {ceil}mbit cburst {}b", burst(rate), burst(ceil))
}

/// Bytes of 50 ms at so many Mbit/s.
fn burst(rate: u32) -> u32 {
    rate * 1_000_000 / 8 / 20
}
