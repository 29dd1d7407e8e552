//! Machines that lack something. What cannot be measured is said, and what can be is.

use std::{
    fs,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ebpf_loader::{Options, ProbeKind, Probes, Section};
use libtest_mimic::Failed;
use tempfile::NamedTempFile;

use crate::{
    machine::{self, device_with_htb},
    requests::Socket,
};

const BTF_FOLDER: &str = "/sys/kernel/btf";
const BTF: &str = "/sys/kernel/btf/vmlinux";

fn auto() -> Options {
    Options { sample_hz: None, ..Options::default() }
}

/// Sends one request and wants its event.
fn works(probes: &mut Probes) -> Result<u32, Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    let mut ports = Vec::new();
    probes.drain(|event, _| ports.push(event.port_id));
    assert_eq!(ports, [socket.port_id], "{}", probes.report());
    Ok(ports[0])
}

pub(crate) fn without_btf_the_next_kind_is_taken() -> Result<(), Failed> {
    machine::hide(BTF_FOLDER)?;
    let mut probes = Probes::attach(&auto())?;
    let report = probes.report();
    assert_ne!(report.kind, ProbeKind::Fexit);
    assert_eq!(report.passed_over[0].0, ProbeKind::Fexit);
    assert!(report.passed_over[0].1.reason.contains("BTF"), "{report:?}");
    assert!(!report.tells_holders());
    assert!(report.structures.as_ref().err().is_some_and(|reason| reason.contains("no BTF")), "{report:?}");
    // The sender wrote its port id into the message; the socket's own cannot be read.
    works(&mut probes)?;
    let refused = Probes::attach(&Options { kind: Some(ProbeKind::Fexit), ..auto() }).err();
    assert!(refused.is_some_and(|error| error.reason.contains("BTF")));
    Ok(())
}

pub(crate) fn without_tracefs_waits_are_not_measured() -> Result<(), Failed> {
    machine::hide("/sys/kernel/tracing")?;
    machine::hide("/sys/kernel/debug")?;
    let refused = Probes::attach(&Options { kind: Some(ProbeKind::Tracepoint), ..auto() }).err();
    let refused = refused.ok_or("tracepoints were attached without tracefs")?;
    assert!(refused.reason.contains("tracefs is not mounted"), "{refused}");
    assert!(refused.advice.is_some_and(|advice| advice.starts_with("mount -t tracefs")));
    match Probes::attach(&auto()) {
        Ok(mut probes) => {
            assert!(probes.report().kind.tells_messages_apart());
            assert!(!probes.report().measures_rtnl_wait() && !probes.report().measures_off_cpu());
            works(&mut probes)?;
        }
        // A kernel that has nothing but tracepoints.
        Err(unavailable) => assert!(unavailable.reason.contains("tracefs is not mounted"), "{unavailable}"),
    }
    Ok(())
}

pub(crate) fn a_btf_that_is_none_is_told() -> Result<(), Failed> {
    let mut file = NamedTempFile::new()?;
    file.write_all(&fs::read(BTF)?[..10_000])?;
    machine::replace(BTF, file.path())?;
    let mut probes = Probes::attach(&auto())?;
    let report = probes.report();
    assert_ne!(report.kind, ProbeKind::Fexit);
    assert!(report.structures.as_ref().err().is_some_and(|reason| reason.contains(BTF)), "{report:?}");
    works(&mut probes).map(drop)
}

/// BTF that describes another kernel: here a socket's port id lies somewhere else.
pub(crate) fn a_btf_that_does_not_match_is_noticed() -> Result<(), Failed> {
    let mut btf = fs::read(BTF)?;
    let moved = move_member(&mut btf, "portid");
    assert!(moved > 0, "no structure has a portid");
    let mut file = NamedTempFile::new()?;
    file.write_all(&btf)?;
    machine::replace(BTF, file.path())?;
    let mut probes = Probes::attach(&auto())?;
    let reason = probes.report().structures.clone().err().ok_or("wrong offsets were believed")?;
    assert!(reason.contains("port id"), "{reason}");
    assert!(!probes.report().tells_holders());
    works(&mut probes).map(drop)
}

/// Moves every member of this name 16 bytes further, and returns how many there were. Documentation/bpf/btf.rst has the format.
fn move_member(btf: &mut [u8], name: &str) -> usize {
    let word = |btf: &[u8], at: usize| u32::from_le_bytes([btf[at], btf[at + 1], btf[at + 2], btf[at + 3]]);
    let header = word(btf, 4) as usize;
    let types = header + word(btf, 8) as usize;
    let types_end = types + word(btf, 12) as usize;
    let strings = header + word(btf, 16) as usize;
    let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
    let Some(found) = btf[strings..].windows(wanted.len()).position(|window| window == wanted) else {
        return 0;
    };
    let name_offset = found + 1;
    let mut moved = 0;
    let mut at = types;
    while at < types_end {
        let info = word(btf, at + 4);
        let (count, kind) = ((info & 0xffff) as usize, info >> 24 & 0x1f);
        at += 12;
        at += match kind {
            // int, var, declaration tag
            1 | 14 | 17 => 4,
            // array
            3 => 12,
            // struct, union
            4 | 5 => {
                for member in 0..count {
                    let member = at + 12 * member;
                    if word(btf, member) as usize == name_offset {
                        let bits = word(btf, member + 8) + 128;
                        btf[member + 8..member + 12].copy_from_slice(&bits.to_le_bytes());
                        moved += 1;
                    }
                }
                12 * count
            }
            // enum, function prototype
            6 | 13 => 8 * count,
            // data section, 64-bit enum
            15 | 19 => 12 * count,
            _ => 0,
        };
    }
    moved
}

/// Where HTB is a module that nobody has loaded yet, its functions are missing, and all else works.
pub(crate) fn a_missing_function_is_told() -> Result<(), Failed> {
    // The kernel takes namespaces down some time after their end, and with them what uses the module.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(busy) = machine::run("rmmod", &["sch_htb"]) {
        if Instant::now() > deadline {
            return Err(busy);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let probes = machine::attach(&auto())?;
    for function in ["htb_change_class", "htb_delete"] {
        let named = |name: &str| name.split_once(':').is_some_and(|(_, traced)| traced == function);
        let probe = probes.report().probes.iter().find(|probe| named(&probe.name));
        let probe = probe.ok_or_else(|| format!("nothing is said of {function}: {}", probes.report()))?;
        assert!(!probe.attached, "{probe:?}");
        assert!(probe.reason.as_ref().is_some_and(|reason| reason.contains("module")), "{probe:?}");
    }
    drop(probes);
    // The kernel loads it for the first qdisc.
    let device = device_with_htb()?;
    let mut probes = machine::attach(&auto())?;
    Socket::open()?.add_class(device, 1)?;
    let mut operations = 0;
    probes.drain(|event, _| operations += u32::from(event.section(Section::ClassOperation).is_some()));
    assert_eq!(operations, 1, "{}", probes.report());
    Ok(())
}

/// Why the test above cannot be made here.
pub(crate) fn htb_stays() -> Result<Option<String>, Failed> {
    if Probes::attach(&auto()).is_ok_and(|probes| probes.report().kind == ProbeKind::Tracepoint) {
        return Ok(Some("tracepoints are on no functions".to_owned()));
    }
    // It loads the module, and goes with this thread's namespace.
    device_with_htb()?;
    Ok((!Path::new(HTB).exists()).then(|| "HTB is built into this kernel".to_owned()))
}

/// What only a module that can be unloaded has.
const HTB: &str = "/sys/module/sch_htb/refcnt";

/// The variable that lets a test lock the kernel down, which lasts until it is booted again: for virtual machines.
pub(crate) const LOCK_DOWN: &str = "QDISCOPE_TEST_LOCKDOWN";

pub(crate) fn under_lockdown_the_reason_is_told() -> Result<(), Failed> {
    let file = Path::new("/sys/kernel/security/lockdown");
    if !file.exists() {
        machine::run("mount", &["-t", "securityfs", "securityfs", "/sys/kernel/security"])?;
    }
    fs::write(file, "confidentiality")?;
    let unavailable = Probes::attach(&auto()).err().ok_or("probes were attached under lockdown")?;
    for kind in ProbeKind::IN_ORDER_OF_PREFERENCE {
        assert!(unavailable.reason.contains(&format!("{kind}: ")), "{unavailable}");
    }
    assert!(unavailable.reason.contains("lockdown"), "{unavailable}");
    assert!(!unavailable.to_string().contains('\n'), "{unavailable}");
    Ok(())
}
