//! What a history answers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::record::Better;
use super::{
    Commit, Environment, Figure, History, HistoryError, KeptHistogram, RECORD_VERSION, Record, Source,
};
use crate::report::model::State;

/// Which runs are meant. What is `None` or empty does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly these.
    pub ids: Vec<String>,
    /// The hash begins with this.
    pub commit: Option<String>,
    /// On this branch.
    pub branch: Option<String>,
    /// With this label.
    pub label: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// Of this repository.
    pub repository: Option<String>,
    /// Begun then or later.
    pub since: Option<Timestamp>,
    /// Begun before.
    pub before: Option<Timestamp>,
    /// The newest so many.
    pub newest: Option<u32>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Names the run.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Who measured.
    pub source: String,
    /// The budget's verdict.
    pub verdict: Option<State>,
    /// Why it is less than what was to be run.
    pub incomplete: Option<String>,
    /// What it can be compared with.
    pub environment: String,
    /// What was measured.
    pub commit: Option<Commit>,
    /// Names that people gave it.
    pub labels: BTreeSet<String>,
}

/// The name of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Series {
    /// A workload or a stage; empty: of the whole run.
    pub workload: String,
    /// Empty: over all operations.
    pub operation: String,
    /// As in budgets.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// `lower` or `higher`.
    pub better: String,
}

impl Series {
    /// Of what it is, in words: the workload, and the operation where it is of one.
    pub fn place(&self) -> String {
        format!("{} {}", self.workload, self.operation).trim().to_owned()
    }
}

/// A value of a series, and the run that it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The run.
    pub run: Row,
    /// The value.
    pub value: f64,
}

/// The columns of [`Row`].
const COLUMNS: &str = "run.number, run.id, run.started_us, run.source, run.version, run.verdict, run.incomplete, \
                       run.environment, run.repository, run.commit_hash, run.branch, run.author_us, run.subject, run.dirty";

/// A value of a condition.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Text(String),
    Number(i64),
}

/// Conditions with their values.
struct Conditions {
    sql: Vec<String>,
    values: Vec<Bound>,
}

impl Conditions {
    fn add(&mut self, sql: &str, value: Bound) {
        self.values.push(value);
        self.sql.push(sql.replace('?', &format!("${}", self.values.len())));
    }

    fn of(filter: &Filter) -> Self {
        let mut all = Self { sql: Vec::new(), values: Vec::new() };
        let text = |value: &Option<String>| value.clone().map(Bound::Text);
        let moment = |value: Option<Timestamp>| value.map(|at| Bound::Number(at.as_microsecond()));
        // Hexadecimal digits, or it is no hash: nothing in it means anything to LIKE.
        let commit = filter.commit.as_ref().map(|prefix| {
            let digits: String = prefix.chars().filter(char::is_ascii_hexdigit).collect();
            Bound::Text(format!("{}%", digits.to_ascii_lowercase()))
        });
        for (sql, value) in [
            ("run.commit_hash LIKE ?", commit),
            ("run.branch = ?", text(&filter.branch)),
            ("run.environment = ?", text(&filter.environment)),
            ("run.repository = ?", text(&filter.repository)),
            ("run.number IN (SELECT run FROM label WHERE label = ?)", text(&filter.label)),
            ("run.started_us >= ?", moment(filter.since)),
            ("run.started_us < ?", moment(filter.before)),
        ] {
            if let Some(value) = value {
                all.add(sql, value);
            }
        }
        if !filter.ids.is_empty() {
            let mut places = Vec::new();
            for id in &filter.ids {
                all.values.push(Bound::Text(id.clone()));
                places.push(format!("${}", all.values.len()));
            }
            all.sql.push(format!("run.id IN ({})", places.join(", ")));
        }
        all
    }

    fn sql(&self) -> String {
        if self.sql.is_empty() { "1 = 1".to_owned() } else { self.sql.join(" AND ") }
    }
}

impl History {
    /// The runs that are meant, the newest first.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn list(&mut self, filter: &Filter) -> Result<Vec<Row>, HistoryError> {
        let conditions = Conditions::of(filter);
        let sql = format!(
            "SELECT {COLUMNS} FROM run WHERE {} ORDER BY run.started_us DESC, run.id DESC{}",
            conditions.sql(),
            limit(filter)
        );
        let rows = self.fetch("list its runs", sql, conditions.values).await?;
        let numbers: Vec<i64> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()
            .map_err(|error| self.odd(error))?;
        let labels = self.labels(&numbers).await?;
        rows.iter().map(|row| read_row(row, &labels).map_err(|error| self.odd(error))).collect()
    }

    /// The labels of runs by their numbers; of many runs all that there are, which is one question instead of many.
    async fn labels(&mut self, runs: &[i64]) -> Result<BTreeMap<i64, BTreeSet<String>>, HistoryError> {
        const ASKED_ONE_BY_ONE: usize = 200;
        let mut values = Vec::new();
        let mut sql = "SELECT run, label FROM label".to_owned();
        if runs.is_empty() {
            return Ok(BTreeMap::new());
        }
        if runs.len() <= ASKED_ONE_BY_ONE {
            let places: Vec<_> = (1..=runs.len()).map(|place| format!("${place}")).collect();
            sql = format!("{sql} WHERE run IN ({})", places.join(", "));
            values = runs.iter().map(|run| Bound::Number(*run)).collect();
        }
        let mut labels: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for row in self.fetch("read labels", sql, values).await? {
            let (run, label) =
                (|| Ok((row.try_get(0)?, row.try_get(1)?)))().map_err(|error| self.odd(error))?;
            labels.entry(run).or_default().insert(label);
        }
        Ok(labels)
    }

    /// All that is kept of a run.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn record(&mut self, row: &Row) -> Result<Record, HistoryError> {
        let run = super::write::number(&[&row.id]);
        let of_run = |sql: &str| (sql.to_owned(), vec![Bound::Number(run)]);
        let (sql, values) = of_run(
            "SELECT workload, operation, metric, unit, better, value, observations FROM figure JOIN series ON \
             series.number = figure.series WHERE figure.run = $1 ORDER BY workload, operation, metric",
        );
        let figures = self.fetch("read figures", sql, values).await?;
        let figures: Vec<Figure> =
            figures.iter().map(read_figure).collect::<Result<_, _>>().map_err(|error| self.odd(error))?;
        let (sql, values) = of_run(
            "SELECT workload, operation, hdr FROM histogram WHERE run = $1 ORDER BY workload, operation",
        );
        let histograms = self.fetch("read histograms", sql, values).await?;
        let histogram = |row: &AnyRow| {
            Ok(KeptHistogram { workload: row.try_get(0)?, operation: row.try_get(1)?, hdr: row.try_get(2)? })
        };
        let histograms =
            histograms.iter().map(histogram).collect::<Result<_, _>>().map_err(|error| self.odd(error))?;
        let (sql, values) = of_run("SELECT json FROM document WHERE run = $1");
        let document = self.fetch("read a result", sql, values).await?;
        let result = document
            .first()
            .map(|row| row.try_get::<String, _>(0))
            .transpose()
            .map_err(|error| self.odd(error))?
            .map(|text| serde_json::from_str::<Value>(&text))
            .transpose()
            .map_err(|error| self.unreadable(&row.id, &error.to_string()))?;
        let (sql, values) = of_run(
            "SELECT environment.facts, run.version FROM run JOIN environment ON environment.digest = run.environment WHERE run.number = $1",
        );
        let about = self.fetch("read an environment", sql, values).await?;
        let about = about.first().ok_or_else(|| self.unreadable(&row.id, "it was removed meanwhile"))?;
        let facts: String = about.try_get(0).map_err(|error| self.odd(error))?;
        let facts =
            serde_json::from_str(&facts).map_err(|error| self.unreadable(&row.id, &error.to_string()))?;
        Ok(Record {
            record_version: RECORD_VERSION,
            id: row.id.clone(),
            started_at: row.started_at,
            source: Source::named(&row.source)
                .ok_or_else(|| self.unreadable(&row.id, &format!("source {}", row.source)))?,
            qdiscope_version: about.try_get(1).map_err(|error| self.odd(error))?,
            verdict: row.verdict,
            incomplete: row.incomplete.clone(),
            environment: Environment { digest: row.environment.clone(), facts },
            commit: row.commit.clone(),
            labels: row.labels.clone(),
            figures,
            histograms,
            result,
        })
    }

    /// All series that there are.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn series(&mut self) -> Result<Vec<Series>, HistoryError> {
        let sql = "SELECT workload, operation, metric, unit, better FROM series ORDER BY workload, operation, metric";
        let rows = self.fetch("list its series", sql.to_owned(), Vec::new()).await?;
        let read = |row: &AnyRow| {
            Ok(Series {
                workload: row.try_get(0)?,
                operation: row.try_get(1)?,
                metric: row.try_get(2)?,
                unit: row.try_get(3)?,
                better: row.try_get(4)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.odd(error))
    }

    /// The values of a series in the runs that are meant, the oldest first.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn points(&mut self, of: &Series, filter: &Filter) -> Result<Vec<Point>, HistoryError> {
        let mut conditions = Conditions::of(filter);
        let series = super::write::number(&[&of.workload, &of.operation, &of.metric]);
        conditions.add("figure.series = ?", Bound::Number(series));
        let sql = format!(
            "SELECT {COLUMNS}, figure.value FROM figure JOIN run ON run.number = figure.run WHERE {} \
             ORDER BY run.started_us DESC, run.id DESC{}",
            conditions.sql(),
            limit(filter)
        );
        let mut rows = self.fetch("read a series", sql, conditions.values).await?;
        rows.reverse();
        let none = BTreeMap::new();
        let read = |row: &AnyRow| Ok(Point { run: read_row(row, &none)?, value: row.try_get(14)? });
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.odd(error))
    }

    pub(super) async fn fetch(
        &mut self,
        operation: &'static str,
        sql: String,
        values: Vec<Bound>,
    ) -> Result<Vec<AnyRow>, HistoryError> {
        // Made of constants and of places for the values.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Bound::Text(text) => query.bind(text),
                Bound::Number(number) => query.bind(number),
            };
        }
        query
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| HistoryError::of(&self.location, operation, source))
    }

    /// A row that is none of ours.
    pub(super) fn odd(&self, error: sqlx::Error) -> HistoryError {
        HistoryError::of(&self.location, "understand a row", error)
    }

    fn unreadable(&self, run: &str, reason: &str) -> HistoryError {
        HistoryError::Unreadable { what: format!("{}: run {run}", self.location), reason: reason.to_owned() }
    }
}

fn limit(filter: &Filter) -> String {
    filter.newest.map_or_else(String::new, |count| format!(" LIMIT {count}"))
}

fn read_row(row: &AnyRow, labels: &BTreeMap<i64, BTreeSet<String>>) -> Result<Row, sqlx::Error> {
    let moment =
        |micros: i64| Timestamp::from_microsecond(micros).map_err(|error| sqlx::Error::Decode(error.into()));
    let commit = match row.try_get::<Option<String>, _>(9)? {
        None => None,
        Some(hash) => Some(Commit {
            hash,
            repository: row.try_get(8)?,
            branch: row.try_get(10)?,
            author_date: row.try_get::<Option<i64>, _>(11)?.map(moment).transpose()?,
            subject: row.try_get(12)?,
            dirty: row.try_get::<Option<i64>, _>(13)?.map(|dirty| dirty != 0),
        }),
    };
    let verdict: Option<String> = row.try_get(5)?;
    Ok(Row {
        id: row.try_get(1)?,
        started_at: moment(row.try_get(2)?)?,
        source: row.try_get(3)?,
        verdict: verdict
            .map(|verdict| serde_json::from_value(verdict.into()))
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        incomplete: row.try_get(6)?,
        environment: row.try_get(7)?,
        commit,
        labels: labels.get(&row.try_get::<i64, _>(0)?).cloned().unwrap_or_default(),
    })
}

fn read_figure(row: &AnyRow) -> Result<Figure, sqlx::Error> {
    let better: String = row.try_get(4)?;
    Ok(Figure {
        workload: row.try_get(0)?,
        operation: row.try_get(1)?,
        metric: row.try_get(2)?,
        unit: row.try_get(3)?,
        better: if better == Better::Higher.name() { Better::Higher } else { Better::Lower },
        value: row.try_get(5)?,
        observations: row.try_get::<Option<i64>, _>(6)?.map(i64::unsigned_abs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_a_place_for_each_value() {
        let filter = Filter {
            ids: vec!["a".into(), "b".into()],
            commit: Some("AbC%_".into()),
            since: Some(Timestamp::UNIX_EPOCH),
            ..Filter::default()
        };
        let conditions = Conditions::of(&filter);
        assert_eq!(
            conditions.sql(),
            "run.commit_hash LIKE $1 AND run.started_us >= $2 AND run.id IN ($3, $4)"
        );
        assert!(matches!(&conditions.values[0], Bound::Text(prefix) if prefix == "abc%"));
        assert_eq!(
            (conditions.values.len(), Conditions::of(&Filter::default()).sql().as_str()),
            (4, "1 = 1")
        );
    }
}
