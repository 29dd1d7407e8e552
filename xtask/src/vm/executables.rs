//! What runs in a guest: the release build, as it is measured here, too.

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

/// Builds them, in one go, so that what several depend on is compiled once. Always the same ones: for others cargo would unite other
/// features of the dependencies, and compile all of these again. In the release profile, because most of the dependencies were compiled
/// in it before, for `cargo xtask test` or `bench`.
pub(super) fn build(workspace: &Workspace) -> Result<Executables, Error> {
    let mut args = vec!["build", "--release", "--package", "qdiscope", "--package", "xtask"];
    args.extend(["--bin", "qdiscope", "--bin", "qdiscope-guest"]);
    args.extend(["--package", "qdiscope-tests", "--test", "*"]);
    let mut executables = workspace.build(&args)?;
    let stripped = workspace.target_dir.join("vm/executables");
    fs::create_dir_all(&stripped).map_err(file(&stripped))?;
    for executable in &mut executables {
        executable.path = strip(&executable.path, &stripped.join(&executable.target))?;
    }
    let program = |name: &str| {
        let is_it = |one: &&Executable| one.kind == "bin" && one.target == name && !one.test;
        let found = executables.iter().find(is_it).map(|one| one.path.clone());
        found.ok_or_else(|| TaskError::NoExecutable(name.to_owned()))
    };
    let (init, qdiscope) = (program("qdiscope-guest")?, program("qdiscope")?);
    Ok(Executables { init, qdiscope, tests: executables.into_iter().filter(|one| one.test).collect() })
}

/// What debuggers want of it is nine tenths of it, and a guest has all of its files in its memory. Symbols stay.
fn strip(from: &Path, to: &Path) -> Result<PathBuf, Error> {
    program::succeed(Command::new("strip").arg("--strip-debug").arg(from).arg("-o").arg(to))?;
    Ok(to.to_owned())
}
