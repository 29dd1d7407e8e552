//! The built binary, driven as a user drives it: arguments in, exit code, text and files out.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::schema;

/// The variable that holds the path of the binary.
const BINARY: &str = "QDISCOPE_BIN";

/// No run of these tests takes a quarter as long, even in an emulated machine on a host that does something else besides.
const PATIENCE: Duration = Duration::from_secs(400);

/// Arguments of a run for tests that look at something else than its figures.
pub(crate) const QUICK: &str =
    "bench --workload lifecycle --population 100 --devices 2 --workers 2 --duration 300ms";

/// The binary's path.
pub(crate) fn binary() -> Result<PathBuf, Failed> {
    let hint = "run these tests by `cargo xtask test`, which builds the binary";
    let path =
        env::var_os(BINARY).map(PathBuf::from).ok_or_else(|| format!("{BINARY} is not set: {hint}"))?;
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{BINARY}: no file {}: {hint}", path.display()).into())
    }
}

/// The binary with arguments, split at blanks. What it reads from the environment is not that of the tests' caller.
pub(crate) fn qdiscope(arguments: &str) -> Result<Command, Failed> {
    let mut command = Command::new(binary()?);
    plain(&mut command).args(arguments.split_whitespace());
    Ok(command)
}

/// A command whose output does not depend on who runs the tests.
pub(crate) fn plain(command: &mut Command) -> &mut Command {
    for variable in ["RUST_LOG", "RUST_BACKTRACE", "SUDO_UID", "SUDO_GID"] {
        command.env_remove(variable);
    }
    // Their runs are in nobody's history.
    command.env("QDISCOPE_STORE", "none").stdin(Stdio::null())
}

/// How a process ended, and what it said.
pub(crate) struct Finished {
    /// The exit code; 128 and the signal's number where a signal killed it, as in a shell.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Result<Self, Failed> {
        Running::start(command)?.finish()
    }

    /// Fails, and shows everything, unless the exit code is the expected one.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == code {
            return Ok(self);
        }
        Err(format!("exit code {} instead of {code}\n{}", self.code, self.said()).into())
    }

    /// The only line on stderr.
    pub(crate) fn one_line(&self) -> Result<&str, Failed> {
        let mut lines = self.stderr.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ok(line),
            _ => Err(format!("not one line on stderr\n{}", self.said()).into()),
        }
    }

    /// Both streams, for messages.
    pub(crate) fn said(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
    }
}

/// A process on its way. It is killed when it goes out of scope.
pub(crate) struct Running {
    child: Child,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Running {
    /// Starts a command. Its streams are read from the start, so that it never waits for us; a stdout that the
    /// caller has redirected stays so.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failed> {
        Self::start_with(command.stdout(Stdio::piped()))
    }

    /// As [`Self::start`], with stdout as the caller has set it.
    pub(crate) fn start_with(command: &mut Command) -> Result<Self, Failed> {
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let stdout = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                // An error ends the text, which the test then misses.
                let _ = stdout.read_to_end(&mut bytes);
                bytes
            })
        });
        let stderr = BufReader::new(child.stderr.take().ok_or("no pipe for stderr")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdout, lines, heard: Vec::new() })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill(Pid::from_raw(self.id().cast_signed()), signal)?)
    }

    /// Waits for a line on stderr that contains `part`.
    pub(crate) fn hear(&mut self, part: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .map_err(|error| format!("no `{part}` on stderr ({error}), only: {:?}", self.heard))?;
            let found = line.contains(part);
            self.heard.push(line);
            if found {
                return Ok(());
            }
        }
    }

    /// Waits for its end. A process that panicked has failed, however it ended.
    pub(crate) fn finish(self) -> Result<Finished, Failed> {
        self.finish_within(PATIENCE)
    }

    /// As [`Self::finish`], but sooner.
    pub(crate) fn finish_within(mut self, patience: Duration) -> Result<Finished, Failed> {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.heard.extend(self.lines.try_iter());
                return Err(format!("still running after {patience:?}; it said {:?}", self.heard).into());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let bytes = match self.stdout.take() {
            Some(reader) => reader.join().map_err(|_| "the reader of stdout panicked")?,
            None => Vec::new(),
        };
        self.heard.extend(self.lines.iter());
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let stdout = String::from_utf8_lossy(&bytes).into_owned();
        let stderr = self.heard.join("\n");
        let finished = Finished { code, stdout, stderr };
        if finished.stderr.contains("panicked") {
            return Err(format!("it panicked (exit code {code})\n{}", finished.said()).into());
        }
        Ok(finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bench that has saved its run.
pub(crate) struct Saved {
    pub(crate) finished: Finished,
    /// `result.json`.
    pub(crate) result: Value,
    /// All files of the run's folder, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Saved {
    /// Runs `qdiscope ARGUMENTS --out FOLDER` in a folder that does not exist before.
    pub(crate) fn by(arguments: &str) -> Result<Self, Failed> {
        Self::by_command(&mut qdiscope(arguments)?)
    }

    /// As [`Self::by`], for a command that is not quite an ordinary one.
    pub(crate) fn by_command(command: &mut Command) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("new/run");
        let finished = Finished::of(command.arg("--out").arg(&out))?;
        Self::read(finished, &out)
    }

    /// Reads the folder of a run that has ended, and holds its result to the schema.
    pub(crate) fn read(finished: Finished, out: &Path) -> Result<Self, Failed> {
        let files = files(out).map_err(|error| {
            format!("{}: {error}; exit code {}\n{}", out.display(), finished.code, finished.said())
        })?;
        let document = files
            .get("result.json")
            .ok_or_else(|| format!("no result.json; exit code {}\n{}", finished.code, finished.said()))?;
        let result = serde_json::from_slice(document).map_err(|error| format!("result.json: {error}"))?;
        schema::check(&result)?;
        Ok(Self { finished, result, files })
    }

    /// The workloads of the result.
    pub(crate) fn workloads(&self) -> Result<&[Value], Failed> {
        Ok(self.result["workloads"].as_array().ok_or("`workloads` is no list")?)
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> Result<&[u8], Failed> {
        let file = self.files.get(name).ok_or_else(|| format!("no {name} among {:?}", self.files.keys()))?;
        Ok(file)
    }

    /// A file of the run, as text.
    pub(crate) fn text(&self, name: &str) -> Result<&str, Failed> {
        Ok(std::str::from_utf8(self.file(name)?).map_err(|error| format!("{name}: {error}"))?)
    }
}

/// The files of a folder, hidden ones too.
pub(crate) fn files(folder: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
            Ok((name, fs::read(path)?))
        })
        .collect()
}
