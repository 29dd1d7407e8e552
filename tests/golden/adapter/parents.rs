//! Parents that do not exist, and parents that a class is not under.

use libtest_mimic::Failed;
use support::{kernel_is_at_least, run};
use tc_adapter::{Check, Checks, Error, Handle, Request};

use super::world::{DEVICE, QDISC, World, add_class, class, mbit, settings};

pub(crate) fn missing_parent_is_an_error() -> Result<(), Failed> {
    let mut world = World::new()?;
    let (sent, result) = world.messages(|world| world.add(class(7), 8));
    match result {
        Err(Error::MissingParent { classid, parent, .. }) => {
            assert_eq!((classid, parent), (class(8), class(7)));
        }
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(sent, 1, "only the question about the parent goes out");
    assert_eq!(world.class(8)?, None);
    let replace = Request::ReplaceClass {
        device: world.device,
        parent: class(7),
        classid: class(8),
        class: settings(),
    };
    let result = world.connection.request(&replace);
    assert!(matches!(result, Err(Error::MissingParent { .. })), "{result:?}");
    assert_eq!(world.class(8)?, None);
    Ok(())
}

/// The surprise that the check is for: should a kernel ever refuse by itself, the check can go.
pub(crate) fn the_kernel_itself_would_be_silent() -> Result<(), Failed> {
    let mut world = World::new()?;
    run(&format!("tc class add dev {DEVICE} parent 1:7 classid 1:8 htb rate 1mbit"))?;
    assert_eq!(world.class(8)?.map(|entry| entry.parent), Some(Handle::ROOT));
    Ok(())
}

pub(crate) fn a_child_lands_under_its_parent() -> Result<(), Failed> {
    let mut world = World::new()?;
    world.add(QDISC, 1)?;
    let (sent, answer) = world.messages(|world| world.add(class(1), 2));
    assert_eq!(sent, 2, "the question about the parent, then the request");
    let answer = answer?;
    assert_eq!(answer.sequence, world.connection.last_sequence());
    assert_eq!(answer.class.map(|entry| entry.parent), Some(class(1)));
    assert_eq!(world.class(2)?.map(|entry| entry.parent), Some(class(1)));
    assert_eq!(world.class(1)?.map(|entry| entry.parent), Some(Handle::ROOT));
    Ok(())
}

/// `1:` with `1:1` and `1:2` under it, and `1:10` under `1:1`.
fn family() -> Result<World, Failed> {
    let mut world = World::new()?;
    world.add(QDISC, 1)?;
    world.add(QDISC, 2)?;
    world.add(class(1), 0x10)?;
    Ok(world)
}

fn rate_of(world: &mut World, minor: u16) -> Result<String, Failed> {
    let htb = world.class(minor)?.and_then(|entry| entry.htb).ok_or("no HTB class")?;
    Ok(htb.rate.to_string())
}

pub(crate) fn a_change_does_not_move() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    let change = |world: &mut World, minor: u16, parent: Handle, rate: u32| {
        let request = Request::ChangeClass { device, parent, classid: class(minor), class: mbit(rate) };
        let (sent, result) = world.messages(|world| world.connection.request(&request));
        assert_eq!(sent, 1, "a change is one message, whatever its parent");
        result
    };
    for parent in [class(2), QDISC, Handle::ROOT, class(0x99)] {
        match change(&mut world, 0x10, parent, 20) {
            Err(Error::ParentNotApplied { asked, actual, .. }) => {
                assert_eq!((asked, actual), (parent, class(1)));
            }
            other => return Err(format!("{parent}: {other:?}").into()),
        }
    }
    assert_eq!(rate_of(&mut world, 0x10)?, "20Mbit", "the settings are changed all the same");
    for (parent, rate) in [(class(1), 21), (Handle::UNSPEC, 22)] {
        change(&mut world, 0x10, parent, rate)?;
        assert_eq!(rate_of(&mut world, 0x10)?, format!("{rate}Mbit"));
    }
    for (parent, rate) in [(QDISC, 31), (Handle::ROOT, 32), (Handle::UNSPEC, 33)] {
        change(&mut world, 2, parent, rate)?;
        assert_eq!(rate_of(&mut world, 2)?, format!("{rate}Mbit"));
    }
    assert_eq!(world.class(0x10)?.map(|entry| entry.parent), Some(class(1)));
    Ok(())
}

pub(crate) fn a_replacement_does_not_move() -> Result<(), Failed> {
    let mut world = family()?;
    let device = world.device;
    let replace =
        |parent, minor| Request::ReplaceClass { device, parent, classid: class(minor), class: mbit(40) };
    for parent in [class(2), QDISC] {
        match world.connection.request(&replace(parent, 0x10)) {
            Err(Error::WouldNotMove { asked, actual, .. }) => {
                assert_eq!((asked, actual), (parent, class(1)));
            }
            other => return Err(format!("{parent}: {other:?}").into()),
        }
    }
    assert_eq!(world.class(0x10)?.map(|entry| entry.parent), Some(class(1)));
    for (parent, minor, there) in
        [(class(1), 0x10, class(1)), (class(2), 0x11, class(2)), (QDISC, 3, Handle::ROOT)]
    {
        world.connection.request(&replace(parent, minor))?;
        assert_eq!(world.class(minor)?.map(|entry| entry.parent), Some(there));
    }
    Ok(())
}

pub(crate) fn the_tree_ends_somewhere() -> Result<(), Failed> {
    let mut world = World::new()?;
    world.add(QDISC, 1)?;
    for minor in 2..20 {
        if let Err(error) = world.add(class(minor - 1), minor) {
            assert_eq!(minor, 9, "eight levels: {error}");
            assert!(matches!(error, Error::TooDeep { parent, .. } if parent == class(8)), "{error}");
            assert_eq!(error.errno(), Some(nix::libc::EINVAL));
            let (sent, allowed) = world.messages(|world| {
                let request = add_class(world.device, class(8), 9);
                world.connection.request_with(&request, Checks::ALL.without(Check::Depth))
            });
            assert_eq!(sent, 2, "the question about the parent, then the request");
            let error = allowed.err().ok_or("a ninth level")?;
            assert!(matches!(error, Error::Kernel { errno: nix::libc::EINVAL, .. }), "{error}");
            assert_eq!(world.class(9)?, None);
            if kernel_is_at_least(6, 4)? {
                assert!(error.ext_ack().is_some_and(|text| text.contains("too deep")), "{error}");
            }
            return Ok(());
        }
    }
    Err("nineteen levels were accepted".into())
}
