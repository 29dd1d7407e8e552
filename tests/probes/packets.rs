//! Many messages in one system call.

use std::time::Duration;

use ebpf_loader::Options;
use libtest_mimic::Failed;

use crate::{
    machine::{self, device_with_htb},
    requests::{RTM_NEWTCLASS, Socket},
};

/// Messages in the packet.
const MESSAGES: u16 = 100;
/// Classes that are there before: what an add costs must be more than what the probes themselves cost between two messages.
const CLASSES: u16 = 1500;
/// How much of the system call may lie outside its messages.
const OUTSIDE: f64 = 0.05;
const ATTEMPTS: u16 = 5;

pub(crate) fn messages_of_a_packet_are_told_apart() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_classes(device, 1..=CLASSES / 2)?;
    socket.add_classes(device, CLASSES / 2 + 1..=CLASSES)?;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    let apart = probes.report().kind.tells_messages_apart();
    let mut attempts = Vec::new();
    for attempt in 0..ATTEMPTS {
        let first = CLASSES + 1 + attempt * MESSAGES;
        let first_sequence = socket.next_sequence;
        let taken = socket.add_classes(device, first..=first + MESSAGES - 1)?;
        let mut events = Vec::new();
        probes.drain(|event, _| events.push(*event));
        assert_eq!(probes.counters()?.lost(), 0);
        assert!(events.iter().all(|event| event.message_type == RTM_NEWTCLASS), "{events:?}");
        assert!(events.iter().all(|event| event.port_id == socket.port_id), "{events:?}");
        if !apart {
            // One event, which says for how many it stands.
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!((events[0].messages, events[0].sequence), (MESSAGES, first_sequence), "{events:?}");
            let share = ratio(Duration::from_nanos(events[0].total_ns), taken);
            assert!(share <= 1.0, "{share} of the system call: {events:?}");
            continue;
        }
        let sequences = events.iter().map(|event| event.sequence);
        assert!(sequences.eq(first_sequence..first_sequence + u32::from(MESSAGES)), "{events:?}");
        assert!(events.iter().all(|event| event.messages == 1 && event.result == 0), "{events:?}");
        assert!(
            events.windows(2).all(|pair| pair[0].start_ns + pair[0].total_ns <= pair[1].start_ns),
            "messages overlap"
        );
        let sum = Duration::from_nanos(events.iter().map(|event| event.total_ns).sum());
        attempts.push(ratio(sum, taken));
    }
    if apart {
        println!("messages' share of their system call: {attempts:.3?}");
        attempts.sort_by(f64::total_cmp);
        let median = attempts[attempts.len() / 2];
        assert!(median <= 1.0 && median > 1.0 - OUTSIDE, "shares of the system call: {attempts:?}");
    }
    Ok(())
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}
