//! Raw traffic-control requests, each in a `sendto(2)` of its own.
//!
//! Written out by hand: what is tested here must not depend on the code that will be measured with it.

use std::{
    io,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

pub(crate) const RTM_DELQDISC: u16 = 37;
pub(crate) const RTM_NEWTCLASS: u16 = 40;
pub(crate) const RTM_DELTCLASS: u16 = 41;

const TC_H_ROOT: u32 = u32::MAX;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_HTB_PARMS: u16 = 1;

/// A netlink socket and its next sequence number.
pub(crate) struct Socket {
    netlink: netlink_sys::Socket,
    pub(crate) port_id: u32,
    pub(crate) next_sequence: u32,
}

impl Socket {
    pub(crate) fn open() -> io::Result<Self> {
        let mut netlink = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        let port_id = netlink.bind_auto()?.port_number();
        Ok(Self { netlink, port_id, next_sequence: 1 })
    }

    /// Adds class `1:minor` of 1 Mbit/s. `tc class add dev D parent 1: classid 1:minor htb rate 1mbit`
    pub(crate) fn add_class(&mut self, device: i32, minor: u16) -> io::Result<()> {
        self.request(RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL, device, minor, &htb_options(125_000))
    }

    /// Adds classes `1:first` to `1:last` in one system call, and returns how long that took. Only the last is acknowledged.
    pub(crate) fn add_classes(&mut self, device: i32, minors: RangeInclusive<u16>) -> io::Result<Duration> {
        let mut packet = Vec::new();
        let last = *minors.end();
        for minor in minors {
            let acknowledged = if minor == last { NLM_F_ACK } else { 0 };
            let flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | acknowledged;
            let body = class_body(device, minor, &htb_options(125_000));
            packet.extend(self.message(RTM_NEWTCLASS, flags, &body)?);
        }
        let start = Instant::now();
        self.send_bytes(&packet)?;
        let taken = start.elapsed();
        self.answer()?;
        Ok(taken)
    }

    /// Deletes the root qdisc. `tc qdisc del dev D root handle MAJOR:`
    pub(crate) fn delete_root(&mut self, device: i32, major: u32) -> io::Result<()> {
        let mut body = Vec::with_capacity(20);
        body.extend([0_u8; 4]);
        body.extend(device.to_ne_bytes());
        body.extend((major << 16).to_ne_bytes());
        body.extend(TC_H_ROOT.to_ne_bytes());
        body.extend([0_u8; 4]);
        self.send(RTM_DELQDISC, NLM_F_ACK, &body)?;
        self.answer()
    }

    /// Changes its rate, in bytes a second.
    pub(crate) fn change_class(&mut self, device: i32, minor: u16, rate: u32) -> io::Result<()> {
        self.request(RTM_NEWTCLASS, 0, device, minor, &htb_options(rate))
    }

    /// Changes its rate without asking for an answer.
    pub(crate) fn change_class_unacknowledged(&mut self, device: i32, minor: u16) -> io::Result<()> {
        self.send(RTM_NEWTCLASS, 0, &class_body(device, minor, &htb_options(250_000)))
    }

    /// Deletes it. `tc class del dev D classid 1:minor`
    pub(crate) fn delete_class(&mut self, device: i32, minor: u16) -> io::Result<()> {
        self.request(RTM_DELTCLASS, 0, device, minor, &[])
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        device: i32,
        minor: u16,
        attributes: &[u8],
    ) -> io::Result<()> {
        self.send(kind, flags | NLM_F_ACK, &class_body(device, minor, attributes))?;
        self.answer()
    }

    /// Sends one message, without waiting for an answer.
    pub(crate) fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let message = self.message(kind, flags | NLM_F_REQUEST, body)?;
        self.send_bytes(&message)
    }

    /// A message with the next sequence number.
    fn message(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let length = 16 + body.len();
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).map_err(io::Error::other)?.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.next_sequence.to_ne_bytes());
        message.extend(self.port_id.to_ne_bytes());
        message.extend(body);
        self.next_sequence += 1;
        Ok(message)
    }

    /// Sends bytes as they are, to the kernel.
    pub(crate) fn send_bytes(&self, message: &[u8]) -> io::Result<()> {
        self.netlink.send_to(message, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    /// Reads one answer, and its error number as an error.
    pub(crate) fn answer(&self) -> io::Result<()> {
        let mut answer = [0_u8; 8192];
        self.netlink.recv(&mut answer.as_mut_slice(), 0)?;
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// `struct tcmsg` for class `1:minor` below `1:`, and its attributes.
fn class_body(device: i32, minor: u16, attributes: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend([0_u8; 4]);
    body.extend(device.to_ne_bytes());
    body.extend((1 << 16 | u32::from(minor)).to_ne_bytes());
    body.extend((1_u32 << 16).to_ne_bytes());
    body.extend([0_u8; 4]);
    body.extend(attributes);
    body
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("an attribute of this test");
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// `TCA_KIND` "htb" and `TCA_OPTIONS` with a `struct tc_htb_opt`; the rate in bytes a second.
fn htb_options(rate: u32) -> Vec<u8> {
    let mut ratespec = [0_u8; 12];
    ratespec[1] = 1; // TC_LINKLAYER_ETHERNET: no rate table wanted
    ratespec[8..12].copy_from_slice(&rate.to_ne_bytes());
    let mut options = Vec::with_capacity(44);
    options.extend(ratespec);
    options.extend(ratespec);
    // buffer, cbuffer (ticks of 64 ns), quantum (bytes), level, prio
    for field in [200_000_u32, 200_000, 1500, 0, 0] {
        options.extend(field.to_ne_bytes());
    }
    let mut attributes = attribute(TCA_KIND, b"htb\0");
    attributes.extend(attribute(TCA_OPTIONS, &attribute(TCA_HTB_PARMS, &options)));
    attributes
}
