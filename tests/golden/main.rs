//! The traffic-control adapter held against the real `tc` (the same bytes, the same effect) and against the real kernel.
//!
//! Each test has a network namespace of its own. Needs root, `ip`, `tc` and, for the bytes, `strace`.

mod adapter;
mod capture;
mod cases;
mod compare;
mod message;
mod shown;
mod texts;

use libtest_mimic::{Arguments, run};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let trials = compare::trials().into_iter().chain(texts::trials()).chain(adapter::trials()).collect();
    run(&arguments, trials).exit_code()
}
