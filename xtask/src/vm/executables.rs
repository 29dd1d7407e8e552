//! What runs in a guest, built statically: no library of the host has to be there.

use std::{env::consts::ARCH, path::PathBuf};

use super::error::Error;
use crate::{
    cargo::{Executable, Workspace},
    error::Error as TaskError,
};

/// The executables for a guest.
#[derive(Debug)]
pub(super) struct Executables {
    /// The guest's first process.
    pub(super) init: PathBuf,
    pub(super) qdiscope: PathBuf,
    /// Those of the package of privileged tests.
    pub(super) tests: Vec<Executable>,
}

/// Those of `.cargo/config.toml`, which these replace, and static linking.
const FLAGS: [&str; 4] = ["-C", "force-frame-pointers=yes", "-C", "target-feature=+crt-static"];

/// Builds them, in one go, so that what several depend on is compiled once.
pub(super) fn build(workspace: &Workspace, tests: bool) -> Result<Executables, Error> {
    // With an explicit target the flags are not for build scripts and macros, which cannot be static.
    let host = format!("{ARCH}-unknown-linux-gnu");
    let flags = format!("target.{host}.rustflags={FLAGS:?}");
    let folder = workspace.target_dir.join("vm/build").display().to_string();
    let mut args =
        vec!["build", "--profile", "guest", "--target", &host, "--target-dir", &folder, "--config", &flags];
    args.extend(["--package", "qdiscope", "--package", "xtask"]);
    args.extend(["--bin", "qdiscope", "--bin", "qdiscope-guest"]);
    if tests {
        args.extend(["--package", "qdiscope-tests", "--test", "*"]);
    }
    let executables = workspace.build(&args)?;
    let program = |name: &str| {
        let is_it = |one: &&Executable| one.kind == "bin" && one.target == name && !one.test;
        let found = executables.iter().find(is_it).map(|one| one.path.clone());
        found.ok_or_else(|| TaskError::NoExecutable(name.to_owned()))
    };
    let (init, qdiscope) = (program("qdiscope-guest")?, program("qdiscope")?);
    Ok(Executables { init, qdiscope, tests: executables.into_iter().filter(|one| one.test).collect() })
}
