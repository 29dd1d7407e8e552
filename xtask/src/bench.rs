//! `cargo xtask bench`: builds qdiscope in the release profile and becomes `qdiscope bench`, as root.

use std::{convert::Infallible, ffi::OsString};

use crate::{error::Error, peers, run};

/// Build qdiscope for release and run `qdiscope bench` as root (through sudo where needed).
///
/// Everything after `bench`, with or without a `--` before it, is for `qdiscope bench`:
/// `cargo xtask bench -- --help` shows what it takes. Its exit code and signals pass unchanged.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare tc-adapter with every other traffic-control client instead: `tc`, rtnetlink, nlink, libnl, pyroute2,
    /// vishvananda/netlink and a floor in C, interleaved; `--peers growth`: what a class costs when there are many. `--peers --help` shows what each takes.
    #[arg(long)]
    peers: bool,
    /// With --peers: get those that are missing from Debian and from the Python package index.
    #[arg(long, requires = "peers")]
    install: bool,
    /// For `qdiscope bench`, or for the comparison.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Does not return unless it fails: the process becomes `qdiscope bench`, or the comparison.
pub(crate) fn run(options: Options) -> Result<Infallible, Error> {
    if options.peers {
        return peers::run(options.install, options.args);
    }
    run::exec(std::iter::once("bench".into()).chain(options.args))
}
