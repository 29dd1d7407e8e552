//! The same traffic-control work through every client there is, in one interleaved run.
//!
//! `run` is the driver: it makes the arena (a network namespace of its own), has each client do each work in turn, round by
//! round, and prints medians, their spread, and the ratios to `tc -batch` and to the floor. Each client is a process of its
//! own, so that its CPU time and its memory are its own too: those in Rust are this program again (`client`), the others are
//! built from `clients/`.

mod allocations;
mod arena;
mod client;
mod growth;
mod measure;
mod peer;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Compares tc-adapter with every other traffic-control client on this machine.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the comparison, as root
    Run(Options),
    /// Measure what one more class costs when there are many, and the two ways round it, as root
    Growth(growth::Options),
    /// Be a client: one work, one line of JSON
    #[command(hide = true)]
    Client(client::Arguments),
}

/// What to compare.
#[derive(Clone, clap::Args)]
struct Options {
    /// Rounds; in each, every client does every work once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A tenth of the work: to see that everything runs
    #[arg(long)]
    quick: bool,
    /// Only clients whose names contain this (may be repeated); the floor and `tc -batch` always run
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where the figures go, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder with Python packages, as `pip install --target` makes it
    #[arg(long, value_name = "DIR")]
    python_packages: Option<PathBuf>,
    /// Exit with 4 where a goal is missed
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => work::run(&options),
        Command::Growth(options) => growth::run(&options),
        Command::Client(arguments) => client::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("peers: {error:#}");
        ExitCode::FAILURE
    })
}
