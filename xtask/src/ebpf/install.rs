//! Installing what is missing: on Debian, from its own packages.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Places,
    error::Error,
    toolchain::{self, Compiler},
};
use crate::{cargo, privilege::Privilege};

/// The release that is tried with these probes.
const LINKER_VERSION: &str = "0.13.0";

const COMPILER_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Installs what [`super::toolchain::Toolchain::find`] does not find.
pub(super) fn run(places: &Places) -> Result<(), Error> {
    if Compiler::find().is_none() {
        apt(&COMPILER_PACKAGES)?;
    }
    let compiler = Compiler::find().ok_or_else(|| {
        Error::Install(format!("{} are installed and do not work", COMPILER_PACKAGES.join(", ")))
    })?;
    if toolchain::linker(&places.tools).is_none() {
        let major = compiler.llvm.split('.').next().unwrap_or_default();
        let llvm = format!("/usr/lib/llvm-{major}");
        if !Path::new(&llvm).join("include/llvm-c/Core.h").is_file() {
            apt(&[&format!("llvm-{major}-dev")])?;
        }
        install_linker(places, major, &llvm)?;
    }
    println!("there is all that the probes are compiled with");
    Ok(())
}

/// bpf-linker reads what rustc writes, so it must be of the same LLVM.
fn install_linker(places: &Places, major: &str, llvm: &str) -> Result<(), Error> {
    let build = places.tools.join("build");
    let mut command = cargo::command();
    command
        .args(["install", "bpf-linker", "--locked", "--version", LINKER_VERSION])
        .args(["--no-default-features", "--features", &format!("llvm-{major}"), "--root"])
        .arg(&places.tools)
        .arg("--target-dir")
        .arg(&build)
        .env("LLVM_PREFIX", llvm);
    done(&mut command)?;
    // A quarter of a gigabyte that nobody needs again.
    fs::remove_dir_all(&build).map_err(|source| Error::File { path: build, source })
}

fn apt(packages: &[&str]) -> Result<(), Error> {
    if Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err(Error::Install("there is no apt-get; see the two ways in CONTRIBUTING.md".to_owned()));
    }
    let privilege =
        Privilege::acquire().map_err(|reason| Error::Install(format!("root is needed and {reason}")))?;
    let apt_get = |arguments: &[&str]| {
        let mut command =
            privilege.command(OsStr::new("apt-get"), &[("DEBIAN_FRONTEND", "noninteractive".into())]);
        command.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        done(&mut command)
    };
    apt_get(&["update"])?;
    if let Some(missing) = packages.iter().find(|package| !is_offered(package)) {
        return Err(Error::Install(format!(
            "this system's package sources have no {missing}, after apt-get update"
        )));
    }
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn is_offered(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    command.args(["show", "--no-all-versions", package]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn done(command: &mut Command) -> Result<(), Error> {
    let shown = cargo::shown(command);
    let status = command.status().map_err(|source| Error::Start { program: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown, status }) }
}
