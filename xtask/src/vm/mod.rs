//! `cargo xtask vm`: what needs another kernel than this machine's, in virtual machines with Debian's kernels.
//!
//! A guest is QEMU, a kernel as Debian built it, and an initramfs with our executables and their libraries. It has no disk and no network; it
//! gets a job description, and sends what came of it through a virtio port. Everything is in the target folder, below `vm`.

mod accel;
mod archive;
mod bench;
mod clock;
mod console;
mod error;
mod executables;
mod faults;
mod host;
mod image;
mod initramfs;
mod job;
mod junit;
mod kernels;
mod machine;
mod modules;
mod package;
mod program;
mod python;
mod results;
mod selection;
mod shell;
mod table;
mod test;
mod tree;
mod verdict;
mod version;

use std::process::ExitCode;

use clap::Subcommand;
pub(crate) use error::Error;

/// Test, measure or look around in virtual machines with Debian's kernels (QEMU, on x86-64).
///
/// The kernels are in xtask/kernels.toml. They come from the Debian mirror that apt is set up for on this machine, verified by
/// apt, and are cached in the target folder. No root is needed, except by --install and natively by `matrix bench`.
///
/// Exit code 1: a test failed, or a guest panicked, hung or did not send its results: the end of its console is shown then, and
/// the whole of it is kept. 130: a signal ended it. A series that Debian no longer has is reported as not run; that fails only where nothing else ran.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The series, as 6.12.
    #[arg(long, global = true, value_name = "SERIES")]
    kernel: Option<String>,
    #[command(flatten)]
    guest: host::Settings,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Test(test::Options),
    Bench(bench::Options),
    /// Look around: an interactive shell on the guest's console, with tc, ip, strace, busybox and qdiscope; `exit` powers off.
    Shell,
    /// End guests badly on purpose (a panic, a standstill …), to see that each bad end is noticed.
    Faults,
    /// The same on all kernels: tests at once, benches one after the other.
    Matrix {
        #[command(subcommand)]
        task: Matrix,
    },
}

#[derive(Subcommand)]
enum Matrix {
    Test(test::Options),
    Bench(bench::Options),
}

pub(crate) fn run(options: Options) -> Result<ExitCode, Error> {
    let one = || kernels::one(options.kernel.as_deref());
    match options.task {
        Task::Test(test) => test::run(&options.guest, &[one()?], &test),
        Task::Bench(bench) => bench::one(&options.guest, &one()?, bench),
        Task::Shell => shell::run(&options.guest, &one()?),
        Task::Faults => faults::run(&options.guest, &one()?),
        Task::Matrix { task } => {
            let kernels = match &options.kernel {
                Some(_) => vec![one()?],
                None => kernels::all()?,
            };
            match task {
                Matrix::Test(test) => test::run(&options.guest, &kernels, &test),
                Matrix::Bench(bench) => bench::matrix(&options.guest, &kernels, bench),
            }
        }
    }
}
