//! What comes back.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use support::kernel_is_at_least;
use tc_adapter::{
    Checks, Connection, Device, Error, Evidence, Handle, HtbClass, HtbQdisc, Inquiry, Loss, OnError, Rate,
    Request, Size, SocketOptions,
};

use super::world::{DEVICE, QDISC, World, add_class, class, mbit, settings};

/// Load generators count on it: one request, one message, one sequence number.
pub(crate) fn each_request_is_one_message() -> Result<(), Failed> {
    let mut world = World::new()?;
    let (device, parent, classid) = (world.device, QDISC, class(1));
    let class = settings();
    let requests = [
        Request::DeleteQdisc { device, parent: Handle::ROOT, handle: QDISC },
        Request::AddQdisc {
            device,
            parent: Handle::ROOT,
            handle: Handle::qdisc(2),
            qdisc: HtbQdisc::new().into(),
        },
        Request::DeleteQdisc { device, parent: Handle::ROOT, handle: Handle::qdisc(2) },
        Request::AddQdisc { device, parent: Handle::ROOT, handle: QDISC, qdisc: HtbQdisc::new().into() },
        Request::AddClass { device, parent, classid, class: class.clone() },
        Request::ChangeClass { device, parent, classid, class: class.clone() },
        Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class: class.clone() },
        Request::GetClass { device, classid },
        Request::DeleteClass { device, classid },
    ];
    for request in requests {
        let expected = world.connection.last_sequence() + 1;
        let answer = world.connection.request(&request).map_err(|error| format!("{request:?}: {error}"))?;
        assert_eq!((answer.sequence, world.connection.last_sequence()), (expected, expected), "{request:?}");
        assert_eq!(answer.warning, None, "{request:?}");
    }
    // What would be asked first, without the question.
    let qdisc = HtbQdisc::new().into();
    for request in [
        Request::ReplaceQdisc { device, parent: Handle::ROOT, handle: Handle::qdisc(2), qdisc },
        Request::ReplaceClass {
            device,
            parent: Handle::ROOT,
            classid: Handle::new(2, 1),
            class: class.clone(),
        },
        Request::ReplaceClass { device, parent: Handle::new(2, 1), classid: Handle::new(2, 2), class },
    ] {
        let (sent, answer) = world.messages(|world| world.connection.request_with(&request, Checks::NONE));
        answer.map_err(|error| format!("{request:?}: {error}"))?;
        assert_eq!(sent, 1, "{request:?}");
    }
    Ok(())
}

pub(crate) fn warnings_are_handed_on() -> Result<(), Failed> {
    let mut world = World::new()?;
    for (minor, rate, word) in [(1, "8kbit", "small"), (2, "10gbit", "big")] {
        let request = Request::AddClass {
            device: world.device,
            parent: QDISC,
            classid: class(minor),
            class: HtbClass::new(rate.parse()?),
        };
        let warning = world.connection.request(&request)?.warning;
        // Before, HTB wrote it to the kernel's log (commit 807cfded92b0).
        if kernel_is_at_least(6, 4)? {
            let warning = warning.ok_or("no warning")?;
            assert!(warning.contains("quantum") && warning.contains(word), "{warning}");
        }
        assert!(world.class(minor)?.is_some(), "a warning is no error");
    }
    Ok(())
}

pub(crate) fn what_does_not_exist() -> Result<(), Failed> {
    let mut world = World::new()?;
    let nowhere = 0x7FFF_0000;
    let error = world.connection.request(&add_class(nowhere, QDISC, 1)).err().ok_or("no error")?;
    assert_eq!(error.errno(), Some(libc::ENODEV), "{error}");
    for result in
        [world.connection.classes(nowhere).map(drop), world.connection.qdiscs(Some(nowhere)).map(drop)]
    {
        assert!(matches!(result, Err(Error::NoSuchDevice { .. })), "{result:?}");
    }
    for name in ["nosuch0", "", "a name far too long for a device", "nul\0"] {
        let result = Device::by_name(name);
        assert!(matches!(&result, Err(Error::NoSuchDevice { device }) if device == name), "{result:?}");
    }
    assert_eq!(world.connection.classes(world.device)?, [], "no classes is not no device");
    let device = world.device;
    let class = settings();
    for request in [
        Request::GetClass { device, classid: super::world::class(1) },
        Request::DeleteClass { device, classid: super::world::class(1) },
        Request::ChangeClass { device, parent: Handle::UNSPEC, classid: super::world::class(1), class },
    ] {
        let error = world.connection.request(&request).err().ok_or("no error")?;
        assert_eq!(error.errno(), Some(libc::ENOENT), "{error}");
    }
    world.add(QDISC, 1)?;
    let error = world.add(QDISC, 1).err().ok_or("added twice")?;
    assert_eq!(error.errno(), Some(libc::EEXIST), "{error}");
    world.add(super::world::class(1), 2)?;
    let delete = Request::DeleteClass { device, classid: super::world::class(1) };
    let error = world.connection.request(&delete).err().ok_or("deleted a parent")?;
    assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
    Ok(())
}

pub(crate) fn invalid_requests_are_not_sent() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let slow = HtbClass { ceil: "1mbit".parse()?, ..settings() };
    let blocked = HtbClass { burst: Some(Size::from_bytes(0)), ..settings() };
    let (sent, results) = world.messages(|world| {
        [
            (class(1), slow),
            (class(1), HtbClass { prio: 8, ..settings() }),
            (class(1), blocked),
            (QDISC, settings()),
        ]
        .map(|(classid, class)| {
            world.connection.request(&Request::AddClass { device, parent: QDISC, classid, class })
        })
    });
    for result in results {
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    }
    assert_eq!((sent, world.connection.classes(device)?), (0, vec![]));
    Ok(())
}

/// A refusal (`EPERM`) of a connection's next request.
fn forged_refusal(victim: &Connection) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(36_u32.to_ne_bytes());
    message.extend([2_u16, 0x100].map(u16::to_ne_bytes).concat()); // NLMSG_ERROR, NLM_F_CAPPED
    message.extend([victim.last_sequence() + 1, victim.port_id()].map(u32::to_ne_bytes).concat());
    message.extend((-libc::EPERM).to_ne_bytes());
    message.extend([0; 16]);
    message
}

/// Another process sends what looks like the kernel's answer: the kernel does not take it, and it could not fill the receive
/// buffer either.
pub(crate) fn strangers_are_not_heard() -> Result<(), Failed> {
    let mut world = World::new()?;
    let mut stranger = Socket::new(NETLINK_ROUTE)?;
    stranger.bind_auto()?;
    let address = SocketAddr::new(world.connection.port_id(), 0);
    let sent = stranger.send_to(&forged_refusal(&world.connection), &address, libc::MSG_DONTWAIT);
    assert_eq!(sent.err().and_then(|error| error.raw_os_error()), Some(libc::ECONNREFUSED));
    world.add(QDISC, 1)?;
    assert!(world.class(1)?.is_some());
    Ok(())
}

/// More refusals than the receive buffer takes, so that other answers are lost: the kernel is asked what is so.
pub(crate) fn a_lost_answer_is_asked_for() -> Result<(), Failed> {
    const CROWD: u16 = 40;
    let mut world = World::new()?;
    let device = world.device;
    let options = SocketOptions {
        receive_buffer: 1,
        deadline: Duration::from_secs(30),
        messages_per_packet: NonZeroU16::new(256),
        ..SocketOptions::default()
    };
    let mut small = Connection::connect_with(options)?;
    let start = Instant::now();
    for minor in 1..=CROWD {
        let classid = class(minor);
        world.connection.request(&Request::AddClass { device, parent: QDISC, classid, class: mbit(9) })?;
    }
    let change = |minor, settings| Request::ChangeClass {
        device,
        parent: Handle::UNSPEC,
        classid: class(minor),
        class: settings,
    };
    for round in 0..20 {
        let (new, gone) = (100 + round, 1000 + round);
        // Refused, each with an answer: they are there.
        let mut requests: Vec<Request> = (1..=CROWD).map(|minor| add_class(device, QDISC, minor)).collect();
        let first = requests.len();
        requests.extend([
            add_class(device, QDISC, new),
            change(new, mbit(7)),
            Request::GetClass { device, classid: class(new) },
            change(gone, mbit(7)),
            Request::DeleteClass { device, classid: class(gone) },
            Request::DeleteClass { device, classid: class(new) },
            add_class(device, QDISC, new),
        ]);
        let outcomes = small.batch(&requests, OnError::Continue);
        assert_eq!(outcomes.len(), requests.len());
        for (minor, outcome) in (1..=CROWD).zip(&outcomes[..first]) {
            match outcome {
                Err(Error::Kernel { errno: libc::EEXIST, .. }) => {}
                // It has another rate than was asked for.
                Err(Error::AnswerLost { loss: Loss::Overrun, handle, inquiry, .. }) => {
                    assert_eq!((*handle, *inquiry), (class(minor), Inquiry::NoEffect));
                }
                other => return Err(format!("{minor}: {other:?}").into()),
            }
        }
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::AnswerLost { .. }))).count();
        assert!(lost > 20, "the buffer took nearly everything: {lost} lost");
        let rest = &outcomes[first..];
        // As it is in the end: added anew after it had been deleted, with the rate of the last request.
        for (index, evidence) in [(0, Evidence::State), (6, Evidence::State)] {
            let answer = rest[index].as_ref().map_err(|error| format!("{index}: {error}"))?;
            assert_eq!(answer.evidence, evidence, "{index}");
        }
        for index in [1, 3, 5] {
            // The change was undone by the last add, the class that was changed never was, and the deleted one is back.
            let lost = matches!(rest[index], Err(Error::AnswerLost { inquiry: Inquiry::NoEffect, .. }));
            assert!(lost, "{index}: {:?}", rest[index]);
        }
        let shown = rest[2].as_ref().map_err(|error| format!("asked again: {error}"))?.class.as_ref();
        assert_eq!(shown.and_then(|class| class.htb.clone()).map(|htb| htb.rate), Some(settings().rate));
        assert_eq!(
            rest[4].as_ref().map(|answer| answer.evidence).ok(),
            Some(Evidence::State),
            "it is not there"
        );
        assert_eq!(world.class(new)?.and_then(|class| class.htb).map(|htb| htb.rate), Some(settings().rate));
        // The next one is answered as if nothing had been.
        assert_eq!(small.request(&requests[0]).err().and_then(|error| error.errno()), Some(libc::EEXIST));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "an overrun is not waited out");
    Ok(())
}

pub(crate) fn settings_come_back() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    for (minor, text, burst) in
        [(1, "64bit", 1600), (2, "10mbit", 3000), (3, "34359738376bit", 9000), (4, "400gbit", 1)]
    {
        let rate: Rate = text.parse()?;
        let class = HtbClass {
            burst: Some(Size::from_bytes(burst)),
            cburst: Some(Size::from_bytes(burst + 1)),
            prio: 5,
            quantum: Some(1514),
            mpu: 64,
            overhead: 14,
            ..HtbClass::new(rate)
        };
        let classid = super::world::class(minor);
        world.connection.request(&Request::AddClass {
            device,
            parent: QDISC,
            classid,
            class: class.clone(),
        })?;
        let entry = world.class(minor)?.ok_or("not there")?;
        assert_eq!((entry.device, entry.classid, &*entry.kind), (device, classid, "htb"));
        assert!(entry.xstats.is_some());
        let back = entry.htb.ok_or("no HTB class")?;
        assert_eq!(HtbClass { burst: class.burst, cburst: class.cburst, ..back.clone() }, class);
        // Up to the bytes of a tick of 64 ns.
        let tick = u32::try_from(rate.bytes_per_second() / 15_625_000 + 1)?;
        let burst_back = back.burst.ok_or("no burst")?.bytes();
        assert!((burst..=burst + tick).contains(&burst_back), "{burst} came back as {burst_back}");
    }
    assert_eq!(Device::by_name(DEVICE)?.index, device);
    Ok(())
}
