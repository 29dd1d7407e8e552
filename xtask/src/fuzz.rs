//! `cargo xtask fuzz`: random input, led by coverage, into whatever parses bytes or files.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum;

use crate::{
    cargo::{self, Executable, Workspace},
    error::Error,
};

/// Feed random input, led by coverage, to the parsers (libFuzzer): a panic, a hang or too much memory is a failure.
///
/// Starts from the small corpus in tests/fuzz/corpus; what is found besides is kept in the target folder. An input that fails is kept
/// there, too, and its path printed.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of the targets; all, one after the other, if none is given.
    #[arg(value_enum)]
    target: Option<Target>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// What the kernel sends.
    Decoder,
    /// `tc -batch` files.
    Batch,
    /// Trees as TOML and JSON.
    Tree,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Batch => "batch",
            Self::Tree => "tree",
        }
    }
}

/// What lets libFuzzer see which code an input reaches. All of these are stable; its address sanitizer, which needs a nightly
/// compiler, would find little in a crate whose only unsafe code is system calls.
const COVERAGE: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// More than any input that finds something needs, and little enough to be tried often.
const LONGEST: &str = "-max_len=4096";

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let workspace = Workspace::load()?;
    let folder = workspace.target_dir.join("fuzz");
    let programs = build(&workspace, &folder)?;
    let targets = options.target.map_or_else(|| Target::value_variants().to_vec(), |target| vec![target]);
    for target in targets {
        let name = target.name();
        let program = programs
            .iter()
            .find(|program| program.target == name)
            .ok_or_else(|| Error::NoExecutable(name.to_owned()))?;
        fuzz(&workspace, &folder, name, &program.path, options.seconds)?;
    }
    Ok(())
}

fn build(workspace: &Workspace, folder: &Path) -> Result<Vec<Executable>, Error> {
    let manifest = workspace.root.join("tests/fuzz/Cargo.toml").display().to_string();
    let folder = folder.display().to_string();
    // With an explicit target the flags are for the fuzz targets, and not for build scripts, which libFuzzer is not linked to.
    let host = format!("{ARCH}-unknown-linux-gnu");
    let flags = format!("target.{host}.rustflags={COVERAGE:?}");
    workspace.build(&[
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &folder,
        "--target",
        &host,
        "--config",
        &flags,
    ])
}

fn fuzz(workspace: &Workspace, folder: &Path, name: &str, program: &Path, seconds: u32) -> Result<(), Error> {
    let make = |path: PathBuf| {
        fs::create_dir_all(&path)
            .map_err(|source| Error::Folder { path: path.clone(), source })
            .map(|()| path)
    };
    let found = make(folder.join("corpus").join(name))?;
    let artifacts = make(folder.join("artifacts").join(name))?;
    eprintln!("cargo xtask: fuzzing {name} for {seconds} s");
    let mut fuzzer = Command::new(program);
    fuzzer
        .arg(&found)
        .arg(workspace.root.join("tests/fuzz/corpus").join(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([LONGEST, "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0"]);
    let status = fuzzer.status().map_err(|source| cargo::start(&fuzzer, source))?;
    if status.success() { Ok(()) } else { Err(Error::Fuzz { target: name.to_owned(), status, artifacts }) }
}
