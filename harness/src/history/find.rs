//! Runs by what people call them.

use super::{Filter, History, HistoryError, Row};
use crate::baseline::PREFIX;

/// So many digits of a commit may be a label as well; fewer are nobody's.
const SHORTEST_COMMIT: usize = 7;

/// How a name was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// `latest`, or the name of a run or its beginning.
    Run,
    /// A label: all runs that have it.
    Label,
    /// A commit or its beginning: all runs of it.
    Commit,
    /// `baseline:NAME`: the runs that it consists of.
    Baseline,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// How it was understood.
    pub found: Found,
    /// The runs, the newest first; of a name that nothing has, none.
    pub runs: Vec<Row>,
}

impl History {
    /// The runs that a name stands for: `latest`, the name of a run or its beginning where only one begins so, a label, a commit of at least seven
    /// digits, `baseline:NAME`. In this order: what is a run's name is never a label's.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]
    pub async fn find(&mut self, name: &str) -> Result<Option<Find>, HistoryError> {
        if name == "latest" {
            let newest = Filter { newest: Some(1), ..Filter::default() };
            let runs = self.list(&newest).await?;
            return Ok(Some(Find { found: Found::Run, runs }).filter(|find| !find.runs.is_empty()));
        }
        if let Some(baseline) = name.strip_prefix(PREFIX) {
            let Some(baseline) = self.baselines(Some(baseline)).await?.pop() else { return Ok(None) };
            let runs = self.list(&Filter { ids: baseline.runs, ..Filter::default() }).await?;
            return Ok(Some(Find { found: Found::Baseline, runs }).filter(|find| !find.runs.is_empty()));
        }
        let mut filters = vec![
            (Found::Run, Filter { ids: vec![name.to_owned()], ..Filter::default() }),
            (Found::Label, Filter { label: Some(name.to_owned()), ..Filter::default() }),
        ];
        if name.len() >= SHORTEST_COMMIT && name.chars().all(|digit| digit.is_ascii_hexdigit()) {
            filters.push((Found::Commit, Filter { commit: Some(name.to_owned()), ..Filter::default() }));
        }
        for (found, filter) in filters {
            let runs = self.list(&filter).await?;
            if !runs.is_empty() {
                return Ok(Some(Find { found, runs }));
            }
        }
        Ok(None)
    }
}
