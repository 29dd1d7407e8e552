//! The files of an initramfs, and their archive: cpio in the format that the kernel unpacks.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

use cpio::newc::{Builder, ModeFileType, trailer};

use super::error::{Error, file};

/// Folders that are links to those in /usr, as on every Debian. A file gets its place behind the link.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Files by their paths, without the leading slash.
#[derive(Debug, Default, Clone)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Folder,
    File { content: Vec<u8>, mode: u32 },
    Link(String),
}

impl Tree {
    /// A tree with the links from /bin and the like to /usr.
    pub(super) fn merged() -> Self {
        let mut tree = Self::default();
        for name in MERGED {
            tree.folder(&format!("usr/{name}"));
            tree.entries.insert(name.to_owned(), Entry::Link(format!("usr/{name}")));
        }
        tree
    }

    pub(super) fn folder(&mut self, path: &str) {
        let path = place(path);
        self.parents(&path);
        self.entries.entry(path).or_insert(Entry::Folder);
    }

    pub(super) fn add(&mut self, path: &str, content: Vec<u8>, mode: u32) {
        self.insert(path, Entry::File { content, mode });
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.insert(path, Entry::Link(target.to_owned()));
    }

    /// A file of the host, at its own path or another; links are followed.
    pub(super) fn copy(&mut self, from: &Path, path: &str, mode: u32) -> Result<(), Error> {
        self.add(path, fs::read(from).map_err(file(from))?, mode);
        Ok(())
    }

    /// A folder of the host with all that is in it.
    pub(super) fn copy_all(&mut self, from: &Path, path: &str) -> Result<(), Error> {
        for entry in fs::read_dir(from).map_err(file(from))?.flatten() {
            let (from, path) = (entry.path(), format!("{path}/{}", entry.file_name().to_string_lossy()));
            if from.is_dir() {
                self.copy_all(&from, &path)?;
            } else {
                self.copy(&from, &path, 0o644)?;
            }
        }
        Ok(())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(&place(path))
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        let path = place(path);
        self.parents(&path);
        self.entries.insert(path, entry);
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Folder);
        }
    }

    /// Writes the archive. The map's order puts folders before what is in them, as the kernel wants it.
    pub(super) fn write(&self, mut out: impl Write) -> io::Result<()> {
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let (kind, mode, content) = match entry {
                Entry::Folder => (ModeFileType::Directory, 0o755, &[][..]),
                Entry::File { content, mode } => (ModeFileType::Regular, *mode, content.as_slice()),
                Entry::Link(target) => (ModeFileType::Symlink, 0o777, target.as_bytes()),
            };
            let size =
                u32::try_from(content.len()).map_err(|_| io::Error::other(format!("{path}: too large")))?;
            let links = if matches!(entry, Entry::Folder) { 2 } else { 1 };
            let builder = Builder::new(path).ino(number).nlink(links).mode(mode).set_mode_file_type(kind);
            let mut writer = builder.write(&mut out, size);
            writer.write_all(content)?;
            writer.finish()?;
        }
        trailer(&mut out)?;
        out.flush()
    }
}

/// `/bin/sh` → `usr/bin/sh`
fn place(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let first = path.split('/').next().unwrap_or(path);
    if MERGED.contains(&first) && first != path { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use cpio::newc::Reader;

    use super::*;

    fn listed(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut rest = archive;
        let mut found = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            io::copy(&mut reader, &mut content).unwrap();
            found.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_has_parents_first_and_all_content() {
        let mut tree = Tree::merged();
        tree.add("/bin/tc", b"tc's".to_vec(), 0o755);
        tree.add("etc/a/b", vec![7; 5], 0o644);
        tree.link("usr/lib/busybox/sh", "/usr/bin/busybox");
        let mut archive = Vec::new();
        tree.write(&mut archive).unwrap();
        assert_eq!(archive.len() % 4, 0, "another archive may follow");
        let entries = listed(&archive);
        let at = |path: &str| entries.iter().position(|(name, ..)| name == path).unwrap();
        assert!(at("etc") < at("etc/a") && at("etc/a") < at("etc/a/b"));
        assert_eq!(entries[at("usr/bin/tc")].1, 0o100_755);
        assert_eq!(entries[at("usr/bin/tc")].2, b"tc's");
        assert_eq!(entries[at("bin")], ("bin".into(), 0o120_777, b"usr/bin".to_vec()));
        assert_eq!(entries[at("usr/lib/busybox/sh")].2, b"/usr/bin/busybox");
        assert!(at("usr/sbin") > at("usr") && !tree.has("sbin/tc") && tree.has("bin/tc"));
    }

    #[test]
    fn a_folder_does_not_replace_what_is_there() {
        let mut tree = Tree::default();
        tree.add("a/b", vec![1], 0o644);
        tree.folder("a");
        tree.folder("a/b");
        assert!(matches!(tree.entries["a/b"], Entry::File { .. }));
    }
}
