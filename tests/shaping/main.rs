//! HTB really shapes: traffic between two network namespaces, through qdiscs, classes and filters that the adapter made.
//!
//! What a class lets through is measured twice: by the counter of the class, and by what arrives. Kinds that a kernel lacks are
//! tried, and skipped with what the kernel said.

mod borrowing;
mod flow;
mod kinds;
mod outcome;
mod pair;
mod rate;
mod shaper;
mod window;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use support::{Need, in_namespace, require};

use crate::outcome::{Stop, Test};

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Htb];

const TESTS: &[(&str, Test)] = &[
    ("rate::tcp_gets_10_mbit", rate::tcp_gets_10_mbit),
    ("rate::tcp_gets_100_mbit", rate::tcp_gets_100_mbit),
    ("rate::large_packets_are_charged_as_their_segments", rate::large_packets_are_charged_as_their_segments),
    ("borrowing::an_idle_siblings_rate_is_lent", borrowing::an_idle_siblings_rate_is_lent),
    ("borrowing::busy_siblings_get_their_rates", borrowing::busy_siblings_get_their_rates),
    ("kinds::u32_steers_by_port", kinds::u32_steers_by_port),
    ("kinds::flower_steers_by_port", kinds::flower_steers_by_port),
    ("kinds::fq_codel_counts_under_a_class", kinds::fq_codel_counts_under_a_class),
    ("kinds::netem_delays", kinds::netem_delays),
    ("kinds::a_dummy_device_is_shaped", kinds::a_dummy_device_is_shaped),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They measure: at once they would take each other's CPU.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, TESTS.iter().map(|&(name, test)| trial(name, test)).collect()).exit_code()
}

/// A test in a network namespace of its own, which may find out on its way that this machine cannot run it.
fn trial(name: &str, test: Test) -> Trial {
    Trial::ignorable_test(name, move || {
        let outcome = match require(NEEDS) {
            Ok(()) => in_namespace(|| Ok(test()))?,
            Err(skip) => Err(Stop::Skip(skip)),
        };
        match outcome {
            Ok(()) => Ok(Completion::Completed),
            Err(Stop::Skip(skip)) => skip.into_result(),
            Err(Stop::Failed(failed)) => Err(failed),
        }
    })
}
