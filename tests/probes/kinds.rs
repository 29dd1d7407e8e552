//! Kinds of probes: the one that must be chosen is, and they say the same of the same requests.

use ebpf_loader::{Options, ProbeKind, Probes};
use libtest_mimic::Failed;

use crate::{
    machine::{self, device_with_htb},
    requests::{RTM_NEWTCLASS, Socket},
};

pub(crate) fn the_kind_that_must_be_is_chosen() -> Result<(), Failed> {
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
    assert_eq!(report.structures, None);
    Ok(())
}

/// Enough that one more takes long, compared with what the kinds do not see alike: the system call around the message.
const CLASSES: u16 = 1500;
const ROUNDS: u16 = 4;
/// Classes that each kind sees in a round.
const BLOCK: u16 = 60;
/// By how much the medians may differ.
const TOLERANCE: f64 = 0.10;

/// Every kind sees every fourth block of adds; the machine's own ups and downs are then shared.
pub(crate) fn kinds_agree() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_classes(device, 1..=CLASSES / 2)?;
    socket.add_classes(device, CLASSES / 2 + 1..=CLASSES)?;
    let kinds = machine::working_kinds();
    assert!(!kinds.is_empty());
    let mut durations: Vec<Vec<u64>> = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for (kind, durations) in kinds.iter().zip(&mut durations) {
            let mut probes =
                Probes::attach(&Options { kind: Some(*kind), sample_hz: None, ..Options::default() })?;
            let added = CLASSES + 1..=CLASSES + BLOCK;
            for minor in added.clone() {
                socket.add_class(device, minor)?;
            }
            let seen = probes.drain(|event, _| durations.push(event.total_ns));
            assert_eq!((seen, probes.counters()?.lost()), (u64::from(BLOCK), 0), "{kind}");
            drop(probes);
            for minor in added {
                socket.delete_class(device, minor)?;
            }
        }
    }
    let medians: Vec<f64> = durations.iter_mut().map(|durations| median(durations)).collect();
    let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let most = medians.iter().copied().fold(0.0, f64::max);
    let told: Vec<_> = kinds.iter().zip(&medians).map(|(kind, ns)| format!("{kind} {ns} ns")).collect();
    println!("{RTM_NEWTCLASS}: medians of {} adds each: {}", ROUNDS * BLOCK, told.join(", "));
    assert!(most / least - 1.0 < TOLERANCE, "{}", told.join(", "));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "durations of less than a day")]
fn median(durations: &mut [u64]) -> f64 {
    durations.sort_unstable();
    durations[durations.len() / 2] as f64
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
