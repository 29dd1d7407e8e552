//! `cargo xtask vm … bench`: `qdiscope bench` in guests. What comes back stays apart from the runs of this machine.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    accel::Accel,
    error::{Error, file},
    host::{self, Host, QDISCOPE},
    image::Image,
    initramfs::PATH,
    job::{How, Task},
    kernels::Kernel,
    program,
    table::{self, Column},
};
use crate::privilege::Privilege;

/// Run `qdiscope bench` in the guest, and bring its run back: to vm/SERIES/bench below the target folder, which the next replaces.
///
/// Never to where this machine's own runs are: times under TCG are no performance data, and a file vm.json beside the result
/// says so. The exit code is that of `qdiscope bench`. `matrix bench` runs one workload on all kernels and natively, as root,
/// and prints them side by side; it fails only where a run has no result.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// For `qdiscope bench`. Files of the host are not seen by the guest; `matrix bench` without any: a short lifecycle.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Where a guest puts its runs.
const RUNS: &str = "/runs";
const NAME: &str = "run";
/// What `matrix bench` runs if nothing else is wished.
const WORKLOAD: [&str; 4] = ["--workload", "lifecycle", "--duration", "5s"];
/// A bench as long as this is no longer one for a guest.
const MOST: u64 = 6 * 3600;

/// The task that runs `qdiscope bench`.
pub(super) fn task(words: Vec<String>) -> Task {
    let env = [("PATH", PATH), ("HOME", "/root"), ("QDISCOPE_TARGET_DIR", RUNS), ("NO_COLOR", "1")];
    Task {
        name: NAME.into(),
        program: QDISCOPE.into(),
        args: std::iter::once("bench".to_owned()).chain(words).collect(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        seconds: MOST,
        keep: Some(RUNS.into()),
    }
}

/// One kernel.
pub(super) fn one(options: &host::Settings, kernel: &Kernel, bench: Options) -> Result<ExitCode, Error> {
    let host = Host::prepare(options, false)?;
    let (image, accel) = host.image(kernel)?;
    let (how, found) = guest(&host, kernel, (&image, accel), &strings(bench.args))?;
    for result in &found {
        println!("{}: {}", comparable(accel), result.parent().unwrap_or(result).display());
    }
    Ok(match how {
        How::Exit(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        how => {
            eprintln!("cargo xtask: qdiscope bench: {how}");
            ExitCode::from(1)
        }
    })
}

/// All kernels, and this machine.
pub(super) fn matrix(
    options: &host::Settings,
    kernels: Vec<Kernel>,
    bench: Options,
) -> Result<ExitCode, Error> {
    let words = if bench.args.is_empty() { WORKLOAD.map(Into::into).to_vec() } else { bench.args };
    let words = strings(words);
    let host = Host::prepare(options, false)?;
    let mut columns = vec![Column::read("native".into(), &native(&host, &words)?)?];
    let mut not_run = Vec::new();
    for kernel in &kernels {
        let (image, accel) = match host.image(kernel) {
            Ok(image) => image,
            Err(error @ Error::LeftTheArchive { .. }) => {
                not_run.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let (how, found) = guest(&host, kernel, (&image, accel), &words)?;
        let result = found.first().ok_or_else(|| missing(&host, &kernel.series, &how.to_string()))?;
        let mut column = Column::read(kernel.series.clone(), result)?;
        column.emulated = accel == Accel::Tcg;
        columns.push(column);
    }
    print!("\n{}", table::render(&columns));
    for error in &not_run {
        println!("\nNOT RUN: {error}");
    }
    Ok(if columns.len() > 1 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs it in a guest, and gives how it ended and the results that it saved.
fn guest(
    host: &Host,
    kernel: &Kernel,
    (image, accel): (&Image, Accel),
    words: &[String],
) -> Result<(How, Vec<PathBuf>), Error> {
    let dir = host.folder(&kernel.series, "bench")?;
    let outcome = host.run(kernel, (image, accel), &dir, vec![task(words.to_vec())])?;
    if let Some(fault) = outcome.fault {
        return Err(Error::Guest { series: kernel.series.clone(), fault, console: outcome.console });
    }
    let how = outcome
        .results
        .endings
        .get(NAME)
        .map_or(How::Failed("no ending".into()), |ending| ending.how.clone());
    let found = results(&dir.join(NAME));
    for result in &found {
        let path = result.with_file_name("vm.json");
        let note = json!({
            "kernel": image.version,
            "accel": accel.name(),
            "comparable": accel == Accel::Kvm,
            "note": comparable(accel),
        });
        fs::write(&path, format!("{note:#}\n")).map_err(file(&path))?;
    }
    Ok((how, found))
}

/// The same program on this machine, its run kept beside those of the guests.
fn native(host: &Host, words: &[String]) -> Result<PathBuf, Error> {
    let dir = host.folder("native", "bench")?;
    let privilege = Privilege::acquire().map_err(|reason| crate::error::Error::Privileges {
        reason,
        command: "cargo xtask vm matrix bench".into(),
    })?;
    let vars = [("QDISCOPE_TARGET_DIR", dir.clone().into_os_string())];
    let mut command = privilege.command(host.executables.qdiscope.as_os_str(), &vars);
    command.arg("bench").args(words).current_dir(&dir);
    eprintln!("cargo xtask: the same natively");
    let status = command.status().map_err(|source| program::start(&command, source))?;
    results(&dir).into_iter().next().ok_or_else(|| missing(host, "native", &status.to_string()))
}

fn missing(host: &Host, machine: &str, how: &str) -> Error {
    let path = host.workspace.target_dir.join("vm").join(machine).join("bench");
    Error::Result { path, reason: format!("it saved no run ({how})") }
}

fn comparable(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "run in a virtual machine, under KVM",
        Accel::Tcg => "not comparable: run in a virtual machine, under TCG",
    }
}

/// Every result.json below a folder.
pub(super) fn results(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "result.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A saved run.
pub(super) fn read(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(file(path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Result { path: path.to_owned(), reason: error.to_string() })
}

/// The probe kind of a saved run, and why it was that.
pub(super) fn probes(path: &Path) -> Result<(String, String), Error> {
    let run = read(path)?;
    let probes = &run["environment"]["probes"];
    let text = |name: &str| probes[name].as_str().map(str::to_owned);
    let kind = text("kind").ok_or_else(|| Error::Result {
        path: path.to_owned(),
        reason: "no environment.probes.kind".into(),
    })?;
    Ok((kind, text("reason").unwrap_or_default()))
}

fn strings(words: Vec<OsString>) -> Vec<String> {
    words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_kind_of_a_run_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("files/qdiscope/x");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("result.json");
        fs::write(&path, r#"{"environment":{"probes":{"kind":"fexit","reason":"tried"}}}"#).unwrap();
        assert_eq!(results(dir.path()), std::slice::from_ref(&path));
        assert_eq!(probes(&path).unwrap(), ("fexit".into(), "tried".into()));
        fs::write(&path, "{}").unwrap();
        assert!(probes(&path).is_err());
        assert!(results(&dir.path().join("none")).is_empty());
    }
}
