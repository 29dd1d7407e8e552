//! KVM where it really boots: a /dev/kvm that can be opened proves nothing, a guest under it may never get anywhere.

use std::{fs, io, path::Path, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, file},
    image::Image,
    initramfs,
    job::Job,
    machine::{self, Machine},
    tree::Tree,
};

/// What `--accel` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wish {
    /// KVM where a guest boots under it, else TCG: tried once after each start of this machine.
    Auto,
    Kvm,
    Tcg,
}

/// How a guest's processors come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Accel {
    /// By the processor itself.
    Kvm,
    /// By QEMU, which translates their code: its times say nothing about a real machine.
    Tcg,
}

impl Accel {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        }
    }
}

/// Far more than an empty guest needs under KVM.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    /// The machine's start that it was tried in: a new kernel, or a move to another host, comes with a new one.
    boot: String,
    accel: Accel,
}

/// Chooses, boots an empty guest where that is not known yet, and remembers what came of it.
pub(super) fn choose(
    wish: Wish,
    memory: &Path,
    image: &Image,
    base: &Tree,
    scratch: &Path,
) -> Result<Accel, Error> {
    match wish {
        Wish::Kvm => return Ok(Accel::Kvm),
        Wish::Tcg => return Ok(Accel::Tcg),
        Wish::Auto => {}
    }
    // Without it, or without the right to use it, there is nothing to try, nor to remember.
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    if let Some(accel) = recall(memory, &boot) {
        return Ok(accel);
    }
    eprintln!("cargo xtask: trying whether a guest boots under KVM, for at most {} s", PATIENCE.as_secs());
    let accel = if boots(image, base, scratch)? { Accel::Kvm } else { Accel::Tcg };
    eprintln!("cargo xtask: {}", if accel == Accel::Kvm { "it does" } else { "it does not: TCG" });
    let text = serde_json::to_string(&Tried { boot, accel }).unwrap_or_default();
    fs::write(memory, text).map_err(file(memory))?;
    Ok(accel)
}

fn recall(memory: &Path, boot: &str) -> Option<Accel> {
    let tried: Tried = serde_json::from_str(&fs::read_to_string(memory).ok()?).ok()?;
    (tried.boot == boot).then_some(tried.accel)
}

fn boots(image: &Image, base: &Tree, scratch: &Path) -> Result<bool, Error> {
    fs::create_dir_all(scratch).map_err(file(scratch))?;
    let machine = Machine::new(image, scratch, Accel::Kvm, 512, 1, PATIENCE);
    initramfs::write(
        base,
        &Job { seconds: PATIENCE.as_secs(), ..Job::default() },
        image,
        &machine.initramfs,
    )?;
    let outcome = machine::run(&machine, &mut io::sink())?;
    Ok(outcome.fault.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_holds_until_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("accel.json");
        assert_eq!(recall(&memory, "a"), None);
        fs::write(&memory, r#"{"boot":"a","accel":"tcg"}"#).unwrap();
        assert_eq!(recall(&memory, "a"), Some(Accel::Tcg));
        assert_eq!(recall(&memory, "b"), None);
        fs::write(&memory, "rubbish").unwrap();
        assert_eq!(recall(&memory, "a"), None);
    }
}
