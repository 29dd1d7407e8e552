//! What the kernel answers, and what a request waits for besides RTNL.

use ebpf_loader::{Options, Section};
use libtest_mimic::Failed;
use nix::libc;

use crate::{
    machine::{self, DEVICE, device_with_htb, set_up},
    requests::{RTM_DELQDISC, Socket},
};

pub(crate) fn a_refusal_comes_with_the_kernels_words() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    let mut socket = Socket::open()?;
    // The root's handle is 1:.
    let refused = socket.delete_root(device, 2).err().ok_or("a wrong handle was taken")?;
    socket.add_class(device, 1)?;
    let mut seen = Vec::new();
    probes.drain(|event, text| seen.push((*event, text.map(str::to_owned))));
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (event, text) = &seen[0];
    let text = text.as_deref().ok_or_else(|| format!("no text: {}", probes.report()))?;
    assert_eq!(text, "Invalid handle", "net/sched/sch_api.c, tc_get_qdisc()");
    if probes.report().kind.tells_messages_apart() {
        assert_eq!((refused.raw_os_error(), event.result), (Some(libc::EINVAL), -libc::EINVAL));
        assert!(event.section(Section::Handler).is_some(), "{event:?}");
    }
    assert_eq!(seen[1].1, None, "the text belongs to the first request only");
    assert_eq!(probes.counters()?.lost_ext_acks, 0);
    Ok(())
}

/// Deletions that nobody else disturbed, so many of which are wanted.
const UNDISTURBED: usize = 20;
/// Others on this machine may use RTNL as well.
const MOST_DELETIONS: usize = 500;

/// Deleting the root qdisc of a device that is up waits until no CPU can see it any more (`dev_deactivate_many()`,
/// `net/sched/sch_generic.c`).
pub(crate) fn waiting_for_rcu_is_no_waiting_for_rtnl() -> Result<(), Failed> {
    let device = device_with_htb()?;
    set_up()?;
    let mut probes = machine::attach(&Options { sample_hz: None, ..Options::default() })?;
    assert!(
        probes.report().measures_off_cpu() && probes.report().measures_rtnl_wait(),
        "{}",
        probes.report()
    );
    let apart = probes.report().kind.tells_messages_apart();
    let mut socket = Socket::open()?;
    let mut deletions = Vec::new();
    let mut disturbed = 0;
    while deletions.len() < UNDISTURBED {
        if deletions.len() + disturbed == MOST_DELETIONS {
            return Err(format!("{disturbed} of {MOST_DELETIONS} deletions had to wait for RTNL").into());
        }
        socket.delete_root(device, 1)?;
        probes.drain(|event, _| {
            if event.port_id != socket.port_id || event.message_type != RTM_DELQDISC {
            } else if event.rtnl_contentions == 0 {
                deletions.push(*event);
            } else {
                disturbed += 1;
            }
        });
        machine::run("tc", &["qdisc", "add", "dev", DEVICE, "root", "handle", "1:", "htb"])?;
    }
    let off_cpu: u64 = deletions.iter().map(|event| event.off_cpu_ns).sum();
    let slept = deletions.iter().filter(|event| event.off_cpu_switches > 0 && event.off_cpu_ns > 0).count();
    println!(
        "{UNDISTURBED} deletions: {off_cpu} ns off CPU, {slept} of them slept; {disturbed} others waited for RTNL"
    );
    assert!(deletions.iter().all(|event| event.rtnl_wait_ns == 0), "{deletions:?}");
    // A grace period may be over before it is waited for.
    assert!(slept * 2 > UNDISTURBED, "{deletions:?}");
    if apart {
        for event in &deletions {
            let rcu = event.section(Section::Rcu).unwrap_or_default();
            assert!(rcu > 0 && rcu <= event.total_ns, "every deletion waits for RCU: {event:?}");
        }
    }
    Ok(())
}
