//! What others change, as it changes.

use std::time::Duration;

use libtest_mimic::Failed;
use support::run;
use tc_adapter::{Event, Events, OnError, SocketOptions};

use super::world::{DEVICE, QDISC, World, add_class, class};

fn brief() -> SocketOptions {
    SocketOptions { deadline: Duration::from_millis(200), ..SocketOptions::default() }
}

/// `tc` makes the changes: qdisc, class, change, filter, and all of it backwards.
pub(crate) fn changes_by_others_are_seen() -> Result<(), Failed> {
    let world = World::new()?;
    let mut events = Events::subscribe(brief())?;
    assert_eq!(events.wait()?, None, "nothing yet");
    for line in [
        "tc class add dev tc0 parent 1: classid 1:5 htb rate 3mbit",
        "tc class change dev tc0 classid 1:5 htb rate 4mbit",
        "tc filter add dev tc0 parent 1: protocol ip prio 1 u32 match u32 0 0 flowid 1:5",
        "tc filter del dev tc0 parent 1: prio 1",
        "tc class del dev tc0 classid 1:5",
        "tc qdisc del dev tc0 root",
    ] {
        run(line)?;
    }
    let mut told = Vec::new();
    while let Some(event) = events.wait()? {
        told.push(match event {
            Event::ClassSet(entry) => {
                assert_eq!((entry.device, entry.classid), (world.device, class(5)));
                format!("set {}", entry.htb.ok_or("no settings")?.rate)
            }
            Event::ClassDeleted(entry) => format!("deleted {}", entry.classid),
            Event::QdiscDeleted(entry) => format!("deleted {}", entry.handle),
            Event::FilterSet(entry) => {
                assert_eq!((entry.device, entry.parent), (world.device, QDISC));
                format!("{} set", entry.kind)
            }
            Event::FilterDeleted(entry) => format!("{} deleted", entry.kind),
            Event::Other { message_type, device } => {
                assert_eq!(device, world.device);
                format!("other {message_type}")
            }
            other => format!("{other:?}"),
        });
    }
    let order: Vec<&str> =
        told.iter().map(String::as_str).filter(|text| !text.starts_with("other")).collect();
    assert_eq!(order[..5], ["set 3Mbit", "set 4Mbit", "u32 set", "u32 deleted", "deleted 1:5"], "{told:?}");
    assert!(order[5..].contains(&"deleted 1:"), "{told:?}");
    Ok(())
}

/// A listener that does not listen is told so, and goes on from there.
pub(crate) fn a_slow_listener_is_told() -> Result<(), Failed> {
    const MANY: u16 = 2_000;
    let mut world = World::new()?;
    let device = world.device;
    let mut events = Events::subscribe(SocketOptions { receive_buffer: 64 << 10, ..brief() })?;
    let requests: Vec<_> = (1..=MANY).map(|minor| add_class(device, QDISC, minor)).collect();
    for outcome in world.connection.batch(&requests, OnError::Continue) {
        outcome?;
    }
    let (mut seen, mut lost) = (0, 0);
    while let Some(event) = events.wait()? {
        match event {
            Event::Lost => lost += 1,
            Event::ClassSet(_) => seen += 1,
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert!(lost >= 1 && seen > 0 && seen < MANY, "{seen} seen, lost {lost} times");
    run(&format!("tc class del dev {DEVICE} classid 1:7"))?;
    assert!(matches!(events.wait()?, Some(Event::ClassDeleted(entry)) if entry.classid == class(7)));
    Ok(())
}
