//! `cargo xtask bench --peers`: the adapter beside every other traffic-control client.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo::{self, Workspace},
    error::Error,
    packages,
    privilege::{self, Privilege},
};

const PACKAGES: [&str; 9] = [
    "gcc",
    "golang-github-vishvananda-netlink-dev",
    "golang-go",
    "iproute2",
    "libc6-dev",
    "libnl-route-3-dev",
    "pkg-config",
    "python3",
    "python3-pip",
];
const PYROUTE2: &str = "pyroute2==0.9.7";

/// Does not return unless it fails: the process becomes the comparison, as root.
pub(crate) fn run(install: bool, args: Vec<OsString>) -> Result<Infallible, Error> {
    let workspace = Workspace::load()?;
    let target = workspace.target_dir.join("peers");
    let python = target.join("python");
    if install {
        packages::install(&PACKAGES)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]);
        packages::succeed(pip.arg(&python).arg(PYROUTE2))?;
    }
    let program = build(&workspace, &target)?;
    let folder = workspace.target_dir.join("qdiscope");
    fs::create_dir_all(&folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
    let grows = args.first().is_some_and(|word| word == "growth");
    let (work, file) = if grows { ("growth", "growth.json") } else { ("run", "peers.json") };
    let mut words: Vec<OsString> = vec![work.into(), "--json".into(), folder.join(file).into()];
    if python.is_dir() && !grows {
        words.extend(["--python-packages".into(), python.into_os_string()]);
    }
    words.extend(args.into_iter().skip(usize::from(grows)));
    let mut command = match Privilege::acquire() {
        Ok(privilege) => privilege.command(program.as_os_str(), &[]),
        Err(reason) => {
            let mut wanted = privilege::by_hand(program.as_os_str(), &[]);
            wanted.args(words);
            return Err(Error::Privileges { reason, command: cargo::shown(&wanted) });
        }
    };
    command.args(words);
    let source = command.exec();
    Err(cargo::start(&command, source))
}

/// The comparison is a workspace of its own, so that what it compares with is no dependency of the product.
fn build(workspace: &Workspace, target: &Path) -> Result<PathBuf, Error> {
    let manifest = workspace.root.join("benches/peers/Cargo.toml").display().to_string();
    let target = target.display().to_string();
    let args = ["build", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &target];
    workspace.build_one(&args, "qdiscope-peers")
}
