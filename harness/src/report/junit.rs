//! JUnit's XML, as Jenkins, GitLab and most others read it.
//!
//! A suite a workload, a case a target. Critical is a `failure`, inconclusive an `error`: it did not pass, and it did not fail. A warning is
//! a case that passed, with its words in `system-out`.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::sheet::{Sheet, Verdict};

/// The document.
///
/// # Errors
///
/// Where the writer refuses a text; none of ours is known to.
pub fn render(sheet: &Sheet) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new(&*sheet.title);
    let mut suites: Vec<TestSuite> = Vec::new();
    for case in &sheet.cases {
        let status = match case.verdict {
            Verdict::Pass | Verdict::Warning => TestCaseStatus::success(),
            Verdict::Critical => not(NonSuccessKind::Failure, &case.detail, case.verdict),
            Verdict::Inconclusive => not(NonSuccessKind::Error, &case.detail, case.verdict),
        };
        let mut junit = TestCase::new(&*case.name, status);
        junit.set_classname(format!("qdiscope.{}", case.group));
        if case.verdict == Verdict::Warning {
            junit.set_system_out(format!("warning: {}", case.detail));
        }
        let at = suites.iter().position(|suite| *suite.name == *case.group).unwrap_or_else(|| {
            let mut suite = TestSuite::new(&*case.group);
            suite.add_property(("run", &*sheet.id));
            suite.add_property(("environment", &*sheet.environment));
            suites.push(suite);
            suites.len() - 1
        });
        suites[at].add_test_case(junit);
    }
    report.timestamp = sheet.started_at.parse().ok();
    report.add_test_suites(suites);
    report.to_string()
}

fn not(kind: NonSuccessKind, detail: &str, verdict: Verdict) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(detail).set_type(verdict.to_string());
    status
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::sheet::fixtures;

    fn read(sheet: &Sheet) -> Report {
        Report::deserialize_from_str(&render(sheet).unwrap()).unwrap()
    }

    #[test]
    fn each_verdict_has_its_kind_of_case() {
        let report = read(&fixtures::sheet());
        assert_eq!(
            (report.name.as_deref(), report.tests, report.failures, report.errors),
            (Some("qdiscope bench"), 4, 1, 1)
        );
        assert!(report.timestamp.is_some());
        let [bench, host] = &report.test_suites[..] else { panic!("{} suites", report.test_suites.len()) };
        assert_eq!((&*bench.name, &*host.name), ("htb-class (closed)", "host"));
        let TestCaseStatus::NonSuccess { kind, message, .. } = &bench.test_cases[1].status else {
            panic!("a violated target that passes")
        };
        assert_eq!(*kind, NonSuccessKind::Failure);
        assert!(message.as_deref().unwrap().contains("<RTNL> | \"tc\" & co"));
        let TestCaseStatus::NonSuccess { kind, .. } = &bench.test_cases[2].status else {
            panic!("an inconclusive target that passes")
        };
        assert_eq!(*kind, NonSuccessKind::Error);
        assert_eq!(host.test_cases[0].system_out.as_deref(), Some("warning: 1.7 on 2 cores"));
    }

    proptest! {
        #[test]
        fn any_text_is_xml(group in "(?s).*", name in "(?s).*", detail in "(?s).*") {
            let mut sheet = fixtures::sheet();
            for case in &mut sheet.cases {
                case.group.clone_from(&group);
                case.name.clone_from(&name);
                case.detail.clone_from(&detail);
            }
            prop_assert_eq!(read(&sheet).tests, 4);
        }
    }
}
