//! A network namespace of the run's own: whatever happens to the process, the kernel tears it down.

use std::path::Path;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{LinkUnspec, LinkVeth};

use crate::exit::Failure;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Moves this process into a network namespace and a mount namespace that nobody else has, with tracefs mounted
/// in the latter. Must be called while the process has one thread: threads that exist stay where they are.
pub fn enter() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|errno| match errno {
        Errno::EPERM => not_root(),
        errno => Failure::environment(format!(
            "no network namespace of its own: unshare: {}; qdiscope needs a kernel with CONFIG_NET_NS",
            errno.desc()
        )),
    })?;
    // What is mounted below must not appear outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| Failure::environment(format!("make the mounts private: {}", errno.desc())))?;
    if !Path::new(TRACEFS).join("events").is_dir() {
        // Where this fails the probes say so: a run without them is still a run.
        if let Err(errno) = mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), None::<&str>) {
            tracing::warn!("cannot mount tracefs on {TRACEFS}: {}", errno.desc());
        }
    }
    Ok(())
}

/// What to do without privileges.
pub fn not_root() -> Failure {
    let command: Vec<String> = std::env::args().collect();
    Failure::environment(format!(
        "needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) for a network namespace of its own; run: sudo {}",
        command.join(" ")
    ))
}

/// The name of a run's device, from 0 on: the first end of a veth pair.
pub fn device_name(number: usize) -> String {
    format!("qd{number}")
}

/// The name of the pair's other end.
pub fn peer_name(number: usize) -> String {
    format!("{}p", device_name(number))
}

/// Creates `count` veth pairs `qd0`/`qd0p`, … and returns the indices of their first ends. Every second pair is up,
/// because a qdisc on a device that is up costs the kernel an RCU grace period more.
///
/// `ip link add qd0 type veth peer name qd0p; ip link set qd0 up; ip link set qd0p up`
pub async fn create_devices(count: u32) -> Result<Vec<u32>, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::environment(format!("{what}: {error}; qdiscope needs a kernel with CONFIG_VETH"))
    };
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| failed("open a netlink socket", &error))?;
    let connection = tokio::spawn(connection);
    let mut indices = Vec::new();
    for number in 0..count {
        let name = device_name(number as usize);
        let peer = peer_name(number as usize);
        handle
            .link()
            .add(LinkVeth::new(&name, &peer).build())
            .execute()
            .await
            .map_err(|error| failed(&format!("create the veth pair {name}"), &error))?;
        for end in [&name, &peer] {
            let link = handle
                .link()
                .get()
                .match_name(end.clone())
                .execute()
                .try_next()
                .await
                .ok()
                .flatten()
                .ok_or_else(|| failed(&format!("find {end}"), &"it is not there"))?;
            if number % 2 == 0 {
                let message = LinkUnspec::new_with_index(link.header.index).up().build();
                handle
                    .link()
                    .set(message)
                    .execute()
                    .await
                    .map_err(|error| failed(&format!("set {end} up"), &error))?;
            }
            if end == &name {
                indices.push(link.header.index);
            }
        }
    }
    drop(handle);
    connection.abort();
    // The socket must be closed before descriptors are counted.
    let _ = connection.await;
    Ok(indices)
}
