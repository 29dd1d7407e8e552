//! Lists, and what is in them.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use support::{run, veth};
use tc_adapter::{Check, Checks, ClassEntry, Device, Handle, HtbQdisc, QdiscXstats, Request, Stats};

use super::world::{DEVICE, PEER, QDISC, World, add_qdisc, class, settings};

pub(crate) fn three_thousand_classes() -> Result<(), Failed> {
    let mut world = World::new()?;
    for minor in 1..=3000 {
        world.add(QDISC, minor)?;
    }
    let list = world.connection.classes(world.device)?;
    assert_eq!(list.len(), 3000);
    let found: BTreeSet<Handle> = list.iter().map(|entry| entry.classid).collect();
    assert_eq!(found, (1..=3000).map(class).collect());
    let rate = settings().rate;
    for entry in &list {
        assert_eq!((entry.device, entry.parent), (world.device, Handle::ROOT));
        assert_eq!(entry.htb.as_ref().map(|class| class.rate), Some(rate));
    }
    // The connection is not left in the middle of something.
    assert!(world.class(3000)?.is_some());
    Ok(())
}

pub(crate) fn qdiscs_of_one_device() -> Result<(), Failed> {
    let mut world = World::new()?;
    veth("other0", "other1")?;
    let other = Device::by_name("other0")?.index;
    world.connection.request(&add_qdisc(other, Handle::qdisc(5)))?;
    let mut handles = |device| -> Result<Vec<Handle>, Failed> {
        Ok(world.connection.qdiscs(device)?.into_iter().map(|entry| entry.handle).collect())
    };
    assert_eq!(handles(Some(other))?, [Handle::qdisc(5)]);
    let all = handles(None)?;
    assert!(all.contains(&QDISC) && all.contains(&Handle::qdisc(5)), "{all:?}");
    Ok(())
}

/// 20 datagrams through a default class: the counters are those of the kernel, not zeros.
pub(crate) fn traffic_is_counted() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let (handle, qdisc) = (Handle::qdisc(3), HtbQdisc { default_class: 0x10, ..HtbQdisc::new() }.into());
    let request = Request::ReplaceQdisc { device, parent: Handle::ROOT, handle, qdisc };
    world.connection.request_with(&request, Checks::ALL.without(Check::RootReplacement))?;
    let classid = Handle::new(3, 0x10);
    world.connection.request(&Request::AddClass {
        device,
        parent: Handle::qdisc(3),
        classid,
        class: settings(),
    })?;
    for command in [
        format!("ip addr add 192.0.2.1/24 dev {DEVICE}"),
        format!("ip link set {PEER} up"),
        format!("ip link set {DEVICE} up"),
        format!("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev {DEVICE} nud permanent"),
    ] {
        run(&command)?;
    }
    let socket = UdpSocket::bind("192.0.2.1:0")?;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(socket.send_to(&[0; 1000], "192.0.2.2:9")?, 1000);
    }
    let mut entry = only_class(&mut world)?;
    // 20,000 bytes against a burst of 1,600: at first most of them wait, for 20 ms until the last has gone. A slow machine looks later.
    let early = begun.elapsed() < Duration::from_millis(10);
    let Stats { packets, qlen, backlog, overlimits, .. } = entry.stats;
    assert!(
        packets + u64::from(qlen) >= 20 && (qlen > 0 || !early) && backlog >= qlen * 60 && overlimits > 0,
        "{:?}",
        entry.stats
    );
    assert!(entry.xstats.is_some_and(|xstats| xstats.tokens < settings_burst_ticks()), "{:?}", entry.xstats);
    let give_up = Instant::now() + Duration::from_secs(5);
    while entry.stats.qlen > 0 && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(5));
        entry = only_class(&mut world)?;
    }
    // 1000 bytes, UDP 8, IPv4 20, Ethernet 14; IPv6 adds its own chatter.
    assert!(entry.stats.packets >= 20 && entry.stats.bytes >= 20 * 1042, "{:?}", entry.stats);
    assert_eq!((entry.stats.drops, entry.stats.qlen, entry.stats.backlog), (0, 0, 0));
    let xstats = entry.xstats.ok_or("no HTB counters")?;
    assert!(xstats.lends >= 20 && xstats.borrows == 0, "{xstats:?}");
    let qdiscs = world.connection.qdiscs(Some(device))?;
    let root = qdiscs.iter().find(|entry| entry.handle == Handle::qdisc(3)).ok_or("no root qdisc")?;
    assert!(root.stats.packets >= 20, "{:?}", root.stats);
    assert_eq!(root.xstats, Some(QdiscXstats::Htb { direct_packets: 0 }));
    Ok(())
}

/// 1600 bytes at 8 Mbit/s are 1.6 ms, in ticks of 64 ns.
fn settings_burst_ticks() -> i32 {
    25_000
}

fn only_class(world: &mut World) -> Result<ClassEntry, Failed> {
    let list = world.connection.classes(world.device)?;
    <[ClassEntry; 1]>::try_from(list).map(|[entry]| entry).map_err(|list| format!("{list:?}").into())
}
