//! Where a history is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::{Uid, User};

use super::commit::without_password;

/// Where a history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…` (libpq's connection URIs).
    Postgres(String),
}

/// It is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLocation {
    /// Another database.
    #[error("{0}: no kind of history; name a file, or postgres://USER@HOST/DATABASE")]
    Unknown(String),
    /// Nobody's home.
    #[error("there is no home directory for a history; name a file with --store")]
    Homeless,
}

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some(_) => Err(NoLocation::Unknown(without_password(text))),
            None if text.is_empty() => Err(NoLocation::Unknown("an empty name".into())),
            None => Ok(Self::Sqlite(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(without_query(&without_password(url))),
        }
    }
}

/// What comes behind `?` may hold a password, too.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

impl Location {
    /// The one of the user who started this, behind sudo as well: `$XDG_STATE_HOME/qdiscope/history.db`, by default in `~/.local/state` (XDG Base
    /// Directory Specification: "state data", of which it names history first).
    ///
    /// # Errors
    ///
    /// [`NoLocation::Homeless`]
    pub fn of_user() -> Result<Self, NoLocation> {
        Ok(Self::Sqlite(state_folder()?.join("history.db")))
    }
}

/// Where what is not in a history yet waits, too.
pub(super) fn state_folder() -> Result<PathBuf, NoLocation> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let behind_sudo = user_behind_sudo().map(|user| user.dir);
    let state = behind_sudo.map(|home| home.join(".local/state")).or_else(|| {
        let set = |name| std::env::var_os(name).map(PathBuf::from).and_then(absolute);
        set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))
    });
    Ok(state.ok_or(NoLocation::Homeless)?.join("qdiscope"))
}

/// The user whom the files belong to, where root acts for one.
fn user_behind_sudo() -> Option<User> {
    Uid::effective().is_root().then_some(())?;
    let id = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    User::from_uid(Uid::from_raw(id)).ok()?.filter(|user| !user.uid.is_root())
}

/// Makes a folder, and gives what was made to the user behind sudo.
pub(super) fn create_folder(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|part| !part.exists()).collect();
    std::fs::create_dir_all(folder)?;
    for part in missing.into_iter().rev() {
        give_to_user(part);
    }
    Ok(())
}

/// Who owns a file is a courtesy: it is there already.
pub(super) fn give_to_user(path: &Path) {
    if let Some(user) = user_behind_sudo() {
        let _ = nix::unistd::chown(path, Some(user.uid), Some(user.gid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_database() {
        let read = str::parse::<Location>;
        assert_eq!(read("history.db"), Ok(Location::Sqlite("history.db".into())));
        let team = read("postgres://jane:secret@db.example.org/perf?password=secret").unwrap();
        assert_eq!(team.to_string(), "postgres://db.example.org/perf");
        assert!(matches!(team, Location::Postgres(url) if url.contains("secret")));
        assert_eq!(read("mysql://a:b@c/d"), Err(NoLocation::Unknown("mysql://c/d".into())));
        assert!(read("").is_err());
    }
}
