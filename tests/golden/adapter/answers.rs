//! What comes back.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use support::kernel_is_at_least;
use tc_adapter::{
    Connection, Device, Error, Evidence, Handle, HtbClass, HtbQdisc, Inquiry, Loss, Rate, Request, Size,
    SocketOptions,
};

use super::world::{DEVICE, QDISC, World, add_class, class, mbit, settings};

/// Load generators count on it: one request, one message, one sequence number.
pub(crate) fn each_request_is_one_message() -> Result<(), Failed> {
    let mut world = World::new()?;
    let (device, parent, classid) = (world.device, QDISC, class(1));
    let class = settings();
    let requests = [
        Request::DeleteQdisc { device, parent: Handle::ROOT, handle: QDISC },
        Request::AddQdisc { device, parent: Handle::ROOT, qdisc: HtbQdisc::new(Handle::qdisc(2)) },
        Request::ReplaceQdisc { device, parent: Handle::ROOT, qdisc: HtbQdisc::new(QDISC) },
        Request::AddClass { device, parent, classid, class: class.clone() },
        Request::ChangeClass { device, parent, classid, class: class.clone() },
        Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class: class.clone() },
        Request::ReplaceClass { device, parent, classid, class },
        Request::GetClass { device, classid },
        Request::DeleteClass { device, classid },
    ];
    for request in requests {
        let expected = world.connection.last_sequence() + 1;
        let answer = world.connection.request(&request).map_err(|error| format!("{request:?}: {error}"))?;
        assert_eq!((answer.sequence, world.connection.last_sequence()), (expected, expected), "{request:?}");
        assert_eq!(answer.warning, None, "{request:?}");
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

/// Sends `datagram` to a connection as another process could, as often as its receive buffer takes it.
fn flood(victim: &Connection, datagram: &[u8], at_most: usize) -> Result<usize, Failed> {
    let mut stranger = Socket::new(NETLINK_ROUTE)?;
    stranger.bind_auto()?;
    let address = SocketAddr::new(victim.port_id(), 0);
    for sent in 0..at_most {
        match stranger.send_to(datagram, &address, libc::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at_most)
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

pub(crate) fn strangers_are_not_believed() -> Result<(), Failed> {
    let mut world = World::new()?;
    assert_eq!(flood(&world.connection, &forged_refusal(&world.connection), 3)?, 3);
    world.add(QDISC, 1)?;
    assert!(world.class(1)?.is_some());
    Ok(())
}

/// Somebody fills the receive buffer, so that the kernel has nowhere to put its answer: it is asked what is so.
pub(crate) fn a_lost_answer_is_asked_for() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let options =
        SocketOptions { receive_buffer: 1, deadline: Duration::from_secs(30), ..SocketOptions::default() };
    let mut small = Connection::connect_with(options)?;
    let start = Instant::now();
    for minor in 1..=20 {
        let mut overrun = |request: &Request| {
            assert!(flood(&small, &forged_refusal(&small), 1000)? < 1000, "the buffer cannot be filled");
            Ok::<_, Failed>((small.last_sequence() + 1, small.request(request)))
        };
        let add = add_class(device, QDISC, minor);
        let classid = class(minor);
        let change = |class| Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class };
        let delete = Request::DeleteClass { device, classid };
        for request in [&add, &change(mbit(9)), &Request::GetClass { device, classid }, &delete] {
            let (sequence, outcome) = overrun(request)?;
            let answer = outcome.map_err(|error| format!("{request:?}: {error}"))?;
            if !matches!(request, Request::GetClass { .. }) {
                // A question is asked again instead.
                assert_eq!((answer.sequence, answer.evidence), (sequence, Evidence::State), "{request:?}");
            }
        }
        assert_eq!(world.class(minor)?, None, "it was deleted");
        // A change of what is not there: refused, and nobody heard why.
        let (sequence, outcome) = overrun(&change(mbit(9)))?;
        match outcome {
            Err(Error::AnswerLost { loss: Loss::Overrun, sequence: lost, handle, inquiry, .. }) => {
                assert_eq!((lost, handle, inquiry), (sequence, classid, Inquiry::NoEffect));
            }
            other => return Err(format!("{other:?}").into()),
        }
        // The next one is answered as if nothing had been.
        assert_eq!(small.request(&delete).err().and_then(|error| error.errno()), Some(libc::ENOENT));
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
        assert_eq!((entry.device, entry.classid, entry.kind.as_str()), (device, classid, "htb"));
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
