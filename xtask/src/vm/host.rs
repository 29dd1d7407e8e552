//! What all guests share: the settings, the cache, the executables, and the base of the root file system.

use std::{
    env::consts::ARCH,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    accel::{self, Accel, Wish},
    console::Shown,
    error::{Error, file},
    executables::{self, Executables},
    image::Image,
    initramfs,
    job::{Job, Task},
    kernels::Kernel,
    machine::{self, Machine, Outcome},
    program,
    tree::Tree,
    verdict,
};
use crate::cargo::Workspace;

/// How guests are run.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Settings {
    /// Install the Debian packages that are missing for it: QEMU, busybox, kmod …
    #[arg(long, global = true)]
    install: bool,
    /// Fetch kernels anew, even those that the cache has.
    #[arg(long, global = true)]
    refresh: bool,
    /// What runs the guest's code.
    #[arg(long, global = true, value_enum, default_value_t = Wish::Auto)]
    accel: Wish,
    /// A guest's memory in MiB; 512 are enough for the tests.
    #[arg(long, global = true, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// A guest's processors.
    #[arg(long, global = true, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// How many minutes a guest may take before it is ended, and counts as failed.
    #[arg(long, global = true, value_name = "MINUTES", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1440))]
    timeout: u64,
}

/// Where programs are in a guest.
pub(super) const QDISCOPE: &str = "/usr/bin/qdiscope";

/// All that is the same for each guest of this run.
pub(super) struct Host {
    options: Settings,
    pub(super) workspace: Workspace,
    pub(super) executables: Executables,
    pub(super) tree: Tree,
    /// How long a guest may be silent.
    pub(super) stall: Duration,
    dir: PathBuf,
}

impl Host {
    /// Installs if wished, checks, and builds.
    pub(super) fn prepare(options: &Settings) -> Result<Self, Error> {
        if ARCH != "x86_64" {
            return Err(Error::Architecture(ARCH));
        }
        if options.install {
            program::install()?;
        }
        program::check()?;
        let workspace = Workspace::load()?;
        let executables = executables::build(&workspace)?;
        let mut tree = initramfs::base(&executables.init)?;
        initramfs::add_program(&mut tree, &executables.qdiscope, "qdiscope")?;
        let dir = workspace.target_dir.join("vm");
        Ok(Self { options: options.clone(), workspace, executables, tree, stall: machine::STALL, dir })
    }

    /// The kernel, and how it will be run.
    pub(super) fn image(&self, kernel: &Kernel) -> Result<(Image, Accel), Error> {
        let image = Image::get(kernel, &self.dir.join("kernels"), self.options.refresh)?;
        if let Some(warning) = &image.warning {
            eprintln!("cargo xtask: {warning}");
        }
        let (memory, scratch) = (self.dir.join("accel.json"), self.dir.join("accel"));
        let accel = accel::choose(self.options.accel, &memory, &image, &self.tree, &scratch)?;
        Ok((image, accel))
    }

    /// A new folder for what a guest sends.
    pub(super) fn folder(&self, machine: &str, purpose: &str) -> Result<PathBuf, Error> {
        let dir = self.dir.join(machine).join(purpose);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(&dir)(error)),
            _ => {}
        }
        fs::create_dir_all(&dir).map_err(file(&dir))?;
        Ok(dir)
    }

    /// Boots a guest for these tasks, and waits for its end.
    pub(super) fn run(
        &self,
        kernel: &Kernel,
        (image, accel): (&Image, Accel),
        dir: &Path,
        tasks: Vec<Task>,
    ) -> Result<Outcome, Error> {
        let timeout = Duration::from_secs(self.options.timeout * 60);
        // The last tenth is for the start, and for sending results.
        let job = Job { tasks, seconds: timeout.as_secs() * 9 / 10, shell: false };
        let mut machine = Machine::new(image, dir, accel, self.options.memory, self.options.cpus, timeout);
        machine.stall = self.stall;
        initramfs::write(&self.tree, &job, image, &machine.initramfs)?;
        eprintln!(
            "cargo xtask: booting {} ({}) with {} MiB and {} CPUs under {}",
            kernel.series,
            image.version,
            self.options.memory,
            self.options.cpus,
            accel.name()
        );
        let outcome = machine::run(&machine, &mut Shown::new(&kernel.series))?;
        let release = outcome.results.end.as_ref().map_or("no kernel release was sent", |end| &end.kernel);
        eprintln!("cargo xtask: {} took {:.1} s ({release})", kernel.series, outcome.took.as_secs_f64());
        if let Some(fault) = &outcome.fault {
            let log = fs::read(&outcome.console).map_err(file(&outcome.console))?;
            eprintln!("cargo xtask: kernel {}: {fault}\nThe end of its console:", kernel.series);
            eprint!("{}", verdict::last_lines(&String::from_utf8_lossy(&log), 25));
            eprintln!("All of it: {}", outcome.console.display());
        }
        Ok(outcome)
    }

    /// As [`Self::run`], for a person at a terminal.
    pub(super) fn shell(&self, (image, accel): (&Image, Accel), dir: &Path) -> Result<Outcome, Error> {
        let timeout = Duration::from_secs(self.options.timeout * 60);
        let job = Job { tasks: Vec::new(), seconds: timeout.as_secs(), shell: true };
        let mut machine = Machine::new(image, dir, accel, self.options.memory, self.options.cpus, timeout);
        machine.interactive = true;
        initramfs::write(&self.tree, &job, image, &machine.initramfs)?;
        machine::run(&machine, &mut io::sink())
    }
}
