//! `cargo xtask ebpf`: compiles the probes and puts the object where the loader embeds it.
//!
//! The object is committed, so that nobody needs LLVM to build or use qdiscope. `--check` holds it to its source.

mod build;
mod check;
mod elf;
mod error;
mod install;
mod stamp;
mod toolchain;

use std::{fs, path::PathBuf};

pub(crate) use error::Error;
use stamp::Stamp;
use toolchain::Toolchain;

use crate::cargo::Workspace;

/// Compile the eBPF probes and replace the committed object.
///
/// Needs rustup's nightly with rust-src, or Debian's rustc-web, cargo-web and rust-web-src; and bpf-linker.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Replace nothing; fail where the committed object is not that of the committed source.
    #[arg(long)]
    pub(crate) check: bool,
    /// Install what is missing: Debian's packages, and bpf-linker into the target directory. Builds only with --check.
    #[arg(long)]
    pub(crate) install: bool,
}

/// Where things are.
struct Places {
    /// The folder `ebpf` of the workspace.
    ebpf: PathBuf,
    /// What the loader embeds.
    object: PathBuf,
    /// What it was built from and with.
    stamp: PathBuf,
    /// For cargo, and for the rebuilt object.
    target: PathBuf,
    /// For bpf-linker, where `--install` put it.
    tools: PathBuf,
}

impl Places {
    fn of(workspace: &Workspace) -> Self {
        let ebpf = workspace.root.join("ebpf");
        Self {
            object: ebpf.join("loader/programs.bpf.o"),
            stamp: ebpf.join("loader/programs.bpf.txt"),
            target: workspace.target_dir.join("ebpf"),
            tools: workspace.target_dir.join("tools"),
            ebpf,
        }
    }
}

/// Does what `options` say and tells so on standard output.
pub(crate) fn run(options: Options) -> Result<(), Error> {
    let places = Places::of(&Workspace::load()?);
    if options.install {
        install::run(&places)?;
        if !options.check {
            return Ok(());
        }
    }
    let sources = stamp::hash_sources(&places.ebpf)?;
    if options.check {
        return check::run(&places, &sources);
    }
    let toolchain = Toolchain::find(&places.tools)?;
    let object = build::run(&places, &toolchain)?;
    let stamp = Stamp::new(sources, &object, toolchain.versions(&places.ebpf)?);
    write(&places.object, &object)?;
    write(&places.stamp, stamp.to_string().as_bytes())?;
    println!("{}: {} bytes, by {}", places.object.display(), object.len(), toolchain);
    Ok(())
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::File { path: path.to_owned(), source })
}
