//! A program that must end well and in time, and whose output is kept.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::error::{Error, at};
use crate::cargo;

/// What is done, as in "vagrant up failed", for how long at most, and where its output goes.
pub(super) struct Step<'a> {
    pub(super) name: &'static str,
    pub(super) limit: Duration,
    pub(super) logs: &'a Path,
}

impl Step<'_> {
    /// Runs a command whose output is only of interest when it fails. Exit codes in `accepted` are no failure.
    pub(super) fn run(&self, command: &mut Command, accepted: &[i32]) -> Result<(), Error> {
        let log = self.log()?;
        command.stdout(log.1.try_clone().map_err(at(&log.0))?);
        self.wait(command, log, accepted)
    }

    /// Runs a command whose standard output is a file.
    pub(super) fn run_into(&self, command: &mut Command, output: &Path) -> Result<(), Error> {
        command.stdout(File::create(output).map_err(at(output))?);
        self.wait(command, self.log()?, &[0])
    }

    fn log(&self) -> Result<(PathBuf, File), Error> {
        let path = self.logs.join(format!("{}.log", self.name.replace(' ', "-")));
        let file = File::create(&path).map_err(at(&path))?;
        Ok((path, file))
    }

    fn wait(
        &self,
        command: &mut Command,
        (path, mut log): (PathBuf, File),
        accepted: &[i32],
    ) -> Result<(), Error> {
        let &Self { name, limit, .. } = self;
        eprintln!("{:>12} {name} (at most {} s; {})", "Running", limit.as_secs(), path.display());
        let start = Instant::now();
        writeln!(log, "$ {}", cargo::shown(command)).map_err(at(&path))?;
        // This process's own says when the world ends, and nobody else is to read it.
        let mut child = command
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|source| start_error(command, source))?;
        let status = loop {
            match child.try_wait().map_err(|source| start_error(command, source))? {
                Some(status) => break status,
                None if start.elapsed() < limit => sleep(Duration::from_millis(50)),
                None => {
                    // It may end just now. What it started goes with the world.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error::Slow { step: name, limit, log: path });
                }
            }
        };
        if status.code().is_some_and(|code| accepted.contains(&code)) {
            eprintln!("{:>12} {name}: {:.1} s", "Done", start.elapsed().as_secs_f64());
            Ok(())
        } else {
            Err(Error::Step { step: name, reason: status.to_string(), log: path })
        }
    }
}

/// The error for a command that could not be started.
pub(super) fn start_error(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}
