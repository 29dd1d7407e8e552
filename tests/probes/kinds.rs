//! Kinds of probes: the one that must be chosen is, and they say the same of the same requests.

use ebpf_loader::{Options, ProbeKind, Probes};
use libtest_mimic::Failed;

use crate::{
    machine::{self, device_with_htb},
    requests::Socket,
};

pub(crate) fn the_kind_that_must_be_is_chosen() -> Result<(), Failed> {
    // Where HTB is a module, its functions are there once it is loaded, which a qdisc sees to.
    device_with_htb()?;
    let probes = Probes::attach(&Options::default())?;
    let report = probes.report();
    let Some(expected) = machine::expected_kind()? else {
        // Nobody said what this machine must give: then at least every better kind has a reason.
        let passed_over: Vec<_> = report.passed_over.iter().map(|(kind, _)| *kind).collect();
        let better = ProbeKind::IN_ORDER_OF_PREFERENCE.into_iter().take_while(|kind| *kind != report.kind);
        assert!(better.eq(passed_over), "{report:?}");
        assert!(report.passed_over.iter().all(|(_, why)| !why.reason.is_empty()), "{report:?}");
        return Ok(());
    };
    assert_eq!(report.kind, expected, "{report:?}");
    // All that this kind can see is seen: a kernel from which a probe is missing is another kernel than we know.
    let missing: Vec<_> = report.probes.iter().filter(|probe| !probe.attached).collect();
    assert!(missing.is_empty(), "not attached: {missing:?}");
    assert!(report.structures.is_ok(), "{report:?}");
    Ok(())
}

/// Enough that one more takes long, compared with what the kinds do not see alike: the system call around the message, and each
/// other's probes, which are 0.1 to 0.4 ms in emulated machines.
const CLASSES: u16 = 4500;
const ADDED: u16 = 200;
/// By which share of a request the kinds may differ.
const TOLERANCE: f64 = 0.10;

/// All kinds at once, on the same requests: one after another, the machine's ups and downs would differ more than they do.
pub(crate) fn kinds_agree() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    // More do not fit into a socket's send buffer at once.
    for first in (1..=CLASSES).step_by(750) {
        socket.add_classes(device, first..=first + 749)?;
    }
    let options = |kind| Options { kind: Some(kind), in_parts: false, sample_hz: None, ..Options::default() };
    let mut all: Vec<_> = ProbeKind::IN_ORDER_OF_PREFERENCE
        .into_iter()
        .filter_map(|kind| Probes::attach(&options(kind)).ok())
        .collect();
    let kinds: Vec<_> = all.iter().map(|probes| probes.report().kind).collect();
    // Where the best kind must be, the less demanding ones must be, too: nothing else would notice that one is lost.
    if let Some(best) = machine::expected_kind()? {
        let least: Vec<_> =
            ProbeKind::IN_ORDER_OF_PREFERENCE.into_iter().skip_while(|kind| *kind != best).collect();
        assert_eq!(kinds, least, "a kind does not attach; see --probes");
    }
    // What they sent to try themselves out.
    for probes in &mut all {
        probes.drain(|_, _| ());
    }
    let first_sequence = socket.next_sequence;
    for minor in CLASSES + 1..=CLASSES + ADDED {
        socket.add_class(device, minor)?;
    }
    let mut durations = Vec::new();
    for probes in &mut all {
        let kind = probes.report().kind;
        let mut events = Vec::new();
        probes.drain(|event, _| events.push(*event));
        assert_eq!(probes.counters()?.lost(), 0, "{kind}");
        let sequences = events.iter().map(|event| event.sequence);
        assert!(sequences.eq(first_sequence..first_sequence + u32::from(ADDED)), "{kind}: {events:?}");
        let spans: Vec<f64> = events.iter().map(|event| event.total_ns as f64).collect();
        durations.push((kind, spans));
    }
    let [(reference, shortest), others @ ..] = &durations[..] else { return Err("no kind attaches".into()) };
    let median = quantile(shortest, 0.5);
    let apart: Vec<_> = others.iter().map(|(kind, spans)| (*kind, apart(shortest, spans) / median)).collect();
    println!("the same {ADDED} adds, {:.2} ms by {reference}; apart by {apart:.3?}", median / 1e6);
    assert!(apart.iter().all(|(_, share)| share.abs() < TOLERANCE), "{apart:?} of {median} ns");
    Ok(())
}

/// By how much two kinds differ over the same requests, nanoseconds: by no more than this in a tenth of them. What a machine does besides, for
/// one that lends its processors to others, falls between the ends of both spans as it pleases, and only lengthens the difference.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let differences: Vec<f64> = one.iter().zip(other).map(|(one, other)| other - one).collect();
    quantile(&differences, 0.1)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among hundreds")]
    sorted[(sorted.len() as f64 * share) as usize]
}

/// Two at once do not disturb each other: both see everything, and nothing of the other's requests is lost.
pub(crate) fn two_at_once_see_the_same() -> Result<(), Failed> {
    const ADDED: u16 = 100;
    let device = device_with_htb()?;
    let options = Options { sample_hz: None, ..Options::default() };
    let mut one = machine::attach(&options)?;
    let mut other = machine::attach(&options)?;
    // What the second sent to try itself out.
    one.drain(|_, _| ());
    let mut socket = Socket::open()?;
    for minor in 1..=ADDED {
        socket.add_class(device, minor)?;
    }
    let (mut by_one, mut by_other) = (Vec::new(), Vec::new());
    one.drain(|event, _| by_one.push(event.sequence));
    other.drain(|event, _| by_other.push(event.sequence));
    assert!(by_one.iter().copied().eq(1..=u32::from(ADDED)), "{by_one:?}");
    assert_eq!(by_one, by_other);
    assert_eq!(other.counters()?.lost(), 0);
    Ok(())
}
