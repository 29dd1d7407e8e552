//! `qdiscope investigate`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::exit::{Exit, Failure};
use crate::investigate;
use crate::store::{SavedRun, write_folder};

/// Writes a folder with one page (`index.html`, read without a network) that leads from the verdict to the guilty phase, to whoever held
/// RTNL and to the stacks; `trace.json` for Perfetto; and the flamegraphs. Needs no root.
#[derive(Args)]
pub(super) struct Arguments {
    /// The run: its folder, or its result.json
    run: PathBuf,
    /// Another run to compare it with
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
    /// Where to write [default: the folder `investigation` in the run's]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How many findings are printed; the page has all.
const PRINTED: usize = 3;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let read = |path: &PathBuf| {
        SavedRun::read(path)
            .map_err(|error| Failure::usage(format!("{error}; name the folder of a saved run")))
    };
    let run = read(&arguments.run)?;
    let against = arguments.against.as_ref().map(read).transpose()?;
    let investigation = investigate::investigate(&run, against.as_ref())
        .map_err(|error| Failure::internal(error.to_string()))?;
    let folder = arguments.out.clone().unwrap_or_else(|| run.path.join("investigation"));
    write_folder(&folder, &investigation.files, &investigate::files())?;
    let mut text = format!("{}: {}\n", run.result.run_id, run.result.verdict);
    for (number, finding) in investigation.findings.iter().take(PRINTED).enumerate() {
        let _ = writeln!(text, "{}. {finding}", number + 1);
    }
    if investigation.findings.is_empty() {
        text.push_str("nothing stands out\n");
    }
    let _ = writeln!(text, "read: {}", folder.join("index.html").display());
    print(&text)?;
    Ok(Exit::Pass)
}
