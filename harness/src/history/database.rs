//! A connection to a history, with its layout brought up to date.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use log::LevelFilter;
use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Row as _, SqlSafeStr as _};

use super::location::{create_folder, give_to_user};
use super::{HistoryError, Location};

/// The layouts, oldest first. One that was released is never changed, for it would be another one's checksum.
fn migrations() -> Vec<Migration> {
    let runs = include_str!("migrations/1_runs.sql").into_sql_str();
    let baselines = include_str!("migrations/2_baselines.sql").into_sql_str();
    vec![
        Migration::new(1, Cow::Borrowed("runs"), MigrationType::Simple, runs, false),
        Migration::new(2, Cow::Borrowed("baselines"), MigrationType::Simple, baselines, false),
    ]
}

/// What a server may take to answer, at most.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often two processes may begin the same file at the same time before one gives up.
const BEGINNINGS: u8 = 5;

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To look: where there is none, none is made.
    Read,
    /// To put something there.
    Write,
}

/// A history, open.
pub struct History {
    pub(super) connection: AnyConnection,
    pub(super) location: Location,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("location", &self.location).finish_non_exhaustive()
    }
}

impl History {
    /// Opens one, and brings its layout up to date.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; [`HistoryError::Missing`] only of a file that is to be read.
    pub async fn open(location: &Location, purpose: Purpose) -> Result<Self, HistoryError> {
        match tokio::time::timeout(PATIENCE, Self::connect(location, purpose)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HistoryError::Silent { store: location.to_string(), seconds: PATIENCE.as_secs() }),
        }
    }

    async fn connect(location: &Location, purpose: Purpose) -> Result<Self, HistoryError> {
        install_default_drivers();
        let begun = match location {
            Location::Sqlite(path) => prepare_file(path, location, purpose)?,
            Location::Postgres(_) => false,
        };
        let failed = |operation| move |source| HistoryError::of(location, operation, source);
        let connect = async |mode: &str| {
            let options = AnyConnectOptions::from_str(&url(location, mode))?
                // A statement is not for the terminal; that it failed is told by its error.
                .log_statements(LevelFilter::Off)
                .log_slow_statements(LevelFilter::Off, Duration::MAX);
            let mut connection = options.connect().await?;
            if matches!(location, Location::Sqlite(_)) {
                make_ready(&mut connection).await?;
            }
            Ok(connection)
        };
        let connection = match connect("mode=rwc").await {
            Err(error) if purpose == Purpose::Read && cannot_open(&error) && is_settled(location) => {
                connect("mode=ro&immutable=1").await.or(Err(error))
            }
            outcome => outcome,
        };
        let connection = connection.map_err(failed("open it"))?;
        let mut history = Self { connection, location: location.clone() };
        history.migrate().await?;
        if let (true, Location::Sqlite(path)) = (begun, location) {
            give_to_user(path);
        }
        Ok(history)
    }

    async fn migrate(&mut self) -> Result<(), HistoryError> {
        let migrations = migrations();
        let known = migrations.last().map_or(0, |last| last.version);
        let migrator = Migrator::with_migrations(migrations);
        let mut attempt = 0;
        loop {
            let error = match migrator.run(&mut self.connection).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let store = self.location.to_string();
            let source = match error {
                MigrateError::VersionMissing(found) => {
                    return Err(HistoryError::Newer { store, found, known });
                }
                MigrateError::VersionMismatch(version) => {
                    let reason = format!("its layout {version} is none of qdiscope's");
                    return Err(HistoryError::Unreadable { what: store, reason });
                }
                MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source,
                other => sqlx::Error::Configuration(other.into()),
            };
            // Of two that begin one file at the same time, one finds the other's tables in the middle of it: SQLite has no lock for that.
            attempt += 1;
            let error = HistoryError::of(&self.location, "bring its layout up to date", source);
            if attempt == BEGINNINGS
                || !matches!(error, HistoryError::Database { .. } | HistoryError::Busy { .. })
            {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20) * u32::from(attempt)).await;
        }
    }

    /// Whether all pages, indices and references of the file are whole. A server looks after its own.
    ///
    /// `sqlite3 FILE 'PRAGMA integrity_check; PRAGMA foreign_key_check'`
    ///
    /// # Errors
    ///
    /// [`HistoryError::Damaged`], with the first thing that is wrong.
    pub async fn check(&mut self) -> Result<(), HistoryError> {
        if !matches!(self.location, Location::Sqlite(_)) {
            return Ok(());
        }
        let failed = |source| HistoryError::of(&self.location, "check it", source);
        let damaged = |reason| HistoryError::Damaged { store: self.location.to_string(), reason };
        let found: String = sqlx::query("PRAGMA integrity_check(1)")
            .fetch_one(&mut self.connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(failed)?;
        if found != "ok" {
            return Err(damaged(found.replace('\n', " ")));
        }
        let orphan = sqlx::query("PRAGMA foreign_key_check")
            .fetch_optional(&mut self.connection)
            .await
            .and_then(|row| row.map(|row| row.try_get::<String, _>(0)).transpose())
            .map_err(failed)?;
        orphan.map_or(Ok(()), |table| Err(damaged(format!("a row of {table} belongs to nothing"))))
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        // What was committed is kept, whatever becomes of it.
        let _ = self.connection.close().await;
    }
}

/// Readers and a writer at the same time (sqlite.org/wal.html), and a writer that waits for another.
async fn make_ready(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut *connection).await?;
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *connection).await?.try_get(0)?;
    if mode != "wal" {
        // It is a property of the file, which one that may only be read keeps as it is.
        let _ = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await;
    }
    Ok(())
}

/// Of a file that is there: it cannot be written, or its folder, and the log beside it not be made (sqlite.org/wal.html, "Read-Only Databases").
fn cannot_open(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == CANNOT_OPEN)
}

/// `SQLITE_CANTOPEN`
const CANNOT_OPEN: &str = "14";

/// Whether nothing of it is in a log that would have to be read, too: then it can be read as it is, for nobody changes it where nobody can write.
fn is_settled(location: &Location) -> bool {
    let Location::Sqlite(path) = location else { return false };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    std::fs::metadata(log).map_or(true, |log| log.len() == 0)
}

/// Whether the file is begun now.
fn prepare_file(path: &Path, location: &Location, purpose: Purpose) -> Result<bool, HistoryError> {
    if path.exists() {
        return Ok(false);
    }
    if purpose == Purpose::Read {
        return Err(HistoryError::Missing { store: location.to_string() });
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    create_folder(folder).map_err(|source| HistoryError::File { path: folder.to_owned(), source })?;
    Ok(true)
}

fn url(location: &Location, mode: &str) -> String {
    match location {
        Location::Postgres(url) => url.clone(),
        Location::Sqlite(path) => {
            let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
            let name = bytes.iter().fold(String::new(), |mut name, byte| {
                use std::fmt::Write as _;
                if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
                    name.push(char::from(*byte));
                } else {
                    let _ = write!(name, "%{byte:02X}");
                }
                name
            });
            format!("sqlite:{name}?{mode}")
        }
    }
}
