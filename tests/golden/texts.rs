//! `tc` commands read by the adapter's own reader, and the message it makes of each next to that of the real `tc`.
//!
//! Most kinds are unknown to the kernel on which this runs: `tc` sends its message all the same, and here only the bytes count.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use netlink_packet_core::NlasIterator;
use support::{Need, trial_with, veth};
use tc_adapter::Device;
use tc_adapter::command::Command;

use crate::capture::tc_message_refused_or_not;

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Strace];

const COMMANDS: &[&str] = &[
    "qdisc add dev gold0 root handle 1: pfifo limit 100",
    "qdisc replace dev gold0 root handle 1: bfifo limit 15k",
    "qdisc change dev gold0 root handle 1: pfifo",
    "filter add dev gold0 parent 1: protocol ip prio 5 handle 6 fw classid 1:10",
    "filter add dev gold0 parent 1: handle 0x6/0xff fw classid 1:10 action drop",
    "filter del dev gold0 parent 1: protocol ip prio 5 handle 0x6 fw",
    "filter del dev gold0 parent 1: prio 5",
    "filter del dev gold0 parent 1:",
];

pub(crate) fn trials() -> Vec<Trial> {
    COMMANDS
        .iter()
        .map(|command| {
            let name = format!("golden::text::{}", command.replace(' ', "_"));
            trial_with(&name, NEEDS, move || same_bytes(command))
        })
        .collect()
}

fn same_bytes(text: &str) -> Result<(), Failed> {
    veth("gold0", "gold1")?;
    let command: Command = text.parse()?;
    let request = command.request(|name| Device::by_name(name).map(|device| device.index))?;
    let (mut ours, mut again) = (Vec::new(), Vec::new());
    request.encode(0, 0, &mut ours);
    // What is printed for it must mean the same.
    let printed = Command::of(&request, "gold0").ok_or("no command")?.to_string();
    printed
        .parse::<Command>()?
        .request(|name| Device::by_name(name).map(|device| device.index))?
        .encode(0, 0, &mut again);
    if ours != again {
        return Err(format!("printed as {printed:?}, which does not mean the same").into());
    }
    let theirs = tc_message_refused_or_not(text)?;
    let (ours, theirs) = (Message::parse(&ours)?, Message::parse(&theirs)?);
    if ours == theirs { Ok(()) } else { Err(format!("ours: {ours:x?}\n  tc: {theirs:x?}").into()) }
}

/// A message but for its length, sequence number and port.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// Type and flags.
    header: Vec<u8>,
    tcmsg: Vec<u8>,
    attributes: BTreeMap<u16, Value>,
}

/// An attribute's value, whose own attributes (if it looks like having some) may come in any order.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Nested(BTreeMap<u16, Value>),
    Bytes(Vec<u8>),
}

impl Message {
    fn parse(bytes: &[u8]) -> Result<Self, Failed> {
        let attributes = nested(bytes.get(36..).ok_or("a short message")?).ok_or("no attributes")?;
        Ok(Self { header: bytes[4..8].to_vec(), tcmsg: bytes[16..36].to_vec(), attributes })
    }
}

fn value(bytes: &[u8]) -> Value {
    nested(bytes)
        .filter(|found| !found.is_empty())
        .map_or_else(|| Value::Bytes(bytes.to_vec()), Value::Nested)
}

/// The attributes, when the bytes are nothing else.
fn nested(bytes: &[u8]) -> Option<BTreeMap<u16, Value>> {
    let mut found = BTreeMap::new();
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.ok()?;
        // NLA_F_NESTED, which newer tc sets in places, says nothing to the kernel.
        found.insert(attribute.kind() & 0x7fff, value(attribute.value())).is_none().then_some(())?;
    }
    Some(found)
}
