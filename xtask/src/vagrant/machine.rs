//! The machine: up from the Vagrantfile as it is, a short run in it, and away again.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    catalogue,
    daemons::{Daemons, possessions, virsh},
    error::Error,
    figures,
    places::Places,
    step::Step,
};

/// Where the program lies in the machine, and where it saves its run.
const PROGRAM: &str = "/tmp/qdiscope";
const RUN: &str = "/tmp/run";

/// How long the steps may take on a busy machine without KVM.
const UP: Duration = Duration::from_mins(15);
const COPY: Duration = Duration::from_mins(3);
const BENCH: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_mins(2);
/// All of it.
pub(super) const LIMIT: Duration = Duration::from_mins(40);

/// `qdiscope bench` came to its end: all targets hold, one is violated, or one could not be judged. Times under TCG say nothing.
const ENDS: [i32; 3] = [0, 4, 6];

/// In a world: brings the machine up, measures in it, and takes it down, whatever happened in between.
pub(super) fn verify(places: &Places, box_file: &Path) -> Result<(), Error> {
    let _daemons = Daemons::start(places)?;
    let machine = Machine { places, logs: places.logs(), home: places.state().join("vagrant") };
    let catalogue = catalogue::write(&machine.home, box_file)?;
    let before = possessions()?;
    machine
        .step("vagrant box add", SHORT)
        .run(machine.vagrant().arg("box").arg("add").arg(catalogue), &[0])?;
    let outcome = machine.up_and_measure();
    let destroyed = machine.destroy(&before);
    let kind = outcome?;
    destroyed?;
    println!(
        "the machine came up, measured with probes of kind {kind}, and is gone: {}",
        places.result().display()
    );
    Ok(())
}

struct Machine<'a> {
    places: &'a Places,
    logs: PathBuf,
    home: PathBuf,
}

impl Machine<'_> {
    fn step(&self, name: &'static str, limit: Duration) -> Step<'_> {
        Step { name, limit, logs: &self.logs }
    }

    fn vagrant(&self) -> Command {
        let mut command = Command::new("vagrant");
        command
            .env("VAGRANT_CWD", self.places.vagrant())
            // The repository's own may be somebody's machine.
            .env("VAGRANT_DOTFILE_PATH", self.places.state().join("machine"))
            .env("VAGRANT_HOME", &self.home)
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            .env("VAGRANT_DEFAULT_PROVIDER", "libvirt")
            // Enough for a program that is not built there.
            .env("QDISCOPE_VM_MEMORY_MIB", "1536");
        command
    }

    /// Runs a line of shell in the machine.
    fn ssh(&self, line: &str) -> Command {
        let mut command = self.vagrant();
        command.args(["ssh", "--no-tty", "--command", line]);
        command
    }

    /// Gives the kind of the probes.
    fn up_and_measure(&self) -> Result<&'static str, Error> {
        // Without the packages of the provisioning script, which take QEMU most of an hour; CI runs that script where it is fast.
        let mut up = self.vagrant();
        self.step("vagrant up", UP).run(up.args(["up", "--no-tty", "--no-color", "--no-provision"]), &[0])?;
        self.step("look at the copy", SHORT).run(&mut self.ssh("test -f /qdiscope/Cargo.toml"), &[0])?;
        let mut upload = self.vagrant();
        upload.args(["upload", "--no-tty"]).arg(&self.places.program).arg(PROGRAM);
        self.step("vagrant upload", COPY).run(&mut upload, &[0])?;
        let bench = format!("sudo -E {PROGRAM} bench --quick --out {RUN}");
        self.step("qdiscope bench", BENCH).run(&mut self.ssh(&bench), &ENDS)?;
        let result = self.places.result();
        let cat = format!("sudo cat {RUN}/result.json");
        self.step("fetch result.json", SHORT).run_into(&mut self.ssh(&cat), &result)?;
        figures::check(&result)
    }

    /// Takes down what `vagrant up` made, and looks whether that was all of it.
    fn destroy(&self, before: &[String]) -> Result<(), Error> {
        let mut destroy = self.vagrant();
        self.step("vagrant destroy", SHORT).run(destroy.args(["destroy", "--no-tty", "--force"]), &[0])?;
        // The copy of the box in libvirt's storage, which Vagrant keeps for the next machine. And the storage itself.
        for line in possessions()?.iter().filter(|line| !before.contains(line)) {
            if let Some((pool, name)) = line.strip_prefix("volume ").and_then(|volume| volume.split_once('/'))
                && name.contains("_vagrant_box_image_")
            {
                let mut delete = virsh();
                self.step("virsh vol-delete", SHORT)
                    .run(delete.args(["vol-delete", "--pool", pool, name]), &[0])?;
            }
        }
        let left: Vec<String> = possessions()?
            .into_iter()
            .filter(|line| !before.contains(line) && !line.starts_with("pool "))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(Error::Leftovers(left.join(", "))) }
    }
}
