//! A PostgreSQL server of a test's own, in a folder that goes away with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use tempfile::TempDir;

use crate::qdiscope::plain;

/// Nobody waits longer for a server on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where Debian has the programs of the newest version that is installed.
pub(crate) fn programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").is_file().then_some((entry.file_name().to_str()?.parse().ok()?, programs))
        })
        .collect();
    versions.sort();
    versions.pop().map(|(_, programs)| programs)
}

/// A server. It is killed when it goes out of scope, and with the thread that started it.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    user: (u32, u32),
    running: Option<Child>,
}

impl Server {
    /// An empty one, with a database `perf`, that listens on a socket in its folder, and where the caller's namespace has a loopback, there.
    pub(crate) fn start() -> Result<Self, Failed> {
        let programs = programs().ok_or("no PostgreSQL")?;
        let folder = tempfile::tempdir()?;
        // It refuses to be root's.
        let nobody = User::from_name("nobody")?.ok_or("no user `nobody`")?;
        let user = (nobody.uid.as_raw(), nobody.gid.as_raw());
        chown(folder.path(), Some(nobody.uid), Some(nobody.gid))?;
        let port = TcpListener::bind("127.0.0.1:0")
            .map_or(5432, |listener| listener.local_addr().map_or(5432, |address| address.port()));
        let mut server = Self { folder, programs, port, user, running: None };
        let data = server.data();
        let mut initdb = server.program("initdb");
        initdb
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=qdiscope",
                "--encoding=UTF8",
                "--locale=C",
                "--pgdata",
            ])
            .arg(data);
        finish(&mut initdb)?;
        server.begin()?;
        server.sql("postgres", "CREATE DATABASE perf")?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Not as root, and not in the folder of the tests, which another user may not enter.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        plain(&mut command).current_dir(self.folder.path()).env("LC_ALL", "C");
        if Uid::effective().is_root() {
            command.uid(self.user.0).gid(self.user.1);
        }
        command
    }

    /// Starts it, with the data that it has.
    pub(crate) fn begin(&mut self) -> Result<(), Failed> {
        let log = fs::File::create(self.folder.path().join("log"))?;
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        for setting in ["fsync=off", "shared_buffers=8MB", "max_connections=30", "listen_addresses=127.0.0.1"]
        {
            postgres.args(["-c", setting]);
        }
        // Without a loopback it says so and listens on its socket alone.
        postgres.args(["-c", &format!("port={}", self.port)]);
        postgres.stdout(Stdio::null()).stderr(log);
        // SAFETY: prctl(2) is async-signal-safe and touches nothing of the parent's.
        unsafe {
            postgres.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGQUIT)?));
        }
        self.running = Some(postgres.spawn()?);
        let deadline = Instant::now() + PATIENCE;
        while self.sql("postgres", "SELECT 1").is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("PostgreSQL does not answer: {log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops it, and throws whoever is connected out ("fast shutdown").
    pub(crate) fn stop(&mut self) -> Result<(), Failed> {
        if let Some(mut running) = self.running.take() {
            kill(Pid::from_raw(running.id().cast_signed()), Signal::SIGINT)?;
            running.wait()?;
        }
        Ok(())
    }

    /// What a statement gives, a line a row.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Result<String, Failed> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-A", "-t", "-U", "qdiscope", "-p", &self.port.to_string(), "-d", database])
            .arg("-h");
        psql.arg(self.folder.path()).args(["-c", statement]);
        finish(&mut psql)
    }

    /// Its address, by its socket.
    pub(crate) fn url(&self) -> String {
        let folder = percent_encoded(self.folder.path());
        format!("postgres://qdiscope@localhost:{}/perf?host={folder}", self.port)
    }

    /// The same by TCP.
    pub(crate) fn tcp_url(&self) -> String {
        format!("postgres://qdiscope:secret@127.0.0.1:{}/perf", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread's end kills it, where this fails.
        let _ = self.stop();
    }
}

fn percent_encoded(path: &Path) -> String {
    path.display().to_string().replace('/', "%2F")
}

fn finish(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {said}", command.get_program().display(), output.status).into())
}
