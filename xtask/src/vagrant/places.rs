//! Where things are.

use std::path::PathBuf;

/// Where things are. Also the command line between the parts of `verify`, of which the later have no cargo to ask.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Places {
    /// The executable that is carried into the machine.
    #[arg(long)]
    pub(super) program: PathBuf,
    /// The workspace.
    #[arg(long)]
    pub(super) root: PathBuf,
    /// Boxes, logs and results.
    #[arg(long)]
    pub(super) folder: PathBuf,
}

impl Places {
    /// The arguments that it is read from.
    pub(super) fn arguments(&self) -> [&std::ffi::OsStr; 6] {
        let Self { program, root, folder } = self;
        [
            "--program".as_ref(),
            program.as_ref(),
            "--root".as_ref(),
            root.as_ref(),
            "--folder".as_ref(),
            folder.as_ref(),
        ]
    }

    /// The folder of the Vagrantfile.
    pub(super) fn vagrant(&self) -> PathBuf {
        self.root.join("vagrant")
    }

    /// What every step wrote.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// What Vagrant and libvirt keep, which is nobody's after the run.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// What the run in the machine measured.
    pub(super) fn result(&self) -> PathBuf {
        self.folder.join("result.json")
    }
}
