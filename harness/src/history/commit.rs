//! What was measured: the commit that is checked out where qdiscope was started.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A commit, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its hash, in full.
    pub hash: String,
    /// Which repository's: where its `origin` is, else its folder.
    #[serde(default)]
    pub repository: Option<String>,
    /// The branch that was checked out. None of a detached head, as in many CI jobs.
    #[serde(default)]
    pub branch: Option<String>,
    /// When it was written, which outlives a rebase.
    #[serde(default)]
    pub author_date: Option<Timestamp>,
    /// The first line of its message, which does so as well.
    #[serde(default)]
    pub subject: Option<String>,
    /// Whether files had changes that nobody had committed: then the commit does not say what was measured.
    #[serde(default)]
    pub dirty: Option<bool>,
}

impl Commit {
    /// The one that is checked out in a folder. `None`: there is no git, no repository or no commit.
    ///
    /// `git log -1`, `git status --porcelain`, `git symbolic-ref HEAD`
    pub fn of(folder: &Path) -> Option<Self> {
        let commit = Self::named(folder, "HEAD")?;
        let changes = git(folder, &["status", "--porcelain", "--untracked-files=no"]);
        Some(Self {
            branch: git(folder, &["symbolic-ref", "--short", "-q", "HEAD"]).as_deref().map(printable),
            dirty: changes.map(|changes| !changes.is_empty()),
            ..commit
        })
    }

    /// One of a folder's repository, by a name of git's. Where it was measured, and with which changes, is not known.
    ///
    /// `git log -1 NAME`, `git config remote.origin.url`
    pub fn named(folder: &Path, name: &str) -> Option<Self> {
        let head = git(folder, &["log", "-1", "--no-show-signature", "--format=%H%n%aI%n%s", name, "--"])?;
        let mut lines = head.lines();
        let hash = lines.next().filter(|hash| !hash.is_empty())?.to_owned();
        let author_date = lines.next().and_then(|date| date.parse().ok());
        let subject = lines.next().map(printable);
        let repository = git(folder, &["config", "remote.origin.url"])
            .map(|url| without_password(&url))
            .or_else(|| git(folder, &["rev-parse", "--show-toplevel"]));
        let repository = repository.as_deref().map(printable);
        Some(Self { hash, repository, branch: None, author_date, subject, dirty: None })
    }

    /// How many commits lie behind one and not behind the other, the later one counted. `None` where git does not know one of them.
    ///
    /// `git rev-list --count BEFORE..AFTER`
    pub fn distance(folder: &Path, before: &str, after: &str) -> Option<usize> {
        git(folder, &["rev-list", "--count", &format!("{before}..{after}"), "--"])?.parse().ok()
    }

    /// One of which only the hash is known.
    pub fn unknown(hash: &str) -> Self {
        Self {
            hash: hash.to_ascii_lowercase(),
            repository: None,
            branch: None,
            author_date: None,
            subject: None,
            dirty: None,
        }
    }

    /// The hash, short.
    pub fn short(&self) -> &str {
        self.hash.get(..9).unwrap_or(&self.hash)
    }
}

/// What git answers; `None` where it refuses, or is not there.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        // The repository may be another user's, behind sudo; and status must not write an index of root's into it.
        .args(["-c", "safe.directory=*", "--no-optional-locks"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// What people wrote is shown on terminals later.
fn printable(text: &str) -> String {
    text.chars().filter(|of| !of.is_control()).collect()
}

/// Addresses may hold a token, which is nobody's business.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, line: &str) {
        let status = Command::new("git")
            .args(["-c", "user.name=Jane", "-c", "user.email=jane@example.org", "-c", "commit.gpgsign=false"])
            .args(line.split(' '))
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {line}");
    }

    #[test]
    fn the_commit_that_is_checked_out_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        assert_eq!(Commit::of(here), None);
        git(here, "init -q -b trunk");
        assert_eq!(Commit::of(here), None, "no commit yet");
        std::fs::write(here.join("file"), "1").unwrap();
        git(here, "add file");
        git(here, "commit -q -m Begin --date 2026-11-01T12:00:00+02:00");
        let commit = Commit::of(here).unwrap();
        assert_eq!((commit.hash.len(), commit.short().len()), (40, 9));
        assert_eq!((commit.branch.as_deref(), commit.subject.as_deref()), (Some("trunk"), Some("Begin")));
        assert_eq!(commit.author_date, Some("2026-11-01T10:00:00Z".parse().unwrap()));
        assert_eq!(commit.dirty, Some(false));
        std::fs::write(here.join("file"), "2").unwrap();
        git(here, "remote add origin https://user:token@example.org/shaper.git");
        git(here, "checkout -q --detach");
        let commit = Commit::of(here).unwrap();
        assert_eq!((commit.branch, commit.dirty), (None, Some(true)));
        assert_eq!(commit.repository.as_deref(), Some("https://example.org/shaper.git"));
    }

    #[test]
    fn passwords_are_not_kept() {
        for (url, kept) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://h/x@y", "https://h/x@y"),
            ("git@h:x.git", "git@h:x.git"),
            ("postgres://u@h", "postgres://h"),
        ] {
            assert_eq!(without_password(url), kept);
        }
    }
}
