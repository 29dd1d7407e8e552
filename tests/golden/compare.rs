//! Each case twice: our bytes next to those of `tc`, and our request's effect as `tc` shows it.

use libtest_mimic::{Failed, Trial};
use support::{Need, run, trial, trial_with, veth};
use tc_adapter::{Checks, Client, Device, Dump, Handle};

use crate::capture::tc_message;
use crate::cases::{After, Case, DEVICE, all};
use crate::message::Message;
use crate::shown::{ShownClass, check_qdisc};

const TRACED: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Strace, Need::Htb];
const SHOWN: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Htb];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in all() {
        trials.push(trial_with(&format!("golden::bytes::{}", case.name), TRACED, move || same_bytes(&case)));
    }
    for case in all() {
        trials.push(trial_with(&format!("golden::effect::{}", case.name), SHOWN, move || same_effect(&case)));
    }
    trials.push(trial("golden::bytes::qdisc_show", TRACED, || {
        same_dump("qdisc show", |_| Dump::Qdiscs { device: None })
    }));
    trials.push(trial("golden::bytes::qdisc_show_dev", TRACED, || {
        same_dump("qdisc show dev gold0", |device| Dump::Qdiscs { device: Some(device) })
    }));
    trials.push(trial("golden::bytes::class_show", TRACED, || {
        same_dump("class show dev gold0", |device| Dump::Classes { device })
    }));
    trials
}

/// The device, with the case's commands applied.
fn prepare(setup: &[&str]) -> Result<u32, Failed> {
    veth(DEVICE, "gold1")?;
    for arguments in setup {
        run(&format!("tc {arguments}"))?;
    }
    Ok(Device::by_name(DEVICE)?.index)
}

fn same_bytes(case: &Case) -> Result<(), Failed> {
    let device = prepare(case.setup)?;
    let mut ours = Vec::new();
    (case.request)(device).encode(1, 2, &mut ours);
    let theirs = tc_message(&case.command)?;
    let (mut ours, mut theirs) = (Message::parse(&ours)?, Message::parse(&theirs)?);
    match (ours.bursts.take(), theirs.bursts.take()) {
        (Some(ours), Some(theirs)) => {
            for (ours, theirs) in ours.into_iter().zip(theirs) {
                same_burst(ours, theirs)?;
            }
        }
        (None, None) => {}
        (ours, theirs) => return Err(format!("bursts: {ours:?}, tc: {theirs:?}").into()),
    }
    if ours == theirs { Ok(()) } else { Err(format!("ours: {ours:?}\n  tc: {theirs:?}").into()) }
}

/// We round a burst up to a tick. `tc` does so too from iproute2 6.15 on, in floating point, which may be off by one; before, it
/// rounds down to a microsecond (15.625 ticks) and then to a tick.
fn same_burst(ours: u32, theirs: u32) -> Result<(), Failed> {
    match i64::from(ours) - i64::from(theirs) {
        -1..=17 => Ok(()),
        _ => Err(format!("a burst of {ours} ticks, in tc's message {theirs}").into()),
    }
}

fn same_dump(arguments: &str, dump: fn(u32) -> Dump) -> Result<(), Failed> {
    let device = prepare(&[])?;
    let mut ours = Vec::new();
    dump(device).encode(1, 2, &mut ours);
    let theirs = tc_message(arguments)?;
    let (ours, theirs) = (Message::parse(&ours)?, Message::parse(&theirs)?);
    if ours == theirs { Ok(()) } else { Err(format!("ours: {ours:?}\n  tc: {theirs:?}").into()) }
}

fn same_effect(case: &Case) -> Result<(), Failed> {
    let device = prepare(case.setup)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let request = (case.request)(device);
    runtime.block_on(Client::connect()?.request_with(&request, Checks::NONE))?;
    match &case.after {
        After::Qdisc(handle, qdisc) => check_qdisc(DEVICE, *handle, qdisc),
        After::NoQdisc if run(&format!("tc qdisc show dev {DEVICE}"))?.contains("htb") => {
            Err("the qdisc is still there".into())
        }
        After::NoClass(classid) if ShownClass::find(DEVICE, *classid)?.is_some() => {
            Err(format!("{classid} is still there").into())
        }
        After::NoQdisc | After::NoClass(_) => Ok(()),
        After::Class { classid, class } => {
            let shown =
                ShownClass::find(DEVICE, *classid)?.ok_or_else(|| format!("tc shows no {classid}"))?;
            shown.check(class)?;
            let asked =
                Some(request.parent()).filter(|parent| parent.minor() != 0 && *parent != Handle::ROOT);
            match (asked, shown.parent()) {
                (Some(asked), shown) if shown != Some(asked.to_string()) => {
                    Err(format!("under {shown:?} instead of {asked}").into())
                }
                _ => Ok(()),
            }
        }
    }
}
