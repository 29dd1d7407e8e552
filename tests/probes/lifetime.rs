//! What is left in the kernel afterwards: nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use ebpf_loader::Options;
use libtest_mimic::Failed;
use nix::libc;

use crate::machine::{self, Other, Role};

/// The kernel frees programs some time after the last descriptor is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the other process does: it attaches, says so, and waits to be killed.
pub(crate) fn attach_and_wait() -> Result<(), Failed> {
    machine::in_own_namespace(|| {
        let _probes = machine::attach(&Options::default())?;
        io::stdout().write_all(b"!")?;
        io::stdout().flush()?;
        loop {
            thread::sleep(Duration::from_mins(1));
        }
    })
}

pub(crate) fn drop_detaches() -> Result<(), Failed> {
    assert_eq!(program_ids("self")?, [], "something else in this process holds BPF programs");
    let mut probes = machine::attach(&Options::default())?;
    probes.start_sampling()?;
    let ids = program_ids("self")?;
    assert!(ids.len() >= 2, "requests need two programs at least: {ids:?}");
    assert!(ids.iter().all(|id| exists(*id)));
    drop(probes);
    assert_eq!(program_ids("self")?, []);
    gone(&ids)
}

pub(crate) fn kill_leaves_nothing() -> Result<(), Failed> {
    let mut attacher = Other::start(Role::Attacher)?;
    let pipe = attacher.0.stdout.as_mut().ok_or("no pipe")?;
    pipe.read_exact(&mut [0])?;
    let ids = program_ids(&attacher.0.id().to_string())?;
    assert!(ids.len() >= 2 && ids.iter().all(|id| exists(*id)), "{ids:?}");
    attacher.0.kill()?;
    attacher.0.wait()?;
    gone(&ids)
}

/// Killed at any moment of attaching, not only afterwards.
pub(crate) fn kill_while_attaching_leaves_nothing() -> Result<(), Failed> {
    let before = (all_ids(BPF_PROG_GET_NEXT_ID), all_ids(BPF_LINK_GET_NEXT_ID));
    for step in 1..=8 {
        let mut attacher = Other::start(Role::Attacher)?;
        thread::sleep(Duration::from_millis(40 * step));
        attacher.0.kill()?;
        attacher.0.wait()?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = (all_ids(BPF_PROG_GET_NEXT_ID), all_ids(BPF_LINK_GET_NEXT_ID));
        if after.0.is_subset(&before.0) && after.1.is_subset(&before.1) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("programs and links before {before:?}, after {after:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
const BPF_LINK_GET_NEXT_ID: libc::c_int = 31;

/// The ids of everything of a sort that the kernel has, of whatever process: what `bpftool prog` and `bpftool link` list.
fn all_ids(command: libc::c_int) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    let mut attributes = [0_u32; 3];
    // SAFETY: the attributes are as long as is said, and the kernel writes the second of them.
    while unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(&attributes)) == 0
    } {
        ids.insert(attributes[1]);
        attributes[0] = attributes[1];
    }
    ids
}

/// The BPF programs of which a process has descriptors.
fn program_ids(process: &str) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // A descriptor can be closed in between.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        // A link's fdinfo names its program, too.
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn gone(ids: &[u32]) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: Vec<_> = ids.iter().filter(|id| exists(**id)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the kernel still has the programs {left:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the kernel has a program of this id: `BPF_PROG_GET_FD_BY_ID` of bpf(2).
fn exists(id: u32) -> bool {
    const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
    let attributes = [id, 0, 0];
    // SAFETY: the attributes are as long as is said; a descriptor that comes back is closed.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_GET_FD_BY_ID,
            attributes.as_ptr(),
            size_of_val(&attributes),
        );
        fd >= 0 && {
            libc::syscall(libc::SYS_close, fd);
            true
        }
    }
}
