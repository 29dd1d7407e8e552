//! Installing what is missing: on Debian, from its own packages.

use std::{fs, path::Path};

use super::{
    Places,
    error::Error,
    toolchain::{self, Compiler},
};
use crate::{cargo, packages};

/// The release that is tried with these probes.
const LINKER_VERSION: &str = "0.13.0";

const COMPILER_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Installs what [`super::toolchain::Toolchain::find`] does not find.
pub(super) fn run(places: &Places) -> Result<(), Error> {
    if Compiler::find().is_none() {
        packages::install(&COMPILER_PACKAGES)?;
    }
    let compiler = Compiler::find().ok_or_else(|| {
        Error::Install(format!("{} are installed and do not work", COMPILER_PACKAGES.join(", ")))
    })?;
    if toolchain::linker(&places.tools).is_none() {
        let major = compiler.llvm.split('.').next().unwrap_or_default();
        let llvm = format!("/usr/lib/llvm-{major}");
        if !Path::new(&llvm).join("include/llvm-c/Core.h").is_file() {
            packages::install(&[&format!("llvm-{major}-dev")])?;
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
    packages::succeed(&mut command)?;
    // A quarter of a gigabyte that nobody needs again.
    fs::remove_dir_all(&build).map_err(|source| Error::File { path: build, source })
}
