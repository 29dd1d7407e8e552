//! Qdiscs of the kinds that most kernels have: what was asked is what is there, by our own reading and by that of `tc`.

use libtest_mimic::Failed;
use serde_json::Value;
use support::{run, veth};
use tc_adapter::command::Command;
use tc_adapter::{Check, Checks, Connection, Device, Handle, Link, Qdisc, QdiscEntry};

use super::world::{DEVICE, PEER};

/// Of a fresh veth device.
const LINK: Link = Link { mtu: 1500, transmit_queue_length: 1000 };

struct Place {
    connection: Connection,
    device: u32,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        veth(DEVICE, PEER)?;
        Ok(Self { connection: Connection::connect()?, device: Device::by_name(DEVICE)?.index })
    }

    /// Does what the words of a `tc qdisc` command say; gives the qdisc that they speak of.
    fn apply(&mut self, words: &str) -> Result<Qdisc, Failed> {
        let command: Command = format!("qdisc {words}").replace("DEVICE", DEVICE).parse()?;
        let request = command.request(|name| Device::by_name(name).map(|device| device.index))?;
        // Its roots are replaced on purpose.
        let checks = Checks::ALL.without(Check::RootReplacement);
        self.connection.request_with(&request, checks).map_err(|error| format!("{words}: {error}"))?;
        let tc_adapter::command::Object::Qdisc { qdisc, .. } = command.object else {
            return Err("no qdisc".into());
        };
        qdisc.ok_or_else(|| format!("{words}: no settings").into())
    }

    fn there(&mut self, parent: Handle) -> Result<QdiscEntry, Failed> {
        let found =
            self.connection.qdiscs(Some(self.device))?.into_iter().find(|entry| entry.parent == parent);
        found.ok_or_else(|| format!("no qdisc under {parent}").into())
    }

    /// Applies both, one after the other, and holds the reported settings to each.
    fn check(&mut self, parent: Handle, first: &str, second: &str) -> Result<(), Failed> {
        let wanted = self.apply(first)?;
        let before = self.there(parent)?.options.ok_or_else(|| format!("{first}: no settings reported"))?;
        meets(&wanted, &before, true)?;
        let changed = self.apply(second)?;
        meets(&changed, &before, false)?;
        let after = self.there(parent)?.options.ok_or_else(|| format!("{second}: no settings reported"))?;
        meets(&changed, &after, true)?;
        meets(&wanted, &after, false)?;
        // What is read back says the same to the kernel.
        let words = after.to_string();
        self.apply(&format!("replace dev DEVICE root handle 1: {words}"))?;
        let again = self.there(parent)?.options.ok_or_else(|| format!("{words}: no settings reported"))?;
        if again == after { Ok(()) } else { Err(format!("{after:?} became {again:?}").into()) }
    }
}

fn meets(wanted: &Qdisc, actual: &Qdisc, expected: bool) -> Result<(), Failed> {
    if wanted.meets(actual, LINK) == expected {
        return Ok(());
    }
    let word = if expected { "should" } else { "should not" };
    Err(format!("{actual:?} {word} meet {wanted:?}").into())
}

/// What `tc` says of the qdisc of this handle.
fn shown(handle: &str) -> Result<Value, Failed> {
    let list: Value = serde_json::from_str(&run(&format!("tc -j qdisc show dev {DEVICE}"))?)?;
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry["handle"] == handle));
    found.cloned().ok_or_else(|| format!("tc shows no {handle} in {list}").into())
}

pub(crate) fn tbf_is_what_was_asked() -> Result<(), Failed> {
    let mut place = Place::new()?;
    for (first, second) in [
        ("rate 7mbit burst 15k limit 30k", "rate 7mbit burst 16k limit 30k"),
        (
            "rate 1234567bit burst 5001 latency 20ms overhead 14",
            "rate 1234567bit burst 5000 latency 20ms overhead 14",
        ),
        (
            "rate 10mbit burst 12345b limit 64k peakrate 11mbit mtu 1540 mpu 64",
            "rate 10mbit burst 12345b limit 64k peakrate 11mbit mtu 1541 mpu 64",
        ),
        (
            "rate 1gbit burst 1mb limit 2mb overhead 24 linklayer atm",
            "rate 1gbit burst 1mb limit 2mb overhead 24",
        ),
        ("rate 40gbit burst 100k limit 3mb", "rate 41gbit burst 100k limit 3mb"),
        ("rate 100gbit burst 1mb limit 3mb", "rate 100gbit burst 1mb limit 3mb peakrate 200gbit mtu 64k"),
        ("rate 8bit burst 200 limit 1000", "rate 8bit burst 199 limit 1000"),
    ] {
        let replace = |settings: &str| format!("replace dev DEVICE root handle 1: tbf {settings}");
        let change = |settings: &str| format!("change dev DEVICE root handle 1: tbf {settings}");
        place
            .check(Handle::ROOT, &replace(first), &change(second))
            .map_err(|error| format!("{first}, {second}: {error:?}"))?;
    }
    place.apply("change dev DEVICE root handle 1: tbf rate 80mbit burst 20000b limit 1mb")?;
    let shown = shown("1:")?;
    let options = &shown["options"];
    let same = shown["kind"] == "tbf" && options["rate"] == 10_000_000 && options["burst"] == 20_000;
    if same { Ok(()) } else { Err(format!("tc shows {shown}").into()) }
}

/// `tc` of the distributions rounds a burst's time to whole microseconds, which the kernel does not read.
pub(crate) fn tbf_is_what_tc_makes_of_it() -> Result<(), Failed> {
    let mut place = Place::new()?;
    for settings in [
        "rate 7mbit burst 15001 limit 30k peakrate 9mbit mtu 1541",
        "rate 40gbit burst 1601 limit 3mb",
        "rate 33mbit burst 2222 latency 33ms overhead 3 linklayer atm",
    ] {
        let ours = place.apply(&format!("replace dev DEVICE root handle 1: tbf {settings}"))?;
        let entry = place.there(Handle::ROOT)?;
        run(&format!("tc qdisc replace dev {DEVICE} root handle 2: tbf {settings}"))?;
        let theirs = place.there(Handle::ROOT)?.options;
        if entry.options != theirs {
            return Err(format!("{settings}: ours {:?}, tc's {theirs:?}", entry.options).into());
        }
        meets(&ours, &theirs.ok_or("no settings")?, true)?;
    }
    Ok(())
}

pub(crate) fn hooks_come_and_go() -> Result<(), Failed> {
    let mut place = Place::new()?;
    for (kind, other) in [("ingress", "clsact"), ("clsact", "ingress")] {
        let wanted = place.apply(&format!("add dev DEVICE {kind}"))?;
        let entry = place.there(Handle::INGRESS)?;
        assert_eq!((entry.handle, &*entry.kind), (Handle::qdisc(0xFFFF), kind));
        let actual = entry.options.ok_or("no settings")?;
        meets(&wanted, &actual, true)?;
        let Command { object: tc_adapter::command::Object::Qdisc { qdisc, .. }, .. } =
            format!("qdisc add dev {DEVICE} {other}").parse()?
        else {
            return Err("no qdisc".into());
        };
        meets(&qdisc.ok_or("no settings")?, &actual, false)?;
        if shown("ffff:")?["kind"] != kind {
            return Err(format!("tc shows no {kind}").into());
        }
        place.apply(&format!("del dev DEVICE {kind}"))?;
        if place.there(Handle::INGRESS).is_ok() {
            return Err(format!("{kind} is still there").into());
        }
    }
    Ok(())
}

pub(crate) fn mq_is_what_was_asked() -> Result<(), Failed> {
    let mut place = Place::new()?;
    run("ip link add many0 numtxqueues 4 numrxqueues 4 type veth peer name many1")?;
    place.device = Device::by_name("many0")?.index;
    let wanted = place.apply("add dev many0 root handle 1: mq")?;
    let actual = place.there(Handle::ROOT)?.options.ok_or("no settings")?;
    meets(&wanted, &actual, true)?;
    let list: Value = serde_json::from_str(&run("tc -j qdisc show dev many0")?)?;
    if list[0]["kind"] == "mq" && list[0]["handle"] == "1:" {
        Ok(())
    } else {
        Err(format!("tc shows {list}").into())
    }
}
