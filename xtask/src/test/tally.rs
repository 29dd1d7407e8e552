//! The sum of a test run: a row an executable, then every skip with its reason, then the verdict.

use std::fmt::Write as _;

use super::libtest::{Report, Skip};

/// What one executable came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) report: Report,
    /// Why the executable counts as failed although none of its tests need have, if it does.
    pub(crate) fault: Option<String>,
    /// The tests of a faulty executable whose outcome nobody saw: one of them is the culprit.
    pub(crate) unseen: Vec<String>,
}

/// All rows of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) rows: Vec<Row>,
    /// Whether a skip that gives no reason is a failure.
    pub(crate) no_skip: bool,
}

impl Row {
    /// Judges a report against what the executable had listed and how it ended (`died`: in words, if not well).
    pub(crate) fn judge(name: String, listed: u64, report: Report, died: Option<String>) -> Self {
        let fault = if report.summaries == 0 && listed > 0 {
            Some(format!("ended without a summary ({})", died.as_deref().unwrap_or("exit status 0")))
        } else if report.reported() < listed {
            Some(format!("reported {} of its {listed} tests", report.reported()))
        } else if report.failed == 0 {
            died.map(|how| format!("no test failed, yet it ended with {how}"))
        } else {
            None
        };
        Self { name, report, fault, unseen: Vec::new() }
    }

    /// Names, where there is a fault, the tests that are to blame for it.
    pub(crate) fn blaming(mut self, listed: Vec<String>) -> Self {
        if self.fault.is_some() {
            self.unseen = listed.into_iter().filter(|test| !self.report.seen.contains(test)).collect();
        }
        self
    }

    /// The row of an executable that was not run at all.
    pub(crate) fn not_run(name: String, tests: Vec<String>, reason: &str) -> Self {
        let skips: Vec<_> =
            tests.into_iter().map(|test| Skip { test, reason: Some(reason.to_owned()) }).collect();
        let report = Report { skipped: skips.len() as u64, skips, ..Report::default() };
        Self { name, report, fault: None, unseen: Vec::new() }
    }

    /// Skips that the summary counted, and whose line gave no reason or was not seen.
    fn unexplained(&self) -> u64 {
        let explained = self.report.skips.iter().filter(|skip| skip.reason.is_some()).count();
        self.report.skipped.saturating_sub(explained as u64)
    }
}

impl Tally {
    /// Whether the run as a whole passed.
    pub(crate) fn passed(&self) -> bool {
        self.rows.iter().all(|row| {
            row.fault.is_none() && row.report.failed == 0 && !(self.no_skip && row.unexplained() > 0)
        })
    }

    /// The summary for people, in plain text.
    pub(crate) fn render(&self) -> String {
        let sum = |field: fn(&Report) -> u64| self.rows.iter().map(|row| field(&row.report)).sum::<u64>();
        let (passed, failed, skipped) = (sum(|r| r.passed), sum(|r| r.failed), sum(|r| r.skipped));
        let width =
            self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max("total".len());
        let mut out = String::new();
        let mut row = |name: &str, passed: &str, failed: &str, skipped: &str, fault: &str| {
            let line = format!("{name:<width$}  {passed:>6}  {failed:>6}  {skipped:>7}  {fault}");
            let _ = writeln!(out, "{}", line.trim_end());
        };
        row("tests", "passed", "failed", "skipped", "");
        for Row { name, report, fault, .. } in &self.rows {
            let [passed, failed, skipped] =
                [report.passed, report.failed, report.skipped].map(|count| count.to_string());
            let fault = fault.as_ref().map(|fault| format!("FAULT: {fault}")).unwrap_or_default();
            row(name, &passed, &failed, &skipped, &fault);
        }
        row("total", &passed.to_string(), &failed.to_string(), &skipped.to_string(), "");
        out.push('\n');
        let before = out.len();
        self.render_names(&mut out);
        if out.len() > before {
            out.push('\n');
        }
        let verdict = if self.passed() { "ok" } else { "FAILED" };
        let faults = self.rows.iter().filter(|row| row.fault.is_some()).count();
        let _ = writeln!(
            out,
            "tests: {verdict}. {} ran, {passed} passed, {failed} failed, {skipped} skipped, {faults} faults",
            passed + failed
        );
        out
    }

    fn render_names(&self, out: &mut String) {
        for row in &self.rows {
            for test in &row.report.failures {
                let _ = writeln!(out, "FAILED   {}: {test}", row.name);
            }
            for test in &row.unseen {
                let _ = writeln!(out, "NO END   {}: {test}", row.name);
            }
        }
        for row in &self.rows {
            for Skip { test, reason } in &row.report.skips {
                let reason = reason.as_deref().unwrap_or("no reason given");
                let _ = writeln!(out, "skipped  {}: {test}: {reason}", row.name);
            }
            let unseen = row.report.skipped.saturating_sub(row.report.skips.len() as u64);
            if unseen > 0 {
                let _ =
                    writeln!(out, "skipped  {}: {unseen} more, whose lines were not recognised", row.name);
            }
            if self.no_skip && row.unexplained() > 0 {
                let _ = writeln!(out, "FAILED   {}: a skip without a reason, under --no-skip", row.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(passed: u64, failed: u64, reasons: &[Option<&str>]) -> Report {
        let skips: Vec<_> =
            reasons.iter().map(|reason| Skip { test: "t".into(), reason: reason.map(Into::into) }).collect();
        let skipped = skips.len() as u64;
        Report { passed, failed, skipped, summaries: 1, skips, ..Report::default() }
    }

    fn tally(rows: Vec<Row>, no_skip: bool) -> Tally {
        Tally { rows, no_skip }
    }

    #[test]
    fn fewer_tests_than_listed_is_a_failure() {
        let row = Row::judge("x".into(), 4, report(2, 0, &[Some("why")]), None);
        assert_eq!(row.fault.as_deref(), Some("reported 3 of its 4 tests"));
        assert!(!tally(vec![row], false).passed());
        assert_eq!(Row::judge("x".into(), 3, report(2, 0, &[Some("why")]), None).fault, None);
    }

    #[test]
    fn a_death_is_a_failure_even_after_tests_that_passed() {
        let row = Row::judge("x".into(), 1, report(1, 0, &[]), Some("signal: 6 (SIGABRT)".into()));
        assert!(row.fault.is_some());
        let silent = Row::judge("x".into(), 1, Report::default(), None);
        assert_eq!(silent.fault.as_deref(), Some("ended without a summary (exit status 0)"));
    }

    #[test]
    fn a_fault_names_the_tests_that_did_not_end() {
        let listed = || vec!["a".to_owned(), "b".to_owned()];
        let seen = |summaries| Report { seen: vec!["a".into()], summaries, passed: 2, ..Report::default() };
        let hung = Row::judge("x".into(), 2, seen(0), Some("exit status: 124".into())).blaming(listed());
        assert_eq!(hung.unseen, ["b"]);
        assert!(tally(vec![hung], false).render().contains("NO END   x: b\n"));
        assert!(Row::judge("x".into(), 2, seen(1), None).blaming(listed()).unseen.is_empty());
    }

    #[test]
    fn a_failed_test_needs_no_further_fault() {
        let row = Row::judge("x".into(), 2, report(1, 1, &[]), Some("exit status: 101".into()));
        assert_eq!(row.fault, None);
        assert!(!tally(vec![row], false).passed());
    }

    #[test]
    fn under_no_skip_a_skip_needs_a_reason() {
        let rows = |reason| vec![Row::judge("x".into(), 2, report(1, 0, &[reason]), None)];
        assert!(tally(rows(None), false).passed());
        assert!(!tally(rows(None), true).passed());
        assert!(tally(rows(Some("no such qdisc in this kernel")), true).passed());
    }

    #[test]
    fn the_summary_names_every_skip_and_adds_up() {
        let rows = vec![
            Row::judge("a (lib)".into(), 3, report(2, 0, &[Some("because")]), None),
            Row::not_run("b (test)".into(), vec!["t1".into(), "t2".into()], "no root"),
        ];
        let text = tally(rows, false).render();
        assert!(text.contains("skipped  a (lib): t: because\n"), "{text}");
        assert!(text.contains("skipped  b (test): t2: no root\n"), "{text}");
        assert!(text.ends_with("tests: ok. 2 ran, 2 passed, 0 failed, 3 skipped, 0 faults\n"), "{text}");
    }
}
