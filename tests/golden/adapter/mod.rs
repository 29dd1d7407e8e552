//! The client on a real kernel: what `tc` would not tell, and what only shows under load.

mod answers;
mod batches;
mod concurrency;
mod lists;
mod parents;
mod qdiscs;
mod sharing;
mod world;

use libtest_mimic::Trial;
use support::{Need, trial};

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Htb];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("adapter::parents::missing_parent_is_an_error", NEEDS, parents::missing_parent_is_an_error),
        trial(
            "adapter::parents::the_kernel_itself_would_be_silent",
            NEEDS,
            parents::the_kernel_itself_would_be_silent,
        ),
        trial(
            "adapter::parents::a_child_lands_under_its_parent",
            NEEDS,
            parents::a_child_lands_under_its_parent,
        ),
        trial("adapter::parents::a_change_does_not_move", NEEDS, parents::a_change_does_not_move),
        trial("adapter::parents::a_replacement_does_not_move", NEEDS, parents::a_replacement_does_not_move),
        trial("adapter::parents::the_tree_ends_somewhere", NEEDS, parents::the_tree_ends_somewhere),
        trial("adapter::qdiscs::refusals_come_with_text", NEEDS, qdiscs::refusals_come_with_text),
        trial("adapter::qdiscs::a_new_handle_wipes_the_tree", NEEDS, qdiscs::a_new_handle_wipes_the_tree),
        trial(
            "adapter::qdiscs::a_child_destroys_the_leaf_qdisc",
            NEEDS,
            qdiscs::a_child_destroys_the_leaf_qdisc,
        ),
        trial("adapter::answers::each_request_is_one_message", NEEDS, answers::each_request_is_one_message),
        trial("adapter::answers::warnings_are_handed_on", NEEDS, answers::warnings_are_handed_on),
        trial("adapter::answers::what_does_not_exist", NEEDS, answers::what_does_not_exist),
        trial(
            "adapter::answers::invalid_requests_are_not_sent",
            NEEDS,
            answers::invalid_requests_are_not_sent,
        ),
        trial("adapter::answers::a_lost_answer_is_asked_for", NEEDS, answers::a_lost_answer_is_asked_for),
        trial("adapter::answers::strangers_are_not_heard", NEEDS, answers::strangers_are_not_heard),
        trial("adapter::answers::settings_come_back", NEEDS, answers::settings_come_back),
        trial("adapter::lists::three_thousand_classes", NEEDS, lists::three_thousand_classes),
        trial("adapter::lists::qdiscs_of_one_device", NEEDS, lists::qdiscs_of_one_device),
        trial("adapter::lists::traffic_is_counted", NEEDS, lists::traffic_is_counted),
        trial("adapter::concurrency::two_clients_eight_tasks", NEEDS, concurrency::two_clients_eight_tasks),
        trial(
            "adapter::concurrency::dropped_futures_send_nothing",
            NEEDS,
            concurrency::dropped_futures_send_nothing,
        ),
        trial(
            "adapter::concurrency::a_client_keeps_its_namespace",
            NEEDS,
            concurrency::a_client_keeps_its_namespace,
        ),
        trial(
            "adapter::batches::each_request_has_its_own_outcome",
            NEEDS,
            batches::each_request_has_its_own_outcome,
        ),
        trial(
            "adapter::batches::refused_requests_keep_their_places",
            NEEDS,
            batches::refused_requests_keep_their_places,
        ),
        trial(
            "adapter::batches::children_follow_their_parents",
            NEEDS,
            batches::children_follow_their_parents,
        ),
        trial(
            "adapter::batches::a_batch_stops_where_it_is_told_to",
            NEEDS,
            batches::a_batch_stops_where_it_is_told_to,
        ),
        trial(
            "adapter::sharing::every_caller_learns_its_own_outcome",
            NEEDS,
            sharing::every_caller_learns_its_own_outcome,
        ),
        trial("adapter::sharing::threads_share_a_client", NEEDS, sharing::threads_share_a_client),
        trial(
            "adapter::sharing::aborted_callers_neither_lose_nor_double",
            NEEDS,
            sharing::aborted_callers_neither_lose_nor_double,
        ),
        trial(
            "adapter::sharing::what_comes_too_late_is_not_sent",
            NEEDS,
            sharing::what_comes_too_late_is_not_sent,
        ),
        trial(
            "adapter::sharing::a_closed_client_sends_nothing",
            NEEDS,
            sharing::a_closed_client_sends_nothing,
        ),
        trial(
            "adapter::sharing::a_storm_of_signals_changes_nothing",
            NEEDS,
            sharing::a_storm_of_signals_changes_nothing,
        ),
        trial(
            "adapter::sharing::a_device_that_goes_away_is_told",
            NEEDS,
            sharing::a_device_that_goes_away_is_told,
        ),
    ]
}
