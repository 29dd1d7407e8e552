//! Root, for what only root may do: making network namespaces and loading probes.
//!
//! A process that already is root runs programs directly; any other goes through `sudo`. Cargo itself never
//! runs as root here, so that no file in the target directory changes its owner by a build.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, Stdio},
};

/// How a program gets to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// The process's own rights are enough.
    Own,
    /// `sudo` grants it.
    Sudo,
}

/// Variables of the caller that a program keeps behind `sudo`, which resets the environment; besides these,
/// all that begin with `QDISCOPE_`.
const KEPT: [&str; 6] = ["CI", "COLUMNS", "LINES", "NO_COLOR", "RUST_BACKTRACE", "RUST_LOG"];

impl Privilege {
    /// Finds out, asking for the password if there is a terminal to ask on.
    ///
    /// The error is the reason in words, to be put after "root is needed and".
    pub(crate) fn acquire() -> Result<Self, String> {
        if effective_uid() == 0 {
            return Ok(Self::Own);
        }
        // `sudo` exits with 1 when it refuses, which could be the program's own answer too. So it is asked
        // beforehand, with the command that will be used: a rule may allow some commands only.
        match Command::new("sudo").args(["env", "true"]).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(Self::Sudo),
            Ok(status) => Err(format!("sudo refused it ({status})")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("there is no sudo".into()),
            Err(error) => Err(format!("sudo cannot be run ({error})")),
        }
    }

    /// A command that runs `program` as root, with `vars` in its environment.
    pub(crate) fn command(self, program: &OsStr, vars: &[(&str, OsString)]) -> Command {
        match self {
            Self::Own => {
                let mut command = Command::new(program);
                command.envs(vars.iter().map(|(name, value)| (name, value)));
                command
            }
            Self::Sudo => {
                // `sudo env`: unlike `sudo --preserve-env` or `sudo NAME=VALUE` it needs no SETENV right.
                let mut command = Command::new("sudo");
                command.arg("env").args(environment(vars, std::env::vars_os())).arg(program);
                command
            }
        }
    }
}

/// The command that a person with a root shell runs by hand, where neither root nor `sudo` is to be had.
pub(crate) fn by_hand(program: &OsStr, vars: &[(&str, OsString)]) -> Command {
    let mut command = Command::new("env");
    command.args(environment(vars, std::env::vars_os())).arg(program);
    command
}

/// What root's environment gets, as arguments of env(1): the caller's variables that are kept, then `vars`.
fn environment(
    vars: &[(&str, OsString)],
    caller: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<OsString> {
    let assignment = |name: &OsStr, value: &OsStr| {
        let mut word = name.to_owned();
        word.push("=");
        word.push(value);
        word
    };
    let is_set_anew = |name: &OsStr| vars.iter().any(|(new, _)| name == *new);
    let mut words: Vec<_> = caller
        .filter(|(name, _)| is_kept(name) && !is_set_anew(name))
        .map(|(name, value)| assignment(&name, &value))
        .collect();
    words.sort();
    words.extend(vars.iter().map(|(name, value)| assignment(name.as_ref(), value)));
    words
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| KEPT.contains(&name) || name.starts_with("QDISCOPE_"))
}

fn effective_uid() -> libc::uid_t {
    // SAFETY: geteuid(2) takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::shown;

    #[test]
    fn behind_sudo_the_callers_settings_survive_and_nothing_else() {
        let caller =
            [("RUST_LOG", "debug"), ("PATH", "/bin"), ("QDISCOPE_NO_SKIP", "1"), ("QDISCOPE_BIN", "old")]
                .map(|(name, value)| (name.into(), value.into()));
        let words = environment(&[("QDISCOPE_BIN", "new".into())], caller.into_iter());
        assert_eq!(words, ["QDISCOPE_NO_SKIP=1", "RUST_LOG=debug", "QDISCOPE_BIN=new"]);
    }

    #[test]
    fn root_runs_the_program_itself() {
        let command = Privilege::Own.command("/t/qdiscope".as_ref(), &[("QDISCOPE_BIN", "new".into())]);
        assert_eq!(shown(&command), "/t/qdiscope");
        assert!(
            command.get_envs().any(|(name, value)| name == "QDISCOPE_BIN" && value == Some("new".as_ref()))
        );
    }
}
