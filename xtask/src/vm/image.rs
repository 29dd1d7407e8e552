//! A kernel, ready to boot: its image and an archive of its modules, taken from Debian's packages and kept with their hashes.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    archive::Archive,
    error::{Error, file},
    kernels::Kernel,
    modules, program,
    tree::Tree,
    version::{self, Choice},
};

const MANIFEST: &str = "kernel.json";
const VMLINUZ: &str = "vmlinuz";
const MODULES: &str = "modules.cpio";

/// A kernel in the cache.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) vmlinuz: PathBuf,
    /// To be appended to an initramfs.
    pub(super) modules: PathBuf,
    /// What is to be said each time that it is used.
    pub(super) warning: Option<String>,
    pub(super) version: String,
}

/// What is known of a cached kernel.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The version that was wanted when it was fetched.
    wanted: String,
    version: String,
    release: String,
    /// Which modules were chosen.
    selection: String,
    vmlinuz: String,
    modules: String,
}

impl Image {
    /// The cached kernel, or that of the archive where the cache has none, has another, or `refresh` is wished.
    pub(super) fn get(kernel: &Kernel, cache: &Path, refresh: bool) -> Result<Self, Error> {
        let dir = cache.join(&kernel.series);
        if let (false, Some(manifest)) = (refresh, Manifest::read(&dir, kernel)?) {
            manifest.verify(&dir)?;
            return Ok(manifest.image(&dir));
        }
        eprintln!("cargo xtask: fetching kernel {} from Debian's {}", kernel.series, kernel.suite);
        let new = cache.join(format!("{}.new", kernel.series));
        remove(&new)?;
        let manifest = fetch(kernel, &new)?;
        remove(&dir)?;
        fs::rename(&new, &dir).map_err(file(&dir))?;
        Ok(manifest.image(&dir))
    }
}

impl Manifest {
    fn read(dir: &Path, kernel: &Kernel) -> Result<Option<Self>, Error> {
        let path = dir.join(MANIFEST);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| corrupt(&path, dir, error.to_string()))?;
        let current = manifest.wanted == kernel.tried && manifest.selection == modules::selection();
        Ok(current.then_some(manifest))
    }

    /// Holds the cached files to the hashes that were taken when they came out of verified packages.
    fn verify(&self, dir: &Path) -> Result<(), Error> {
        for (name, wanted) in [(VMLINUZ, &self.vmlinuz), (MODULES, &self.modules)] {
            let path = dir.join(name);
            if sha256(&path)? != *wanted {
                return Err(corrupt(&path, dir, "not what was put there: its SHA-256 differs".into()));
            }
        }
        Ok(())
    }

    fn image(&self, dir: &Path) -> Image {
        let warning = (self.version != self.wanted).then(|| {
            format!(
                "warning: the archive no longer has {}; this is {}, the newest of its series: \
                 when it passes, write it down in xtask/kernels.toml",
                self.wanted, self.version
            )
        });
        Image {
            vmlinuz: dir.join(VMLINUZ),
            modules: dir.join(MODULES),
            warning,
            version: self.version.clone(),
        }
    }
}

fn fetch(kernel: &Kernel, new: &Path) -> Result<Manifest, Error> {
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
    std::os::unix::fs::symlink("usr/lib", &lib).map_err(file(&lib))?;
    for package in archive.show(&choice.packages)?.iter().filter(|package| package.version == choice.version)
    {
        let deb = archive.download(package, &debs)?;
        if sha256(&deb)? != package.sha256 {
            let reason = "not the file that the signed index names: its SHA-256 differs".into();
            return Err(corrupt(&deb, new, reason));
        }
        unpack(&deb, &root)?;
    }
    let manifest = keep(kernel, &choice, &root, new)?;
    for folder in [apt, debs, root] {
        remove(&folder)?;
    }
    Ok(manifest)
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

/// Keeps of an unpacked kernel what a guest needs.
fn keep(kernel: &Kernel, choice: &Choice, root: &Path, new: &Path) -> Result<Manifest, Error> {
    let modules = root.join("usr/lib/modules").join(&choice.release);
    let places = [root.join("boot").join(format!("vmlinuz-{}", choice.release)), modules.join(VMLINUZ)];
    let unknown = |reason: String| Error::Package { package: choice.packages.join(" "), reason };
    let from = places
        .iter()
        .find(|path| path.is_file())
        .ok_or_else(|| unknown("there is no vmlinuz, neither in /boot nor in /usr/lib/modules".into()))?;
    let vmlinuz = new.join(VMLINUZ);
    fs::copy(from, &vmlinuz).map_err(file(&vmlinuz))?;

    depmod(root, &choice.release)?;
    let index = modules.join("modules.dep");
    let text = fs::read_to_string(&index).map_err(file(&index))?;
    let wanted = modules::closure(&text);
    if !wanted.iter().any(|path| path.contains("sch_htb")) {
        return Err(unknown("there is no module sch_htb in it".into()));
    }
    // Smaller, and without compression that busybox's modprobe may not know.
    let small = new.join("root/small");
    let within = Path::new("usr/lib/modules").join(&choice.release);
    for path in wanted {
        let to = small.join(&within).join(path.trim_end_matches(".xz"));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(file(folder))?;
        }
        fs::write(&to, plain(&modules.join(path))?).map_err(file(&to))?;
    }
    let lib = small.join("lib");
    std::os::unix::fs::symlink("usr/lib", &lib).map_err(file(&lib))?;
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let from = modules.join(name);
        if from.is_file() {
            let to = small.join(&within).join(name);
            fs::copy(&from, &to).map_err(file(&to))?;
        }
    }
    depmod(&small, &choice.release)?;
    let mut tree = Tree::default();
    tree.copy_all(&small.join("usr"), "usr")?;
    let archive = new.join(MODULES);
    let out = fs::File::create(&archive).map_err(file(&archive))?;
    tree.write(std::io::BufWriter::new(out)).map_err(file(&archive))?;

    let manifest = Manifest {
        wanted: kernel.tried.clone(),
        version: choice.version.clone(),
        release: choice.release.clone(),
        selection: modules::selection(),
        vmlinuz: sha256(&vmlinuz)?,
        modules: sha256(&archive)?,
    };
    let path = new.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    fs::write(&path, text).map_err(file(&path))?;
    Ok(manifest)
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
    command.arg("--basedir").arg(root).arg(release).stderr(std::process::Stdio::null());
    program::succeed(&mut command)
}

fn sha256(path: &Path) -> Result<String, Error> {
    let content = fs::read(path).map_err(file(path))?;
    Ok(Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn corrupt(path: &Path, remove: &Path, reason: String) -> Error {
    Error::Corrupt { path: path.to_owned(), reason, remove: remove.to_owned() }
}

fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kernels::fixture, *};

    fn cached(dir: &Path, version: &str) {
        let dir = dir.join("6.1");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(VMLINUZ), "image").unwrap();
        fs::write(dir.join(MODULES), "modules").unwrap();
        let manifest = Manifest {
            wanted: "6.1.176-1".into(),
            version: version.into(),
            release: "6.1.0-50-cloud-amd64".into(),
            selection: modules::selection(),
            vmlinuz: sha256(&dir.join(VMLINUZ)).unwrap(),
            modules: sha256(&dir.join(MODULES)).unwrap(),
        };
        fs::write(dir.join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
    }

    #[test]
    fn a_cached_kernel_is_used_and_says_when_it_is_another() {
        let cache = tempfile::tempdir().unwrap();
        cached(cache.path(), "6.1.176-1");
        let kernel = fixture("6.1", "6.1.176-1");
        assert_eq!(Image::get(&kernel, cache.path(), false).unwrap().warning, None);
        cached(cache.path(), "6.1.177-1");
        let image = Image::get(&kernel, cache.path(), false).unwrap();
        assert!(image.warning.unwrap().contains("no longer has 6.1.176-1; this is 6.1.177-1"));
    }

    #[test]
    fn a_corrupt_cache_is_noticed_and_says_what_to_do() {
        let cache = tempfile::tempdir().unwrap();
        let kernel = fixture("6.1", "6.1.176-1");
        for (name, content) in [(VMLINUZ, "imagf"), (MODULES, ""), (MANIFEST, "{")] {
            cached(cache.path(), "6.1.176-1");
            fs::write(cache.path().join("6.1").join(name), content).unwrap();
            let error = Image::get(&kernel, cache.path(), false).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("; remove "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_kernel_for_other_wishes_is_not_taken_from_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        cached(cache.path(), "6.1.176-1");
        let dir = cache.path().join("6.1");
        assert!(Manifest::read(&dir, &fixture("6.1", "6.1.178-1")).unwrap().is_none());
        assert!(Manifest::read(&dir, &fixture("6.1", "6.1.176-1")).unwrap().is_some());
    }
}
