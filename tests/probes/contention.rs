//! Waiting for RTNL, which another process holds in another network namespace.

use std::{
    ffi::CString,
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use ebpf_loader::{Options, Probes, RtnlLock};
use libtest_mimic::Failed;
use nix::sys::prctl;

use crate::{
    machine::{self, Other, Role, device_with_htb},
    requests::Socket,
};

const ATTEMPTS: u32 = 5;

/// Enough that adding one holds RTNL for a tenth of a millisecond.
const CLASSES_OF_CONTENDER: u16 = 1000;
const PHASE: Duration = Duration::from_millis(500);

/// What the other process does: until it is killed, it adds and deletes a class where there are many.
pub(crate) fn contend() -> Result<(), Failed> {
    machine::in_own_namespace(|| {
        prctl::set_name(&CString::new(CONTENDER)?)?;
        let device = device_with_htb()?;
        let mut socket = Socket::open()?;
        for minor in 1..=CLASSES_OF_CONTENDER {
            socket.add_class(device, minor)?;
        }
        let mut output = std::io::stdout();
        output.write_all(b"!")?;
        output.flush()?;
        machine::on_cpu(1, || {
            loop {
                socket.add_class(device, CLASSES_OF_CONTENDER + 1)?;
                socket.delete_class(device, CLASSES_OF_CONTENDER + 1)?;
            }
        })
    })
}

/// What a phase of requests had to wait for.
#[derive(Debug)]
struct Waits {
    /// Requests.
    sent: u64,
    /// Requests that waited for RTNL.
    waited: u64,
    /// For how long, all together; ns.
    rtnl_wait_ns: u64,
    /// For how long behind a holder of the contender's name; ns.
    behind_contender_ns: u64,
}

/// The other process's name, as the kernel has it.
pub(crate) const CONTENDER: &str = "qd-contender";

fn measure(probes: &mut Probes, socket: &mut Socket, device: i32) -> Result<Waits, Failed> {
    let mut waits = Waits { sent: 0, waited: 0, rtnl_wait_ns: 0, behind_contender_ns: 0 };
    let end = Instant::now() + PHASE;
    let mut read = 0;
    while Instant::now() < end {
        for rate in 125_000..125_100 {
            socket.change_class(device, 1, rate)?;
        }
        waits.sent += 100;
        read += probes.drain(|event, _| {
            assert_eq!(event.rtnl_wait_ns > 0, event.rtnl_contentions > 0, "{event:?}");
            assert!(event.total_ns >= event.rtnl_wait_ns + event.off_cpu_ns, "{event:?}");
            waits.waited += u64::from(event.rtnl_contentions > 0);
            waits.rtnl_wait_ns += event.rtnl_wait_ns;
            if event.holder_name() == CONTENDER {
                assert_ne!((event.holder_tid, event.holder_tgid), (0, 0), "{event:?}");
                waits.behind_contender_ns += event.rtnl_wait_ns;
            }
        });
    }
    assert_eq!(read, waits.sent);
    Ok(waits)
}

pub(crate) fn waiting_for_rtnl_is_seen() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    if !probes.report().measures_rtnl_wait() {
        return Err(format!("waits are not measured: {}", probes.report()).into());
    }
    assert!(!matches!(probes.report().rtnl_lock, RtnlLock::NotMeasured));
    // Others on this machine may use RTNL as well, so "alone" need not be nothing, and one attempt may show nothing.
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        let alone = measure(&mut probes, &mut socket, device)?;
        let mut contender = Other::start(Role::Contender)?;
        contender.0.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut [0])?;
        let disturbed = machine::on_cpu(0, || measure(&mut probes, &mut socket, device))?;
        drop(contender);
        assert_eq!(probes.counters()?.lost(), 0);
        let seen =
            alone.waited * 10 < alone.sent && disturbed.rtnl_wait_ns > 20_000_000.max(3 * alone.rtnl_wait_ns);
        // Most of the waiting is behind the contender, and nobody is blamed while it is not there.
        let blamed =
            disturbed.behind_contender_ns * 2 > disturbed.rtnl_wait_ns && alone.behind_contender_ns == 0;
        if seen && (blamed || !probes.report().tells_holders()) {
            return Ok(());
        }
        attempts.push((alone, disturbed));
    }
    Err(format!("contention does not show: {}; alone and disturbed: {attempts:?}", probes.report()).into())
}
