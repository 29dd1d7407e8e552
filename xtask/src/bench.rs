//! `cargo xtask bench`: builds qdiscope in the release profile and becomes `qdiscope bench`, as root.

use std::{convert::Infallible, ffi::OsString};

use crate::{error::Error, run};

/// Build qdiscope for release and run `qdiscope bench` as root (through sudo where needed).
///
/// Everything after `bench`, with or without a `--` before it, is for `qdiscope bench`:
/// `cargo xtask bench -- --help` shows what it takes. Its exit code and signals pass unchanged.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// For `qdiscope bench`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Does not return unless it fails: the process becomes `qdiscope bench`.
pub(crate) fn run(options: Options) -> Result<Infallible, Error> {
    run::exec(std::iter::once("bench".into()).chain(options.args))
}
