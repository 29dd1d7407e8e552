//! `qdiscope history import`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::{Labels, StoreArgument, count};
use crate::cli::print;
use crate::exit::Failure;
use crate::history::{Added, Commit, Purpose, import};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A saved run's folder or a folder of them, a file that `export` has written as JSON lines, target/criterion, or the data.js or JSON of
    /// github-action-benchmark
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// The commit that was measured, where the runs do not say; of a git repository that it is in, its branch and author date, too
    #[arg(long, value_name = "HASH", value_parser = super::parse_commit)]
    commit: Option<String>,
    #[command(flatten)]
    labels: Labels,
    #[command(flatten)]
    store: StoreArgument,
}

/// Everything is read before anything is added: a file that is damaged adds nothing.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut records = Vec::new();
    for path in &arguments.path {
        let imported = import::read(path)?;
        for note in &imported.notes {
            tracing::warn!("{note}");
        }
        records.extend(imported.records);
    }
    let commit = arguments.commit.as_ref().map(|hash| {
        std::env::current_dir()
            .ok()
            .and_then(|folder| Commit::named(&folder, hash))
            .unwrap_or_else(|| Commit::unknown(hash))
    });
    for record in &mut records {
        record.labels.extend(arguments.labels.labels.iter().cloned());
        if record.commit.is_none() {
            record.commit.clone_from(&commit);
        }
    }
    arguments.store.with(Purpose::Write, async |history| {
        let (mut new, mut known) = (0, 0);
        for record in &records {
            match history.add(record).await? {
                Added::New => new += 1,
                Added::Known => known += 1,
            }
        }
        let known = match known {
            0 => String::new(),
            known => format!("; {known} were there already"),
        };
        let mut text = format!("imported: {}{known}\n", count(new, "run"));
        for renewed in history.renew_baselines(Timestamp::now()).await? {
            let _ = writeln!(text, "renewed: {renewed}");
        }
        print(&text)
    })
}
