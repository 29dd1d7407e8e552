//! Waiting for RTNL, which another process holds in another network namespace.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use ebpf_loader::{Options, Probes, RtnlLock};
use libtest_mimic::Failed;

use crate::{
    machine::{self, Other, Role, device_with_htb},
    requests::Socket,
};

/// Enough that adding one holds RTNL for a tenth of a millisecond.
const CLASSES_OF_CONTENDER: u16 = 1000;
const PHASE: Duration = Duration::from_millis(500);

/// What the other process does: until it is killed, it adds and deletes a class where there are many.
pub(crate) fn contend() -> Result<(), Failed> {
    machine::in_own_namespace(|| {
        machine::stay_on_cpu(1)?;
        let device = device_with_htb()?;
        let mut socket = Socket::open()?;
        for minor in 1..=CLASSES_OF_CONTENDER {
            socket.add_class(device, minor)?;
        }
        let mut output = std::io::stdout();
        output.write_all(b"!")?;
        output.flush()?;
        loop {
            socket.add_class(device, CLASSES_OF_CONTENDER + 1)?;
            socket.delete_class(device, CLASSES_OF_CONTENDER + 1)?;
        }
    })
}

/// What a phase of requests had to wait for.
#[derive(Debug)]
struct Waits {
    /// Requests that waited for RTNL.
    waited: usize,
    /// For how long, all together; ns.
    rtnl_wait_ns: u64,
}

fn measure(probes: &mut Probes, socket: &mut Socket, device: i32) -> Result<Waits, Failed> {
    let mut waits = Waits { waited: 0, rtnl_wait_ns: 0 };
    let end = Instant::now() + PHASE;
    let (mut sent, mut read) = (0, 0);
    while Instant::now() < end {
        for rate in 125_000..125_100 {
            socket.change_class(device, 1, rate)?;
        }
        sent += 100;
        read += probes.drain(|event| {
            assert_eq!(event.rtnl_wait_ns > 0, event.rtnl_contentions > 0, "{event:?}");
            assert!(event.syscall_ns >= event.rtnl_wait_ns + event.off_cpu_ns, "{event:?}");
            waits.waited += usize::from(event.rtnl_contentions > 0);
            waits.rtnl_wait_ns += event.rtnl_wait_ns;
        });
    }
    assert_eq!(read, sent);
    Ok(waits)
}

pub(crate) fn waiting_for_rtnl_is_seen() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    let mut probes = Probes::attach(&Options { sample_hz: None, ..Options::default() })?;
    if !probes.report().measures_rtnl_wait() {
        return Err(format!("waits are not measured: {}", probes.report()).into());
    }
    assert!(!matches!(probes.report().rtnl_lock, RtnlLock::NotMeasured));
    let alone = measure(&mut probes, &mut socket, device)?;
    let mut contender = Other::start(Role::Contender)?;
    let pipe = contender.0.stdout.as_mut().ok_or("no pipe")?;
    pipe.read_exact(&mut [0])?;
    // Not before: the other process would have inherited it.
    machine::stay_on_cpu(0)?;
    let disturbed = measure(&mut probes, &mut socket, device)?;
    drop(contender);
    // Others on this machine may use RTNL, so "alone" need not be nothing.
    let both = format!("{}; alone {alone:?}, disturbed {disturbed:?}", probes.report());
    assert!(
        disturbed.rtnl_wait_ns > 10 * alone.rtnl_wait_ns.max(1_000_000),
        "contention does not show: {both}"
    );
    assert!(disturbed.waited > 10 * alone.waited.max(1), "contention does not show: {both}");
    assert_eq!(probes.counters()?.lost(), 0);
    Ok(())
}
