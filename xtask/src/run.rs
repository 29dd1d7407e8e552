//! `cargo xtask run`: builds qdiscope in the release profile and becomes it, as root.

use std::{
    convert::Infallible,
    ffi::OsString,
    io::{IsTerminal, stderr},
    os::unix::process::CommandExt,
};

use crate::{
    cargo::{self, Workspace},
    error::Error,
    privilege::{self, Privilege},
};

/// Build qdiscope for release and run any of its subcommands as root (through sudo where needed).
///
/// `cargo xtask run -- doctor` is `qdiscope doctor`. Its exit code and signals pass unchanged.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// For `qdiscope`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Does not return unless it fails: the process becomes `qdiscope`.
pub(crate) fn run(options: Options) -> Result<Infallible, Error> {
    exec(options.args)
}

/// Builds `qdiscope` and replaces this process by it.
///
/// `exec`, and not a child: Ctrl-C, `kill` and the exit code then need nobody to pass them on.
pub(crate) fn exec(args: impl IntoIterator<Item = OsString>) -> Result<Infallible, Error> {
    let workspace = Workspace::load()?;
    let executable = workspace.build_qdiscope()?;
    let vars = [("QDISCOPE_TARGET_DIR", workspace.target_dir.into_os_string())];
    let args: Vec<_> = args.into_iter().collect();
    let privilege = if needs_root(&args) { Privilege::acquire() } else { Ok(Privilege::Own) };
    let mut command = match privilege {
        Ok(privilege) => privilege.command(executable.as_os_str(), &vars),
        Err(reason) => {
            let mut wanted = privilege::by_hand(executable.as_os_str(), &vars);
            wanted.args(args);
            return Err(Error::Privileges { reason, command: cargo::shown(&wanted) });
        }
    };
    command.args(args);
    let bold = if stderr().is_terminal() { ("\x1b[1;32m", "\x1b[0m") } else { ("", "") };
    eprintln!("{}{:>12}{} `{}`", bold.0, "Running", bold.1, cargo::shown(&command));
    let source = command.exec();
    Err(cargo::start(&command, source))
}

/// Whoever only asks what there is needs no rights.
fn needs_root(args: &[OsString]) -> bool {
    let asks = |word: &OsString| ["--help", "-h", "--version", "-V"].iter().any(|flag| word == flag);
    !(args.is_empty() || args.iter().any(asks) || args[0] == "schema" || args[0] == "help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_help_needs_no_root() {
        let needs = |line: &str| needs_root(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        assert!(needs("bench --quick") && needs("doctor"));
        assert!(!needs("bench --help") && !needs("schema") && !needs("-V") && !needs(""));
    }
}
