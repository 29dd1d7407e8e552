//! Runs that could not be put into their history yet: a file each, until it can be reached again.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::location::{create_folder, give_to_user, state_folder};
use super::{History, HistoryError, Location, Record};

/// Where the runs wait that one history is to have.
#[derive(Debug, Clone)]
pub struct Unsent {
    folder: PathBuf,
}

impl Unsent {
    /// Of a history: a folder beside the user's own. It does not hold the address, which may have a password.
    ///
    /// # Errors
    ///
    /// [`super::NoLocation::Homeless`]
    pub fn of(location: &Location) -> Result<Self, super::NoLocation> {
        Ok(Self::within(&state_folder()?, location))
    }

    fn within(state: &Path, location: &Location) -> Self {
        let of = match location {
            Location::Sqlite(path) => path.as_os_str().as_encoded_bytes(),
            Location::Postgres(url) => url.as_bytes(),
        };
        Self { folder: state.join("unsent").join(name(of)) }
    }

    /// Keeps a run for later: whole, or not at all.
    ///
    /// # Errors
    ///
    /// As when writing a file.
    pub fn put(&self, record: &Record) -> io::Result<PathBuf> {
        create_folder(&self.folder)?;
        // Ids of others may be no names of files.
        let mut file = NamedTempFile::new_in(&self.folder)?;
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        let path = self.folder.join(format!("{}.json", name(record.id.as_bytes())));
        file.persist(&path)?;
        give_to_user(&path);
        Ok(path)
    }

    /// What waits.
    pub fn files(&self) -> Vec<PathBuf> {
        // Without a folder nothing waits.
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        files
    }

    /// Sends what waits. A file is removed when its run is in the history; whoever else sends it at the same time finds it known.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]: what was not sent waits on. A file that is damaged stays, and is no reason not to send the others.
    pub async fn send(&self, history: &mut History) -> Result<Sent, HistoryError> {
        let mut sent = Sent::default();
        for path in self.files() {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(HistoryError::File { path, source }),
            };
            match Record::parse(text.trim_end()) {
                Ok(record) => {
                    history.add(&record).await?;
                    sent.runs += 1;
                    // The run is known from now on: sending it once more changes nothing.
                    let _ = fs::remove_file(&path);
                }
                Err(reason) => sent.damaged.push(format!("{}: {reason}", path.display())),
            }
        }
        Ok(sent)
    }
}

/// A name for a file that says nothing of what it is made of: sixteen hexadecimal digits of a SHA-256.
fn name(of: &[u8]) -> String {
    Sha256::digest(of).iter().take(8).fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// What was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// So many runs.
    pub runs: usize,
    /// Files that are none of ours any more, and stay.
    pub damaged: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::super::record::fixtures::record;
    use super::*;

    #[tokio::test]
    async fn what_waits_is_sent_once_and_damage_stays() {
        let state = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(state.path().join("history.db"));
        let unsent = Unsent::within(state.path(), &location);
        assert!(unsent.files().is_empty());
        let path = unsent.put(&record(1, 1.0)).unwrap();
        assert_eq!(unsent.put(&record(1, 1.0)).unwrap(), path, "the same run is kept once");
        unsent.put(&record(2, 1.0)).unwrap();
        fs::write(unsent.folder.join("zz.json"), "{").unwrap();
        let mut history = History::open(&location, Purpose::Write).await.unwrap();
        let sent = unsent.send(&mut history).await.unwrap();
        assert_eq!((sent.runs, sent.damaged.len(), history.count().await.unwrap()), (2, 1, 2));
        assert_eq!(unsent.files().len(), 1);
        let other = Unsent::within(state.path(), &Location::Postgres("postgres://h/d".into()));
        assert!(other.files().is_empty(), "another history's");
    }
}
