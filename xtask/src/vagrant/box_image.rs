//! The box that the machine comes from: built by `vagrant/box.sh` of Debian's packages, and kept until that changes.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    error::{Error, at},
    places::Places,
    step::{Step, start_error},
    world::{self, Apart},
};

const PREFIX: &str = "bookworm-";
/// On one busy core, from a slow mirror.
const LIMIT: Duration = Duration::from_mins(15);

/// A box that is to be built, in a world where what is mounted or left running for it goes when that ends.
#[derive(clap::Args)]
pub(crate) struct Order {
    #[command(flatten)]
    places: Places,
    #[arg(long)]
    mirror: String,
    #[arg(long = "box")]
    box_file: PathBuf,
}

impl Order {
    /// Builds it, whole or not at all.
    pub(super) fn carry_out(&self) -> Result<(), Error> {
        let mut command = Command::new(recipe(&self.places));
        command.arg(&self.mirror).arg(&self.box_file);
        Step { name: "building the box", limit: LIMIT, logs: &self.places.logs() }.run(&mut command, &[0])
    }
}

fn recipe(places: &Places) -> PathBuf {
    places.vagrant().join("box.sh")
}

/// The box of the recipe as it is now.
pub(super) fn ensure(places: &Places) -> Result<PathBuf, Error> {
    let script = recipe(places);
    let text = fs::read(&script).map_err(at(&script))?;
    let hash = Sha256::digest(&text);
    let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let box_file = places.folder.join(format!("{PREFIX}{hash:08x}.box"));
    if box_file.is_file() {
        return Ok(box_file);
    }
    let mirror = mirror()?;
    let mut errand: Vec<&OsStr> = vec!["box".as_ref()];
    errand.extend(places.arguments());
    errand.extend(["--mirror".as_ref(), mirror.as_ref(), "--box".as_ref(), box_file.as_os_str()]);
    let outcome = world::send(&errand, Apart::Processes, LIMIT + LIMIT / 10);
    // Also what a recipe that was ended had made so far.
    remove_others(&places.folder, &box_file)?;
    outcome.map(|()| box_file)
}

/// Removes boxes of earlier recipes, and beginnings.
fn remove_others(folder: &Path, box_file: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if is_ours && path != box_file {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(at(&path))?;
        }
    }
    Ok(())
}

/// The Debian archive that this machine takes its own packages from.
fn mirror() -> Result<String, Error> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let output = command.output().map_err(|source| start_error(&command, source))?;
    archive(&String::from_utf8_lossy(&output.stdout)).ok_or(Error::NoMirror)
}

/// The first that calls itself Debian, and not Debian-Security or Debian Backports, which have only a part of it.
fn archive(targets: &str) -> Option<String> {
    let uris = targets.lines().filter_map(|line| line.strip_prefix("Debian "));
    uris.into_iter().find(|uri| !uri.contains(' ')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_built_from_the_main_archive() {
        let targets = "Debian-Security http://mirror.example/debian-security/\n\
                       Debian Backports http://mirror.example/backports/\n\
                       Debian http://mirror.example/debian/\nUbuntu http://mirror.example/ubuntu/\n";
        assert_eq!(archive(targets).as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(archive("Ubuntu http://mirror.example/ubuntu/\n"), None);
        assert_eq!(archive(""), None);
    }

    #[test]
    fn other_boxes_and_beginnings_are_removed() {
        let folder = std::env::temp_dir().join(format!("qdiscope-box-{}", std::process::id()));
        fs::create_dir_all(folder.join("bookworm-new.box.a1b2/root")).unwrap();
        for name in ["bookworm-old.box", "bookworm-new.box", "result.json"] {
            fs::write(folder.join(name), "").unwrap();
        }
        remove_others(&folder, &folder.join("bookworm-new.box")).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, ["bookworm-new.box", "result.json"]);
    }
}
