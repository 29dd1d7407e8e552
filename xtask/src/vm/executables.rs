//! What runs in a guest: `qdiscope` as it is measured here, too, and the tests as `cargo xtask test` has them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    error::{Error, file},
    program,
};
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

/// The guest's first process.
const INIT: &str = "qdiscope-guest";

/// Builds them as `cargo xtask test` and `bench` do, so that as a rule they are there: all packages at once, or cargo would give its
/// dependencies other features, and compile them anew for minutes.
pub(super) fn build(workspace: &Workspace) -> Result<Executables, Error> {
    let qdiscope = workspace.build_qdiscope()?;
    let mut executables = workspace.build(&["build", "--workspace", "--bin", INIT, "--test", "*"])?;
    let stripped = workspace.target_dir.join("vm/executables");
    fs::create_dir_all(&stripped).map_err(file(&stripped))?;
    for executable in &mut executables {
        executable.path = strip(&executable.path, &stripped.join(&executable.target))?;
    }
    let is_init = |one: &&Executable| one.kind == "bin" && one.target == INIT && !one.test;
    let init = executables.iter().find(is_init).map(|one| one.path.clone());
    Ok(Executables {
        init: init.ok_or_else(|| TaskError::NoExecutable(INIT.to_owned()))?,
        qdiscope: strip(&qdiscope, &stripped.join("qdiscope"))?,
        tests: executables.into_iter().filter(|one| one.test).collect(),
    })
}

/// What debuggers want of it is nine tenths of it, and a guest has all of its files in its memory. Symbols stay.
fn strip(from: &Path, to: &Path) -> Result<PathBuf, Error> {
    program::succeed(Command::new("strip").arg("--strip-debug").arg(from).arg("-o").arg(to))?;
    Ok(to.to_owned())
}
