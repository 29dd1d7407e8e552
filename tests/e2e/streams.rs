//! Streams that are closed, or whose reader goes away.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use crate::qdiscope::{Finished, QUICK, Running, Saved, binary, plain, qdiscope};

/// `qdiscope bench | head -1`: the reader takes a line and goes.
pub(crate) fn a_reader_that_leaves_is_no_error() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = qdiscope(QUICK)?;
    let (reader, writer) = std::io::pipe()?;
    let run = Running::start_with(command.arg("--out").arg(folder.path()).stdout(writer))?;
    // The command keeps a copy of the pipe's end.
    drop(command);
    let head = Command::new("head").arg("-1").stdin(reader).stdout(Stdio::piped()).spawn()?;
    let finished = run.finish()?;
    head.wait_with_output()?;
    let saved = Saved::read(finished, folder.path())?;
    saved.finished.expect(6).map(drop)
}

/// Nobody reads at all, from the start.
pub(crate) fn no_reader_is_no_error() -> Result<(), Failed> {
    for arguments in ["doctor", "schema", "bench --help"] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let finished = Running::start_with(qdiscope(arguments)?.stdout(writer))?.finish()?;
        assert!([0, 141].contains(&finished.code), "{arguments}: {}\n{}", finished.code, finished.said());
    }
    Ok(())
}

pub(crate) fn closed_streams_are_no_error() -> Result<(), Failed> {
    for redirection in ["<&-", "<&- >&-", ">&- 2>&-"] {
        let folder = tempfile::tempdir()?;
        let mut shell = Command::new("sh");
        let script = format!("exec \"$0\" {QUICK} --out \"$1\" {redirection}");
        plain(&mut shell).arg("-c").arg(script).arg(binary()?).arg(folder.path());
        let saved = Saved::read(Finished::of(&mut shell)?, folder.path())?;
        saved.finished.expect(6).map_err(|failed| format!("{redirection}: {:?}", failed.message()))?;
    }
    Ok(())
}
