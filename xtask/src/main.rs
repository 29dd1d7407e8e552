//! `cargo xtask`: what a contributor runs. One file a subcommand, and no dependency on the project's own crates:
//! it runs cargo, and what cargo built.
//!
//! Exit codes: 0 done; 1 something failed (for `bench` and `run`: what `qdiscope` itself returned); 2 wrong
//! usage; 3 root is needed and could not be had; cargo's own code where cargo failed (101 as a rule).

mod bench;
mod cargo;
mod ebpf;
mod error;
mod fuzz;
mod interrupt;
mod packages;
mod peers;
mod privilege;
mod run;
mod stats_bench;
mod test;
mod trials;
mod vagrant;
mod vm;

use std::{fmt::Display, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

/// Builds, runs, measures and tests qdiscope.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    Bench(bench::Options),
    Ebpf(ebpf::Options),
    Fuzz(fuzz::Options),
    Run(run::Options),
    StatsBench(stats_bench::Options),
    Test(test::Options),
    Trials(trials::Options),
    Vagrant(vagrant::Options),
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let Some(task) = Cli::parse().task else {
        print!("{}", Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    let outcome = match task {
        Task::Bench(options) => bench::run(options).map(|never| match never {}),
        Task::Ebpf(options) => {
            return ebpf::run(options).map_or_else(|error| failure(&error, 1), |()| ExitCode::SUCCESS);
        }
        Task::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Run(options) => run::run(options).map(|never| match never {}),
        Task::StatsBench(options) => {
            return stats_bench::run(&options).unwrap_or_else(|error| failure(&error, error.exit_code()));
        }
        Task::Test(options) => test::run(&options),
        Task::Trials(options) => {
            return trials::run(&options).unwrap_or_else(|error| failure(&error, error.exit_code()));
        }
        Task::Vagrant(options) => {
            return vagrant::run(options).unwrap_or_else(|error| failure(&error, error.exit_code()));
        }
        Task::Vm(options) => {
            return vm::run(options).unwrap_or_else(|error| failure(&error, error.exit_code()));
        }
    };
    outcome.unwrap_or_else(|error| failure(&error, error.exit_code()))
}

fn failure(error: &impl Display, code: u8) -> ExitCode {
    eprintln!("cargo xtask: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// `qdiscope generate github-workflow` writes command lines of ours, with `{{ … }}` for the whole of one.
    #[test]
    fn generated_workflows_run_what_is_there() {
        let source = include_str!("../../harness/src/cli/generate.rs");
        let series = source.split("const SERIES: &str = \"").nth(1).and_then(|rest| rest.split('"').next());
        let series = series.expect("the guest's kernel");
        assert!(include_str!("../kernels.toml").contains(&format!("\"{series}\"")), "no kernel {series}");
        let commands: Vec<_> = source
            .split("format!(\"cargo xtask ")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap_or_default())
            .map(|line| line.replace("{SERIES}", series).replace("{budget}", " --budget ci/budget.toml"))
            .collect();
        assert_eq!(commands.len(), 2, "{commands:?}");
        for command in commands {
            let words = std::iter::once("xtask").chain(command.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{command}: {error}");
            }
        }
    }
}
