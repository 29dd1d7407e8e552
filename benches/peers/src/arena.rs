//! Where the clients meet: a network namespace of this process's own, with what a work needs in it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, unshare};

/// Classes that stand when a client begins.
pub(crate) const POPULATION: u16 = 1_000;
/// The device that they stand on.
pub(crate) const DEVICE: &str = "d0";
/// Devices for the dump.
pub(crate) const DUMP_DEVICES: u16 = 20;

/// Leaves the host's network for one that ends with this process.
pub(crate) fn enter() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own (as root?)")
}

/// Runs a command to its end; its failure is an error that shows what it said.
pub(crate) fn command(line: &str) -> anyhow::Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let output = Command::new(program).args(words).output().with_context(|| line.to_owned())?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// `tc -batch` of these lines.
pub(crate) fn tc(lines: &str) -> anyhow::Result<()> {
    let mut child =
        Command::new("tc").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("tc -batch")?;
    child.stdin.take().context("no pipe to tc")?.write_all(lines.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("tc -batch: {status}");
    }
    Ok(())
}

/// `POPULATION` classes of 10 Mbit/s under a fresh root qdisc.
pub(crate) fn populate(device: &str, classes: u16) -> anyhow::Result<()> {
    // A device without a qdisc is as good.
    let _ = command(&format!("tc qdisc del dev {device} root"));
    let mut lines = format!("qdisc add dev {device} root handle 1: htb\n");
    for minor in 1..=classes {
        let _ = writeln!(lines, "class add dev {device} parent 1: classid 1:{minor:x} htb rate 10mbit");
    }
    tc(&lines)
}

pub(crate) fn add_device(name: &str) -> anyhow::Result<()> {
    command(&format!("ip link add {name} type veth peer name p{name}"))
}
