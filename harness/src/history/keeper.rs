//! Puts a run into its history when it is over.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::sched::{CloneFlags, setns};

use super::{Added, Commit, History, HistoryError, Location, Purpose, Record, Renewed, Unsent};

/// A server that has not taken a run by then gets it later.
const PATIENCE: Duration = Duration::from_mins(1);

/// Prepared before the run, while the process still sees the network and the folder that it was started in.
#[derive(Debug)]
pub struct Keeper {
    location: Location,
    commit: Option<Commit>,
    labels: BTreeSet<String>,
    /// Where a server can be reached from; the run's own namespace has no way out.
    network: Option<File>,
}

/// What became of a run.
#[derive(Debug)]
pub enum Kept {
    /// It is in the history, with so many that waited.
    Stored {
        /// Which history.
        location: Location,
        /// Runs that were sent with it.
        sent: usize,
        /// Baselines that have renewed themselves of it and those before it.
        renewed: Vec<Renewed>,
        /// What is missing of it, or of those that wait.
        notes: Vec<String>,
    },
    /// It waits in a file.
    Waiting {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is nowhere but in its folder.
    Lost {
        /// Why.
        reason: String,
    },
}

impl Keeper {
    /// Looks at the commit that is checked out here, and keeps the way to the network.
    pub fn prepare(location: Location, labels: BTreeSet<String>) -> Self {
        let commit = std::env::current_dir().ok().and_then(|folder| Commit::of(&folder));
        let network = File::open("/proc/thread-self/ns/net").ok();
        Self { location, commit, labels, network }
    }

    /// Puts the run of a folder into the history; where that cannot be done, into a file that is sent with the next one. Blocks until then.
    pub fn keep(&self, folder: &Path) -> Kept {
        let (record, lost) = match Record::of_saved(folder, self.commit.clone(), self.labels.clone()) {
            Ok(read) => read,
            Err(error) => return Kept::Lost { reason: error.to_string() },
        };
        let unsent = Unsent::of(&self.location);
        let outcome = self.store(&record, unsent.as_ref().ok());
        let reason = match outcome {
            Ok(Stored { sent, renewed, mut notes }) => {
                notes.extend(lost);
                return Kept::Stored { location: self.location.clone(), sent, renewed, notes };
            }
            Err(error) => error.to_string(),
        };
        match unsent
            .map_err(|error| error.to_string())
            .and_then(|unsent| unsent.put(&record).map_err(|error| format!("and it cannot wait: {error}")))
        {
            Ok(file) => Kept::Waiting { file, reason },
            Err(error) => Kept::Lost { reason: format!("{reason}; {error}") },
        }
    }

    /// On a thread of its own, which goes back to where the process came from; the others stay in the run's namespace.
    fn store(&self, record: &Record, unsent: Option<&Unsent>) -> Result<Stored, HistoryError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| HistoryError::Unreadable {
            what: self.location.to_string(),
            reason: format!("{what}: {error}"),
        };
        std::thread::scope(|scope| {
            let storing = scope.spawn(|| {
                if let (Location::Postgres(_), Some(network)) = (&self.location, &self.network) {
                    setns(network, CloneFlags::CLONE_NEWNET)
                        .map_err(|errno| failed("back to the network", &errno.desc()))?;
                }
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| failed("start", &error))?;
                runtime.block_on(async {
                    let all = tokio::time::timeout(PATIENCE, store(&self.location, record, unsent));
                    all.await.unwrap_or_else(|_| {
                        let store = self.location.to_string();
                        Err(HistoryError::Silent { store, seconds: PATIENCE.as_secs() })
                    })
                })
            });
            storing.join().unwrap_or_else(|_| Err(failed("keep a run", &"a defect of qdiscope")))
        })
    }
}

struct Stored {
    sent: usize,
    renewed: Vec<Renewed>,
    notes: Vec<String>,
}

/// This run first: what waits may be damaged.
async fn store(
    location: &Location,
    record: &Record,
    unsent: Option<&Unsent>,
) -> Result<Stored, HistoryError> {
    let mut history = History::open(location, Purpose::Write).await?;
    let added = history.add(record).await?;
    let mut stored = Stored { sent: 0, renewed: Vec::new(), notes: Vec::new() };
    if added == Added::Known {
        stored.notes.push(format!("a run {} was there already, and stays as it was", record.id));
    }
    if let Some(unsent) = unsent {
        // They wait on, whatever it is.
        match unsent.send(&mut history).await {
            Ok(sent) => {
                stored.sent = sent.runs;
                stored.notes.extend(sent.damaged);
            }
            Err(error) => stored.notes.push(error.to_string()),
        }
    }
    // The run is kept, whatever becomes of them.
    match history.renew_baselines(Timestamp::now()).await {
        Ok(renewed) => stored.renewed = renewed,
        Err(error) => stored.notes.push(format!("no baseline was renewed: {error}")),
    }
    history.close().await;
    Ok(stored)
}
