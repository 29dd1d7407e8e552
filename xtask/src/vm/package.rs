//! A kernel out of Debian's packages: fetched, held to the hash of the signed index, unpacked, and reduced to what a guest needs.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::{
    archive::Archive,
    error::{Error, file},
    kernels::Kernel,
    modules, program,
    tree::Tree,
    version::{self, Choice},
};

/// The kernel's image.
pub(super) const VMLINUZ: &str = "vmlinuz";
/// An archive to be appended to an initramfs.
pub(super) const MODULES: &str = "modules.cpio";

/// Fetches a kernel into a folder: its image, and an archive of the modules that guests get.
pub(super) fn fetch(kernel: &Kernel, new: &Path) -> Result<Choice, Error> {
    let apt = new.join("apt");
    let archive = Archive::open(&apt, &kernel.suite)?;
    let choice = version::choose(kernel, &archive.packages(kernel.around())?).ok_or_else(|| {
        Error::LeftTheArchive { series: kernel.series.clone(), suite: kernel.suite.clone() }
    })?;
    let (debs, root) = (new.join("debs"), new.join("root"));
    for folder in [&debs, &root.join("usr/lib")] {
        fs::create_dir_all(folder).map_err(file(folder))?;
    }
    // Packages differ in whether they say /lib or /usr/lib; with the link both arrive in the same place.
    let lib = root.join("lib");
    symlink("usr/lib", &lib).map_err(file(&lib))?;
    for package in archive.show(&choice.packages)?.iter().filter(|package| package.version == choice.version)
    {
        let deb = archive.download(package, &debs)?;
        if sha256(&deb)? != package.sha256 {
            let reason = "not the file that the signed index names: its SHA-256 differs".into();
            return Err(corrupt(&deb, new, reason));
        }
        unpack(&deb, &root)?;
    }
    let release = &choice.release;
    let modules = root.join("usr/lib/modules").join(release);
    let places = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join(VMLINUZ)];
    let from = places.iter().find(|path| path.is_file()).ok_or_else(|| Error::Package {
        package: choice.packages.join(" "),
        reason: "there is no vmlinuz, neither in /boot nor in /usr/lib/modules".into(),
    })?;
    let to = new.join(VMLINUZ);
    fs::copy(from, &to).map_err(file(&to))?;
    archive_modules(&root, release, &new.join(MODULES))?;
    for folder in [apt, debs, root] {
        remove(&folder)?;
    }
    Ok(choice)
}

/// Unpacks over what is there: a plain `dpkg-deb --extract` would replace the link by a folder.
fn unpack(deb: &Path, root: &Path) -> Result<(), Error> {
    let tar = program::bytes(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb))?;
    let mut archive = tar::Archive::new(tar.as_slice());
    archive.set_preserve_permissions(false);
    let damaged = |error: std::io::Error| Error::Package {
        package: deb.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        reason: error.to_string(),
    };
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let path = path.strip_prefix(".").unwrap_or(&path);
        let path = if path.starts_with("lib") { Path::new("usr").join(path) } else { path.to_owned() };
        let wanted = path.starts_with("usr/lib/modules") || path.starts_with("boot");
        if !wanted || !entry.header().entry_type().is_file() {
            continue;
        }
        let target = root.join(&path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(file(folder))?;
        }
        entry.unpack(&target).map_err(file(&target))?;
    }
    Ok(())
}

/// Writes the archive of the modules that a guest gets, with indices for just these.
fn archive_modules(root: &Path, release: &str, to: &Path) -> Result<(), Error> {
    depmod(root, release)?;
    let within = Path::new("usr/lib/modules").join(release);
    let all = root.join(&within);
    let index = all.join("modules.dep");
    let text = fs::read_to_string(&index).map_err(file(&index))?;
    let wanted = modules::closure(&text);
    if !wanted.iter().any(|path| path.contains("sch_htb")) {
        return Err(Error::Package {
            package: release.into(),
            reason: "there is no module sch_htb in it".into(),
        });
    }
    let small = root.join("small");
    let folder = small.join(&within);
    for path in wanted {
        // Smaller, and without compression, which would be undone by an emulated processor.
        let to = folder.join(path.trim_end_matches(".xz"));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(file(folder))?;
        }
        fs::write(&to, plain(&all.join(path))?).map_err(file(&to))?;
    }
    let lib = small.join("lib");
    symlink("usr/lib", &lib).map_err(file(&lib))?;
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let from = all.join(name);
        if from.is_file() {
            let to = folder.join(name);
            fs::copy(&from, &to).map_err(file(&to))?;
        }
    }
    depmod(&small, release)?;
    let mut tree = Tree::default();
    tree.copy_all(&small.join("usr"), "usr")?;
    let out = fs::File::create(to).map_err(file(to))?;
    tree.write(std::io::BufWriter::new(out)).map_err(file(to))
}

/// A module's content, unpacked.
fn plain(path: &Path) -> Result<Vec<u8>, Error> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        return program::bytes(Command::new("xz").args(["--decompress", "--stdout"]).arg(path));
    }
    fs::read(path).map_err(file(path))
}

fn depmod(root: &Path, release: &str) -> Result<(), Error> {
    let mut command = Command::new(program::find("depmod")?);
    // Split images leave modules.builtin and modules.order to another package: depmod warns, and needs neither.
    command.arg("--basedir").arg(root).arg(release).stderr(Stdio::null());
    program::succeed(&mut command)
}

/// The hash that the signed index names, too.
pub(super) fn sha256(path: &Path) -> Result<String, Error> {
    let content = fs::read(path).map_err(file(path))?;
    Ok(Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The error for a file that is not what it should be.
pub(super) fn corrupt(path: &Path, remove: &Path, reason: String) -> Error {
    Error::Corrupt { path: path.to_owned(), reason, remove: remove.to_owned() }
}

/// Removes a folder, if it is there.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(dir)(error)),
        _ => Ok(()),
    }
}
