//! One event for each request, or one more in the count of lost ones.

use std::{collections::HashMap, thread};

use ebpf_loader::{Options, ProbeKind, RequestEvent, Section};
use libtest_mimic::Failed;

use crate::{
    diagnostics,
    machine::{self, device_with_htb},
    requests::{RTM_DELTCLASS, RTM_NEWTCLASS, Socket},
};

/// Classes added, then deleted.
const CLASSES: u16 = 1000;

pub(crate) fn every_request_gives_one_event() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut probes = machine::attach(&Options::default())?;
    let mut events = Vec::new();
    let mut socket = Socket::open()?;
    for minor in 1..=CLASSES {
        socket.add_class(device, minor)?;
    }
    for minor in 1..=CLASSES {
        socket.delete_class(device, minor)?;
    }
    probes.drain(|event, _| events.push(*event));
    let counters = probes.counters()?;
    assert_eq!(counters.emitted, 2 * u64::from(CLASSES), "{counters:?}");
    assert_eq!(counters.lost(), 0, "{counters:?}");
    assert_eq!(events.len(), 2 * usize::from(CLASSES));
    let mut end_of_last = 0;
    for (index, event) in events.iter().enumerate() {
        assert_eq!((event.port_id, event.sequence as usize), (socket.port_id, index + 1));
        let kind = if index < usize::from(CLASSES) { RTM_NEWTCLASS } else { RTM_DELTCLASS };
        assert_eq!(event.message_type, kind);
        check(event, probes.report().kind)?;
        assert!(event.start_ns > end_of_last, "requests of one thread overlap");
        end_of_last = event.start_ns + event.total_ns;
    }
    Ok(())
}

fn check(event: &RequestEvent, kind: ProbeKind) -> Result<(), Failed> {
    // The kernel's verdict, or the number of bytes that were sent.
    if (event.result == 0) != kind.tells_messages_apart() || event.result < 0 || event.messages != 1 {
        return Err(format!("{} messages gave {}", event.messages, event.result).into());
    }
    if event.total_ns < event.rtnl_wait_ns + event.off_cpu_ns {
        return Err(format!("waited longer than it took: {event:?}").into());
    }
    if event.total_ns == 0 || event.total_ns > 60_000_000_000 {
        return Err(format!("an impossible duration: {event:?}").into());
    }
    if kind.tells_messages_apart() {
        let parts = (event.section(Section::Handler), event.rtnl_hold());
        let (Some(handler), Some(hold)) = parts else {
            return Err(format!("neither handler nor RTNL were seen: {event:?}").into());
        };
        // RTNL is given back after the handler has returned. htb_change_class and htb_delete are parts of tc_ctl_tclass.
        let operation = event.section(Section::ClassOperation).ok_or("no class operation was seen")?;
        if !(0 < operation && operation < handler && handler < event.total_ns && hold < event.total_ns) {
            return Err(format!("parts larger than their wholes: {event:?}").into());
        }
    } else if event.sections_seen != 0 {
        return Err(format!("tracepoints do not tell the parts: {event:?}").into());
    }
    if event.flags & 1 == 0 {
        return Err(format!("NLM_F_REQUEST was set, and the event does not have it: {event:?}").into());
    }
    Ok(())
}

pub(crate) fn a_full_ring_buffer_loses_and_counts() -> Result<(), Failed> {
    const SENT: u64 = 2000;
    let device = device_with_htb()?;
    let mut probes =
        machine::attach(&Options { ring_buffer_bytes: 4096, sample_hz: None, ..Options::default() })?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    for index in 1..SENT {
        socket.change_class(device, 1, 125_000 + u32::try_from(index)?)?;
    }
    let counters = probes.counters()?;
    assert_eq!(counters.emitted + counters.lost_ring_full, SENT, "{counters:?}");
    assert!(
        counters.emitted >= 20 && counters.emitted <= 28,
        "4 KiB hold 28 events of 144 bytes: {counters:?}"
    );
    assert_eq!(counters.lost(), counters.lost_ring_full, "{counters:?}");
    let mut sequences = Vec::new();
    let read = probes.drain(|event, _| sequences.push(event.sequence));
    assert_eq!(read, counters.emitted);
    assert!(sequences.iter().copied().eq(1..=u32::try_from(read)?), "the first events are kept, in order");
    probes.flush_diagnostics();
    diagnostics::expect("following process")?;
    diagnostics::expect("the ring buffer is full")?;
    // There is room again.
    socket.change_class(device, 1, 125_000)?;
    assert_eq!(probes.drain(|event, _| assert_eq!(u64::from(event.sequence), SENT + 1)), 1);
    Ok(())
}

pub(crate) fn threads_are_not_mixed_up() -> Result<(), Failed> {
    const THREADS: u16 = 8;
    const EACH: u16 = 250;
    let device = device_with_htb()?;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    // All are open before the first thread ends: the kernel hands out a port id again when its socket is closed.
    let mut sockets = (0..THREADS).map(|_| Socket::open()).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0_u16..)
            .zip(&mut sockets)
            .map(|(index, socket)| {
                scope.spawn(move || {
                    (0..EACH).try_for_each(|minor| socket.add_class(device, 1 + index * EACH + minor))
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map_err(Failed::from))
    })?;
    let mut by_port: HashMap<u32, Vec<RequestEvent>> = HashMap::new();
    probes.drain(|event, _| by_port.entry(event.port_id).or_default().push(*event));
    let counters = probes.counters()?;
    // A kernel that preempts BPF programs does not run one a second time on a CPU, for another thread, before the first time is over. It
    // counts that, and nothing else may be missing. How many they are depends on how slow the machine is: more than a twentieth were
    // seen under emulation.
    let sent = u64::from(THREADS) * u64::from(EACH);
    let missing = sent - by_port.values().map(|events| events.len() as u64).sum::<u64>();
    assert!(missing <= counters.lost() && counters.lost() * 2 < sent, "{missing} of {sent}: {counters:?}");
    assert_eq!(counters.lost_ring_full + counters.lost_slot + counters.lost_header, 0, "{counters:?}");
    assert_eq!(by_port.len(), sockets.len());
    for socket in sockets {
        let events = &by_port[&socket.port_id];
        assert!(events.is_sorted_by(|one, next| one.sequence < next.sequence), "twice, or out of order");
        assert!(events.iter().all(|event| (1..=u32::from(EACH)).contains(&event.sequence)));
        assert!(events.iter().all(|event| event.tid == events[0].tid), "one thread, one id");
        events.iter().try_for_each(|event| check(event, probes.report().kind))?;
    }
    Ok(())
}

pub(crate) fn what_is_no_request_gives_no_event() -> Result<(), Failed> {
    const RTM_GETLINK: u16 = 18;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    let mut socket = Socket::open()?;
    // Another type; a message longer than what is sent; too short for a header.
    socket.send(RTM_GETLINK, 0, &[0; 16])?;
    let mut truncated = vec![0_u8; 36];
    truncated[0..4].copy_from_slice(&64_u32.to_ne_bytes());
    truncated[4..6].copy_from_slice(&RTM_NEWTCLASS.to_ne_bytes());
    socket.send_bytes(&truncated)?;
    socket.send_bytes(&truncated[..8])?;
    let counters = probes.counters()?;
    assert_eq!((counters.emitted, counters.lost()), (0, 0), "{counters:?}");
    assert_eq!(probes.drain(|event, _| panic!("{event:?}")), 0);
    Ok(())
}
