//! Following other processes: those that are named, what they start, or all.

use std::{
    ops::ControlFlow,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ebpf_loader::{Follow, Options, Probes};
use libtest_mimic::Failed;
use nix::{libc, net::if_::if_nametoindex};

use crate::{
    machine::{self, DEVICE, Other, Role, device_with_htb},
    requests::Socket,
};

fn attach(follow: Follow) -> Result<Probes, Failed> {
    machine::attach(&Options { follow, details: true, sample_hz: None, ..Options::default() })
}

/// The names of those who sent what is there to be read.
fn senders(probes: &mut Probes) -> Vec<String> {
    let mut senders = Vec::new();
    probes.drain_detailed(|seen| {
        senders.push(seen.detail.and_then(|detail| detail.comm()).unwrap_or_default().to_owned());
        ControlFlow::Continue(())
    });
    senders
}

fn until_nobody_is_followed(probes: &Probes) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !probes.followed().is_empty() {
        if Instant::now() > deadline {
            return Err(format!("{:?} are still followed", probes.followed()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Processes that are started one after the other, each of which lives for a millisecond and sends one request.
pub(crate) fn a_family_is_followed_from_birth() -> Result<(), Failed> {
    const PROCESSES: usize = 30;
    device_with_htb()?;
    let mut probes = attach(Follow::Families)?;
    assert_eq!(probes.followed(), []);
    let mut socket = Socket::open()?;
    // Not followed yet.
    socket.add_class(i32::try_from(if_nametoindex(DEVICE)?)?, 0x100)?;
    let script = format!(
        "i=0; while [ $i -lt {PROCESSES} ]; do i=$((i+1)); (tc class add dev {DEVICE} parent 1: classid 1:$i htb rate 1mbit); done"
    );
    probes.follow(probes.this_process())?;
    let mut shell = Command::new("sh").args(["-c", &script]).spawn()?;
    probes.unfollow(probes.this_process())?;
    // No longer.
    socket.add_class(i32::try_from(if_nametoindex(DEVICE)?)?, 0x101)?;
    assert!(shell.wait()?.success());
    until_nobody_is_followed(&probes)?;
    assert_eq!(senders(&mut probes), vec!["tc"; PROCESSES], "{:?}", probes.counters()?);
    let counters = probes.counters()?;
    assert_eq!((counters.lost_ring_full, counters.lost_slot, counters.lost_processes), (0, 0, 0));
    Ok(())
}

/// What the process without its first thread does: another thread sends requests when the first has ended.
pub(crate) fn outlive_the_first_thread() -> Result<(), Failed> {
    let device = i32::try_from(if_nametoindex(DEVICE)?)?;
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        let sent = Socket::open().and_then(|mut socket| socket.add_class(device, 1));
        // The whole process.
        std::process::exit(i32::from(sent.is_err()));
    });
    // SAFETY: ends this thread only; nothing of it is used by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    Err("a thread outlived its end".into())
}

pub(crate) fn a_process_is_followed_until_its_last_thread_ends() -> Result<(), Failed> {
    device_with_htb()?;
    let mut probes = attach(Follow::Families)?;
    probes.follow(probes.this_process())?;
    let mut other = Other::start(Role::Leaderless)?;
    probes.unfollow(probes.this_process())?;
    assert!(other.0.wait()?.success());
    until_nobody_is_followed(&probes)?;
    assert_eq!(senders(&mut probes).len(), 1, "{:?}", probes.counters()?);
    Ok(())
}

pub(crate) fn everybody_is_followed() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut probes = attach(Follow::Everyone)?;
    machine::run(
        "tc",
        &["class", "add", "dev", DEVICE, "parent", "1:", "classid", "1:1", "htb", "rate", "1mbit"],
    )?;
    Socket::open()?.add_class(device, 2)?;
    let senders = senders(&mut probes);
    assert!(senders.iter().filter(|sender| *sender == "tc").count() >= 1, "{senders:?}");
    assert!(senders.len() >= 2, "{senders:?}");
    Ok(())
}
