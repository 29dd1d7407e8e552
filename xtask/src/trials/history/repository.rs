//! A git repository whose software is a load and a delay.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::super::{
    Error,
    error::file,
    instrument::{DELAY, finished},
};

/// What is measured; it says so itself.
pub(super) const SCRIPT: &str = "bench.sh";
pub(super) const BRANCH: &str = "main";
/// A commit changes this, or nothing but words.
const DELAY_FILE: &str = "delay_ns";
/// When the first commit was written; the others follow by the hour.
const BEGAN: u64 = 1_793_520_000;

pub(super) struct Repository {
    pub(super) folder: PathBuf,
}

impl Repository {
    /// A new one, without a commit.
    pub(super) fn begin(folder: &Path, load: &str) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(file(folder))?;
        let repository = Self { folder: folder.to_owned() };
        repository.git(0, &["init", "--quiet", "--initial-branch", BRANCH])?;
        let script = format!(
            "#!/bin/sh\n\
             # What is measured: the adapter, each packet of which is held up for as long as this commit says.\n\
             cd \"$(dirname \"$0\")\" || exit 3\n\
             {DELAY}=$(cat {DELAY_FILE}) exec \"${{QDISCOPE_BIN:-qdiscope}}\" {load}\n"
        );
        repository.write(SCRIPT, &script)?;
        Ok(repository)
    }

    /// Commits a delay with the words for it, and gives the hash. The delay may be what it was.
    pub(super) fn commit(&self, subject: &str, delay_ns: u64) -> Result<String, Error> {
        let readme = self.folder.join("README.md");
        let mut words = if readme.exists() {
            fs::read_to_string(&readme).map_err(file(&readme))?
        } else {
            "# A shaper\n".into()
        };
        let hours = words.lines().count() as u64;
        let _ = writeln!(words, "- {subject}");
        self.write("README.md", &words)?;
        self.write(DELAY_FILE, &format!("{delay_ns}\n"))?;
        self.git(hours, &["add", "--all"])?;
        self.git(hours, &["commit", "--quiet", "--message", subject])?;
        Ok(self.git(hours, &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    pub(super) fn check_out(&self, name: &str) -> Result<(), Error> {
        self.git(0, &["checkout", "--quiet", name]).map(drop)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(file(&path))
    }

    /// Runs git as if nobody had configured it, so many hours after the first commit.
    fn git(&self, hours: u64, words: &[&str]) -> Result<String, Error> {
        let date = format!("{} +0000", BEGAN + 3_600 * hours);
        let mut command = Command::new("git");
        command.args(words).current_dir(&self.folder).stdin(Stdio::null());
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A Shaper"),
            ("GIT_AUTHOR_EMAIL", "shaper@example.org"),
            ("GIT_COMMITTER_NAME", "A Shaper"),
            ("GIT_COMMITTER_EMAIL", "shaper@example.org"),
            ("GIT_AUTHOR_DATE", &date),
            ("GIT_COMMITTER_DATE", &date),
        ] {
            command.env(name, value);
        }
        Ok(String::from_utf8_lossy(&finished(&mut command)?.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_has_its_delay_and_the_same_plan_the_same_hashes() {
        let made = || {
            let dir = tempfile::tempdir().unwrap();
            let repository = Repository::begin(dir.path(), "bench --duration 1s").unwrap();
            let commits: Vec<_> = [("Begin", 0), ("Say more", 0), ("Slow it down", 1_200)]
                .map(|(subject, delay)| repository.commit(subject, delay).unwrap())
                .into();
            let delays: Vec<_> = commits
                .iter()
                .map(|hash| {
                    repository.check_out(hash).unwrap();
                    fs::read_to_string(dir.path().join(DELAY_FILE)).unwrap()
                })
                .collect();
            assert_eq!(delays, ["0\n", "0\n", "1200\n"]);
            repository.check_out(BRANCH).unwrap();
            let log = repository.git(0, &["log", "--reverse", "--format=%H %s %aI"]).unwrap();
            assert!(log.lines().nth(2).unwrap().contains("Slow it down 2026-"), "{log}");
            assert_eq!(repository.git(0, &["status", "--porcelain"]).unwrap(), "");
            commits
        };
        assert_eq!(made(), made());
    }

    #[test]
    fn the_software_is_a_load_with_the_delay_of_its_commit() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::begin(dir.path(), DELAY).unwrap();
        repository.commit("Begin", 1_500).unwrap();
        let mut command = Command::new("sh");
        // `printenv QDISCOPE_FAULT_DELAY_NS`, from elsewhere.
        command.arg(dir.path().join(SCRIPT)).env("QDISCOPE_BIN", "printenv").current_dir("/").env(DELAY, "7");
        assert_eq!(finished(&mut command).unwrap().stdout, b"1500\n");
    }
}
