//! Accidents that the kernel lets happen: refused with the tree as it was, and done when they are asked for by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::Failed;
use tc_adapter::qdisc::Pfifo;
use tc_adapter::{
    Answer, Check, Checks, Client, Connection, Error, Handle, HtbClass, HtbQdisc, OnError, Qdisc, Rate,
    Request, Size,
};

use super::world::{QDISC, World, add_class, class, mbit, settings};

/// What is on the device: its qdiscs (handle, parent, kind), and its classes (name, parent, leaf, settings).
#[derive(Debug, PartialEq)]
struct Shown {
    qdiscs: Vec<(Handle, Handle, String)>,
    classes: Vec<(Handle, Handle, Option<Handle>, Option<HtbClass>)>,
}

fn shown(connection: &mut Connection, device: u32) -> Result<Shown, Failed> {
    let qdiscs = connection.qdiscs(Some(device))?;
    let mut classes: Vec<_> = connection
        .classes(device)?
        .into_iter()
        .map(|entry| (entry.classid, entry.parent, entry.leaf, entry.htb))
        .collect();
    classes.sort_by_key(|(classid, ..)| *classid);
    let qdiscs =
        qdiscs.into_iter().map(|entry| (entry.handle, entry.parent, entry.kind.into_owned())).collect();
    Ok(Shown { qdiscs, classes })
}

/// Sends it with all checks but one, which must be what makes the difference: with all, it is refused and changes nothing.
/// Gives the refusal.
fn refused_unless(world: &mut World, request: &Request, check: Check) -> Result<(Error, Answer), Failed> {
    let before = shown(&mut world.connection, world.device)?;
    let refusal = world.connection.request(request).err().ok_or_else(|| format!("{request:?} was sent"))?;
    let others = Checks::NONE.with(check);
    let alone = world.connection.request_with(request, others).err().ok_or("sent in spite of its check")?;
    assert_eq!(alone.to_string(), refusal.to_string());
    assert_eq!(shown(&mut world.connection, world.device)?, before, "{request:?}");
    let answer = world
        .connection
        .request_with(request, Checks::ALL.without(check))
        .map_err(|error| format!("allowed: {request:?}: {error}"))?;
    Ok((refusal, answer))
}

/// `1:` with `1:1` and `1:2` under it, `1:10` under `1:1`, and a FIFO `20:` in `1:2`.
fn family() -> Result<World, Failed> {
    let mut world = World::new()?;
    world.add(QDISC, 1)?;
    world.add(QDISC, 2)?;
    world.add(class(1), 0x10)?;
    world.connection.request(&fifo(world.device, class(2), 0x20))?;
    Ok(world)
}

fn fifo(device: u32, parent: Handle, major: u16) -> Request {
    Request::AddQdisc { device, parent, handle: Handle::qdisc(major), qdisc: Qdisc::Pfifo(Pfifo::default()) }
}

fn htb() -> Qdisc {
    HtbQdisc::new().into()
}

fn replace_root(device: u32, handle: Handle, qdisc: Qdisc) -> Request {
    Request::ReplaceQdisc { device, parent: Handle::ROOT, handle, qdisc }
}

fn replace_class(device: u32, parent: Handle, minor: u16, rate: u32) -> Request {
    Request::ReplaceClass { device, parent, classid: class(minor), class: mbit(rate) }
}

pub(crate) fn a_class_is_not_moved_by_replacing_it() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    for (round, parent) in [(1, class(2)), (2, QDISC), (3, Handle::ROOT)] {
        world.connection.set_checks(Checks::ALL);
        let request = replace_class(device, parent, 0x10, 20 + round);
        let before = shown(&mut world.connection, device)?;
        let (sent, refusal) = world.messages(|world| world.connection.request(&request));
        match refusal {
            Err(Error::WouldNotMove { classid, asked, actual, .. }) => {
                assert_eq!((classid, asked, actual), (class(0x10), parent, class(1)));
            }
            other => return Err(format!("{parent}: {other:?}").into()),
        }
        assert_eq!(sent, 1, "the question");
        assert_eq!(shown(&mut world.connection, device)?, before);
        // Without the question nobody knows that it is there, so that the leaf of 1:2 seems to be at stake.
        world.connection.set_checks(Checks::ALL.without(Check::Reparenting).without(Check::LeafLoss));
        world.connection.request(&request)?;
        let entry = world.class(0x10)?.ok_or("it has gone")?;
        assert_eq!((entry.parent, entry.htb.map(|htb| htb.rate)), (class(1), Some(mbit(20 + round).rate)));
    }
    world.connection.set_checks(Checks::ALL);
    // In place: the class is asked for and not its parent. Anew: both are.
    for (parent, minor, questions) in
        [(class(1), 0x10, 1), (QDISC, 1, 1), (Handle::ROOT, 1, 1), (QDISC, 3, 1), (class(1), 0x11, 2)]
    {
        let request = replace_class(device, parent, minor, 30);
        let (sent, answer) = world.messages(|world| world.connection.request(&request));
        answer?;
        assert_eq!(sent, 1 + questions, "{parent} {minor:x}");
    }
    // A change is told afterwards, or not at all.
    let change = Request::ChangeClass { device, parent: class(2), classid: class(0x10), class: mbit(40) };
    let told = world.connection.request(&change);
    assert!(matches!(told, Err(Error::ParentNotApplied { .. })), "{told:?}");
    let answer = world.connection.request_with(&change, Checks::ALL.without(Check::Reparenting))?;
    assert_eq!(answer.class, None, "nothing to compare");
    Ok(())
}

pub(crate) fn a_missing_parent_by_name() -> Result<(), Failed> {
    let mut world = family()?;
    for request in [add_class(world.device, class(7), 8), replace_class(world.device, class(7), 9, 8)] {
        let (refusal, _) = refused_unless(&mut world, &request, Check::MissingParent)?;
        assert!(matches!(refusal, Error::MissingParent { parent, .. } if parent == class(7)), "{refusal}");
        // Whoever asks for it gets what the kernel makes of it.
        let entry = world.class(request.handle().minor())?.ok_or("not made")?;
        assert_eq!(entry.parent, Handle::ROOT);
        world
            .connection
            .request(&Request::DeleteClass { device: world.device, classid: request.handle() })?;
    }
    Ok(())
}

pub(crate) fn a_leaf_qdisc_is_spared() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    let request = add_class(device, class(2), 0x21);
    let (sent, _) = world.messages(|world| world.connection.request(&request));
    assert_eq!(sent, 1, "the question about the parent tells its qdisc, too");
    let (refusal, _) = refused_unless(&mut world, &request, Check::LeafLoss)?;
    match refusal {
        Error::WouldDestroyLeaf { parent, leaf, child, .. } => {
            assert_eq!((parent, leaf, child), (class(2), Handle::qdisc(0x20), class(0x21)));
        }
        other => return Err(other.into()),
    }
    let after = shown(&mut world.connection, device)?;
    assert_eq!(after.qdiscs.len(), 1, "the FIFO has gone: {after:?}");
    assert_eq!(world.class(0x21)?.map(|entry| entry.parent), Some(class(2)));
    // There is nothing to lose any more; nor was there in a class that has the kernel's own queue.
    world.add(class(2), 0x22)?;
    world.add(class(0x22), 0x23)?;
    // The same by a replacement that would make the class.
    world.connection.request(&fifo(device, class(0x23), 0x30))?;
    let request = replace_class(device, class(0x23), 0x24, 8);
    let (refusal, _) = refused_unless(&mut world, &request, Check::LeafLoss)?;
    assert!(
        matches!(refusal, Error::WouldDestroyLeaf { leaf, .. } if leaf == Handle::qdisc(0x30)),
        "{refusal}"
    );
    Ok(())
}

pub(crate) fn a_root_qdisc_is_spared() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    let (five, none) = (Handle::qdisc(5), Handle::UNSPEC);
    for (handle, request) in [
        (five, replace_root(device, five, htb())),
        // The kernel makes a new one when the kind differs.
        (none, replace_root(device, none, Qdisc::Pfifo(Pfifo::default()))),
    ] {
        let present = shown(&mut world.connection, device)?.qdiscs[0].0;
        let (sent, _) = world.messages(|world| world.connection.request(&request));
        assert_eq!(sent, 1, "the question");
        let (refusal, _) = refused_unless(&mut world, &request, Check::RootReplacement)?;
        match refusal {
            Error::WouldReplaceRoot { present: told, kind, asked, .. } => {
                assert_eq!((told, &*kind, asked), (present, "htb", handle));
            }
            other => return Err(other.into()),
        }
        let after = shown(&mut world.connection, device)?;
        assert_ne!(after.qdiscs[0].0, present);
        assert_eq!((after.qdiscs.len(), after.classes), (1, vec![]), "all has gone");
    }
    // A FIFO is changed in place, with its handle or without one.
    let pfifo = |limit| Qdisc::Pfifo(Pfifo { limit: Some(limit) });
    let present = shown(&mut world.connection, device)?.qdiscs[0].0;
    for (handle, limit) in [(present, 7), (none, 8)] {
        world.connection.request(&replace_root(device, handle, pfifo(limit)))?;
        let qdiscs = world.connection.qdiscs(Some(device))?;
        assert_eq!((qdiscs[0].handle, qdiscs[0].options.clone()), (present, Some(pfifo(limit))));
    }
    // What the kernel puts there by itself is no loss.
    world.connection.request(&Request::DeleteQdisc { device, parent: Handle::ROOT, handle: present })?;
    world.connection.request(&replace_root(device, five, htb()))?;
    let nowhere = world.connection.request(&replace_root(0x7FFF_0000, five, htb()));
    assert_eq!(nowhere.err().and_then(|error| error.errno()), Some(nix::libc::ENODEV));
    Ok(())
}

/// The three accidents in the midst of a batch, each before and after requests of the batch itself bring it about.
fn accidents(device: u32) -> Vec<(Request, &'static str)> {
    vec![
        (add_class(device, class(1), 0x11), "ok"),
        (add_class(device, class(2), 0x21), "leaf"),
        (replace_class(device, class(2), 0x10, 9), "move"),
        (replace_class(device, class(1), 0x11, 9), "ok"),
        (replace_class(device, QDISC, 0x11, 9), "move"),
        (add_class(device, QDISC, 3), "ok"),
        (fifo(device, class(3), 0x30), "ok"),
        (add_class(device, class(3), 0x31), "leaf"),
        (replace_root(device, Handle::qdisc(5), htb()), "root"),
        (Request::DeleteClass { device, classid: class(3) }, "ok"),
        (add_class(device, class(3), 0x31), "missing"),
        (Request::DeleteQdisc { device, parent: Handle::ROOT, handle: QDISC }, "ok"),
        (replace_root(device, Handle::qdisc(5), htb()), "ok"),
        (replace_root(device, Handle::qdisc(6), htb()), "root"),
    ]
}

fn kind(outcome: &Result<Answer, Error>) -> String {
    match outcome {
        Ok(_) => "ok".into(),
        Err(Error::WouldDestroyLeaf { .. }) => "leaf".into(),
        Err(Error::WouldNotMove { .. }) => "move".into(),
        Err(Error::WouldReplaceRoot { .. }) => "root".into(),
        Err(Error::MissingParent { .. }) => "missing".into(),
        Err(Error::TooDeep { .. }) => "deep".into(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn batches_are_as_careful() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    let (requests, expected): (Vec<_>, Vec<_>) = accidents(device).into_iter().unzip();
    let outcomes = world.connection.batch(&requests, OnError::Continue);
    assert_eq!(outcomes.iter().map(kind).collect::<Vec<_>>(), expected);
    let after = shown(&mut world.connection, device)?;
    assert_eq!(after.qdiscs, [(Handle::qdisc(5), Handle::ROOT, "htb".to_owned())]);
    let requests = [
        replace_root(device, QDISC, htb()),
        add_class(device, QDISC, 1),
        fifo(device, class(1), 0x10),
        add_class(device, class(1), 2),
        add_class(device, class(7), 8),
        replace_class(device, class(2), 8, 9),
    ];
    let outcomes = world.connection.batch_with(&requests, OnError::Continue, Checks::NONE);
    assert_eq!(outcomes.iter().map(kind).collect::<Vec<_>>(), ["ok"; 6]);
    let after = shown(&mut world.connection, device)?;
    assert_eq!(after.qdiscs, [(QDISC, Handle::ROOT, "htb".to_owned())]);
    let places: Vec<_> = after.classes.iter().map(|(classid, parent, ..)| (*classid, *parent)).collect();
    assert_eq!(places, [(class(1), Handle::ROOT), (class(2), class(1)), (class(8), Handle::ROOT)]);
    Ok(())
}

pub(crate) fn a_client_is_as_careful() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut world = family()?;
    let device = world.device;
    let client = Client::connect()?;
    let (requests, expected): (Vec<_>, Vec<_>) = accidents(device).into_iter().unzip();
    let outcomes = runtime.block_on(client.batch(&requests, OnError::Continue));
    assert_eq!(outcomes.iter().map(kind).collect::<Vec<_>>(), expected);
    let request = replace_root(device, QDISC, htb());
    assert_eq!(kind(&client.request_blocking(&request)), "root");
    let allowed = Checks::ALL.without(Check::RootReplacement);
    runtime.block_on(client.request_with(&request, allowed))?;
    let request = replace_root(device, Handle::qdisc(9), htb());
    client.with_checks(allowed).request_blocking(&request)?;
    assert_eq!(kind(&client.request_blocking(&replace_root(device, QDISC, htb()))), "root");
    assert_eq!(shown(&mut world.connection, device)?.qdiscs[0].0, Handle::qdisc(9));
    Ok(())
}

/// Every validation that has an opt-out: with all others made, the kernel gets the request, and takes it.
pub(crate) fn what_is_allowed_is_sent() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let tiny: Rate = "8bit".parse()?;
    let add = |classid, class| Request::AddClass { device, parent: QDISC, classid, class };
    let zero = Some(Size::from_bytes(0));
    for (check, request) in [
        (Check::CeilBelowRate, add(class(1), HtbClass { ceil: mbit(1).rate, ..settings() })),
        (Check::Priority, add(class(2), HtbClass { prio: 100, ..settings() })),
        (Check::Burst, add(class(3), HtbClass { burst: zero, ..settings() })),
        (Check::Burst, add(class(4), HtbClass { quantum: Some(1514), ..HtbClass::new(tiny) })),
        (Check::Quantum, add(class(5), HtbClass { quantum: Some(0), ..settings() })),
        (Check::Quantum, add(class(6), HtbClass { quantum: Some(1 << 31), ..settings() })),
        (Check::Classid, add(Handle::new(0, 7), settings())),
        (Check::Classid, add(QDISC, settings())),
        (
            Check::Parent,
            Request::AddClass { device, parent: Handle::UNSPEC, classid: class(9), class: settings() },
        ),
        (
            Check::Settings,
            Request::AddQdisc {
                device,
                parent: class(9),
                handle: Handle::qdisc(9),
                qdisc: HtbQdisc { r2q: 0, ..HtbQdisc::new() }.into(),
            },
        ),
    ] {
        let (sent, _) = world.messages(|world| world.connection.request(&request));
        assert_eq!(sent, 0, "{check:?}");
        let (refusal, _) = refused_unless(&mut world, &request, check)?;
        let Error::Invalid(invalid) = refusal else { return Err(refusal.into()) };
        assert_eq!(invalid.check(), Some(check));
    }
    let after = shown(&mut world.connection, device)?;
    let mut made: Vec<Handle> = after.classes.iter().map(|(classid, ..)| *classid).collect();
    made.sort();
    assert_eq!(made, [0, 1, 2, 3, 4, 5, 6, 7, 9].map(class));
    assert_eq!(after.qdiscs.len(), 2);
    Ok(())
}

/// A tree of eight levels: the parent of each minor, 0 being the qdisc. Each level is four times as wide as the one above, up to 90.
fn tree(classes: u16) -> BTreeMap<u16, u16> {
    let (mut tree, mut above) = (BTreeMap::new(), vec![0]);
    let mut minors = 1..=classes;
    for level in 0..8 {
        let width = if level == 7 { usize::MAX } else { (above.len() * 4).min(90) };
        let these: Vec<u16> = minors.by_ref().take(width).collect();
        tree.extend(these.iter().zip(above.iter().cycle()).map(|(minor, parent)| (*minor, *parent)));
        above = these;
    }
    tree
}

/// The same tree as requests, in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Reverse,
    /// Shuffled, by this seed.
    Random(u64),
}

fn submitted(device: u32, tree: &BTreeMap<u16, u16>, order: Order) -> Vec<Request> {
    let mut requests: Vec<_> =
        tree.iter().map(|(minor, parent)| add_class(device, class(*parent), *minor)).collect();
    match order {
        Order::Reverse => requests.reverse(),
        Order::Random(mut state) => {
            for index in (1..requests.len()).rev() {
                // Knuth's MMIX generator; its upper bits are the random ones.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                requests.swap(index, usize::try_from(state >> 33).unwrap_or_default() % (index + 1));
            }
        }
    }
    requests
}

/// The parents that the kernel shows.
fn parents(world: &mut World) -> Result<BTreeMap<u16, u16>, Failed> {
    let classes = world.connection.classes(world.device)?;
    let parent = |handle: Handle| if handle == Handle::ROOT { 0 } else { handle.minor() };
    Ok(classes.into_iter().map(|entry| (entry.classid.minor(), parent(entry.parent))).collect())
}

pub(crate) fn a_tree_may_come_in_any_order() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let wanted = tree(500);
    let delete = Request::DeleteQdisc { device, parent: Handle::ROOT, handle: QDISC };
    for order in [Order::Reverse, Order::Random(1), Order::Random(2), Order::Random(3)] {
        let mut requests = submitted(device, &wanted, order);
        // The qdisc itself comes last.
        requests.push(super::world::add_qdisc(device, QDISC));
        for way in ["continue", "stop", "client", "client, stop"] {
            world.connection.request(&delete)?;
            let (messages, outcomes) = world.messages(|world| match way {
                "continue" => world.connection.batch(&requests, OnError::Continue),
                "stop" => world.connection.batch(&requests, OnError::Stop),
                "client" => runtime.block_on(client.batch(&requests, OnError::Continue)),
                _ => runtime.block_on(client.batch(&requests, OnError::Stop)),
            });
            for (request, outcome) in requests.iter().zip(&outcomes) {
                let answer = outcome.as_ref().map_err(|error| format!("{order:?}, {way}: {error}"))?;
                // The outcome is that of the request at its place.
                let told = answer.class.as_ref().map(|entry| entry.classid);
                assert!(told.is_none_or(|classid| classid == request.handle()), "{order:?}, {way}");
            }
            assert_eq!(parents(&mut world)?, wanted, "{order:?}, {way}");
            if way == "continue" {
                assert_eq!(
                    messages as usize,
                    requests.len(),
                    "{order:?}: no question, since the batch makes all parents"
                );
            }
        }
    }
    Ok(())
}

/// The deepest class of a chain that is there is a leaf, of which the kernel does not tell how deep it is.
pub(crate) fn a_batch_knows_how_deep_it_is() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let chain: Vec<_> = (1..=6).map(|minor| add_class(device, class(minor - 1), minor)).collect();
    world.connection.batch(&chain, OnError::Stop);
    let rest: Vec<_> = (7..=10).map(|minor| add_class(device, class(minor - 1), minor)).collect();
    let (sent, outcomes) = world.messages(|world| world.connection.batch(&rest, OnError::Continue));
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    assert_eq!(kinds, ["ok", "ok", "deep", "missing"]);
    assert_eq!(parents(&mut world)?.len(), 8);
    // For the parent and the one above it, and for the parent that was not made.
    assert_eq!(sent, 2 + 3);
    let (sent, outcomes) = world.messages(|world| {
        world.connection.batch_with(&rest[2..3], OnError::Continue, Checks::ALL.without(Check::Depth))
    });
    assert_eq!((sent, outcomes[0].as_ref().err().and_then(Error::errno)), (2, Some(nix::libc::EINVAL)));
    Ok(())
}

/// Each class by a task of its own, children first: those that wait at the same time travel together, parents first.
pub(crate) fn a_tree_is_built_by_many_tasks() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut world = World::new()?;
    let device = world.device;
    let wanted = tree(200);
    let client = Arc::new(Client::connect()?);
    runtime.block_on(async {
        // The first caller ever is alone and waits for nobody.
        let _ = client.request(&Request::GetClass { device, classid: class(1) }).await;
        let tasks: Vec<_> = submitted(device, &wanted, Order::Reverse)
            .into_iter()
            .map(|request| {
                let client = Arc::clone(&client);
                tokio::spawn(async move { client.request(&request).await })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok::<(), Failed>(())
    })?;
    assert_eq!(parents(&mut world)?, wanted);
    Ok(())
}

/// A tree that is not whole, goes in a circle, or is taken down in between.
pub(crate) fn only_what_may_be_moved_is_moved() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let delete = |minor| Request::DeleteClass { device, classid: class(minor) };
    let requests = [
        add_class(device, class(2), 3),
        add_class(device, class(9), 4), // never comes
        add_class(device, class(6), 5), // a circle
        add_class(device, class(5), 6), // a circle
        add_class(device, class(1), 2),
        add_class(device, QDISC, 1),
        add_class(device, class(8), 0x10), // its parent comes behind a deletion
        delete(3),
        add_class(device, QDISC, 8),
        add_class(device, class(8), 0x10),
    ];
    for on_error in [OnError::Continue, OnError::Stop] {
        let outcomes = world.connection.batch(&requests, on_error);
        let kinds: Vec<_> = outcomes.iter().map(kind).collect();
        if on_error == OnError::Continue {
            let missing = "missing";
            assert_eq!(kinds, ["ok", missing, missing, missing, "ok", "ok", missing, "ok", "ok", "ok"]);
            let expected = [(1, 0), (2, 1), (8, 0), (0x10, 8)];
            assert_eq!(parents(&mut world)?, BTreeMap::from(expected));
            world.connection.batch(&[2, 1, 0x10, 8].map(delete), OnError::Stop);
            assert_eq!(parents(&mut world)?, BTreeMap::new());
        } else {
            // Of those that need nothing of the batch, the first is sent first.
            let unreached = Error::NotReached.to_string();
            let reached: Vec<_> = (0..kinds.len()).filter(|&index| kinds[index] != unreached).collect();
            assert_eq!(reached, [1], "{kinds:?}");
            assert_eq!((&*kinds[1], parents(&mut world)?.len()), ("missing", 0));
        }
    }
    Ok(())
}
