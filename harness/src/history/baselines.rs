//! Baselines, as a history keeps them: their changes, of which none is ever changed itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Connection as _, Row as _};

use super::read::Bound;
use super::{Filter, History, HistoryError, Point, Series};
use crate::baseline::{Baseline, Change, Kind, Place, Renewal, renewal};
use crate::trend::is_followed;

/// A baseline that has renewed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Its name.
    pub name: String,
    /// Of how many runs it consists now.
    pub runs: usize,
}

impl std::fmt::Display for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "baseline {}, of {} runs", self.name, self.runs)
    }
}

impl History {
    /// The baselines that there are, or the one of a name, by their names.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn baselines(&mut self, name: Option<&str>) -> Result<Vec<Baseline>, HistoryError> {
        let (of_name, values) = match name {
            Some(name) => ("WHERE name = $1", vec![Bound::Text(name.to_owned())]),
            None => ("", Vec::new()),
        };
        let sql = format!("SELECT name, number, run_id FROM baseline_run {of_name}");
        let mut runs: BTreeMap<(String, i64), Vec<String>> = BTreeMap::new();
        for row in self.fetch("read the runs of baselines", sql, values.clone()).await? {
            let read = || Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
            let (change, run) = read().map_err(|error| self.odd(error))?;
            runs.entry(change).or_default().push(run);
        }
        let sql = format!(
            "SELECT name, number, at_us, kind, reason, author, environment, repository, renew_after_s FROM baseline_change {of_name} \
             ORDER BY name, number"
        );
        let mut all: Vec<(String, Place, Vec<Change>)> = Vec::new();
        for row in self.fetch("read the changes of baselines", sql, values).await? {
            let (name, place, mut change) = read_change(&row).map_err(|error| self.odd(error))?;
            change.runs = runs.remove(&(name.clone(), change.number)).unwrap_or_default();
            // Their ids begin with the time.
            change.runs.sort();
            match all.last_mut().filter(|last| last.0 == name) {
                // The newest change that names runs says where they were measured.
                Some((_, known, changes)) => {
                    *known = place;
                    changes.push(change);
                }
                None => all.push((name, place, vec![change])),
            }
        }
        let baseline = |(name, place, changes)| {
            Baseline::of(name, place, changes).map_err(|error| HistoryError::Unreadable {
                what: self.location.to_string(),
                reason: error.to_string(),
            })
        };
        all.into_iter().map(baseline).collect()
    }

    /// Adds a change to a baseline. `false`: somebody else has changed it meanwhile, and nothing was added.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing was added then.
    pub async fn change_baseline(
        &mut self,
        name: &str,
        place: &Place,
        change: &Change,
    ) -> Result<bool, HistoryError> {
        let location = self.location.clone();
        let all = async {
            let mut transaction = self.connection.begin().await?;
            let added = sqlx::query(
                "INSERT INTO baseline_change (name, number, at_us, kind, reason, author, environment, repository, renew_after_s) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            )
            .bind(name)
            .bind(change.number)
            .bind(change.at.as_microsecond())
            .bind(change.kind.name())
            .bind(&change.reason)
            .bind(&change.author)
            .bind(&place.environment)
            .bind(place.repository.clone())
            .bind(change.renew_after_s)
            .execute(&mut *transaction)
            .await?;
            if added.rows_affected() == 0 {
                return Ok(false);
            }
            for run in &change.runs {
                sqlx::query("INSERT INTO baseline_run (name, number, run_id) VALUES ($1, $2, $3)")
                    .bind(name)
                    .bind(change.number)
                    .bind(run)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(true)
        };
        all.await.map_err(|source| HistoryError::of(&location, "change a baseline", source))
    }

    /// The runs that a baseline consists of, or is held against: those that are not to be taken out.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn runs_of_baselines(&mut self) -> Result<BTreeSet<String>, HistoryError> {
        let baselines = self.baselines(None).await?;
        Ok(baselines
            .into_iter()
            .flat_map(|baseline| [baseline.runs, baseline.named_runs])
            .flatten()
            .collect())
    }

    /// What would become of a baseline if it were asked now.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn renewal(&mut self, baseline: &Baseline, now: Timestamp) -> Result<Renewal, HistoryError> {
        // Most are not due, and that needs no history.
        let at_once = renewal(baseline, now, &[]);
        if !matches!(at_once, Renewal::Held(_) | Renewal::Due(_)) {
            return Ok(at_once);
        }
        let histories = self.followed(baseline).await?;
        Ok(renewal(baseline, now, &histories))
    }

    /// The figures that are followed, where a baseline was measured, since the first of the runs that a person named.
    async fn followed(&mut self, baseline: &Baseline) -> Result<Vec<(Series, Vec<Point>)>, HistoryError> {
        let named = Filter { ids: baseline.named_runs.clone(), ..Filter::default() };
        let since = self.list(&named).await?.last().map(|run| run.started_at);
        let filter =
            Filter { environment: Some(baseline.place.environment.clone()), since, ..Filter::default() };
        let mut histories = Vec::new();
        for series in self.series().await?.into_iter().filter(is_followed) {
            let mut points = self.points(&series, &filter).await?;
            points.retain(|point| Place::of(&point.run) == baseline.place);
            if !points.is_empty() {
                histories.push((series, points));
            }
        }
        Ok(histories)
    }

    /// Renews the baselines whose time has come and that nothing holds.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; those before were renewed.
    pub async fn renew_baselines(&mut self, now: Timestamp) -> Result<Vec<Renewed>, HistoryError> {
        let mut renewed = Vec::new();
        for baseline in self.baselines(None).await? {
            let Renewal::Due(runs) = self.renewal(&baseline, now).await? else { continue };
            let count = runs.len();
            let change = Change {
                number: baseline.next(),
                at: now,
                kind: Kind::Renew,
                reason: "stable, and nothing became worse".into(),
                author: concat!("qdiscope ", env!("CARGO_PKG_VERSION")).into(),
                renew_after_s: baseline.renew_after_s,
                runs,
            };
            // Somebody who was faster has renewed it, or decided otherwise.
            if self.change_baseline(&baseline.name, &baseline.place, &change).await? {
                renewed.push(Renewed { name: baseline.name, runs: count });
            }
        }
        Ok(renewed)
    }
}

fn read_change(row: &AnyRow) -> Result<(String, Place, Change), sqlx::Error> {
    let kind: String = row.try_get(3)?;
    let change = Change {
        number: row.try_get(1)?,
        at: Timestamp::from_microsecond(row.try_get(2)?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        kind: Kind::named(&kind)
            .ok_or_else(|| sqlx::Error::Decode(format!("{kind}: no change of a baseline").into()))?,
        reason: row.try_get(4)?,
        author: row.try_get(5)?,
        renew_after_s: row.try_get(8)?,
        runs: Vec::new(),
    };
    let place = Place { environment: row.try_get(6)?, repository: row.try_get(7)? };
    Ok((row.try_get(0)?, place, change))
}

#[cfg(test)]
mod tests {
    use super::super::record::fixtures::record;
    use super::super::{Location, Purpose};
    use super::*;
    use crate::baseline::RENEW_AFTER;

    #[tokio::test]
    async fn a_change_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("history.db"));
        let mut history = History::open(&location, Purpose::Write).await.unwrap();
        for second in 0..6 {
            history.add(&record(second, 100.0)).await.unwrap();
        }
        let runs = history.list(&Filter::default()).await.unwrap();
        let place = Place::of(&runs[0]);
        let change = |number, kind, reason: &str| Change {
            number,
            at: Timestamp::UNIX_EPOCH,
            kind,
            reason: reason.into(),
            author: "jane".into(),
            renew_after_s: Some(RENEW_AFTER.as_secs()),
            runs: if kind == Kind::Create {
                runs.iter().map(|run| run.id.clone()).collect()
            } else {
                Vec::new()
            },
        };
        let create = change(1, Kind::Create, "first");
        assert!(history.change_baseline("main", &place, &create).await.unwrap());
        assert!(!history.change_baseline("main", &place, &change(1, Kind::Create, "second")).await.unwrap());
        assert!(history.change_baseline("main", &place, &change(2, Kind::Pin, "release")).await.unwrap());
        let [main] = &history.baselines(Some("main")).await.unwrap()[..] else { panic!("not one") };
        assert_eq!((main.runs.len(), main.runs[0].as_str(), main.pinned), (6, "run-00000", true));
        assert_eq!(main.changes[0].reason, "first");
        assert_eq!(main.place, place);
        assert!(history.baselines(Some("other")).await.unwrap().is_empty());
        assert_eq!(history.runs_of_baselines().await.unwrap().len(), 6);
        assert_eq!(history.renew_baselines(Timestamp::now()).await.unwrap(), [], "it is pinned");
        history.close().await;
    }
}
