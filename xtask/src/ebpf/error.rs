//! Why the probes could not be built, or are not those of their source.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why the probes could not be built, or are not those of their source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Cargo could not tell where the workspace is.
    #[error(transparent)]
    Workspace(#[from] crate::error::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    /// A program failed; it has said why itself.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// There is nothing to compile with.
    #[error(
        "nothing to compile eBPF with: {missing}\n\
         Debian: cargo xtask ebpf --install\n\
         elsewhere: rustup toolchain install nightly --component rust-src; cargo install bpf-linker"
    )]
    NoToolchain { missing: String },
    /// Installing is not possible here.
    #[error("cannot install: {0}")]
    Install(String),
    /// Packages could not be installed, or what they brought fails.
    #[error(transparent)]
    Packages(#[from] crate::packages::Error),
    /// The built object cannot be read as ELF.
    #[error("the built object is not understood: {0}")]
    Object(String),
    /// The text beside the object cannot be read.
    #[error("{}: {reason}", .path.display())]
    Stamp { path: PathBuf, reason: String },
    /// The committed object is not that of the committed source.
    #[error(
        "the committed eBPF object is not that of the source: {0}\nRun `cargo xtask ebpf` and commit what it writes."
    )]
    Differs(String),
}
