//! Which tests a guest is to run: those that another kernel could break, and of the slow ones a few, or in one guest only.
//!
//! In these lists a beginning ends with `::`, and anything else is a whole name; one that no test has is an error.

/// Tests of what `tc` sends, which is the same `tc` here and there: what kernels make of it the others ask. And of what our client does
/// for its callers, whatever the kernel.
const HARDLY_KERNEL: &[&str] = &[
    "golden::text::",
    "golden::bytes::",
    "adapter::sharing::",
    "adapter::concurrency::",
    "adapter::faults::a_storm_of_signals_changes_nothing",
];

/// The executable that takes minutes under TCG, so that a guest runs all of it only where that is wished.
const E2E: &str = "e2e";
/// The executable whose tests depend on the kind of probes.
pub(super) const PROBES: &str = "probes";
const GOLDEN: &str = "golden";

/// What guests run of [`E2E`] in any case, because it is about what only a kernel can tell.
const END_TO_END: &[&str] = &[
    "result::kernel_counts_are_the_operations",
    "result::kernel_phases_add_up",
    "result::phases_add_up_from_end_to_end",
    "clock::a_clock_that_is_set_changes_no_duration",
    "rtnl::",
    "trace::a_batch_is_told_command_by_command",
    "trace::a_pyroute2_script_is_seen",
    "profile::a_batch_is_counted_by_type_and_refusal",
    "profile::a_pyroute2_script_is_counted",
];

/// What one guest of several runs: what takes half a minute and more under TCG, and what our loader does where something is missing,
/// which no kernel but one without it changes.
const IN_ONE_GUEST: &[&str] = &[
    "adapter::trees::",
    "adapter::safety::a_tree_may_come_in_any_order",
    "adapter::lists::three_thousand_classes",
    "probes::a_full_ring_buffer_loses_and_counts",
    "probes::two_at_once_see_the_same",
    "probes::without_btf_the_next_kind_is_taken",
    "probes::without_tracefs_waits_are_not_measured",
    "probes::a_btf_that_is_none_is_told",
    "probes::a_btf_that_does_not_match_is_noticed",
    "probes::everybody_is_followed",
    "probes::a_process_is_followed_until_its_last_thread_ends",
    "probes::drop_detaches",
    "probes::kill_while_attaching_leaves_nothing",
];

/// Those of [`PROBES`] that are run again with another kind: what is seen at a request's begin and end, and inside it, by the kind that is
/// attached there.
const BY_KIND: &[&str] = &[
    "probes::every_request_gives_one_event",
    "probes::threads_are_not_mixed_up",
    "probes::waiting_for_rtnl_is_seen",
    "probes::messages_of_a_packet_are_told_apart",
    "probes::a_refusal_comes_with_the_kernels_words",
    "probes::waiting_for_rcu_is_no_waiting_for_rtnl",
    "probes::a_missing_function_is_told",
    "probes::details_say_what_a_request_is_about",
    "probes::kill_leaves_nothing",
];

/// What becomes of the tests of one executable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// In every guest.
    pub(super) run: Vec<String>,
    /// In one guest.
    pub(super) once: Vec<String>,
    /// How many would run if all of the slow ones were wished.
    pub(super) waiting: usize,
}

/// Chooses among all tests of an executable.
pub(super) fn select(executable: &str, tests: &[String], filter: Option<&str>, e2e: bool) -> Selection {
    let mut selection = Selection::default();
    let asked = tests
        .iter()
        .filter(|test| filter.is_none_or(|filter| test.contains(filter)) && !among(HARDLY_KERNEL, test));
    for test in asked {
        match executable {
            E2E if e2e => selection.run.push(test.clone()),
            E2E if among(END_TO_END, test) => selection.once.push(test.clone()),
            E2E => selection.waiting += 1,
            _ if among(IN_ONE_GUEST, test) => selection.once.push(test.clone()),
            _ => selection.run.push(test.clone()),
        }
    }
    selection
}

/// Those that are worth another run with another kind of probes.
pub(super) fn by_kind(tests: &[String]) -> Vec<String> {
    tests.iter().filter(|test| among(BY_KIND, test)).cloned().collect()
}

/// The first name of the lists that no test of the executable that it is about has any more.
pub(super) fn stale(executable: &str, tests: &[String]) -> Option<&'static str> {
    let about = |name: &&'static str| match executable {
        E2E => END_TO_END.contains(name),
        PROBES => name.starts_with("probes::"),
        GOLDEN => name.starts_with("golden::") || name.starts_with("adapter::"),
        _ => false,
    };
    let lost = |name: &&'static str| !tests.iter().any(|test| covers(name, test));
    let lists = [HARDLY_KERNEL, END_TO_END, IN_ONE_GUEST, BY_KIND];
    lists.into_iter().flatten().copied().find(|name| about(name) && lost(name))
}

/// Arguments by which an executable runs exactly these of all its tests.
pub(super) fn arguments(all: &[String], run: &[String]) -> Vec<String> {
    let skips = all.iter().filter(|test| !run.contains(test)).flat_map(|test| ["--skip", test]);
    ["--color", "never", "--exact"].into_iter().chain(skips).map(Into::into).collect()
}

fn among(list: &[&str], test: &str) -> bool {
    list.iter().any(|name| covers(name, test))
}

fn covers(name: &str, test: &str) -> bool {
    if name.ends_with("::") { test.starts_with(name) } else { test == name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn run(executable: &str, tests: &[&str], filter: Option<&str>, e2e: bool) -> Vec<String> {
        select(executable, &names(tests), filter, e2e).run
    }

    #[test]
    fn what_is_hardly_about_the_kernel_stays_out() {
        let tests = ["golden::text::a", "golden::effect::b", "adapter::sharing::c"];
        assert_eq!(run("golden", &tests, None, true), ["golden::effect::b"]);
        assert_eq!(run("shaping", &["rate::a", "kinds::b"], Some("rate"), false), ["rate::a"]);
    }

    #[test]
    fn a_few_of_the_slow_ones_run_in_one_guest() {
        let tests = names(&[
            "result::kernel_phases_add_up",
            "result::kernel_phases_add_up_to_less",
            "rtnl::a",
            "tc::a",
        ]);
        let selection = select("e2e", &tests, None, false);
        assert_eq!(selection.once, ["result::kernel_phases_add_up", "rtnl::a"]);
        assert_eq!((selection.run.len(), selection.waiting), (0, 2));
        assert_eq!(select("e2e", &tests, Some("rtnl"), false).once, ["rtnl::a"]);
        // All of them everywhere leaves nothing for one.
        assert_eq!(select("e2e", &tests, None, true), Selection { run: tests, once: vec![], waiting: 0 });
        let probes = names(&["probes::drop_detaches", "probes::kinds_agree"]);
        let selection = select("probes", &probes, None, false);
        assert_eq!(selection.once, ["probes::drop_detaches"]);
        assert_eq!(selection.run, ["probes::kinds_agree"]);
    }

    #[test]
    fn another_kind_of_probes_repeats_what_depends_on_it() {
        let tests = names(&["probes::kinds_agree", "probes::kill_leaves_nothing"]);
        assert_eq!(by_kind(&tests), ["probes::kill_leaves_nothing"]);
    }

    #[test]
    fn a_name_that_no_test_has_is_found() {
        let mut tests = names(&["rtnl::a"]);
        tests.extend(END_TO_END.iter().filter(|name| !name.ends_with("::")).map(|&name| name.to_owned()));
        assert_eq!((stale("e2e", &tests), stale("shaping", &[])), (None, None));
        tests.retain(|test| test != "rtnl::a");
        assert_eq!(stale("e2e", &tests), Some("rtnl::"));
        assert_eq!(stale("golden", &[]), Some("golden::text::"));
        assert_eq!(
            stale("probes", &names(&["probes::kinds_agree"])),
            Some("probes::a_full_ring_buffer_loses_and_counts")
        );
    }

    #[test]
    fn what_is_left_out_is_named() {
        assert_eq!(
            arguments(&names(&["rtnl::a", "tc::a", "tc::b"]), &names(&["rtnl::a"])),
            ["--color", "never", "--exact", "--skip", "tc::a", "--skip", "tc::b"]
        );
    }
}
