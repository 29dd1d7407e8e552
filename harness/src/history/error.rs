//! Why a history cannot be read or written.

use super::Location;

/// Why a history cannot be read or written: what was tried, where, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is none yet.
    #[error("{store}: no history yet; `qdiscope bench` and `qdiscope history import` begin one")]
    Missing {
        /// Where it was looked for.
        store: String,
    },
    /// A newer qdiscope has written it.
    #[error(
        "{store}: its layout is version {found}, and this qdiscope knows {known}; use the newer qdiscope"
    )]
    Newer {
        /// The database.
        store: String,
        /// Its version.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The file is damaged, or no database.
    #[error("{store}: {reason}; what can be saved of it `sqlite3 FILE .recover` prints")]
    Damaged {
        /// The database.
        store: String,
        /// In its own words.
        reason: String,
    },
    /// It may be read only.
    #[error("{store}: cannot be written, or its folder not: {reason}")]
    ReadOnly {
        /// The database.
        store: String,
        /// In its own words.
        reason: String,
    },
    /// There is no room.
    #[error("{store}: its disk is full; free some space, or name another history with --store")]
    Full {
        /// The database.
        store: String,
    },
    /// Others write for longer than we wait.
    #[error("{store}: others have been writing to it for too long; try again")]
    Busy {
        /// The database.
        store: String,
    },
    /// No answer.
    #[error("{store}: no answer within {seconds} s")]
    Silent {
        /// The database.
        store: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Anything else that the database says.
    #[error("{store}: cannot {operation}: {source}")]
    Database {
        /// The database.
        store: String,
        /// What was tried.
        operation: &'static str,
        /// In its own words.
        source: sqlx::Error,
    },
    /// A document that is kept there, or is to be, cannot be read.
    #[error("{what}: {reason}")]
    Unreadable {
        /// Which.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A file or a folder of the history.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl HistoryError {
    /// Sorts what a database says. `SQLite` has numbers, the last eight bits of which are the kind (sqlite.org/rescode.html), `PostgreSQL` has
    /// classes of five characters (Appendix A, `PostgreSQL` Error Codes).
    pub(super) fn of(location: &Location, operation: &'static str, source: sqlx::Error) -> Self {
        let store = location.to_string();
        let code =
            source.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        let words = || {
            source.as_database_error().map_or_else(|| source.to_string(), |error| error.message().to_owned())
        };
        let sqlite = match location {
            Location::Sqlite(_) => {
                code.as_deref().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
            }
            Location::Postgres(_) => None,
        };
        match (sqlite, code.as_deref()) {
            (Some(5 | 6), _) => Self::Busy { store },
            // Of a file that is there, 14 says that nothing can be made beside it.
            (Some(8 | 14), _) | (None, Some("25006")) => Self::ReadOnly { store, reason: words() },
            (Some(11 | 26), _) => Self::Damaged { store, reason: words() },
            (Some(13), _) | (None, Some("53100")) => Self::Full { store },
            _ => Self::Database { store, operation, source },
        }
    }
}
