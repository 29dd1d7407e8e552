//! Many requests in one call: each has its own outcome, and the kernel's tree is what the outcomes say.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use nix::libc;
use tc_adapter::{Connection, Error, Handle, OnError, Request};

use super::world::{QDISC, World, add_class, class, settings};

/// The classes of the device: minor and the parent's.
fn tree(world: &mut World) -> Result<BTreeMap<u16, Handle>, Failed> {
    let classes = world.connection.classes(world.device)?;
    Ok(classes.into_iter().map(|entry| (entry.classid.minor(), entry.parent)).collect())
}

/// Ten thousand in a few system calls, some of which must fail.
pub(crate) fn each_request_has_its_own_outcome() -> Result<(), Failed> {
    const CLASSES: u16 = 3_000;
    let mut world = World::new()?;
    let device = world.device;
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for minor in 1..=CLASSES {
        requests.push(add_class(device, QDISC, minor));
        expected.push(None);
        if minor % 7 == 0 {
            requests.push(add_class(device, QDISC, minor));
            expected.push(Some(libc::EEXIST));
            requests.push(Request::DeleteClass { device, classid: class(minor + CLASSES) });
            expected.push(Some(libc::ENOENT));
        }
        if minor % 11 == 0 {
            requests.push(Request::DeleteClass { device, classid: class(minor) });
            expected.push(None);
        }
    }
    let before = world.connection.last_sequence();
    let outcomes = world.connection.batch(&requests, OnError::Continue);
    let errnos: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().and_then(Error::errno)).collect();
    assert_eq!(errnos, expected);
    let sequences: Vec<u32> = outcomes.iter().flatten().map(|answer| answer.sequence).collect();
    assert!(sequences.is_sorted() && sequences.first() == Some(&(before + 1)), "one message each, in order");
    assert_eq!(world.connection.last_sequence() as usize, before as usize + requests.len());
    let minors: Vec<u16> = tree(&mut world)?.into_keys().collect();
    assert_eq!(minors, (1..=CLASSES).filter(|minor| minor % 11 != 0).collect::<Vec<_>>());
    Ok(())
}

/// What cannot be sent keeps its place among the outcomes.
pub(crate) fn refused_requests_keep_their_places() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let requests: Vec<Request> =
        (0..600).map(|minor| add_class(device, QDISC, if minor % 3 == 0 { 0 } else { minor })).collect();
    let outcomes = world.connection.batch(&requests, OnError::Continue);
    for (minor, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(Error::Invalid(_)) if minor % 3 == 0 => {}
            Ok(_) if minor % 3 != 0 => {}
            other => return Err(format!("{minor}: {other:?}").into()),
        }
    }
    assert_eq!(tree(&mut world)?.len(), 400);
    Ok(())
}

/// Classes under classes of the same batch, under those that are there, and under those that are not.
pub(crate) fn children_follow_their_parents() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    world.add(QDISC, 0x10)?;
    let mut requests = vec![
        add_class(device, QDISC, 1),
        add_class(device, class(1), 2),
        add_class(device, class(2), 3),
        add_class(device, class(0x10), 0x11),
        add_class(device, class(0x20), 0x21), // no such parent
        add_class(device, class(0x21), 0x22), // whose parent was not made
        add_class(device, QDISC, 0x10),       // is there
        add_class(device, class(0x10), 0x12),
        Request::DeleteClass { device, classid: class(3) },
        add_class(device, class(3), 4), // whose parent has just gone
    ];
    for minor in 0x100..0x300 {
        requests.push(add_class(device, class(1), minor));
    }
    let (messages, outcomes) = world.messages(|world| world.connection.batch(&requests, OnError::Continue));
    let failed: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).map(|(index, _)| index).collect();
    assert_eq!(failed, [4, 5, 6, 9], "{:?}", &outcomes[..10]);
    for index in [4, 5, 9] {
        assert!(matches!(outcomes[index], Err(Error::MissingParent { .. })), "{:?}", outcomes[index]);
    }
    assert_eq!(outcomes[6].as_ref().err().and_then(Error::errno), Some(libc::EEXIST));
    // One question for each parent that the batch does not make itself, and again where it had gone.
    assert!(messages as usize <= requests.len() + 4, "{messages} messages for {} requests", requests.len());
    let tree = tree(&mut world)?;
    let expected =
        [(1, Handle::ROOT), (2, class(1)), (0x10, Handle::ROOT), (0x11, class(0x10)), (0x12, class(0x10))];
    assert_eq!(tree.iter().take(5).map(|(minor, parent)| (*minor, *parent)).collect::<Vec<_>>(), expected);
    assert_eq!(tree.len(), 5 + 0x200);
    assert!((0x100..0x300).all(|minor| tree[&minor] == class(1)), "no child went to the root");
    Ok(())
}

/// A request that is refused takes nobody along who builds on what stands already; and where nothing is left, nothing is sent.
pub(crate) fn a_refused_request_harms_nobody_else() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    world.add(QDISC, 5)?;
    let misplaced = Request::ReplaceClass { device, parent: class(9), classid: class(5), class: settings() };
    let requests = [misplaced, add_class(device, class(5), 6)];
    let (messages, outcomes) = world.messages(|world| world.connection.batch(&requests, OnError::Continue));
    assert!(matches!(outcomes[0], Err(Error::WouldNotMove { .. })), "{outcomes:?}");
    assert!(outcomes[1].is_ok(), "{outcomes:?}");
    // One question for the parent, one for the class itself, which is a parent too, and one class.
    assert_eq!((messages, tree(&mut world)?.get(&6)), (3, Some(&class(5))));
    let orphans: Vec<_> = (0x20..0x30).map(|minor| add_class(device, class(9), minor)).collect();
    let (messages, outcomes) = world.messages(|world| world.connection.batch(&orphans, OnError::Continue));
    assert_eq!(messages, 1, "the question");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::MissingParent { .. }))));
    let nonsense = add_class(device, QDISC, 0);
    let (messages, outcomes) = world.messages(|world| world.connection.batch(&[nonsense], OnError::Continue));
    assert!(messages == 0 && matches!(outcomes[0], Err(Error::Invalid(_))), "{outcomes:?}");
    Ok(())
}

pub(crate) fn a_batch_stops_where_it_is_told_to() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    world.add(QDISC, 3)?;
    let requests: Vec<Request> = (1..=5).map(|minor| add_class(device, QDISC, minor)).collect();
    let outcomes = world.connection.batch(&requests, OnError::Stop);
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[2].as_ref().err().and_then(Error::errno), Some(libc::EEXIST));
    assert!(outcomes[3..].iter().all(|outcome| matches!(outcome, Err(Error::NotReached))), "{outcomes:?}");
    assert_eq!(tree(&mut world)?.into_keys().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(Connection::connect()?.batch(&[], OnError::Continue).is_empty());
    Ok(())
}
