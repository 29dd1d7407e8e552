//! Filters on a real kernel: what it reports of them meets what was asked for, and nothing else does.

use std::num::NonZeroU16;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::libc;
use support::run;
use tc_adapter::command::Command;
use tc_adapter::{
    Action, Answer, Classifier, Connection, Device, Error, Evidence, Filter, FilterEntry, Handle, Inquiry,
    OnError, Request, SocketOptions,
};

use super::world::{DEVICE, QDISC, World, class};

/// Reads what follows `tc filter`, but for device and parent.
fn request(text: &str) -> Result<Request, Failed> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let command: Command = format!("filter {verb} dev {DEVICE} parent 1: {rest}").parse()?;
    Ok(command.request(|name| Device::by_name(name).map(|device| device.index))?)
}

/// The filter that a command is about.
fn filter(text: &str) -> Result<Filter, Failed> {
    match request(text)? {
        Request::AddFilter { filter, .. }
        | Request::ChangeFilter { filter, .. }
        | Request::ReplaceFilter { filter, .. } => Ok(*filter),
        other => Err(format!("{text}: {other:?}").into()),
    }
}

fn apply(world: &mut World, text: &str) -> Result<Answer, Failed> {
    world.connection.request(&request(text)?).map_err(|error| format!("{text}: {error}").into())
}

/// What hangs on the qdisc, without the entries of the prios themselves.
fn list(world: &mut World) -> Result<Vec<FilterEntry>, Failed> {
    let mut list = world.connection.filters(world.device, QDISC)?;
    list.retain(|entry| entry.handle != 0);
    Ok(list)
}

/// That of this prio and handle.
fn find(world: &mut World, prio: u16, handle: u32) -> Result<FilterEntry, Failed> {
    let list = list(world)?;
    let found = list.iter().find(|entry| (entry.prio, entry.handle) == (prio, handle)).cloned();
    found.ok_or_else(|| format!("no {handle:#x} among {list:?}").into())
}

fn settings(world: &mut World, prio: u16, handle: u32) -> Result<Filter, Failed> {
    Ok(find(world, prio, handle)?.filter.ok_or("no settings")?)
}

/// Each is listed as what `tc -j filter show` shows.
fn as_tc_shows(world: &mut World) -> Result<(), Failed> {
    let shown: Vec<serde_json::Value> =
        serde_json::from_str(&run(&format!("tc -j filter show dev {DEVICE} parent 1:"))?)?;
    let shown: Vec<_> = shown.into_iter().filter(|entry| entry.get("options").is_some()).collect();
    let list = list(world)?;
    assert_eq!(shown.len(), list.len());
    for (shown, entry) in shown.iter().zip(&list) {
        let filter = entry.filter.as_ref().ok_or("no settings")?;
        let options = &shown["options"];
        assert_eq!(
            (shown["kind"].as_str(), shown["pref"].as_u64()),
            (Some(&*entry.kind), Some(entry.prio.into()))
        );
        let handle = options.get("fh").or_else(|| options.get("handle")).and_then(|value| value.as_str());
        let name = filter.name().to_string();
        assert!(
            handle.is_some_and(|handle| name.contains(&format!(" handle {handle} "))),
            "{handle:?}, {name}"
        );
        let classid = options["flowid"].as_str().map_or(Ok(Handle::UNSPEC), str::parse)?;
        assert_eq!(filter.classid, classid);
        let divisor = options["ht_divisor"].as_u64();
        let Classifier::U32(u32) = &filter.classifier else { continue };
        assert_eq!((u32.divisor.map(u64::from), u32.is_table()), (divisor, divisor.is_some()));
        let link = u32.link.is_some();
        assert_eq!(options.get("link").is_some(), link);
    }
    Ok(())
}

/// Hash tables of u32 as shapers use them: by the last byte of the address.
pub(crate) fn hash_tables_lead_to_classes() -> Result<(), Failed> {
    let mut world = World::new()?;
    let (table, link) = (
        "add prio 1 handle 2: u32 divisor 256",
        "add prio 1 protocol all u32 match ip dst 10.0.0.0/24 hashkey mask 0xff at 16 link 2:",
    );
    let node = "add prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.26 flowid 1:1";
    for text in [table, link, node] {
        apply(&mut world, text)?;
    }
    as_tc_shows(&mut world)?;
    let (shown_table, shown_node) =
        (settings(&mut world, 1, 0x0020_0000)?, settings(&mut world, 1, 0x0021_A007)?);
    let shown_link = settings(&mut world, 1, 0x8000_0800)?;
    assert!(
        filter(table)?.meets(&shown_table)
            && filter(link)?.meets(&shown_link)
            && filter(node)?.meets(&shown_node)
    );
    assert!(!filter(table)?.meets(&shown_node) && !filter(node)?.meets(&shown_link));
    for other in [
        "add prio 1 handle 2:1a:7 u32 ht 2:1b: match ip dst 10.0.0.26 flowid 1:1",
        "add prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.27 flowid 1:1",
        "add prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.26/31 flowid 1:1",
        "add prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.26 flowid 1:2",
        "add prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.26 flowid 1:1 skip_hw",
        "add prio 1 handle 2:1a:7 u32 match ip dst 10.0.0.26 flowid 1:1",
    ] {
        assert!(!filter(other)?.meets(&shown_node), "{other}");
    }
    for other in ["add prio 1 handle 2: u32 divisor 128", "add prio 1 u32 match ip dst 10.0.0.0/24 link 2:"] {
        assert!(!filter(other)?.meets(&shown_table) && !filter(other)?.meets(&shown_link), "{other}");
    }
    // Another class, by which the rest stays.
    let moved = "replace prio 1 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.0.0.26 flowid 1:2";
    apply(&mut world, moved)?;
    let shown_node = settings(&mut world, 1, 0x0021_A007)?;
    assert!(filter(moved)?.meets(&shown_node) && !filter(node)?.meets(&shown_node));
    let short = "change prio 1 handle 2:1a:7 u32 ht 2:1a: flowid 1:3";
    apply(&mut world, short)?;
    let shown_node = settings(&mut world, 1, 0x0021_A007)?;
    assert!(filter(short)?.meets(&shown_node), "a selector that is not said stays: {shown_node}");
    assert_eq!(shown_node.classid, class(3));
    as_tc_shows(&mut world)?;
    // What is reported is what makes it.
    let Filter { handle, .. } = shown_node;
    let device = world.device;
    let name = Box::new(shown_node.name());
    world.connection.request(&Request::DeleteFilter { device, parent: QDISC, name })?;
    assert!(find(&mut world, 1, handle).is_err());
    let again = Box::new(shown_node.clone());
    world.connection.request(&Request::AddFilter { device, parent: QDISC, filter: again })?;
    assert_eq!(settings(&mut world, 1, handle)?, shown_node);
    apply(&mut world, "del prio 1 protocol all")?;
    assert_eq!(list(&mut world)?, []);
    Ok(())
}

pub(crate) fn selectors_come_back() -> Result<(), Failed> {
    let mut world = World::new()?;
    apply(&mut world, "add prio 1 handle 2: u32 divisor 1")?;
    for (number, text) in [
        "match ip src 10.0.0.0/8 match ip dport 80 0xffff match ip protocol 6 0xff",
        "match ip6 dst 2001:db8::/61 match ip6 src ::1",
        "match tcp dst 22 0xffff match u8 5 ff at -3",
        "match u32 0 0 offset at 0 mask 0x0f00 shift 6 plus 4 eat link 2:",
        "match ether dst 1:2:3:4:5:6 match u16 0x800 0xffff at -2",
        "match ip6 icmp_code 3 ff",
        "match u32 0 0 indev tc0",
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("add prio 1 handle 800::{:x} u32 {text} flowid 1:{:x}", number + 1, number + 1);
        apply(&mut world, &text)?;
        let shown = settings(&mut world, 1, 0x8000_0001 + u32::try_from(number)?)?;
        assert!(filter(&text)?.meets(&shown), "{text}: {shown}");
        // It says where it is, too.
        let Classifier::U32(u32) = &shown.classifier else { return Err("not u32".into()) };
        assert_eq!((u32.ht, u32.is_table()), (Some(0x8000_0000), false));
        let again = filter(&format!("add {shown}"))?;
        assert_eq!(again, shown);
    }
    // Of "eat" tc makes what is no JSON.
    Ok(())
}

pub(crate) fn programs_come_back() -> Result<(), Failed> {
    let mut world = World::new()?;
    let text = "add prio 2 protocol ip handle 5 bpf bytecode '4,48 0 0 9,21 0 1 6,6 0 0 4294967295,6 0 0 0' flowid 1:1";
    apply(&mut world, text)?;
    let shown = settings(&mut world, 2, 5)?;
    assert!(filter(text)?.meets(&shown), "{shown}");
    for (from, to) in [("21 0 1 6", "21 0 1 17"), ("flowid 1:1", "flowid 1:2"), ("flowid", "skip_hw flowid")]
    {
        let other = text.replace(from, to);
        assert!(!filter(&other)?.meets(&shown), "{other}");
    }
    as_tc_shows(&mut world)?;
    let changed = text.replace("add", "replace").replace("21 0 1 6", "21 0 1 17");
    apply(&mut world, &changed)?;
    assert!(filter(&changed)?.meets(&settings(&mut world, 2, 5)?));
    apply(&mut world, "del prio 2 protocol ip handle 5 bpf")?;
    assert_eq!(list(&mut world)?, []);
    Ok(())
}

pub(crate) fn redirected_packets_are_counted() -> Result<(), Failed> {
    let mut world = World::new()?;
    let text = "add prio 3 handle 800::1 u32 match u32 0 0 action mirred egress redirect dev lo index 7";
    let mirror =
        "add prio 3 handle 800::2 u32 match u32 0 0 at 4 action mirred egress mirror dev lo pass cookie 0a0b";
    for text in [text, mirror] {
        apply(&mut world, text)?;
    }
    let entry = find(&mut world, 3, 0x8000_0001)?;
    assert_eq!(entry.action_stats.len(), 1);
    let shown = entry.filter.ok_or("no settings")?;
    assert!(filter(text)?.meets(&shown), "{shown}");
    assert_eq!(shown.actions.first().map(|action| action.options().index), Some(7));
    let shown_mirror = settings(&mut world, 3, 0x8000_0002)?;
    assert!(filter(mirror)?.meets(&shown_mirror), "{shown_mirror}");
    assert!(matches!(shown_mirror.actions[..], [Action::Mirred(_)]));
    for (from, to) in
        [("redirect", "mirror"), ("dev lo", "dev tc1"), ("index 7", "index 8"), ("egress", "ingress")]
    {
        let other = text.replace(from, to);
        assert!(!filter(&other)?.meets(&shown), "{other}");
    }
    assert!(filter(&text.replace(" index 7", ""))?.meets(&shown), "a number that is not said may be any");
    assert!(!filter(&mirror.replace(" pass", ""))?.meets(&shown_mirror));
    assert!(
        !filter("add prio 3 u32 match u32 0 0")?.meets(&shown)
            && !shown.meets(&filter("add u32 match u32 0 0")?)
    );
    run(&format!("ip link set {DEVICE} up"))?;
    run("ip link set tc1 up")?;
    run("ip link set lo up")?;
    // Duplicate address detection and router solicitations make some packets.
    for _ in 0..100 {
        if find(&mut world, 3, 0x8000_0001)?.action_stats[0].packets > 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("no packet was counted".into())
}

/// More refusals than the receive buffer takes, as in `answers::a_lost_answer_is_asked_for`.
pub(crate) fn a_lost_answer_is_asked_for() -> Result<(), Failed> {
    const CROWD: u16 = 40;
    let mut world = World::new()?;
    let options = SocketOptions {
        receive_buffer: 1,
        deadline: Duration::from_secs(30),
        messages_per_packet: NonZeroU16::new(256),
        ..SocketOptions::default()
    };
    let mut small = Connection::connect_with(options)?;
    for node in 1..=CROWD {
        apply(
            &mut world,
            &format!("add prio 1 protocol ip handle 800::{node:x} u32 match u32 0 0 flowid 1:1"),
        )?;
    }
    let mut lost = 0;
    for round in 0..10 {
        // Refused, each with an answer: they are there, and lead elsewhere.
        let mut requests = Vec::new();
        for node in 1..=CROWD {
            let text = format!("add prio 1 protocol ip handle 800::{node:x} u32 match u32 0 0 flowid 1:2");
            requests.push(request(&text)?);
        }
        let first = requests.len();
        let (new, gone) = (0x100 + round, 0x200 + round);
        for text in [
            format!("add prio 1 protocol ip handle 800::{new:x} u32 match u32 1 1 at 4 flowid 1:3"),
            format!("replace prio 1 protocol ip handle 800::{new:x} u32 match u32 1 1 at 4 flowid 1:4"),
            format!("change prio 1 protocol ip handle 800::{gone:x} u32 flowid 1:4"),
            format!("add prio 1 protocol ip handle 800::{gone:x} u32 match u32 1 1 at 8 flowid 1:5"),
            format!("del prio 1 protocol ip handle 800::{gone:x} u32"),
        ] {
            requests.push(request(&text)?);
        }
        let outcomes = small.batch(&requests, OnError::Continue);
        for (node, outcome) in outcomes[..first].iter().enumerate() {
            match outcome {
                Err(Error::Kernel { errno: libc::EEXIST, .. }) => {}
                Err(Error::AnswerLost { inquiry: Inquiry::NoEffect, .. }) => lost += 1,
                other => return Err(format!("{node}: {other:?}").into()),
            }
        }
        // As it is in the end: changed after it had been added; the other one was added, and has gone.
        for (index, holds) in [(0, false), (1, true), (2, false), (3, false), (4, true)] {
            match &outcomes[first + index] {
                Ok(answer) if answer.evidence == Evidence::State => assert!(holds, "{index}"),
                Err(Error::AnswerLost { inquiry: Inquiry::NoEffect, .. }) => assert!(!holds, "{index}"),
                // It came through.
                Ok(_) => assert_ne!(index, 2),
                Err(Error::Kernel { errno: libc::ENOENT | libc::EINVAL, .. }) => assert_eq!(index, 2),
                other => return Err(format!("{index}: {other:?}").into()),
            }
        }
        assert_eq!(settings(&mut world, 1, 0x8000_0000 + new)?.classid, class(4));
        assert!(find(&mut world, 1, 0x8000_0000 + gone).is_err());
    }
    assert!(lost > 20, "the buffer took nearly everything: {lost} lost");
    Ok(())
}
