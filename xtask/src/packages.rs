//! Debian's packages, installed as root.

use std::{
    ffi::OsStr,
    io,
    process::{Command, ExitStatus, Stdio},
};

use crate::{cargo, privilege::Privilege};

/// Why something could not be installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no apt-get here; install by hand: {0}")]
    NoApt(String),
    #[error("root is needed to install packages, and {0}")]
    NotRoot(String),
    #[error("this system's package sources have no {0}, after apt-get update")]
    NotOffered(String),
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
}

/// `apt-get update; apt-get install PACKAGES`
pub(crate) fn install(packages: &[&str]) -> Result<(), Error> {
    if Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err(Error::NoApt(packages.join(" ")));
    }
    let privilege = Privilege::acquire().map_err(Error::NotRoot)?;
    let apt_get = |arguments: &[&str]| {
        let mut command =
            privilege.command(OsStr::new("apt-get"), &[("DEBIAN_FRONTEND", "noninteractive".into())]);
        command.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        succeed(&mut command)
    };
    apt_get(&["update"])?;
    if let Some(missing) = packages.iter().find(|package| !is_offered(package)) {
        return Err(Error::NotOffered((*missing).to_owned()));
    }
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn is_offered(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    command.args(["show", "--no-all-versions", package]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its successful end.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Error> {
    let shown = cargo::shown(command);
    let status = command.status().map_err(|source| Error::Start { program: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown, status }) }
}
