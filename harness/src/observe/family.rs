//! A process that runs already, and those that it has started.

use std::collections::BTreeSet;
use std::fs;

use ebpf_loader::Probes;
use procfs::process::{Process, all_processes};

use crate::exit::Failure;

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The process to which the thread or process with this id belongs.
///
/// # Errors
///
/// There is none, or its id here is not the one by which the kernel knows it.
pub(super) fn process_of(id: u32) -> Result<u32, Failure> {
    match fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace.as_os_str() != INITIAL_PID_NAMESPACE => {
            return Err(Failure::environment(
                "--pid: process ids in this container are not those by which the kernel knows processes; run it on the host, \
                 or give the command itself: qdiscope trace -- COMMAND",
            ));
        }
        _ => {}
    }
    let none = |why: &str| Failure::usage(format!("--pid {id}: {why}; see: ps -e"));
    let status = i32::try_from(id)
        .ok()
        .and_then(|id| Process::new(id).ok()?.status().ok())
        .ok_or_else(|| none("there is no such process"))?;
    if has_ended(&status.state) {
        return Err(none("it has ended"));
    }
    u32::try_from(status.tgid).map_err(|_| none("there is no such process"))
}

fn has_ended(state: &str) -> bool {
    state.starts_with(['Z', 'X'])
}

fn is_alive(process: u32) -> bool {
    i32::try_from(process)
        .ok()
        .and_then(|id| Process::new(id).ok()?.status().ok())
        .is_some_and(|status| !has_ended(&status.state))
}

/// Follows a process and all that descend from it. Whatever they start from now on is followed by itself.
pub(super) fn follow(probes: &mut Probes, process: u32) -> Result<(), Failure> {
    let refused =
        |error: ebpf_loader::Error| Failure::environment(format!("follow process {process}: {error}"));
    probes.follow(process).map_err(refused)?;
    // What is born while the list is read descends from one that is followed by then, or is found by the next look.
    let mut followed = BTreeSet::from([process]);
    loop {
        let new = children(&followed, &parents());
        if new.is_empty() {
            break;
        }
        for &child in &new {
            probes.follow(child).map_err(refused)?;
        }
        followed.extend(new);
    }
    // One that ended before it was followed ends no second time.
    for gone in followed.into_iter().filter(|process| !is_alive(*process)) {
        // It may have been taken out meanwhile.
        let _ = probes.unfollow(gone);
    }
    Ok(())
}

/// Each process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let all = all_processes().into_iter().flatten().filter_map(Result::ok);
    all.filter_map(|process| {
        let stat = process.stat().ok()?;
        Some((u32::try_from(stat.pid).ok()?, u32::try_from(stat.ppid).ok()?))
    })
    .collect()
}

/// Those whose parent is followed and that are not.
fn children(followed: &BTreeSet<u32>, parents: &[(u32, u32)]) -> BTreeSet<u32> {
    parents
        .iter()
        .filter(|(child, parent)| followed.contains(parent) && !followed.contains(child))
        .map(|(child, _)| *child)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_generation_by_generation() {
        let parents = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1)];
        let mut followed = BTreeSet::from([2]);
        followed.extend(children(&followed, &parents));
        followed.extend(children(&followed, &parents));
        assert_eq!(followed, BTreeSet::from([2, 3, 4]));
        assert!(children(&followed, &parents).is_empty());
    }

    #[test]
    fn a_process_that_is_none_is_told() {
        let failure = process_of(u32::MAX).unwrap_err();
        assert!(failure.to_string().contains("--pid"), "{failure}");
    }

    #[test]
    fn this_process_is_alive() {
        assert!(is_alive(std::process::id()));
        assert!(parents().iter().any(|(process, _)| *process == std::process::id()));
    }
}
