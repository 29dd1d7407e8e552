//! A kernel, ready to boot: its image and an archive of its modules, kept with their hashes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    error::{Error, file},
    kernels::Kernel,
    modules,
    package::{self, MODULES, VMLINUZ, corrupt, remove, sha256},
};

const MANIFEST: &str = "kernel.json";

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
        let manifest = Manifest::fetch(kernel, &new)?;
        remove(&dir)?;
        fs::rename(&new, &dir).map_err(file(&dir))?;
        Ok(manifest.image(&dir))
    }
}

impl Manifest {
    fn fetch(kernel: &Kernel, new: &Path) -> Result<Self, Error> {
        let choice = package::fetch(kernel, new)?;
        let manifest = Self {
            wanted: kernel.tried.clone(),
            version: choice.version,
            release: choice.release,
            selection: modules::selection(),
            vmlinuz: sha256(&new.join(VMLINUZ))?,
            modules: sha256(&new.join(MODULES))?,
        };
        let path = new.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        fs::write(&path, text).map_err(file(&path))?;
        Ok(manifest)
    }

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
