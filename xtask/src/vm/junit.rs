//! The rows of a kernel as `JUnit` XML, for whoever collects results of many.

use std::{fs, path::Path};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::test::Leg;
use crate::test::tally::Row;

/// One suite an executable. The folder has what each of them printed.
pub(super) fn render(series: &str, rows: &[Row], legs: &[Leg], dir: &Path) -> String {
    let mut report = Report::new(format!("qdiscope on kernel {series}"));
    for (row, leg) in rows.iter().zip(legs) {
        let mut suite = TestSuite::new(row.name.clone());
        for test in &leg.tests {
            let mut case = TestCase::new(test.clone(), status(row, test));
            case.set_classname(leg.name.clone());
            suite.add_test_case(case);
        }
        for name in ["stdout", "stderr"] {
            let text = fs::read(dir.join(&leg.task.name).join(name)).unwrap_or_default();
            match name {
                "stdout" => suite.set_system_out_lossy(text),
                _ => suite.set_system_err_lossy(text),
            };
        }
        report.add_test_suite(suite);
    }
    // Nothing in it is of a kind that cannot be written.
    report.to_string().unwrap_or_default()
}

fn status(row: &Row, test: &str) -> TestCaseStatus {
    let bad = |kind, message: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message);
        status
    };
    if let Some(failure) = row.report.failures.iter().find(|name| name.starts_with(test)) {
        return bad(NonSuccessKind::Failure, failure);
    }
    if let Some(skip) = row.report.skips.iter().find(|skip| skip.test == test) {
        let mut status = TestCaseStatus::skipped();
        status.set_message(skip.reason.as_deref().unwrap_or("no reason given"));
        return status;
    }
    if row.report.seen.iter().any(|name| name == test) {
        return TestCaseStatus::success();
    }
    bad(NonSuccessKind::Error, row.fault.as_deref().unwrap_or("its outcome was not seen"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{job::Task, test::Guests},
        *,
    };
    use crate::test::libtest::Reader;

    #[test]
    fn every_listed_test_is_there_with_its_outcome() {
        let mut reader = Reader::default();
        reader.push(
            b"running 4 tests\ntest good ... ok\ntest bad ... FAILED\ntest odd ... ignored, no <modem>\ntest hung ... ",
        );
        let tests = ["good", "bad", "odd", "hung"].map(str::to_owned).to_vec();
        let row = Row::judge("6.1: tests/x".into(), 4, reader.finish(), Some("signal 9".into()));
        let leg = Leg {
            name: "tests/x".into(),
            task: Task { name: "x".into(), ..Task::default() },
            tests,
            guests: Guests::All,
        };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("x")).unwrap();
        fs::write(dir.path().join("x/stdout"), "what it \x1b[1mprinted").unwrap();
        let xml = render("6.1", &[row], &[leg], dir.path());
        assert!(xml.contains(r#"tests="4""#) && xml.contains(r#"failures="1""#), "{xml}");
        assert!(xml.contains(r#"errors="1""#) && xml.contains("no &lt;modem&gt;"), "{xml}");
        assert!(xml.contains("signal 9") && xml.contains("what it printed"), "{xml}");
    }
}
