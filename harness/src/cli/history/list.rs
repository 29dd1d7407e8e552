//! `qdiscope history list`

use clap::Args;
use comfy_table::Cell;

use super::{Runs, StoreArgument, count};
use crate::cli::print;
use crate::exit::Failure;
use crate::history::{Filter, History, Row};
use crate::report::terminal::table;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    runs: Runs,
    /// The newest so many; 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
    newest: u32,
    /// A line of JSON for each run instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) store: StoreArgument,
}

pub(super) async fn run(arguments: &Arguments, history: &mut History) -> Result<(), Failure> {
    let newest = Some(arguments.newest).filter(|newest| *newest > 0);
    let filter = Filter { newest, ..arguments.runs.filter() };
    let runs = history.list(&filter).await?;
    if arguments.json {
        let mut text = String::new();
        for run in &runs {
            text += &serde_json::to_string(run)
                .map_err(|error| Failure::internal(format!("encode a run: {error}")))?;
            text.push('\n');
        }
        return print(&text);
    }
    if runs.is_empty() {
        return print("no such runs\n");
    }
    print(&(render(&runs) + &remaining(arguments, history, runs.len()).await?))
}

/// How many more there are, where no filter hides which.
async fn remaining(arguments: &Arguments, history: &mut History, shown: usize) -> Result<String, Failure> {
    if arguments.runs.filter() != Filter::default() {
        return Ok(String::new());
    }
    let all = usize::try_from(history.count().await?).unwrap_or(usize::MAX);
    Ok(match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("{} more: -n 0 shows all\n", count(more, "run")),
    })
}

fn render(runs: &[Row]) -> String {
    let mut rows =
        table(&["run", "began", "verdict", "commit", "branch", "environment", "labels", "subject"], 8);
    for run in runs {
        let commit = run.commit.as_ref();
        let dirty = commit.and_then(|commit| commit.dirty).unwrap_or(false);
        let verdict = match (&run.incomplete, run.verdict) {
            (Some(_), _) => "not whole".to_owned(),
            (None, Some(verdict)) => verdict.to_string(),
            (None, None) => "–".to_owned(),
        };
        let hash = commit.map_or_else(|| "–".to_owned(), |commit| commit.short().to_owned());
        rows.add_row(vec![
            Cell::new(&run.id),
            Cell::new(run.started_at.strftime("%Y-%m-%d %H:%M:%SZ")),
            Cell::new(verdict),
            Cell::new(if dirty { hash + "+" } else { hash }),
            Cell::new(commit.and_then(|commit| commit.branch.as_deref()).unwrap_or("–")),
            Cell::new(&run.environment),
            Cell::new(run.labels.iter().cloned().collect::<Vec<_>>().join(", ")),
            Cell::new(commit.and_then(|commit| commit.subject.as_deref()).unwrap_or_default()),
        ]);
    }
    let any_dirty = runs.iter().filter_map(|run| run.commit.as_ref()?.dirty).any(|dirty| dirty);
    let legend = if any_dirty { "+: with changes that nobody had committed\n" } else { "" };
    format!("{rows}\n{legend}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::history::Commit;

    #[test]
    fn what_a_commit_does_not_say_is_marked() {
        let commit = Commit {
            hash: "0123456789abcdef".into(),
            repository: None,
            branch: Some("main".into()),
            author_date: None,
            subject: Some("Halve it".into()),
            dirty: Some(true),
        };
        let run = Row {
            id: "one".into(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            source: "qdiscope".into(),
            verdict: None,
            incomplete: Some("the run was interrupted".into()),
            environment: "a1b2".into(),
            commit: Some(commit),
            labels: BTreeSet::from(["nightly".into()]),
        };
        let text = render(&[run]);
        for part in
            ["012345678+", "not whole", "nightly", "Halve it", "+: with changes", "1970-01-01 00:00:00Z"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
