//! `cargo xtask vagrant verify`: from the built program to the verdict, with the host as it was.

use std::{env, fs, os::unix::process::CommandExt, path::PathBuf, process::Command};

use super::{
    box_image,
    error::{Error, at},
    lock, machine,
    places::Places,
    program::{PACKAGES_TO_VERIFY, TO_VERIFY, require},
    step::start_error,
    traces::Traces,
    world::{self, Apart},
};
use crate::{
    cargo::{self, Workspace},
    interrupt, packages,
    privilege::{self, Privilege},
};

/// Bring the machine up from vagrant/Vagrantfile, run a short `qdiscope bench` in it, and take everything down again.
///
/// With libvirt and QEMU, also without KVM, systemd or a box from the internet: the box is built from Debian's packages and
/// kept below the target directory, where logs and result.json are, too. Some minutes. The host's libvirt is not touched.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install what is missing, from Debian's packages.
    #[arg(long)]
    install: bool,
    /// A static qdiscope to carry in, instead of building one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds what is carried in, and goes on as root.
pub(super) fn run(options: Options) -> Result<(), Error> {
    if options.install {
        packages::install(PACKAGES_TO_VERIFY)?;
    }
    require(TO_VERIFY, "verify")?;
    let workspace = Workspace::load()?;
    let program = match options.program {
        Some(program) => fs::canonicalize(&program).map_err(at(program))?,
        None => build(&workspace)?,
    };
    let places = Places { program, root: workspace.root, folder: workspace.target_dir.join("vagrant") };
    let this = env::current_exe().map_err(at("/proc/self/exe"))?;
    let words = ["vagrant".as_ref(), "as-root".as_ref()].into_iter().chain(places.arguments());
    match Privilege::acquire() {
        Ok(Privilege::Own) => as_root(&places),
        Ok(privilege) => {
            let mut command = privilege.command(this.as_os_str(), &[]);
            let source = command.args(words).exec();
            Err(start_error(&command, source))
        }
        Err(reason) => {
            let mut wanted = privilege::by_hand(this.as_os_str(), &[]);
            let command = cargo::shown(wanted.args(words));
            Err(crate::error::Error::Privileges { reason, command }.into())
        }
    }
}

/// `qdiscope` for a machine whose libraries may be older: static.
fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    // Those of .cargo/config.toml, which these replace, and static linking.
    let flags = ["-C", "force-frame-pointers=yes", "-C", "target-feature=+crt-static"];
    let flags = format!("target.{host}.rustflags={flags:?}");
    let folder = workspace.target_dir.join("vagrant/build").display().to_string();
    let mut args =
        vec!["build", "--profile", "guest", "--target", &host, "--target-dir", &folder, "--config", &flags];
    args.extend(["--package", "qdiscope", "--bin", "qdiscope"]);
    Ok(workspace.build_one(&args, "qdiscope")?)
}

/// The rest.
pub(super) fn as_root(places: &Places) -> Result<(), Error> {
    let _lock = lock::take(&places.folder)?;
    interrupt::listen();
    let before = Traces::of_host();
    let outcome = everything(places);
    // Logs and results stay.
    let state = places.state();
    let removed = if state.exists() { fs::remove_dir_all(&state).map_err(at(state)) } else { Ok(()) };
    give_back(places);
    let compared = before.compare();
    if let (Err(_), Err(traces)) = (&outcome, &compared) {
        eprintln!("cargo xtask: {traces}");
    }
    outcome.and(removed).and(compared)
}

fn everything(places: &Places) -> Result<(), Error> {
    for stale in [places.state(), places.logs()] {
        if stale.exists() {
            fs::remove_dir_all(&stale).map_err(at(&stale))?;
        }
        fs::create_dir_all(&stale).map_err(at(&stale))?;
    }
    // Whatever happens, it is not to be taken for one of this run.
    let result = places.result();
    if result.exists() {
        fs::remove_file(&result).map_err(at(&result))?;
    }
    let box_file = box_image::ensure(places)?;
    let mut errand = vec!["machine".as_ref()];
    errand.extend(places.arguments());
    errand.extend(["--box".as_ref(), box_file.as_os_str()]);
    world::send(&errand, Apart::Network, machine::LIMIT)
}

/// What was made behind `sudo` belongs to whoever called, as everything in the target directory does.
fn give_back(places: &Places) {
    if let (Ok(user), Ok(group)) = (env::var("SUDO_UID"), env::var("SUDO_GID")) {
        // As good as it can; nobody but `cargo clean` would miss it.
        let _ = Command::new("chown").args(["-R", &format!("{user}:{group}")]).arg(&places.folder).status();
    }
}
