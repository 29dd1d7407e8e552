//! libvirt's daemons, for one world.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    error::{Error, at},
    places::Places,
    step::start_error,
};

/// As root, since there is nobody else in this world, and without a guard that the host may have and the world has not: a
/// machine of ours runs nothing but ours.
const SETTINGS: &str = r#"user = "root"
group = "root"
security_driver = "none"
namespaces = []
"#;

const NAME: &str = "the start of libvirt";
const LIMIT: Duration = Duration::from_mins(1);

/// Ended when this goes; at the latest, with the world.
pub(super) struct Daemons {
    running: Vec<Child>,
}

impl Daemons {
    /// Starts them, and waits until libvirt answers.
    pub(super) fn start(places: &Places) -> Result<Self, Error> {
        let settings = Path::new("/etc/libvirt/qemu.conf");
        fs::write(settings, SETTINGS).map_err(at(settings))?;
        let run = Path::new("/run/libvirt");
        fs::create_dir_all(run).map_err(at(run))?;
        let mut daemons = Self { running: Vec::new() };
        for program in ["virtlogd", "libvirtd"] {
            let log = places.logs().join(format!("{program}.log"));
            let file = File::create(&log).map_err(at(&log))?;
            let mut command = Command::new(program);
            command.stdin(Stdio::null()).stdout(file.try_clone().map_err(at(&log))?).stderr(file);
            daemons.running.push(command.spawn().map_err(|source| start_error(&command, source))?);
        }
        let start = Instant::now();
        while !answers() {
            if start.elapsed() > LIMIT {
                return Err(Error::Slow {
                    step: NAME,
                    limit: LIMIT,
                    log: places.logs().join("libvirtd.log"),
                });
            }
            sleep(Duration::from_millis(200));
        }
        Ok(daemons)
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in self.running.iter_mut().rev() {
            // It may have died.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn answers() -> bool {
    let mut command = virsh();
    command.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `virsh`, talking to the system's libvirt: in a world, its own.
pub(super) fn virsh() -> Command {
    let mut command = Command::new("virsh");
    command.args(["--quiet", "--connect", "qemu:///system"]);
    command
}

/// What libvirt has: domains, networks and volumes, each as "domain NAME".
pub(super) fn possessions() -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for (kind, words) in [
        ("domain", &["list", "--all", "--name"] as &[&str]),
        ("network", &["net-list", "--all", "--name"]),
        ("pool", &["pool-list", "--all", "--name"]),
    ] {
        all.extend(lines(words)?.into_iter().map(|name| format!("{kind} {name}")));
    }
    for pool in all.clone().iter().filter_map(|line| line.strip_prefix("pool ")) {
        // "NAME PATH"
        for line in lines(&["vol-list", pool])? {
            let name = line.split_whitespace().next().unwrap_or_default();
            all.push(format!("volume {pool}/{name}"));
        }
    }
    Ok(all)
}

fn lines(words: &[&str]) -> Result<Vec<String>, Error> {
    let mut command = virsh();
    let output = command.args(words).output().map_err(|source| start_error(&command, source))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
