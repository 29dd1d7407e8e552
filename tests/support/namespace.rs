//! A network namespace that lives as long as a thread.

use std::panic::resume_unwind;
use std::thread;

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, unshare};

use crate::command::run;

/// Runs `test` on a thread with a network namespace of its own. The host's network is not seen from there, and the namespace
/// goes away with the thread (and with the sockets opened in it), whatever happens.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> Result<T, Failed> + Send) -> Result<T, Failed> {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare(CLONE_NEWNET): {errno}"))?;
            test()
        });
        entered.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Creates a pair of virtual Ethernet devices in the calling thread's namespace, both down.
pub fn veth(one: &str, other: &str) -> Result<(), Failed> {
    run(&format!("ip link add {one} type veth peer name {other}")).map(drop)
}
