//! `cargo xtask vagrant validate`: whether Vagrant and both providers know every setting of the Vagrantfile.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use super::{
    error::{Error, at},
    program::{self, PACKAGES_TO_VALIDATE, VAGRANT, is_installed, require},
    step::Step,
};
use crate::{cargo::Workspace, packages};

/// `vagrant validate`, with libvirt and with `VirtualBox`, so that misspelt settings of either are seen.
///
/// Offline and without root; needs no box, no libvirt and no `VirtualBox`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install what is missing, from Debian's packages.
    #[arg(long)]
    install: bool,
}

/// What Vagrant wants to hear from `VirtualBox` before it looks at the settings, and nothing else of it.
const STAND_IN: &str = "#!/bin/sh\necho 7.0.0r1\n";
const VBOX_MANAGE: &str = "VBoxManage";

pub(super) fn run(options: &Options) -> Result<(), Error> {
    if options.install {
        packages::install(PACKAGES_TO_VALIDATE)?;
    }
    require(&[VAGRANT], "validate")?;
    let workspace = Workspace::load()?;
    let folder = workspace.target_dir.join("vagrant/validate");
    let programs = folder.join("bin");
    fs::create_dir_all(&programs).map_err(at(&programs))?;
    if !is_installed(VBOX_MANAGE) {
        let stand_in = programs.join(VBOX_MANAGE);
        fs::write(&stand_in, STAND_IN).map_err(at(&stand_in))?;
        fs::set_permissions(&stand_in, PermissionsExt::from_mode(0o755)).map_err(at(&stand_in))?;
    }
    for (name, provider) in
        [("vagrant validate libvirt", "libvirt"), ("vagrant validate virtualbox", "virtualbox")]
    {
        let step = Step { name, limit: Duration::from_mins(1), logs: &folder };
        step.run(&mut command(&workspace.root, &folder, &programs, provider), &[0])?;
    }
    println!("vagrant/Vagrantfile is valid, with libvirt and with VirtualBox");
    Ok(())
}

fn command(root: &Path, folder: &Path, programs: &Path, provider: &str) -> Command {
    let mut path = program::path();
    path.push(":");
    path.push(programs);
    let mut command = Command::new(VAGRANT);
    command
        .args(["validate", "--no-tty", "--no-color"])
        .env("PATH", path)
        .env("VAGRANT_CWD", root.join("vagrant"))
        // Not what somebody's own machine is known by, and none of their settings.
        .env("VAGRANT_DOTFILE_PATH", folder.join("machine"))
        .env("VAGRANT_HOME", folder.join("home"))
        .env("VAGRANT_CHECKPOINT_DISABLE", "1")
        .env("VAGRANT_DEFAULT_PROVIDER", provider);
    command
}
