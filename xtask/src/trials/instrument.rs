//! The `qdiscope` that is tried, with the faults that it can be given, and the load that it is tried with.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::{Error, comparison::Comparison, error::file};
use crate::{
    cargo::{self, Workspace},
    error::Error as TaskError,
    interrupt,
    privilege::Privilege,
};

/// The variable of the feature fault-injection: nanoseconds that each packet to the kernel is held up.
pub(super) const DELAY: &str = "QDISCOPE_FAULT_DELAY_NS";

/// What is run: the load that a kernel's figure depends on least, one caller who adds classes one by one.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Load {
    /// Classes that a fill adds
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    classes: u32,
    /// Measure each run for so long, in whole fills [default: 300ms for alike, which are some 5,000 operations, and 250 above the 95th percentile; else 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<String>,
}

/// A word that needs no quotes in a shell; `qdiscope` says what is wrong with it otherwise.
fn duration(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.') {
        Ok(text.to_owned())
    } else {
        Err("give a time as 300ms or 1s".into())
    }
}

impl Load {
    /// The arguments of `qdiscope`, for so long unless something else was asked for.
    pub(super) fn words(&self, duration: &str) -> String {
        format!(
            "bench --workload htb-class --workers 1 --devices 1 --classes {} --duration {} --probes off",
            self.classes,
            self.duration.as_deref().unwrap_or(duration)
        )
    }
}

/// A `qdiscope` that was built for this.
pub(super) struct Instrument {
    pub(super) qdiscope: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    privilege: Privilege,
}

impl Instrument {
    /// Builds it. From here on signals are looked at between two runs.
    pub(super) fn prepare() -> Result<Self, Error> {
        let privilege = Privilege::acquire()
            .map_err(|reason| TaskError::Privileges { reason, command: "cargo xtask trials".into() })?;
        let workspace = Workspace::load()?;
        let qdiscope = workspace.build_faulty_qdiscope()?;
        interrupt::listen();
        Ok(Self { qdiscope, target: workspace.target_dir, privilege })
    }

    /// A load as a shell's command line, each packet of which takes so much longer.
    pub(super) fn line(&self, load: &str, delay_ns: u64) -> String {
        format!("{DELAY}={delay_ns} {} {load}", cargo::quoted(&self.qdiscope.to_string_lossy()))
    }

    /// A command as root, whose runs go into no history.
    pub(super) fn command(&self, program: impl AsRef<OsStr>, vars: &[(&str, OsString)]) -> Command {
        let mut all = vec![("QDISCOPE_STORE", OsString::from("none"))];
        all.retain(|(name, _)| vars.iter().all(|(other, _)| other != name));
        all.extend_from_slice(vars);
        let mut command = self.privilege.command(program.as_ref(), &all);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `qdiscope compare`, and gives its document as text, too.
    pub(super) fn compare<Word: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = Word>,
    ) -> Result<(Comparison, Vec<u8>), Error> {
        let mut command = self.command(&self.qdiscope, &[]);
        command.arg("compare").args(words).args(["--json", "-"]);
        let output = finished(&mut command)?;
        let comparison: Comparison = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Answer { command: cargo::shown(&command), reason: error.to_string() })?;
        if comparison.interrupted { Err(Error::Interrupted) } else { Ok((comparison, output.stdout)) }
    }

    /// A folder of ours, which nobody else has.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.target.join("trials").join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        Ok(folder)
    }

    /// Removes a folder and what root has put into it, also after a signal.
    pub(super) fn remove(&self, folder: &Path) -> Result<(), Error> {
        let mut command = self.command("rm", &[]);
        command.arg("-rf").arg(folder);
        let output = command.output().map_err(|source| cargo::start(&command, source))?;
        good(&command, output, &[0]).map(drop)
    }
}

/// Runs a command to its end, which has to be a good one.
pub(super) fn finished(command: &mut Command) -> Result<Output, Error> {
    finished_with(command, &[0])
}

/// Runs a command to its end, which has to be one of these exit codes. A signal that came meanwhile has ended it, too, or made it half.
pub(super) fn finished_with(command: &mut Command, codes: &[i32]) -> Result<Output, Error> {
    let output = command.output().map_err(|source| cargo::start(command, source))?;
    if interrupt::came() {
        return Err(Error::Interrupted);
    }
    good(command, output, codes)
}

fn good(command: &Command, output: Output, codes: &[i32]) -> Result<Output, Error> {
    if output.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
    Err(Error::Failed { command: cargo::shown(command), status: output.status, words })
}

/// A folder that a person named for what is to be kept, which must be new.
pub(super) fn new_folder(folder: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder.parent().unwrap_or(Path::new(""))).map_err(file(folder))?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::NotNew(folder.to_owned())),
        made => made.map_err(file(folder)),
    }?;
    // Commands are run elsewhere, too.
    folder.canonicalize().map_err(file(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_word_of_a_shell() {
        assert_eq!(duration("1.5s").unwrap(), "1.5s");
        for text in ["", "1s; reboot", "$(x)", "1 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_folder_to_keep_things_in_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        assert!(new_folder(&folder).unwrap().is_absolute());
        assert!(matches!(new_folder(&folder), Err(Error::NotNew(_))));
    }

    #[test]
    fn a_failure_is_told_by_its_last_words() {
        let told = |line: &str| finished(Command::new("sh").args(["-c", line])).map(|output| output.stdout);
        assert_eq!(told("echo x").unwrap(), b"x\n");
        let error = told("echo one >&2; echo two >&2; echo >&2; exit 3").unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 3): two"), "{error}");
        assert!(finished_with(Command::new("sh").args(["-c", "exit 6"]), &[0, 6]).is_ok());
    }
}
