//! Cargo, asked through its documented interfaces only: `cargo metadata` and its JSON messages.
//!
//! Nothing here guesses where cargo puts a file: a target directory comes from the environment, from a
//! configuration file or from the workspace, and only cargo knows which of them holds.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::error::Error;

/// The variable that names the profile of cargo in which qdiscope is compiled, instead of release.
const PROFILE: &str = "QDISCOPE_CARGO_PROFILE";
/// How the variables begin that `cargo run` sets for a package.
const OURS: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];
/// The profile of the tests.
const TESTED: &str = "dev";

/// The workspace as cargo sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target_dir: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Cargo's opaque package id, the key that its messages use.
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The directory of its manifest: where cargo runs its tests.
    pub(crate) dir: PathBuf,
}

/// An executable that cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    pub(crate) path: PathBuf,
    /// The name of the target: of the library, of the binary, or of the file in `tests/`.
    pub(crate) target: String,
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: String,
    /// Whether it was built to run tests.
    pub(crate) test: bool,
    package_id: String,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn load() -> Result<Self, Error> {
        let mut command = command();
        command.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit());
        let output = command.output().map_err(|source| start(&command, source))?;
        if !output.status.success() {
            return Err(Error::Cargo { command: shown(&command), status: output.status });
        }
        let metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| Error::CargoAnswer(error.to_string()))?;
        Self::from_metadata(&metadata).ok_or_else(|| Error::CargoAnswer("incomplete metadata".into()))
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let packages =
            metadata["packages"].as_array()?.iter().map(Package::from_metadata).collect::<Option<_>>()?;
        Some(Self {
            root: metadata["workspace_root"].as_str()?.into(),
            target_dir: metadata["target_directory"].as_str()?.into(),
            packages,
        })
    }

    /// The package that an executable belongs to.
    pub(crate) fn package_of(&self, executable: &Executable) -> Result<&Package, Error> {
        self.packages
            .iter()
            .find(|package| package.id == executable.package_id)
            .ok_or_else(|| Error::CargoAnswer(format!("unknown package {}", executable.package_id)))
    }

    /// Runs a cargo command that builds (its progress and its diagnostics go to the terminal) and returns the
    /// executables it names, fresh ones included.
    pub(crate) fn build(&self, args: &[&str]) -> Result<Vec<Executable>, Error> {
        let mut command = command();
        command.args(args).arg("--message-format=json-render-diagnostics");
        command.current_dir(&self.root).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|source| start(&command, source))?;
        let mut executables = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line.map_err(|source| Error::Output { program: shown(&command), source })?;
                // Whatever is not a message (a build script's stray output) is no answer to the question.
                let message = serde_json::from_str(&line).unwrap_or(Value::Null);
                executables.extend(Executable::from_message(&message));
            }
        }
        let status = child.wait().map_err(|source| Error::Output { program: shown(&command), source })?;
        if status.success() {
            Ok(executables)
        } else {
            Err(Error::Cargo { command: shown(&command), status })
        }
    }

    /// Builds the `qdiscope` executable as it is measured, in the release profile, or in that which `QDISCOPE_CARGO_PROFILE` names.
    pub(crate) fn build_qdiscope(&self) -> Result<PathBuf, Error> {
        self.build_qdiscope_with(&[])
    }

    /// The same with the faults that it can be given to try it, in a target folder of its own: what is measured otherwise is not replaced.
    pub(crate) fn build_faulty_qdiscope(&self) -> Result<PathBuf, Error> {
        let folder = self.target_dir.join("trials");
        self.build_qdiscope_with(&[
            "--features",
            "qdiscope/fault-injection",
            "--target-dir",
            &folder.to_string_lossy(),
        ])
    }

    fn build_qdiscope_with(&self, more: &[&str]) -> Result<PathBuf, Error> {
        let profile = env::var(PROFILE).unwrap_or_else(|_| "release".to_owned());
        let mut args = vec!["build", "--profile", &profile, "--bin", "qdiscope"];
        // With the tests, where it shares a profile with them: alone it would be given its dependencies with other features, and those be
        // compiled anew.
        args.extend(if profile == TESTED { ["--workspace", "--tests"] } else { ["--package", "qdiscope"] });
        args.extend(more);
        self.build_one(&args, "qdiscope")
    }

    /// Runs a cargo command that builds the program `name`, and returns its path.
    pub(crate) fn build_one(&self, args: &[&str], name: &str) -> Result<PathBuf, Error> {
        self.build(args)?
            .into_iter()
            .find(|executable| executable.kind == "bin" && executable.target == name && !executable.test)
            .map(|executable| executable.path)
            .ok_or_else(|| Error::NoExecutable(name.into()))
    }
}

impl Package {
    fn from_metadata(package: &Value) -> Option<Self> {
        let manifest = PathBuf::from(package["manifest_path"].as_str()?);
        Some(Self {
            id: package["id"].as_str()?.to_owned(),
            name: package["name"].as_str()?.to_owned(),
            version: package["version"].as_str()?.to_owned(),
            dir: manifest.parent()?.to_owned(),
        })
    }
}

impl Executable {
    /// Reads a `compiler-artifact` message that names an executable; `None` for every other message.
    fn from_message(message: &Value) -> Option<Self> {
        if message["reason"] != "compiler-artifact" {
            return None;
        }
        Some(Self {
            path: message["executable"].as_str()?.into(),
            target: message["target"]["name"].as_str()?.to_owned(),
            kind: message["target"]["kind"][0].as_str()?.to_owned(),
            test: message["profile"]["test"] == true,
            package_id: message["package_id"].as_str()?.to_owned(),
        })
    }
}

/// The cargo that runs this task, so that a `cargo +toolchain xtask` stays with its toolchain.
///
/// Without what it said of this package to us: build scripts of others (ring's) ask for it, and would be run anew after each cargo by hand.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let cargo = env::var_os("CARGO");
    let program = command.get_program();
    let program = if Some(program) == cargo.as_deref() { "cargo".into() } else { program.to_string_lossy() };
    std::iter::once(program)
        .chain(command.get_args().map(|arg| arg.to_string_lossy()))
        .map(|word| quoted(&word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Quotes a word for a POSIX shell where it needs that.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The error for a command that could not be started.
pub(crate) fn start(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_executable_is_read_from_its_message_and_from_no_other() {
        let mut message = json!({
            "reason": "compiler-artifact", "package_id": "path+file:///p#qdiscope@0.1.0",
            "target": {"kind": ["bin"], "name": "qdiscope"}, "profile": {"test": false},
            "executable": "/t/release/qdiscope", "fresh": true,
        });
        let executable = Executable::from_message(&message).unwrap();
        assert_eq!(executable.path, PathBuf::from("/t/release/qdiscope"));
        assert_eq!((executable.kind.as_str(), executable.test), ("bin", false));

        message["executable"] = Value::Null; // a library
        assert_eq!(Executable::from_message(&message), None);
        assert_eq!(Executable::from_message(&json!({"reason": "build-finished", "success": true})), None);
    }

    #[test]
    fn metadata_gives_each_package_its_directory() {
        let metadata = json!({
            "workspace_root": "/w", "target_directory": "/t",
            "packages": [{"id": "a", "name": "a", "version": "0.1.0", "manifest_path": "/w/a/Cargo.toml"}],
        });
        let workspace = Workspace::from_metadata(&metadata).unwrap();
        assert_eq!((workspace.root, workspace.target_dir), (PathBuf::from("/w"), PathBuf::from("/t")));
        assert_eq!(workspace.packages[0].dir, PathBuf::from("/w/a"));
        assert_eq!(Workspace::from_metadata(&json!({"packages": []})), None);
    }

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("sudo");
        command.args(["env", "RUST_LOG=debug", "it's", "", "a b"]);
        assert_eq!(shown(&command), r"sudo env RUST_LOG=debug 'it'\''s' '' 'a b'");
    }
}
