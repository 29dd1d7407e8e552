//! `cargo xtask vm --kernel SERIES shell`

use std::process::ExitCode;

use super::{
    error::Error,
    host::{self, Host},
    kernels::Kernel,
};

pub(super) fn run(options: &host::Settings, kernel: &Kernel) -> Result<ExitCode, Error> {
    let host = Host::prepare(options, false)?;
    let (image, accel) = host.image(kernel)?;
    let dir = host.folder(&kernel.series, "shell")?;
    eprintln!(
        "cargo xtask: {} under {}; Ctrl-A x ends it at once, --timeout in any case",
        image.version,
        accel.name()
    );
    let outcome = host.shell((&image, accel), &dir)?;
    match outcome.fault {
        None => Ok(ExitCode::SUCCESS),
        Some(fault) => Err(Error::Guest { series: kernel.series.clone(), fault, console: outcome.console }),
    }
}
