//! `cargo xtask vagrant`: whether the machine that people bring up by `vagrant/Vagrantfile` is right, and comes up.
//!
//! `verify` happens in a world of its own (`world.rs`): network, mount and process namespaces with libvirt's daemons in them. What
//! it starts and makes goes with the world, when it ends as well as when it is killed; a libvirt of the host is never talked to.

mod box_image;
mod catalogue;
mod daemons;
mod error;
mod figures;
mod lock;
mod machine;
mod places;
mod program;
mod step;
mod traces;
mod validate;
mod verify;
mod world;

use std::process::ExitCode;

pub(crate) use error::Error;

/// Check the Vagrantfile, or bring its machine up.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    Validate(validate::Options),
    Verify(verify::Options),
    /// What `verify` does as root, once there is a program to carry in.
    #[command(hide = true)]
    AsRoot(places::Places),
    /// What `verify` does in a world of its own.
    #[command(hide = true)]
    InWorld(world::Errand),
}

/// Does what `options` say. What has been told already is no error any more, but an exit code.
pub(crate) fn run(options: Options) -> Result<ExitCode, Error> {
    let outcome = match options.task {
        Task::Validate(options) => validate::run(&options),
        Task::Verify(options) => verify::run(options),
        Task::AsRoot(places) => verify::as_root(&places),
        Task::InWorld(errand) => errand.run(),
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Error::Told(_)) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}
