//! The client on a real kernel: what `tc` would not tell, and what only shows under load.

mod answers;
mod batches;
mod concurrency;
mod faults;
mod filters;
mod kinds;
mod lists;
mod news;
mod parents;
mod qdiscs;
mod safety;
mod sharing;
mod trees;
mod world;

use libtest_mimic::{Failed, Trial};
use support::{Need, trial};

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Htb];

type Test = fn() -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("adapter::parents::missing_parent_is_an_error", parents::missing_parent_is_an_error),
    ("adapter::parents::the_kernel_itself_would_be_silent", parents::the_kernel_itself_would_be_silent),
    ("adapter::parents::a_child_lands_under_its_parent", parents::a_child_lands_under_its_parent),
    ("adapter::parents::a_change_does_not_move", parents::a_change_does_not_move),
    ("adapter::parents::a_replacement_does_not_move", parents::a_replacement_does_not_move),
    ("adapter::parents::the_tree_ends_somewhere", parents::the_tree_ends_somewhere),
    ("adapter::qdiscs::offload_is_asked_for", qdiscs::offload_is_asked_for),
    ("adapter::qdiscs::refusals_come_with_text", qdiscs::refusals_come_with_text),
    ("adapter::qdiscs::a_new_handle_wipes_the_tree", qdiscs::a_new_handle_wipes_the_tree),
    ("adapter::qdiscs::a_child_destroys_the_leaf_qdisc", qdiscs::a_child_destroys_the_leaf_qdisc),
    ("adapter::kinds::tbf_is_what_was_asked", kinds::tbf_is_what_was_asked),
    ("adapter::kinds::tbf_is_what_tc_makes_of_it", kinds::tbf_is_what_tc_makes_of_it),
    ("adapter::kinds::hooks_come_and_go", kinds::hooks_come_and_go),
    ("adapter::kinds::mq_is_what_was_asked", kinds::mq_is_what_was_asked),
    ("adapter::answers::each_request_is_one_message", answers::each_request_is_one_message),
    ("adapter::answers::warnings_are_handed_on", answers::warnings_are_handed_on),
    ("adapter::answers::what_does_not_exist", answers::what_does_not_exist),
    ("adapter::answers::invalid_requests_are_not_sent", answers::invalid_requests_are_not_sent),
    ("adapter::answers::a_lost_answer_is_asked_for", answers::a_lost_answer_is_asked_for),
    ("adapter::answers::strangers_are_not_heard", answers::strangers_are_not_heard),
    ("adapter::answers::settings_come_back", answers::settings_come_back),
    ("adapter::news::changes_by_others_are_seen", news::changes_by_others_are_seen),
    ("adapter::news::a_slow_listener_is_told", news::a_slow_listener_is_told),
    ("adapter::lists::three_thousand_classes", lists::three_thousand_classes),
    ("adapter::lists::qdiscs_of_one_device", lists::qdiscs_of_one_device),
    ("adapter::lists::traffic_is_counted", lists::traffic_is_counted),
    ("adapter::concurrency::two_clients_eight_tasks", concurrency::two_clients_eight_tasks),
    ("adapter::concurrency::dropped_futures_send_nothing", concurrency::dropped_futures_send_nothing),
    ("adapter::concurrency::a_client_keeps_its_namespace", concurrency::a_client_keeps_its_namespace),
    ("adapter::batches::each_request_has_its_own_outcome", batches::each_request_has_its_own_outcome),
    ("adapter::batches::refused_requests_keep_their_places", batches::refused_requests_keep_their_places),
    ("adapter::batches::children_follow_their_parents", batches::children_follow_their_parents),
    ("adapter::batches::a_batch_stops_where_it_is_told_to", batches::a_batch_stops_where_it_is_told_to),
    ("adapter::sharing::every_caller_learns_its_own_outcome", sharing::every_caller_learns_its_own_outcome),
    (
        "adapter::sharing::timed_requests_tell_when_they_were_where",
        sharing::timed_requests_tell_when_they_were_where,
    ),
    ("adapter::sharing::threads_share_a_client", sharing::threads_share_a_client),
    (
        "adapter::sharing::aborted_callers_neither_lose_nor_double",
        sharing::aborted_callers_neither_lose_nor_double,
    ),
    ("adapter::sharing::what_comes_too_late_is_not_sent", sharing::what_comes_too_late_is_not_sent),
    ("adapter::sharing::a_closed_client_sends_nothing", sharing::a_closed_client_sends_nothing),
    ("adapter::faults::a_storm_of_signals_changes_nothing", faults::a_storm_of_signals_changes_nothing),
    ("adapter::faults::a_device_that_goes_away_is_told", faults::a_device_that_goes_away_is_told),
    ("adapter::faults::a_listener_changes_nothing", faults::a_listener_changes_nothing),
    ("adapter::faults::another_editor_is_met_truthfully", faults::another_editor_is_met_truthfully),
    ("adapter::faults::a_runtime_that_ends_leaves_the_truth", faults::a_runtime_that_ends_leaves_the_truth),
    ("adapter::faults::a_namespace_outlives_its_processes", faults::a_namespace_outlives_its_processes),
    ("adapter::batches::a_refused_request_harms_nobody_else", batches::a_refused_request_harms_nobody_else),
    (
        "adapter::sharing::a_future_that_is_kept_holds_up_nobody",
        sharing::a_future_that_is_kept_holds_up_nobody,
    ),
    ("adapter::trees::any_tree_becomes_any_other", trees::any_tree_becomes_any_other),
    ("adapter::trees::the_odd_ways_of_u32", trees::the_odd_ways_of_u32),
    ("adapter::safety::a_class_is_not_moved_by_replacing_it", safety::a_class_is_not_moved_by_replacing_it),
    ("adapter::safety::a_missing_parent_by_name", safety::a_missing_parent_by_name),
    ("adapter::safety::a_leaf_qdisc_is_spared", safety::a_leaf_qdisc_is_spared),
    ("adapter::safety::a_root_qdisc_is_spared", safety::a_root_qdisc_is_spared),
    ("adapter::safety::batches_are_as_careful", safety::batches_are_as_careful),
    ("adapter::safety::a_client_is_as_careful", safety::a_client_is_as_careful),
    ("adapter::safety::a_tree_may_come_in_any_order", safety::a_tree_may_come_in_any_order),
    ("adapter::safety::a_batch_knows_how_deep_it_is", safety::a_batch_knows_how_deep_it_is),
    ("adapter::safety::a_tree_is_built_by_many_tasks", safety::a_tree_is_built_by_many_tasks),
    ("adapter::safety::only_what_may_be_moved_is_moved", safety::only_what_may_be_moved_is_moved),
    ("adapter::safety::what_is_allowed_is_sent", safety::what_is_allowed_is_sent),
    ("adapter::sharing::a_full_queue_forgets_nobody", sharing::a_full_queue_forgets_nobody),
];

/// What is reported is held against `tc`, too.
const SHOWN: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Htb];

const FILTERS: &[(&str, Test)] = &[
    ("adapter::filters::hash_tables_lead_to_classes", filters::hash_tables_lead_to_classes),
    ("adapter::filters::selectors_come_back", filters::selectors_come_back),
    ("adapter::filters::programs_come_back", filters::programs_come_back),
    ("adapter::filters::redirected_packets_are_counted", filters::redirected_packets_are_counted),
    ("adapter::filters::a_lost_answer_is_asked_for", filters::a_lost_answer_is_asked_for),
];

pub(crate) fn trials() -> Vec<Trial> {
    let filters = FILTERS.iter().map(|&(name, test)| trial(name, SHOWN, test));
    TESTS.iter().map(|&(name, test)| trial(name, NEEDS, test)).chain(filters).collect()
}
