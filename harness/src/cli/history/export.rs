//! `qdiscope history export`

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tempfile::NamedTempFile;

use super::{Runs, StoreArgument};
use crate::exit::Failure;
use crate::history::{History, Row, export};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    runs: Runs,
    /// What to write
    #[arg(long, value_enum, default_value = "json-lines")]
    format: Format,
    /// Where to, instead of standard output: whole, or not at all
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) store: StoreArgument,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each run, with all that is kept of it: what `import` reads
    JsonLines,
    /// A line for each figure
    Csv,
    /// The newest figures of each environment as gauges, for the textfile collector of `node_exporter`
    Prometheus,
}

pub(super) async fn run(arguments: &Arguments, history: &mut History) -> Result<(), Failure> {
    let mut runs = history.list(&arguments.runs.filter()).await?;
    let Some(out) = &arguments.out else {
        runs.reverse();
        let mut stdout = BufWriter::new(io::stdout().lock());
        return match write(arguments.format, history, &runs, &mut stdout).await {
            // Nobody wants to know any more.
            Err(Stopped::Writing(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map_err(|stopped| stopped.into_failure("standard output")),
        };
    };
    runs.reverse();
    let name = out.display().to_string();
    let failed = |error: io::Error| Stopped::Writing(error).into_failure(&name);
    let folder =
        out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
    write(arguments.format, history, &runs, &mut file)
        .await
        .map_err(|stopped| stopped.into_failure(&name))?;
    file.as_file()
        .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    file.persist(out).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Why less was written.
enum Stopped {
    Reading(Failure),
    Writing(io::Error),
}

impl Stopped {
    fn into_failure(self, name: &str) -> Failure {
        match self {
            Self::Reading(failure) => failure,
            Self::Writing(error) => Failure::environment(format!("cannot write to {name}: {error}")),
        }
    }
}

/// Oldest first, a run at a time: no history has to fit into memory.
async fn write(
    format: Format,
    history: &mut History,
    runs: &[Row],
    out: &mut impl Write,
) -> Result<(), Stopped> {
    let defect =
        |error: &dyn std::fmt::Display| Stopped::Reading(Failure::internal(format!("encode a run: {error}")));
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Stopped::Writing);
    if format == Format::Csv {
        put(&export::csv_header().map_err(|error| defect(&error))?)?;
    }
    let mut newest = std::collections::BTreeMap::new();
    for run in runs {
        if format == Format::Prometheus {
            newest.insert(&run.environment, run);
            continue;
        }
        let record = history.record(run).await.map_err(|error| Stopped::Reading(error.into()))?;
        let bytes = match format {
            Format::Csv => export::csv(&record).map_err(|error| defect(&error))?,
            _ => export::json_line(&record).map_err(|error| defect(&error))?.into_bytes(),
        };
        put(&bytes)?;
    }
    if format == Format::Prometheus {
        let mut records = Vec::new();
        for run in newest.into_values() {
            records.push(history.record(run).await.map_err(|error| Stopped::Reading(error.into()))?);
        }
        put(export::prometheus(&records).map_err(|error| defect(&error))?.as_bytes())?;
    }
    out.flush().map_err(Stopped::Writing)
}
