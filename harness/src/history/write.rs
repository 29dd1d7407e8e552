//! Putting runs into a history, and taking them out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::{History, HistoryError, Location, Record};

/// Rows of one statement: no database takes any number of values at once.
const ROWS: usize = 200;

/// What became of a record that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// A run of that name was there already, and stays as it was; labels that it had not are added to it.
    Known,
}

impl History {
    /// Adds a run: whole, or not at all.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing was added then.
    pub async fn add(&mut self, record: &Record) -> Result<Added, HistoryError> {
        record
            .check()
            .map_err(|reason| HistoryError::Unreadable { what: format!("run {:?}", record.id), reason })?;
        let location = self.location.clone();
        self.add_in_one(record).await.map_err(|source| HistoryError::of(&location, "add a run", source))
    }

    async fn add_in_one(&mut self, record: &Record) -> Result<Added, sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        // The first statement writes: so SQLite waits for another writer here, and refuses nobody in the middle.
        let facts = serde_json::to_string(&record.environment.facts)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query("INSERT INTO environment (digest, facts) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&record.environment.digest)
            .bind(facts)
            .execute(&mut *transaction)
            .await?;
        let run = number(&[&record.id]);
        let added = insert_run(&mut transaction, run, record).await?;
        for label in &record.labels {
            insert_label(&mut transaction, run, label).await?;
        }
        if added == Added::New {
            insert_rest(&mut transaction, run, record).await?;
        }
        transaction.commit().await?;
        Ok(added)
    }

    /// Gives runs a name. Those that have it keep it.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn label(&mut self, ids: &[String], labels: &BTreeSet<String>) -> Result<(), HistoryError> {
        let location = self.location.clone();
        let all = async {
            let mut transaction = self.connection.begin().await?;
            for id in ids {
                for label in labels {
                    insert_label(&mut transaction, number(&[id]), label).await?;
                }
            }
            transaction.commit().await
        };
        all.await.map_err(|source| HistoryError::of(&location, "label a run", source))
    }

    /// Takes runs out, with all that belongs to them, and gives the room back.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; no run was taken out then.
    pub async fn remove(&mut self, ids: &[String]) -> Result<(), HistoryError> {
        let location = self.location.clone();
        self.remove_in_one(ids).await.map_err(|source| HistoryError::of(&location, "remove runs", source))
    }

    async fn remove_in_one(&mut self, ids: &[String]) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM run WHERE number = $1")
                .bind(number(&[id]))
                .execute(&mut *transaction)
                .await?;
        }
        for orphans in [
            "DELETE FROM series WHERE number NOT IN (SELECT DISTINCT series FROM figure)",
            "DELETE FROM environment WHERE digest NOT IN (SELECT DISTINCT environment FROM run)",
        ] {
            sqlx::query(orphans).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        if matches!(self.location, Location::Sqlite(_)) {
            sqlx::query("VACUUM").execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// How many runs there are.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn count(&mut self) -> Result<u64, HistoryError> {
        let location = self.location.clone();
        sqlx::query("SELECT COUNT(*) FROM run")
            .fetch_one(&mut self.connection)
            .await
            .and_then(|row| row.try_get::<i64, _>(0))
            .map(i64::unsigned_abs)
            .map_err(|source| HistoryError::of(&location, "count its runs", source))
    }
}

async fn insert_run(connection: &mut AnyConnection, run: i64, record: &Record) -> Result<Added, sqlx::Error> {
    let commit = record.commit.as_ref();
    let inserted = sqlx::query(
        "INSERT INTO run (number, id, started_us, source, version, verdict, incomplete, environment, repository, \
         commit_hash, branch, author_us, subject, dirty) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    )
    .bind(run)
    .bind(&record.id)
    .bind(record.started_at.as_microsecond())
    .bind(record.source.name())
    .bind(record.qdiscope_version.clone())
    .bind(record.verdict.map(|verdict| verdict.to_string()))
    .bind(record.incomplete.clone())
    .bind(&record.environment.digest)
    .bind(commit.and_then(|commit| commit.repository.clone()))
    .bind(commit.map(|commit| commit.hash.clone()))
    .bind(commit.and_then(|commit| commit.branch.clone()))
    .bind(commit.and_then(|commit| commit.author_date).map(Timestamp::as_microsecond))
    .bind(commit.and_then(|commit| commit.subject.clone()))
    .bind(commit.and_then(|commit| commit.dirty).map(i64::from))
    .execute(connection)
    .await?;
    Ok(if inserted.rows_affected() == 0 { Added::Known } else { Added::New })
}

async fn insert_label(connection: &mut AnyConnection, run: i64, label: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO label (label, run) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(label)
        .bind(run)
        .execute(connection)
        .await
        .map(drop)
}

async fn insert_rest(connection: &mut AnyConnection, run: i64, record: &Record) -> Result<(), sqlx::Error> {
    if let Some(result) = &record.result {
        sqlx::query("INSERT INTO document (run, json) VALUES ($1, $2)")
            .bind(run)
            .bind(result.to_string())
            .execute(&mut *connection)
            .await?;
    }
    // In one order for everybody: of two who add the same series in two orders, each would wait for the other.
    let mut figures: Vec<_> = record
        .figures
        .iter()
        .map(|figure| (number(&[&figure.workload, &figure.operation, &figure.metric]), figure))
        .collect();
    figures.sort_by_key(|(series, _)| *series);
    for figures in figures.chunks(ROWS) {
        let rows = Rows::new("series (number, workload, operation, metric, unit, better)", 6, figures.len());
        let mut query = rows.query();
        for (series, figure) in figures {
            query = query
                .bind(series)
                .bind(&figure.workload)
                .bind(&figure.operation)
                .bind(&figure.metric)
                .bind(&figure.unit)
                .bind(figure.better.name());
        }
        query.execute(&mut *connection).await?;
        let rows = Rows::new("figure (series, run, value, observations)", 4, figures.len());
        let mut query = rows.query();
        for (series, figure) in figures {
            let observations = figure.observations.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            query = query.bind(series).bind(run).bind(figure.value).bind(observations);
        }
        query.execute(&mut *connection).await?;
    }
    for histograms in record.histograms.chunks(ROWS) {
        let rows = Rows::new("histogram (run, workload, operation, hdr)", 4, histograms.len());
        let mut query = rows.query();
        for of in histograms {
            query = query.bind(run).bind(&of.workload).bind(&of.operation).bind(&of.hdr);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A statement that inserts several rows and passes over those that are there: of series, others' runs have them; of figures none is twice
/// in a record of ours, and of others' the first counts.
struct Rows(String);

impl Rows {
    fn new(into: &str, columns: usize, rows: usize) -> Self {
        let row = |row: usize| {
            let places: Vec<_> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(row).collect();
        Self(format!("INSERT INTO {into} VALUES {} ON CONFLICT DO NOTHING", rows.join(", ")))
    }

    /// Made of constants and numbers alone.
    fn query(&self) -> sqlx::query::Query<'_, Any, sqlx::any::AnyArguments> {
        sqlx::query(AssertSqlSafe(self.0.clone()))
    }
}

/// The number of what has a name: 63 bits of its SHA-256, the same wherever it is asked for. Among a million names two have the same one with
/// a chance of one in eighteen million; then the second is taken for the first.
pub(super) fn number(name: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for part in name {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let first = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (first >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_the_parts_and_never_change() {
        assert_ne!(number(&["ab", "c"]), number(&["a", "bc"]));
        assert!(number(&["a"]) > 0);
        // What is in databases already.
        assert_eq!(number(&["run"]), 4_357_842_020_125_545_192);
    }

    #[test]
    fn a_statement_has_a_place_for_each_value() {
        assert_eq!(
            Rows::new("t (a, b)", 2, 2).0,
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
    }
}
