//! Making requests contend for RTNL, so that the probes can see its address.
//!
//! Each of two threads asks, on a netlink socket of its own, for the deletion of a class on a device that cannot exist. The kernel
//! takes RTNL, does not find the device, and answers `ENODEV` (`tc_ctl_tclass()` in `net/sched/sch_api.c`): nothing changes.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const TIME_LIMIT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Enough for a verdict.
const ENOUGH_WAITS: u64 = 200;

const RTM_DELTCLASS: u16 = 41;
const NLM_F_REQUEST: u16 = 1;
/// By which the request's event is known.
const SEQUENCE: u32 = 0x7164_6973;
/// `struct nlmsghdr` and `struct tcmsg`.
const MESSAGE_LENGTH: usize = 16 + 20;

/// Contends until `waits` has seen enough, or the time is over. `waits` returns how many waits were seen so far.
///
/// On one CPU for each thread: the kernel hardly ever preempts who holds RTNL, so threads on the same CPU do not meet.
pub(crate) fn contend(mut waits: impl FnMut() -> u64) -> io::Result<()> {
    let cpus = two_cpus()?;
    let sockets = [open()?, open()?];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (socket, cpu) in sockets.iter().zip(cpus) {
            let stop = &stop;
            scope.spawn(move || {
                stay_on(cpu);
                while !stop.load(Ordering::Relaxed) {
                    ask(socket);
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

/// Sends the request once and returns its sequence number.
pub(crate) fn ask_once() -> io::Result<u32> {
    ask(&open()?);
    Ok(SEQUENCE)
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened and that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn message() -> [u8; MESSAGE_LENGTH] {
    let mut message = [0; MESSAGE_LENGTH];
    message[0..4].copy_from_slice(&36_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_DELTCLASS.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
    // tcm_ifindex: the kernel hands out indices from 1 upwards and does not come here.
    message[20..24].copy_from_slice(&i32::MAX.to_ne_bytes());
    message
}

/// Sends the request and takes the answer off the socket. What the kernel says does not matter.
fn ask(socket: &OwnedFd) {
    let message = message();
    let mut answer = [0_u8; 256];
    // SAFETY: both buffers are valid for the lengths given; a null address means the kernel.
    unsafe {
        libc::sendto(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, ptr::null(), 0);
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_for_a_device_that_cannot_exist() {
        let socket = open().unwrap();
        ask_and_expect(&socket);
    }

    fn ask_and_expect(socket: &OwnedFd) {
        let message = message();
        let mut answer = [0_u8; 256];
        // SAFETY: as in `ask`.
        let length = unsafe {
            libc::sendto(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, ptr::null(), 0);
            libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT)
        };
        assert!(length >= 20, "no answer");
        let errno = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
        // Without privileges the kernel refuses earlier.
        assert!(errno == -libc::ENODEV || errno == -libc::EPERM, "{errno}");
    }
}
