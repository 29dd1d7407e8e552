//! Which tests a guest is to run: those that another kernel could break, and of the slow ones a few.

/// Tests of what `tc` sends, which is the same `tc` here and there: what kernels make of it the others ask.
const HARDLY_KERNEL: [&str; 2] = ["golden::text::", "golden::bytes::"];

/// The executable that takes minutes under TCG, so that a guest runs all of it only where that is wished.
const E2E: &str = "e2e";

/// What it runs of that in any case, because it is about what only a kernel can tell. A beginning ends with `::`, and anything
/// else is a whole name; one that no test has is an error.
const IN_EVERY_GUEST: &[&str] = &[
    "result::kernel_counts_are_the_operations",
    "result::kernel_phases_add_up",
    "result::phases_add_up_from_end_to_end",
    "clock::a_clock_that_is_set_changes_no_duration",
    "rtnl::",
    "trace::a_batch_is_told_command_by_command",
    "trace::a_pyroute2_script_is_seen",
    "profile::a_batch_is_counted_by_type_and_refusal",
    "profile::a_pyroute2_script_is_counted",
    "profile::who_held_rtnl_is_named_with_what_it_did",
];

/// What becomes of the tests of one executable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) run: Vec<String>,
    pub(super) leave: Vec<String>,
    /// How many of those would run if all of the slow ones were wished.
    pub(super) waiting: usize,
}

/// Chooses among all tests of an executable.
pub(super) fn select(executable: &str, tests: Vec<String>, filter: Option<&str>, e2e: bool) -> Selection {
    let mut selection = Selection::default();
    for test in tests {
        let asked = filter.is_none_or(|filter| test.contains(filter))
            && !HARDLY_KERNEL.iter().any(|beginning| test.starts_with(beginning));
        let waits = executable == E2E && !e2e && !IN_EVERY_GUEST.iter().any(|name| covers(name, &test));
        selection.waiting += usize::from(asked && waits);
        if asked && !waits { selection.run.push(test) } else { selection.leave.push(test) }
    }
    selection
}

/// The first name of [`IN_EVERY_GUEST`] that no test has any more.
pub(super) fn stale(executable: &str, tests: &[String]) -> Option<&'static str> {
    let lost = |name: &&&str| !tests.iter().any(|test| covers(name, test));
    IN_EVERY_GUEST.iter().find(|name| executable == E2E && lost(name)).copied()
}

fn covers(name: &str, test: &str) -> bool {
    if name.ends_with("::") { test.starts_with(name) } else { test == name }
}

impl Selection {
    /// Arguments by which the executable runs exactly these.
    pub(super) fn arguments(&self) -> Vec<String> {
        let skips = self.leave.iter().flat_map(|test| ["--skip", test]);
        ["--color", "never", "--exact"].into_iter().chain(skips).map(Into::into).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn run(executable: &str, tests: &[&str], filter: Option<&str>, e2e: bool) -> Vec<String> {
        select(executable, names(tests), filter, e2e).run
    }

    #[test]
    fn a_few_of_the_slow_ones_run_everywhere() {
        let tests =
            ["result::kernel_phases_add_up", "result::kernel_phases_add_up_to_less", "rtnl::a", "tc::a"];
        assert_eq!(run("e2e", &tests, None, false), ["result::kernel_phases_add_up", "rtnl::a"]);
        assert_eq!(run("e2e", &tests, Some("rtnl"), false), ["rtnl::a"]);
        assert_eq!(run("e2e", &tests, Some("tc::"), true), ["tc::a"]);
        assert_eq!(run("e2e", &tests, None, true), tests);
        assert_eq!(run("shaping", &tests, None, false), tests);
        assert_eq!(run("golden", &["golden::text::a", "golden::real::b"], None, true), ["golden::real::b"]);
    }

    #[test]
    fn a_name_that_no_test_has_is_found() {
        let mut tests = names(&["rtnl::a"]);
        tests.extend(IN_EVERY_GUEST.iter().filter(|name| !name.ends_with("::")).map(|&name| name.to_owned()));
        assert_eq!((stale("e2e", &tests), stale("probes", &[])), (None, None));
        tests.retain(|test| test != "rtnl::a");
        assert_eq!(stale("e2e", &tests), Some("rtnl::"));
    }

    #[test]
    fn what_is_left_out_is_named() {
        let selection = select("e2e", names(&["rtnl::a", "tc::a", "tc::b"]), None, false);
        assert_eq!(
            selection.arguments(),
            ["--color", "never", "--exact", "--skip", "tc::a", "--skip", "tc::b"]
        );
        assert_eq!((selection.waiting, select("e2e", selection.leave, Some("b"), false).waiting), (2, 1));
    }
}
