//! A world of its own: network, mounts and processes that go when it ends, whoever ends it and however.
//!
//! Its first process is a shell that waits for this program (`cargo xtask vagrant in-world`), whose standard input is a pipe that
//! nobody writes to: when this side closes it, or dies, the program ends, and so does the shell. With its first process the
//! kernel ends all others of a process namespace, and then removes what is in the two other namespaces. `kill -9` leaves as
//! little as a good end.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::PathBuf,
    process::{Command, Stdio, exit},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use super::{
    box_image,
    error::{Error, at},
    machine,
    places::Places,
    program::path,
    step::start_error,
};
use crate::interrupt;

/// What is done in a world.
#[derive(clap::Args)]
pub(crate) struct Errand {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Builds a box.
    Box(box_image::Order),
    /// Brings the machine up, and runs `qdiscope bench` in it.
    Machine {
        #[command(flatten)]
        places: Places,
        #[arg(long = "box")]
        box_file: PathBuf,
    },
}

/// A shell waits for whatever becomes its child: the first process has to, for all whose parents are gone. libvirt takes a process
/// that nobody waits for as one that it cannot kill, and tries for 40 s.
const FIRST_PROCESS: [&str; 4] = ["sh", "-c", r#""$@"; exit "$?""#, "sh"];

/// How much of the host is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apart {
    /// Its processes and mounts.
    Processes,
    /// Also its network, and what libvirt keeps.
    Network,
}

impl Errand {
    /// The work itself, in the world.
    pub(super) fn run(self) -> Result<(), Error> {
        // A thread, since the work is not to be asked.
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            exit(1);
        });
        match self.what {
            What::Box(order) => order.carry_out(),
            What::Machine { places, box_file } => {
                furnish(&places)?;
                machine::verify(&places, &box_file)
            }
        }
    }
}

/// Mounts that make the world what libvirt expects of one: `/sys` with the devices of its own network (and no control groups,
/// which would outlive it), `/run` without the sockets of the host's daemons, and libvirt's folders empty.
fn furnish(places: &Places) -> Result<(), Error> {
    run("umount", &["--recursive", "--lazy", "/sys"])?;
    run("mount", &["-t", "sysfs", "sysfs", "/sys"])?;
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
    for name in ["etc/libvirt", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt"] {
        let ours = places.state().join(name);
        fs::create_dir_all(&ours).map_err(at(&ours))?;
        run("mount", &["--bind".as_ref(), ours.as_os_str(), OsStr::new(&format!("/{name}"))])?;
    }
    run("ip", &["link", "set", "lo", "up"])
}

fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(crate::packages::succeed(&mut command)?)
}

/// Runs an errand in a world, until its end, an interruption or the limit. The world and all in it are gone then.
pub(super) fn send(errand: &[&OsStr], apart: Apart, limit: Duration) -> Result<(), Error> {
    let mut arguments: Vec<OsString> =
        ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"].map(Into::into).into();
    if apart == Apart::Network {
        arguments.push("--net".into());
    }
    arguments.extend(FIRST_PROCESS.map(Into::into));
    arguments.push(env::current_exe().map_err(at("/proc/self/exe"))?.into());
    arguments.extend(["vagrant", "in-world"].map(Into::into));
    arguments.extend(errand.iter().map(|&word| word.to_owned()));
    let mut command = Command::new("unshare");
    command.args(arguments).env("PATH", path()).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(&command, source))?;
    let start = Instant::now();
    let mut asked_to_end = None;
    loop {
        if let Some(status) = child.try_wait().map_err(|source| start_error(&command, source))? {
            return match status {
                _ if interrupt::came() => Err(Error::Interrupted),
                _ if status.success() => Ok(()),
                _ => Err(Error::Told(status)),
            };
        }
        match asked_to_end {
            None if interrupt::came() || start.elapsed() > limit => {
                if !interrupt::came() {
                    eprintln!("cargo xtask: it did not end within {} s", limit.as_secs());
                }
                drop(child.stdin.take());
                asked_to_end = Some(Instant::now());
            }
            // It does not even do that.
            Some(since) if since.elapsed() > Duration::from_secs(10) => {
                // It may end just now; with it the kernel kills the first process.
                let _ = child.kill();
            }
            _ => {}
        }
        sleep(Duration::from_millis(50));
    }
}
