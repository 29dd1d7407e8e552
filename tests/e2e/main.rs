//! The built binary on a real kernel, from the command line to the saved run.
//!
//! Needs `QDISCOPE_BIN`, which `cargo xtask test` sets. Each test has a network namespace of its own, which stands
//! for the host's: a run must leave it as it is.

mod baseline;
mod bisect;
mod budget;
mod churn;
mod clock;
mod compare;
mod disk;
mod disturb;
mod faults;
mod figures;
mod gate;
mod history;
mod host;
mod investigate;
mod load;
mod mounts;
mod outputs;
mod overhead;
mod postgres;
mod profile;
mod profiles;
mod qdiscope;
mod result;
mod rtnl;
mod runs;
mod scaling;
mod schema;
mod signals;
mod stacks;
mod stats;
mod streams;
mod tc;
mod terminal;
mod top;
mod trace;
mod trace_events;
mod verdict;

use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::{Need, Skip, in_namespace, require};

const NEEDS: [Need; 4] = [Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Htb];

fn main() -> ExitCode {
    if let Some(exit) = rtnl::as_hammer().or_else(trace::as_sender) {
        return exit;
    }
    let mut arguments = Arguments::from_args();
    // Databases and searches mostly wait, and measure nothing that has to be right.
    arguments.test_threads = Some(3);
    let waiting = remembered().into_iter().chain(bisections()).collect();
    let first = libtest_mimic::run(&arguments, waiting);
    // What the others measure, and the host that they compare, is the same for all of them.
    arguments.test_threads = Some(1);
    let trials = anywhere()
        .into_iter()
        .chain(deployments())
        .chain(loads())
        .chain(budgets())
        .chain(statistics())
        .chain(comparisons())
        .chain(disturbed())
        .chain(watched())
        .chain(traced())
        .chain(profiled())
        .chain([Trial::ignorable_test(
            "clock::a_clock_that_is_set_changes_no_duration",
            clock::a_clock_that_is_set_changes_no_duration,
        )])
        .collect();
    let second = libtest_mimic::run(&arguments, trials);
    if first.has_failed() { first.exit_code() } else { second.exit_code() }
}

type Test = fn() -> Result<(), Failed>;

/// Tests that every machine with HTB can run.
fn anywhere() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("result::every_field_is_there", result::every_field_is_there),
        ("schema::the_committed_schema_is_the_binarys", schema::the_committed_schema_is_the_binarys),
        ("schema::the_schema_refuses_what_is_wrong", schema::the_schema_refuses_what_is_wrong),
        ("result::operations_are_accounted_for", result::operations_are_accounted_for),
        ("result::percentiles_ascend", result::percentiles_ascend),
        ("result::nothing_leaks", result::nothing_leaks),
        ("result::an_open_loop_offers_its_rate", result::an_open_loop_offers_its_rate),
        ("result::a_closed_loop_has_no_rate", result::a_closed_loop_has_no_rate),
        ("result::the_seed_decides_what_is_asked", result::the_seed_decides_what_is_asked),
        ("result::less_than_a_second_has_no_worst_second", result::less_than_a_second_has_no_worst_second),
        ("investigate::steps_are_in_the_trace", investigate::steps_are_in_the_trace),
        ("investigate::what_is_no_run_is_refused", investigate::what_is_no_run_is_refused),
        ("result::without_probes_nothing_is_claimed", result::without_probes_nothing_is_claimed),
        ("result::runs_are_kept_by_time", result::runs_are_kept_by_time),
        ("profiles::artifacts_are_there", profiles::artifacts_are_there),
        ("profiles::the_latency_log_reads_back", profiles::the_latency_log_reads_back),
        ("profiles::the_user_flamegraph_names_the_encoder", profiles::the_user_flamegraph_names_the_encoder),
        ("profiles::the_cpu_profile_names_our_code", profiles::the_cpu_profile_names_our_code),
        (
            "profiles::the_cpu_profile_accounts_for_the_cpu_time",
            profiles::the_cpu_profile_accounts_for_the_cpu_time,
        ),
        (
            "profiles::the_heap_profile_accounts_for_allocations",
            profiles::the_heap_profile_accounts_for_allocations,
        ),
        (
            "profiles::allocations_are_sampled_where_that_is_asked_for",
            profiles::allocations_are_sampled_where_that_is_asked_for,
        ),
        ("verdict::a_violation_exits_with_4_and_says_what", verdict::a_violation_exits_with_4_and_says_what),
        ("verdict::a_budget_that_holds_exits_with_0", verdict::a_budget_that_holds_exits_with_0),
        ("verdict::what_was_not_measured_exits_with_6", verdict::what_was_not_measured_exits_with_6),
        ("verdict::a_bad_budget_exits_with_2", verdict::a_bad_budget_exits_with_2),
        ("faults::bad_arguments_are_refused", faults::bad_arguments_are_refused),
        ("faults::without_root_it_says_sudo", faults::without_root_it_says_sudo),
        ("faults::out_must_be_a_folder", faults::out_must_be_a_folder),
        ("faults::probes_that_cannot_load_are_told", faults::probes_that_cannot_load_are_told),
        ("faults::the_doctor_knows_this_machine", faults::the_doctor_knows_this_machine),
        ("faults::the_doctor_speaks_to_everybody", faults::the_doctor_speaks_to_everybody),
        ("disk::a_full_disk_is_told_before_the_work", disk::a_full_disk_is_told_before_the_work),
        (
            "disk::a_disk_that_fills_up_does_not_cost_the_run",
            disk::a_disk_that_fills_up_does_not_cost_the_run,
        ),
        (
            "disk::a_disk_that_is_full_at_the_end_leaves_no_half_result",
            disk::a_disk_that_is_full_at_the_end_leaves_no_half_result,
        ),
        ("disk::a_full_stdout_is_told", disk::a_full_stdout_is_told),
        ("disk::an_earlier_run_outlives_one_that_fails", disk::an_earlier_run_outlives_one_that_fails),
        ("result::a_schedule_is_kept_to_its_end", result::a_schedule_is_kept_to_its_end),
        ("signals::hanging_up_saves_what_was_measured", signals::hanging_up_saves_what_was_measured),
        ("signals::interrupt_saves_what_was_measured", signals::interrupt_saves_what_was_measured),
        ("signals::terminate_saves_what_was_measured", signals::terminate_saves_what_was_measured),
        ("signals::interrupt_is_heard_during_preparation", signals::interrupt_is_heard_during_preparation),
        ("signals::the_second_interrupt_ends_at_once", signals::the_second_interrupt_ends_at_once),
        ("streams::a_reader_that_leaves_is_no_error", streams::a_reader_that_leaves_is_no_error),
        ("streams::no_reader_is_no_error", streams::no_reader_is_no_error),
        ("streams::closed_streams_are_no_error", streams::closed_streams_are_no_error),
        ("host::a_run_changes_nothing", host::a_run_changes_nothing),
        ("host::kill_leaves_nothing", host::kill_leaves_nothing),
        ("tc::a_shapers_file_is_what_tc_makes_of_it", tc::a_shapers_file_is_what_tc_makes_of_it),
        ("tc::only_what_differs_is_changed", tc::only_what_differs_is_changed),
        ("tc::what_is_not_named_is_not_touched", tc::what_is_not_named_is_not_touched),
        ("tc::toml_and_json_say_the_same", tc::toml_and_json_say_the_same),
        ("tc::a_refusal_restores_what_was_before", tc::a_refusal_restores_what_was_before),
        ("tc::what_cannot_be_restored_is_said", tc::what_cannot_be_restored_is_said),
        ("tc::interrupting_restores_what_was_before", tc::interrupting_restores_what_was_before),
        ("tc::after_a_kill_it_goes_on", tc::after_a_kill_it_goes_on),
        (
            "tc::bad_files_are_refused_before_anything_is_sent",
            tc::bad_files_are_refused_before_anything_is_sent,
        ),
        ("overhead::a_ratio_is_printed", overhead::a_ratio_is_printed),
        (
            "overhead::a_contestant_is_measured_or_absent_with_a_reason",
            overhead::a_contestant_is_measured_or_absent_with_a_reason,
        ),
        ("overhead::what_is_not_installed_is_absent", overhead::what_is_not_installed_is_absent),
        ("overhead::one_load_is_out_of_the_others_way", overhead::one_load_is_out_of_the_others_way),
        ("overhead::what_does_not_exist_is_refused", overhead::what_does_not_exist_is_refused),
        ("overhead::killing_it_ends_what_it_started", overhead::killing_it_ends_what_it_started),
        ("overhead::interrupting_ends_it", overhead::interrupting_ends_it),
        ("scaling::adds_are_linear_and_changes_constant", scaling::adds_are_linear_and_changes_constant),
        ("scaling::the_document_is_as_its_schema_says", scaling::the_document_is_as_its_schema_says),
        ("scaling::the_picture_shows_every_series", scaling::the_picture_shows_every_series),
        ("scaling::shards_are_compared", scaling::shards_are_compared),
        ("scaling::workers_are_compared", scaling::workers_are_compared),
        ("scaling::without_probes_nothing_is_claimed", scaling::without_probes_nothing_is_claimed),
        ("scaling::nonsense_is_refused", scaling::nonsense_is_refused),
        ("scaling::interrupting_saves_what_was_measured", scaling::interrupting_saves_what_was_measured),
        ("scaling::the_time_limit_is_told", scaling::the_time_limit_is_told),
        ("scaling::a_full_disk_is_told_before_the_work", scaling::a_full_disk_is_told_before_the_work),
        ("scaling::a_reader_that_leaves_is_no_error", scaling::a_reader_that_leaves_is_no_error),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of gates, and of what CI reads.
fn deployments() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("gate::what_the_kernel_refuses_is_taken_back", gate::what_the_kernel_refuses_is_taken_back),
        ("gate::what_loses_packets_is_rolled_back", gate::what_loses_packets_is_rolled_back),
        (
            "gate::what_is_critical_stays_unless_rollback_is_asked_for",
            gate::what_is_critical_stays_unless_rollback_is_asked_for,
        ),
        ("gate::bad_candidates_are_told", gate::bad_candidates_are_told),
        ("gate::interrupting_a_canary_leaves_nothing", gate::interrupting_a_canary_leaves_nothing),
        (
            "gate::before_a_deployment_the_device_is_compared",
            gate::before_a_deployment_the_device_is_compared,
        ),
        (
            "gate::after_a_deployment_a_fresh_run_is_compared",
            gate::after_a_deployment_a_fresh_run_is_compared,
        ),
        ("outputs::a_saved_run_is_reported_again", outputs::a_saved_run_is_reported_again),
        ("outputs::what_cannot_be_written_is_told", outputs::what_cannot_be_written_is_told),
        ("outputs::a_workflow_is_written_once", outputs::a_workflow_is_written_once),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of load profiles.
fn loads() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("load::each_profile_runs_shortened", load::each_profile_runs_shortened),
        ("load::users_come_think_and_go", load::users_come_think_and_go),
        ("load::an_open_stage_offers_its_rate", load::an_open_stage_offers_its_rate),
        ("load::bursts_are_due_at_one_moment", load::bursts_are_due_at_one_moment),
        ("load::refusals_that_are_asked_for_are_no_errors", load::refusals_that_are_asked_for_are_no_errors),
        ("load::cold_lists_stand_beside_warm_ones", load::cold_lists_stand_beside_warm_ones),
        ("load::packets_flow_while_classes_are_changed", load::packets_flow_while_classes_are_changed),
        (
            "load::classes_too_narrow_for_their_packets_lose_them",
            load::classes_too_narrow_for_their_packets_lose_them,
        ),
        (
            "churn::subscribers_come_and_go_on_a_shapers_tree",
            churn::subscribers_come_and_go_on_a_shapers_tree,
        ),
        ("churn::trees_of_all_shapes_hold_under_churn", churn::trees_of_all_shapes_hold_under_churn),
        ("churn::a_tree_may_be_toml_and_is_shown", churn::a_tree_may_be_toml_and_is_shown),
        ("churn::bad_trees_are_refused", churn::bad_trees_are_refused),
        ("load::a_violation_that_lasts_ends_it", load::a_violation_that_lasts_ends_it),
        ("load::bad_profiles_are_refused", load::bad_profiles_are_refused),
        ("load::built_in_profiles_are_files", load::built_in_profiles_are_files),
        (
            "load::killed_at_any_moment_it_leaves_whole_files",
            load::killed_at_any_moment_it_leaves_whole_files,
        ),
        ("load::capacity_is_found_between_its_bounds", load::capacity_is_found_between_its_bounds),
        ("load::a_stall_is_charged_to_whom_it_held_back", load::a_stall_is_charged_to_whom_it_held_back),
        ("load::what_exhausts_a_run_is_told_and_ends", load::what_exhausts_a_run_is_told_and_ends),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of `qdiscope budget`.
fn budgets() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("budget::init_writes_and_never_overwrites", budget::init_writes_and_never_overwrites),
        ("budget::the_printed_budgets_are_explained", budget::the_printed_budgets_are_explained),
        ("budget::a_saved_run_is_judged_again", budget::a_saved_run_is_judged_again),
        (
            "budget::a_run_is_held_against_the_printed_budgets",
            budget::a_run_is_held_against_the_printed_budgets,
        ),
        ("budget::bad_budgets_are_refused_in_one_line", budget::bad_budgets_are_refused_in_one_line),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of `qdiscope stats`, which needs nothing of the machine.
fn statistics() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("stats::changes_are_answered_line_by_line", stats::changes_are_answered_line_by_line),
        ("stats::two_sides_are_compared", stats::two_sides_are_compared),
        ("stats::certainty_and_order_are_asked_for", stats::certainty_and_order_are_asked_for),
        (
            "stats::what_cannot_be_read_is_refused_in_one_line",
            stats::what_cannot_be_read_is_refused_in_one_line,
        ),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &[], test)).collect()
}

/// Tests of `qdiscope history`: what both databases do alike is tested with each.
fn remembered() -> Vec<Trial> {
    let python: &'static [Need] = &[Need::Root, Need::Htb, Need::Program("python3")];
    let mut trials = Vec::new();
    for &(name, test) in history::BOTH.iter().chain(baseline::BOTH) {
        trials.push(support::trial_with(&format!("history::sqlite::{name}"), python, move || {
            test(&mut history::Store::sqlite()?)
        }));
        trials.push(Trial::ignorable_test(format!("history::postgres::{name}"), move || {
            with_server(|| test(&mut history::Store::postgres()?))
        }));
    }
    for (name, test) in [
        (
            "history::postgres::a_server_that_stops_gets_the_run_later",
            history::a_server_that_stops_gets_the_run_later as Test,
        ),
        (
            "history::postgres::a_server_is_reached_from_where_the_run_was_started",
            history::a_server_is_reached_from_where_the_run_was_started,
        ),
    ] {
        trials.push(Trial::ignorable_test(name, move || with_server(test)));
    }
    let files: [(&str, Test); 3] = [
        ("history::sqlite::damaged_files_are_told", history::damaged_files_are_told),
        (
            "history::sqlite::where_nothing_can_be_written_the_run_waits_or_is_named",
            history::where_nothing_can_be_written_the_run_waits_or_is_named,
        ),
        ("history::sqlite::nobody_has_to_keep_anything", history::nobody_has_to_keep_anything),
    ];
    trials.extend(files.map(|(name, test)| support::trial(name, &NEEDS, test)));
    trials
}

fn with_server(test: impl FnOnce() -> Result<(), Failed> + Send) -> Result<Completion, Failed> {
    match (require(&NEEDS), postgres::programs()) {
        (Err(skip), _) => skip.into_result(),
        (Ok(()), None) => Skip { reason: "PostgreSQL is not installed".into(), forced: false }.into_result(),
        (Ok(()), Some(_)) => in_namespace(test).map(|()| Completion::Completed),
    }
}

/// Tests of `qdiscope compare`.
fn comparisons() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("compare::saved_runs_are_compared", compare::saved_runs_are_compared),
        ("compare::what_fails_is_for_the_threshold_to_say", compare::what_fails_is_for_the_threshold_to_say),
        ("compare::a_run_against_itself_is_no_change", compare::a_run_against_itself_is_no_change),
        (
            "compare::other_environments_are_refused_and_marked_by_force",
            compare::other_environments_are_refused_and_marked_by_force,
        ),
        (
            "compare::what_cannot_be_compared_is_told_in_one_line",
            compare::what_cannot_be_compared_is_told_in_one_line,
        ),
        ("compare::two_commands_take_turns", compare::two_commands_take_turns),
        (
            "compare::an_alarm_that_fresh_runs_do_not_share_is_none",
            compare::an_alarm_that_fresh_runs_do_not_share_is_none,
        ),
        ("compare::a_command_that_fails_ends_it", compare::a_command_that_fails_ends_it),
        ("compare::interrupting_compares_what_there_is", compare::interrupting_compares_what_there_is),
        ("compare::killing_it_ends_what_it_started", compare::killing_it_ends_what_it_started),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of `qdiscope bisect`.
fn bisections() -> Vec<Trial> {
    const GIT: [Need; 5] = [NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], Need::Program("git")];
    let tests: &[(&str, Test)] = &[
        (
            "bisect::the_commit_that_is_slow_is_found_and_nothing_is_touched",
            bisect::the_commit_that_is_slow_is_found_and_nothing_is_touched,
        ),
        ("bisect::people_read_the_answer_first", bisect::people_read_the_answer_first),
        ("bisect::what_was_merged_is_found_or_its_merge", bisect::what_was_merged_is_found_or_its_merge),
        ("bisect::what_cannot_be_built_is_skipped", bisect::what_cannot_be_built_is_skipped),
        (
            "bisect::a_build_finds_its_cache_and_nothing_else",
            bisect::a_build_finds_its_cache_and_nothing_else,
        ),
        (
            "bisect::where_there_is_nothing_to_find_nothing_is_found",
            bisect::where_there_is_nothing_to_find_nothing_is_found,
        ),
        ("bisect::a_ramp_is_nobodys", bisect::a_ramp_is_nobodys),
        (
            "bisect::what_cannot_be_searched_is_told_in_one_line",
            bisect::what_cannot_be_searched_is_told_in_one_line,
        ),
        ("bisect::interrupting_says_what_remains", bisect::interrupting_says_what_remains),
        (
            "bisect::killing_it_leaves_a_folder_that_the_next_removes",
            bisect::killing_it_leaves_a_folder_that_the_next_removes,
        ),
        (
            "bisect::runs_of_qdiscope_are_judged_by_their_latency",
            bisect::runs_of_qdiscope_are_judged_by_their_latency,
        ),
        (
            "bisect::whose_repository_it_is_matters_and_where_in_it_does_not",
            bisect::whose_repository_it_is_matters_and_where_in_it_does_not,
        ),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &GIT, test)).collect()
}

/// Tests of `qdiscope disturb`.
fn disturbed() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("disturb::who_changes_something_waits_behind_it", disturb::who_changes_something_waits_behind_it),
        ("disturb::a_share_is_held_and_told", disturb::a_share_is_held_and_told),
        ("disturb::how_the_command_ends_is_passed_on", disturb::how_the_command_ends_is_passed_on),
        ("disturb::nonsense_is_refused", disturb::nonsense_is_refused),
        ("disturb::killing_the_holder_frees_rtnl", disturb::killing_the_holder_frees_rtnl),
        ("disturb::killing_qdiscope_frees_rtnl", disturb::killing_qdiscope_frees_rtnl),
    ];
    tests.iter().map(|&(name, test)| support::trial(name, &NEEDS, test)).collect()
}

/// Tests of what the probes see: skipped where none attaches.
fn watched() -> Vec<Trial> {
    let tests: &[(&str, usize, Test)] = &[
        ("result::kernel_counts_are_the_operations", 1, result::kernel_counts_are_the_operations),
        ("result::kernel_phases_add_up", 1, result::kernel_phases_add_up),
        ("result::phases_add_up_from_end_to_end", 1, result::phases_add_up_from_end_to_end),
        ("result::the_slowest_requests_are_kept_whole", 1, result::the_slowest_requests_are_kept_whole),
        ("verdict::a_violation_names_the_guilty_phase", 1, verdict::a_violation_names_the_guilty_phase),
        ("investigate::a_run_becomes_a_page", 1, investigate::a_run_becomes_a_page),
        ("investigate::the_slowest_requests_are_a_trace", 1, investigate::the_slowest_requests_are_a_trace),
        ("profiles::kernel_stacks_are_folded", 1, profiles::kernel_stacks_are_folded),
        ("profiles::the_kernel_flamegraph_names_htb", 1, profiles::the_kernel_flamegraph_names_htb),
        ("overhead::losses_are_counted_exactly", 1, overhead::losses_are_counted_exactly),
        ("scaling::the_walk_of_all_classes_is_named", 1, scaling::the_walk_of_all_classes_is_named),
        (
            "scaling::every_request_is_seen_and_its_phases_add_up",
            1,
            scaling::every_request_is_seen_and_its_phases_add_up,
        ),
        ("top::each_request_is_counted_once", 1, top::each_request_is_counted_once),
        ("top::it_ends_after_so_many_intervals", 1, top::it_ends_after_so_many_intervals),
        ("top::without_a_terminal_it_says_what_to_do", 1, top::without_a_terminal_it_says_what_to_do),
        ("top::a_reader_that_leaves_stops_nobody", 1, top::a_reader_that_leaves_stops_nobody),
        ("top::it_draws_and_gives_the_terminal_back", 1, top::it_draws_and_gives_the_terminal_back),
        ("top::after_the_command_the_picture_stays", 1, top::after_the_command_the_picture_stays),
        ("top::a_signal_gives_the_terminal_back", 1, top::a_signal_gives_the_terminal_back),
        ("top::a_terminal_that_hangs_up_ends_it", 1, top::a_terminal_that_hangs_up_ends_it),
        ("faults::tracefs_is_mounted_privately", 1, faults::tracefs_is_mounted_privately),
        ("faults::no_btf_is_no_panic", 1, faults::no_btf_is_no_panic),
        (
            "faults::packets_want_probes_that_tell_messages_apart",
            1,
            faults::packets_want_probes_that_tell_messages_apart,
        ),
        ("stacks::without_it_there_is_none", 1, stacks::without_it_there_is_none),
        (
            "stacks::a_run_shows_where_its_requests_were_and_what_the_holder_did",
            2,
            stacks::a_run_shows_where_its_requests_were_and_what_the_holder_did,
        ),
        // On one CPU who holds RTNL is hardly ever interrupted, so that two senders do not meet.
        ("rtnl::waiting_for_others_is_rtnl_wait", 2, rtnl::waiting_for_others_is_rtnl_wait),
    ];
    tests
        .iter()
        .map(|&(name, cpus, test)| Trial::ignorable_test(name, move || run_watched(cpus, test)))
        .collect()
}

/// Tests of `qdiscope trace`.
fn traced() -> Vec<Trial> {
    let tests: &[(&str, &'static [Need], usize, Test)] = &[
        ("trace::a_batch_is_told_command_by_command", &[], 1, trace::a_batch_is_told_command_by_command),
        ("trace::a_line_is_for_people", &[], 1, trace::a_line_is_for_people),
        ("trace::no_child_is_missed", &[], 1, trace::no_child_is_missed),
        (
            "trace::what_the_command_gets_is_what_it_would_have_had",
            &[],
            1,
            trace::what_the_command_gets_is_what_it_would_have_had,
        ),
        ("trace::how_the_command_ends_is_passed_on", &[], 1, trace::how_the_command_ends_is_passed_on),
        ("trace::a_signal_is_the_commands", &[], 1, trace::a_signal_is_the_commands),
        (
            "trace::what_goes_on_in_the_background_is_followed",
            &[],
            1,
            trace::what_goes_on_in_the_background_is_followed,
        ),
        (
            "trace::a_running_process_is_followed_with_its_children",
            &[],
            1,
            trace::a_running_process_is_followed_with_its_children,
        ),
        ("trace::who_says_nothing_is_not_waited_for", &[], 1, trace::who_says_nothing_is_not_waited_for),
        (
            "trace::everybody_is_followed_unless_one_is_named",
            &[],
            1,
            trace::everybody_is_followed_unless_one_is_named,
        ),
        ("trace::filters_hold_back", &[], 1, trace::filters_hold_back),
        ("trace::a_flood_is_shown_or_counted", &[], 1, trace::a_flood_is_shown_or_counted),
        (
            "trace::messages_of_a_packet_are_told_apart_or_counted",
            &[],
            1,
            trace::messages_of_a_packet_are_told_apart_or_counted,
        ),
        ("trace::without_btf_less_is_known_and_said", &[], 1, trace::without_btf_less_is_known_and_said),
        ("trace::a_reader_that_sleeps_stops_nobody", &[], 1, trace::a_reader_that_sleeps_stops_nobody),
        ("trace::a_reader_that_leaves_stops_nobody", &[], 1, trace::a_reader_that_leaves_stops_nobody),
        ("trace::a_full_disk_is_told_and_stops_nobody", &[], 1, trace::a_full_disk_is_told_and_stops_nobody),
        (
            "trace::names_are_those_of_the_senders_namespace",
            trace::NAMESPACES,
            1,
            trace::names_are_those_of_the_senders_namespace,
        ),
        (
            "trace::a_stripped_static_binary_is_seen",
            trace::COMPILER,
            1,
            trace::a_stripped_static_binary_is_seen,
        ),
        (
            "trace::killing_the_trace_leaves_the_command_alone",
            &[],
            1,
            trace::killing_the_trace_leaves_the_command_alone,
        ),
        (
            "trace::a_command_is_followed_in_a_container",
            trace::NAMESPACES,
            1,
            trace::a_command_is_followed_in_a_container,
        ),
        ("trace::who_held_rtnl_is_named", &[], 2, trace::who_held_rtnl_is_named),
    ];
    let mut trials: Vec<_> = tests
        .iter()
        .map(|&(name, needs, cpus, test)| {
            Trial::ignorable_test(name, move || match require(needs) {
                Ok(()) => run_watched(cpus, test),
                Err(skip) => skip.into_result(),
            })
        })
        .collect();
    trials.push(Trial::ignorable_test(
        "trace::a_pyroute2_script_is_seen",
        || match trace::without_pyroute2() {
            None => run_watched(1, trace::a_pyroute2_script_is_seen),
            Some(skip) => skip.into_result(),
        },
    ));
    trials
}

/// Tests of `qdiscope profile`.
fn profiled() -> Vec<Trial> {
    let tests: &[(&str, usize, Test)] = &[
        (
            "profile::a_batch_is_counted_by_type_and_refusal",
            1,
            profile::a_batch_is_counted_by_type_and_refusal,
        ),
        (
            "profile::stacks_lead_from_the_program_into_the_kernel",
            1,
            profile::stacks_lead_from_the_program_into_the_kernel,
        ),
        ("profile::what_is_slow_is_said", 1, profile::what_is_slow_is_said),
        (
            "profile::who_held_rtnl_is_named_with_what_it_did",
            2,
            profile::who_held_rtnl_is_named_with_what_it_did,
        ),
        ("profile::without_samples_the_rest_is_there", 1, profile::without_samples_the_rest_is_there),
        ("profile::the_command_is_as_it_would_be_alone", 1, profile::the_command_is_as_it_would_be_alone),
        (
            "profile::a_running_process_is_profiled_until_it_ends_or_we_do",
            1,
            profile::a_running_process_is_profiled_until_it_ends_or_we_do,
        ),
        ("profile::nonsense_is_refused", 1, profile::nonsense_is_refused),
    ];
    let mut trials: Vec<_> = tests
        .iter()
        .map(|&(name, cpus, test)| Trial::ignorable_test(name, move || run_watched(cpus, test)))
        .collect();
    trials.push(Trial::ignorable_test("profile::a_pyroute2_script_is_counted", || {
        match trace::without_pyroute2() {
            None => run_watched(1, profile::a_pyroute2_script_is_counted),
            Some(skip) => skip.into_result(),
        }
    }));
    trials
}

fn run_watched(cpus: usize, test: Test) -> Result<Completion, Failed> {
    if let Err(skip) = require(&NEEDS) {
        return skip.into_result();
    }
    let available = thread::available_parallelism()?.get();
    let reason = match in_namespace(runs::unwatched_because)? {
        None if available < cpus => Some(format!("needs {cpus} CPUs and has {available}")),
        reason => reason,
    };
    match reason {
        Some(reason) => Skip { reason, forced: true }.into_result(),
        None => in_namespace(test).map(|()| Completion::Completed),
    }
}
