//! git, asked and told.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bisect::model::Commit;
use crate::cli::turns::Surroundings;
use crate::exit::Failure;

/// Variables of git's that say what its user wants of all repositories. All others may lead to another repository: a hook has `GIT_DIR` set.
const OF_THE_USER: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// Why git has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    /// It is not there, or cannot be started.
    #[error("git cannot be started: {0}; install it, or set PATH")]
    Start(#[from] io::Error),
    /// It refused.
    #[error("git {command}: {said}")]
    Refused { command: String, said: String },
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self::environment(error.to_string())
    }
}

/// What leads git's children away from the folder that they work in, removed.
pub(super) fn surroundings(folder: &Path) -> Surroundings {
    let names = env::vars_os().map(|(name, _)| name).filter(|name| leads_away(name));
    Surroundings { folder: Some(folder.to_owned()), variables: names.map(|name| (name, None)).collect() }
}

fn leads_away(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"GIT_") && OF_THE_USER.iter().all(|kept| name != *kept)
}

/// What git answers, without the last line break.
pub(super) fn ask<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Result<String, GitError> {
    let mut command = Command::new("git");
    for (name, _) in env::vars_os().filter(|(name, _)| leads_away(name)) {
        command.env_remove(name);
    }
    let output = command
        // Nothing is written into the user's repository, not even a refreshed index.
        .arg("--no-optional-locks")
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let command =
        arguments.first().map_or_else(String::new, |name| name.as_ref().to_string_lossy().into_owned());
    Err(GitError::Refused { command, said: said(&String::from_utf8_lossy(&output.stderr)) })
}

/// The line that says what is wrong: the first that git begins so, else the last.
fn said(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let named =
        lines().find_map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")));
    printable(named.or_else(|| lines().next_back()).unwrap_or("it failed, and did not say why"))
}

/// What people wrote is shown on terminals.
fn printable(text: &str) -> String {
    text.chars().filter(|of| !of.is_control()).collect()
}

/// The user's repository, of which nothing is changed.
pub(super) struct Repository {
    /// Where it was looked for.
    folder: PathBuf,
    /// What is cloned: the folder of refs and objects, also of a linked work tree.
    pub(super) store: PathBuf,
    /// Where it came from itself.
    pub(super) origin: Option<String>,
    shallow: bool,
}

impl Repository {
    /// `git rev-parse --git-common-dir`
    pub(super) fn at(folder: &Path) -> Result<Self, Failure> {
        if !folder.is_dir() {
            return Err(Failure::usage(format!("--repository {}: no such folder", folder.display())));
        }
        let found = ask(folder, &["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        let store = found.map_err(|error| match error {
            GitError::Refused { said, .. } if said.contains("not a git repository") => Failure::usage(format!(
                "{}: not in a git repository; name one by --repository",
                folder.display()
            )),
            GitError::Refused { said, .. } if said.contains("dubious ownership") => Failure::environment(format!(
                "git: {said}; run this as its owner, or trust it: git config --global --add safe.directory FOLDER"
            )),
            error => error.into(),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            store: store.into(),
            origin: ask(folder, &["config", "remote.origin.url"]).ok(),
            shallow: ask(folder, &["rev-parse", "--is-shallow-repository"])? == "true",
        })
    }

    /// A commit by any of its names.
    ///
    /// `git rev-parse --verify NAME^{commit}`, `git log -1`
    pub(super) fn commit(&self, option: &str, name: &str) -> Result<Commit, Failure> {
        let hash = if name.starts_with('-') {
            None
        } else {
            ask(&self.folder, &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).ok()
        };
        match hash {
            Some(hash) => Ok(commit(&self.folder, &hash)?),
            None => Err(Failure::usage(format!("{option} {name}: no such commit{}", self.hint()))),
        }
    }

    /// `git merge-base --is-ancestor`
    pub(super) fn check_order(&self, good: &Commit, bad: &Commit) -> Result<(), Failure> {
        if good.hash == bad.hash {
            return Err(Failure::usage(format!("good and bad are the same commit, {}", good.short())));
        }
        if ask(&self.folder, &["merge-base", "--is-ancestor", &good.hash, &bad.hash]).is_ok() {
            return Ok(());
        }
        let turned = ask(&self.folder, &["merge-base", "--is-ancestor", &bad.hash, &good.hash]).is_ok();
        let advice =
            if turned { ", but the other way round" } else { "; name a good commit that bad came from" };
        Err(Failure::usage(format!(
            "good ({}) is no ancestor of bad ({}){advice}{}",
            good.short(),
            bad.short(),
            self.hint()
        )))
    }

    /// The commits that are behind bad and not behind good, newest first.
    ///
    /// `git log GOOD..BAD`
    pub(super) fn between(
        &self,
        good: &Commit,
        bad: &Commit,
        range: &Range,
    ) -> Result<Vec<Commit>, GitError> {
        let mut which: Vec<String> = range.option().into_iter().collect();
        which.push(format!("{}..{}", good.hash, bad.hash));
        // As with bisect, paths are those of the whole repository.
        let top = ask(&self.folder, &["rev-parse", "--show-toplevel"]);
        let folder = top.map_or_else(|_| self.store.clone(), PathBuf::from);
        commits(&folder, &range.with_paths(which))
    }

    fn hint(&self) -> &'static str {
        if self.shallow { "; this clone is shallow: git fetch --unshallow gets all of it" } else { "" }
    }
}

/// Which commits git looks at.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    pub(super) first_parent: bool,
    pub(super) paths: Vec<String>,
}

impl Range {
    fn option(&self) -> Option<String> {
        self.first_parent.then(|| "--first-parent".to_owned())
    }

    fn with_paths(&self, mut arguments: Vec<String>) -> Vec<String> {
        arguments.push("--".to_owned());
        arguments.extend(self.paths.iter().cloned());
        arguments
    }
}

/// What is known of a commit.
pub(super) fn commit(folder: &Path, hash: &str) -> Result<Commit, GitError> {
    let found = commits(folder, &["--no-walk".to_owned(), hash.to_owned(), "--".to_owned()])?;
    let unknown = || GitError::Refused { command: "log".into(), said: format!("nothing is known of {hash}") };
    found.into_iter().next().ok_or_else(unknown)
}

/// What is known of those that arguments of git's name.
///
/// `git log`
fn commits(folder: &Path, which: &[String]) -> Result<Vec<Commit>, GitError> {
    let mut arguments =
        ["log", "--no-show-signature", "--format=%H%x00%an%x00%aI%x00%s"].map(str::to_owned).to_vec();
    arguments.extend(which.iter().cloned());
    let told = ask(folder, &arguments)?;
    let commit = |line: &str| {
        let mut parts = line.split('\0').map(printable);
        let mut part = || parts.next().unwrap_or_default();
        Commit { hash: part(), author: part(), date: part(), subject: part() }
    };
    Ok(told.lines().map(commit).collect())
}

/// A private copy of a repository: its objects are borrowed, everything else is its own.
pub(super) struct Copied {
    pub(super) folder: PathBuf,
}

/// Makes the checkout that of a commit, whatever a build has left: ignored files stay, for they are its cache.
pub(super) const CHECKOUT: &str =
    r#"git clean -ffdq && git checkout --quiet --force --detach "$QDISCOPE_COMMIT" && git clean -ffdq"#;

impl Copied {
    /// `git clone --shared --no-checkout`
    pub(super) fn of(repository: &Repository, folder: PathBuf) -> Result<Self, GitError> {
        let mut arguments: Vec<OsString> =
            ["clone", "--quiet", "--shared", "--no-checkout", "--template="].map(OsString::from).to_vec();
        // Nothing of the user's is to run here by itself, or to go on after us.
        for set in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "advice.detachedHead=false",
        ] {
            arguments.extend(["-c".into(), set.into()]);
        }
        arguments.extend(["--".into(), repository.store.clone().into(), folder.clone().into()]);
        ask(Path::new("/"), &arguments)?;
        // A build that fetches submodules or pushes is to meet whom it would meet in the user's repository.
        if let Some(origin) = &repository.origin {
            ask(&folder, &["config", "remote.origin.url", origin])?;
        }
        Ok(Self { folder })
    }

    /// `git rev-parse --verify HASH^1`. `None` of a commit without parents.
    pub(super) fn parent(&self, of: &Commit) -> Result<Option<Commit>, GitError> {
        match ask(&self.folder, &["rev-parse", "--verify", "--quiet", &format!("{}^1", of.hash)]) {
            Ok(hash) => commit(&self.folder, &hash).map(Some),
            Err(GitError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What git bisect wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// This commit tried.
    Try(String),
    /// Nothing: this is the first bad commit.
    Found(String),
    /// Nothing: it is one of these.
    Several(Vec<String>),
}

/// `git bisect`, at work in a copy.
pub(super) struct Bisect {
    folder: PathBuf,
    range: Range,
}

impl Bisect {
    /// `git bisect start --no-checkout BAD GOOD`: what is checked out, and when, is for us to say.
    pub(super) fn start(copy: &Copied, range: &Range, good: &Commit, bad: &Commit) -> Result<Self, GitError> {
        let mut arguments = ["bisect", "start", "--no-checkout"].map(str::to_owned).to_vec();
        arguments.extend(range.option());
        arguments.extend([bad.hash.clone(), good.hash.clone()]);
        ask(&copy.folder, &range.with_paths(arguments))?;
        Ok(Self { folder: copy.folder.clone(), range: range.clone() })
    }

    /// `git bisect good|bad|skip HASH`
    pub(super) fn tell(&self, word: &str, commit: &Commit) -> Result<(), GitError> {
        match ask(&self.folder, &["bisect", word, &commit.hash]) {
            // It exits with 2 where only commits that were skipped are left, which its log says as well.
            Err(GitError::Refused { .. }) if matches!(self.next()?, Next::Several(_)) => Ok(()),
            told => told.map(drop),
        }
    }

    /// What its log, or `BISECT_HEAD`, says.
    pub(super) fn next(&self) -> Result<Next, GitError> {
        let log = std::fs::read_to_string(self.folder.join(".git/BISECT_LOG"))?;
        match ended(&log) {
            Some(end) => Ok(end),
            None => Ok(Next::Try(ask(&self.folder, &["rev-parse", "--verify", "BISECT_HEAD"])?)),
        }
    }

    /// The commits that are behind bad and not behind one that is good, newest first.
    ///
    /// `git log refs/bisect/bad --not --glob=refs/bisect/good-*`
    pub(super) fn suspects(&self) -> Result<Vec<Commit>, GitError> {
        let mut which: Vec<String> = self.range.option().into_iter().collect();
        which.extend(["refs/bisect/bad", "--not", "--glob=refs/bisect/good-*"].map(str::to_owned));
        commits(&self.folder, &self.range.with_paths(which))
    }

    /// What is bad by now.
    pub(super) fn bad(&self) -> Result<Commit, GitError> {
        commit(&self.folder, "refs/bisect/bad")
    }

    /// What is known of these, in their order.
    pub(super) fn known(&self, hashes: Vec<String>) -> Result<Vec<Commit>, GitError> {
        let mut which = vec!["--no-walk=unsorted".to_owned()];
        which.extend(hashes);
        which.push("--".to_owned());
        commits(&self.folder, &which)
    }
}

/// How a bisection ended, as its log says: the format that `git bisect replay` reads, with remarks.
fn ended(log: &str) -> Option<Next> {
    let hash = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    let found = log.lines().find(|line| line.starts_with("# first bad commit: ")).and_then(hash);
    if let Some(found) = found {
        return Some(Next::Found(found));
    }
    log.lines().any(|line| line == "# only skipped commits left to test").then(|| {
        let possible = log.lines().filter(|line| line.starts_with("# possible first bad commit: "));
        Next::Several(possible.filter_map(hash).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_how_it_ended() {
        let begun = "# bad: [aa] x\n# good: [bb] [y]\ngit bisect start 'aa' 'bb'\n# skip: [cc] # first bad commit: [dd]\n";
        assert_eq!(ended(begun), None);
        assert_eq!(ended(&format!("{begun}# first bad commit: [cc] [z]\n")), Some(Next::Found("cc".into())));
        let several = format!(
            "{begun}# only skipped commits left to test\n# possible first bad commit: [aa] x\n# possible first bad commit: [cc] z\n"
        );
        assert_eq!(ended(&several), Some(Next::Several(vec!["aa".into(), "cc".into()])));
    }

    #[test]
    fn what_leads_git_elsewhere_is_taken_away_and_settings_are_not() {
        for away in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS", "GIT_WORK_TREE"] {
            assert!(leads_away(OsStr::new(away)), "{away}");
        }
        for kept in ["GIT_CONFIG_GLOBAL", "PATH", "GITHUB_SHA", "HOME"] {
            assert!(!leads_away(OsStr::new(kept)), "{kept}");
        }
    }

    #[test]
    fn git_says_what_is_wrong_in_a_line() {
        assert_eq!(said("hint: a\nfatal: bad\nhint: b\n"), "bad");
        assert_eq!(said("one\n\n\x1b[31mtwo\n"), "[31mtwo");
        assert_eq!(said(""), "it failed, and did not say why");
    }

    #[test]
    fn what_is_no_repository_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let no = Repository::at(folder.path()).err().unwrap();
        assert!(no.to_string().contains("not in a git repository"), "{no}");
        let no = Repository::at(&folder.path().join("nothing")).err().unwrap();
        assert!(no.to_string().contains("no such folder"), "{no}");
    }
}
