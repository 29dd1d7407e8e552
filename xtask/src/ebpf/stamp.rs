//! The text beside the object: what it was built from, and with what.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{build, error::Error};

/// What the object was built from and with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// SHA-256 over the sources' names and contents, and over the way they are compiled.
    pub(super) sources: String,
    /// SHA-256 of the object.
    pub(super) object: String,
    pub(super) versions: Versions,
}

/// With what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) rustc: String,
    pub(super) llvm: String,
    pub(super) linker: String,
    pub(super) aya_ebpf: String,
    pub(super) aya_log_ebpf: String,
}

impl Stamp {
    pub(super) fn new(sources: String, object: &[u8], versions: Versions) -> Self {
        Self { sources, object: hex(&Sha256::digest(object)), versions }
    }

    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|key| Error::Stamp { path: path.to_owned(), reason: format!("no line `{key}: …`") })
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let value = |key: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(str::to_owned)
                .ok_or(key)
        };
        Ok(Self {
            sources: value("sources-sha256")?,
            object: value("object-sha256")?,
            versions: Versions {
                rustc: value("rustc")?,
                llvm: value("llvm")?,
                linker: value("linker")?,
                aya_ebpf: value("aya-ebpf")?,
                aya_log_ebpf: value("aya-log-ebpf")?,
            },
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# From what and with what programs.bpf.o was built. Written by `cargo xtask ebpf`.")?;
        writeln!(f, "sources-sha256: {}", self.sources)?;
        writeln!(f, "object-sha256: {}", self.object)?;
        write!(f, "{}", self.versions)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rustc: {}", self.rustc)?;
        writeln!(f, "llvm: {}", self.llvm)?;
        writeln!(f, "linker: {}", self.linker)?;
        writeln!(f, "aya-ebpf: {}", self.aya_ebpf)?;
        writeln!(f, "aya-log-ebpf: {}", self.aya_log_ebpf)
    }
}

impl Versions {
    /// Each version that differs, as `was → is`.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let (was, is) = (self.to_string(), now.to_string());
        was.lines()
            .zip(is.lines())
            .filter(|(was, is)| was != is)
            .map(|(was, is)| format!("{was} → {is}"))
            .collect()
    }
}

/// Everything that decides what the object is, apart from the toolchain.
const SOURCES: [&str; 5] =
    ["common/Cargo.toml", "common/src", "programs/Cargo.toml", "programs/Cargo.lock", "programs/src"];

/// Hashes the sources in `ebpf`, and how they are compiled.
pub(super) fn hash_sources(ebpf: &Path) -> Result<String, Error> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&ebpf.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let content = fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        let name = path.strip_prefix(ebpf).unwrap_or(&path).to_string_lossy().into_owned();
        for part in [name.as_bytes(), &content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    for part in build::ARGUMENTS.iter().chain(&build::RUSTFLAGS) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    Ok(hex(&hash.finalize()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source: io::Error| Error::File { path: path.to_owned(), source };
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        collect(&entry.map_err(failed)?.path(), files)?;
    }
    Ok(())
}

/// The version of package `name` in a Cargo.lock.
pub(super) fn locked_version(lock: &str, name: &str) -> Option<String> {
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
    Some(after.split('"').next()?.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        let versions = Versions {
            rustc: "rustc 1.96.0 (x)".to_owned(),
            llvm: "22.1.8".to_owned(),
            linker: "bpf-linker 0.13.0".to_owned(),
            aya_ebpf: "0.2.1".to_owned(),
            aya_log_ebpf: "0.2.0".to_owned(),
        };
        Stamp::new("00ff".to_owned(), b"object", versions)
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        assert_eq!(Stamp::parse(&stamp().to_string()), Ok(stamp()));
    }

    #[test]
    fn a_missing_line_is_named() {
        let text = stamp().to_string().replace("llvm:", "LLVM:");
        assert_eq!(Stamp::parse(&text), Err("llvm"));
    }

    #[test]
    fn differences_name_what_changed() {
        let mut now = stamp().versions;
        now.llvm = "23.0".to_owned();
        assert_eq!(stamp().versions.differences(&now), ["llvm: 22.1.8 → llvm: 23.0"]);
        assert!(now.differences(&now).is_empty());
    }

    #[test]
    fn a_version_is_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"aya-ebpf-cty\"\nversion = \"0.3.0\"\n\n[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\n";
        assert_eq!(locked_version(lock, "aya-ebpf").as_deref(), Some("0.2.1"));
        assert_eq!(locked_version(lock, "aya"), None);
    }
}
