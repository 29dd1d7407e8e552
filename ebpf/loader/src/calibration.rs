//! Making requests contend for RTNL, so that the probes can see its address.
//!
//! Each of two threads asks, on a netlink socket of its own, for the deletion of a class on a device that cannot exist.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ebpf_common::Cookie;

use crate::requests::{RTM_DELTCLASS, Socket};

const TIME_LIMIT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Enough for a verdict.
const ENOUGH_WAITS: u64 = 200;

/// Contends until `waits` has seen enough, or the time is over. `waits` returns how many waits were seen so far.
///
/// On one CPU for each thread: the kernel hardly ever preempts who holds RTNL, so threads on the same CPU do not meet.
pub(crate) fn contend(mut waits: impl FnMut() -> u64) -> io::Result<()> {
    let cpus = two_cpus()?;
    let sockets = [Socket::open()?, Socket::open()?];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (socket, cpu) in sockets.iter().zip(cpus) {
            let stop = &stop;
            scope.spawn(move || {
                stay_on(cpu);
                while !stop.load(Ordering::Relaxed) {
                    socket.ask(RTM_DELTCLASS, Cookie::default());
                }
            });
        }
        let deadline = Instant::now() + TIME_LIMIT;
        while Instant::now() < deadline && waits() < ENOUGH_WAITS {
            thread::sleep(POLL_INTERVAL);
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Two CPUs on which this thread may run.
fn two_cpus() -> io::Result<[usize; 2]> {
    // SAFETY: all zeros is a valid set, and its size is given.
    let allowed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    let size = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: the numbers are within the set.
    let mut cpus = (0..size).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) });
    match (cpus.next(), cpus.next()) {
        (Some(one), Some(other)) => Ok([one, other]),
        _ => Err(io::Error::other("requests cannot contend on one CPU")),
    }
}

/// Keeps the calling thread on one CPU. Where that fails, the scheduler may still choose well.
fn stay_on(cpu: usize) {
    // SAFETY: all zeros is a valid set, and the CPU is one of those the kernel named.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}
