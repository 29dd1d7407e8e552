//! The probes on a real kernel: attached in a network namespace of their own, fed by raw netlink requests whose number and
//! content are known.

mod contention;
mod details;
mod diagnostics;
mod events;
mod follow;
mod kinds;
mod lifetime;
mod machine;
mod obstacles;
mod packets;
mod requests;
mod samples;
mod stacks;
mod verdicts;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    // This executable is also the other process that some of its tests need.
    if let Some(role) = machine::role() {
        return role.play();
    }
    let mut arguments = Arguments::from_args();
    // The probes follow a process: two tests at once would see each other's requests.
    arguments.test_threads = Some(1);
    if !arguments.list {
        machine::enter();
        diagnostics::keep();
    }
    let trials = vec![
        trial("probes::the_kind_that_must_be_is_chosen", kinds::the_kind_that_must_be_is_chosen),
        trial("probes::every_request_gives_one_event", events::every_request_gives_one_event),
        trial("probes::a_full_ring_buffer_loses_and_counts", events::a_full_ring_buffer_loses_and_counts),
        trial("probes::threads_are_not_mixed_up", events::threads_are_not_mixed_up),
        trial("probes::what_is_no_request_gives_no_event", events::what_is_no_request_gives_no_event),
        trial_on_cpus(2, "probes::waiting_for_rtnl_is_seen", contention::waiting_for_rtnl_is_seen),
        trial_on_cpus(
            2,
            "probes::samples_say_where_requests_wait_and_what_the_holder_does",
            samples::samples_say_where_requests_wait_and_what_the_holder_does,
        ),
        trial("probes::kinds_agree", kinds::kinds_agree),
        trial("probes::two_at_once_see_the_same", kinds::two_at_once_see_the_same),
        trial("probes::messages_of_a_packet_are_told_apart", packets::messages_of_a_packet_are_told_apart),
        trial(
            "probes::a_refusal_comes_with_the_kernels_words",
            verdicts::a_refusal_comes_with_the_kernels_words,
        ),
        trial(
            "probes::waiting_for_rcu_is_no_waiting_for_rtnl",
            verdicts::waiting_for_rcu_is_no_waiting_for_rtnl,
        ),
        trial("probes::without_btf_the_next_kind_is_taken", obstacles::without_btf_the_next_kind_is_taken),
        trial(
            "probes::without_tracefs_waits_are_not_measured",
            obstacles::without_tracefs_waits_are_not_measured,
        ),
        trial("probes::a_btf_that_is_none_is_told", obstacles::a_btf_that_is_none_is_told),
        trial(
            "probes::a_btf_that_does_not_match_is_noticed",
            obstacles::a_btf_that_does_not_match_is_noticed,
        ),
        Trial::ignorable_test("probes::a_missing_function_is_told", || {
            match machine::in_own_namespace(obstacles::htb_stays)? {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => machine::in_own_namespace(obstacles::a_missing_function_is_told)
                    .map(|()| Completion::Completed),
            }
        }),
        Trial::ignorable_test("probes::under_lockdown_the_reason_is_told", || {
            if env::var_os(obstacles::LOCK_DOWN).is_none() {
                let reason =
                    "locks the kernel down until it is booted again: `cargo xtask vm` lets it, as the last";
                return Ok(Completion::ignored_with(reason));
            }
            machine::in_own_namespace(obstacles::under_lockdown_the_reason_is_told)?;
            Ok(Completion::Completed)
        }),
        trial("probes::details_say_what_a_request_is_about", details::details_say_what_a_request_is_about),
        trial(
            "probes::a_verdict_that_nobody_asked_for_is_not_made_up",
            details::a_verdict_that_nobody_asked_for_is_not_made_up,
        ),
        trial("probes::a_family_is_followed_from_birth", follow::a_family_is_followed_from_birth),
        trial(
            "probes::a_process_is_followed_until_its_last_thread_ends",
            follow::a_process_is_followed_until_its_last_thread_ends,
        ),
        trial("probes::everybody_is_followed", follow::everybody_is_followed),
        trial("probes::drop_detaches", lifetime::drop_detaches),
        trial("probes::kill_while_attaching_leaves_nothing", lifetime::kill_while_attaching_leaves_nothing),
        trial("probes::kill_leaves_nothing", lifetime::kill_leaves_nothing),
        trial("probes::kernel_stacks_are_sampled", stacks::kernel_stacks_are_sampled),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test in a thread and a network namespace of its own. Where requests cannot be followed at all it is skipped, and says why.
fn trial(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    trial_on_cpus(1, name, test)
}

/// A test that needs so many CPUs.
fn trial_on_cpus(cpus: usize, name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(obstacle) = machine::obstacle() {
            return Ok(Completion::ignored_with(obstacle));
        }
        let available = machine::cpus()?.len();
        if available < cpus {
            return Ok(Completion::ignored_with(format!("needs {cpus} CPUs and has {available}")));
        }
        machine::in_own_namespace(test).map(|()| Completion::Completed)
    })
}
