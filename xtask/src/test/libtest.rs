//! What a test executable prints, read for its numbers: the format of libtest, and of libtest-mimic, which
//! differs in how it shows the reason of a skipped test.
//!
//! The human-readable format, because it is the only one that both offer on stable Rust with the reasons in it.

/// What one or several test executables reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Tests announced before they ran ("running 3 tests").
    pub(crate) announced: u64,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// How many executables came to their end and summed up.
    pub(crate) summaries: u64,
    /// The tests whose outcome was seen, in any of the three.
    pub(crate) seen: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) skips: Vec<Skip>,
}

/// A test that did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) reason: Option<String>,
}

impl Report {
    /// Tests with an outcome.
    pub(crate) fn reported(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

/// Reads output as it arrives, in pieces of any size.
#[derive(Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    /// A test whose name was printed, and whose outcome was not yet: its own output came between.
    pending: Option<String>,
    report: Report,
}

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.read(String::from_utf8_lossy(&line).trim_end());
            } else {
                self.line.push(byte);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Report {
        self.push(b"\n");
        self.report
    }

    fn read(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.sum_up(summary);
        } else if let Some(count) = announcement(line) {
            self.report.announced += count;
        } else if let Some((test, rest)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... "))
        {
            let test = test.trim_end().to_owned();
            match Outcome::parse(rest) {
                Some(outcome) => self.record(test, outcome),
                None => self.pending = Some(test),
            }
        } else if let Some(outcome) = Outcome::parse(line)
            && let Some(test) = self.pending.take()
        {
            self.record(test, outcome);
        }
    }

    fn record(&mut self, test: String, outcome: Outcome) {
        self.pending = None;
        self.report.seen.push(test.strip_suffix(" - should panic").unwrap_or(&test).to_owned());
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed => self.report.failures.push(test),
            Outcome::Skipped(reason) => self.report.skips.push(Skip { test, reason }),
        }
    }

    /// "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s"
    fn sum_up(&mut self, summary: &str) {
        let Some((_, counts)) = summary.split_once(". ") else { return };
        self.report.summaries += 1;
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.report.passed += number,
                "failed" => self.report.failed += number,
                "ignored" => self.report.skipped += number,
                _ => {}
            }
        }
    }
}

enum Outcome {
    Passed,
    Failed,
    Skipped(Option<String>),
}

impl Outcome {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ok" => Some(Self::Passed),
            "FAILED" => Some(Self::Failed),
            "ignored" => Some(Self::Skipped(None)),
            // "FAILED - should panic", "ok <0.100s>"
            _ if text.starts_with("FAILED ") => Some(Self::Failed),
            _ if text.starts_with("ok <") => Some(Self::Passed),
            _ => {
                let reason = text.strip_prefix("ignored")?;
                let reason = match reason.strip_prefix(", ") {
                    Some(libtest) => libtest,
                    None => {
                        reason.strip_prefix(" (").map(|mimic| mimic.strip_suffix(')').unwrap_or(mimic))?
                    }
                };
                Some(Self::Skipped(Some(reason.to_owned()).filter(|reason| !reason.trim().is_empty())))
            }
        }
    }
}

/// "running 1 test", "running 12 tests"
fn announcement(line: &str) -> Option<u64> {
    let (count, what) = line.strip_prefix("running ")?.split_once(' ')?;
    if matches!(what, "test" | "tests") { count.parse().ok() } else { None }
}

/// The tests that `--list` listed.
pub(crate) fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Report {
        // One byte at a time is the worst that a pipe can do.
        let mut reader = Reader::default();
        output.as_bytes().chunks(1).for_each(|piece| reader.push(piece));
        reader.finish()
    }

    fn skip(test: &str, reason: Option<&str>) -> Skip {
        Skip { test: test.into(), reason: reason.map(Into::into) }
    }

    #[test]
    fn libtest() {
        let report = read(
            "\nrunning 4 tests\ntest a::b ... ok\ntest a::c - should panic ... FAILED\n\
             test d ... ignored, needs a modem\ntest e ... ignored\n\nfailures:\n\n---- a::c stdout ----\n\n\
             failures:\n    a::c\n\n\
             test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.02s\n",
        );
        assert_eq!((report.announced, report.passed, report.failed, report.skipped), (4, 1, 1, 2));
        assert_eq!(report.failures, ["a::c - should panic"]);
        assert_eq!(report.seen, ["a::b", "a::c", "d", "e"], "by the names that --list gives them");
        assert_eq!(report.skips, [skip("d", Some("needs a modem")), skip("e", None)]);
        assert_eq!((report.summaries, report.reported()), (1, 4));
    }

    #[test]
    fn libtest_mimic_pads_names_and_puts_the_reason_in_brackets() {
        let report = read(
            "\nrunning 2 tests\ntest htb::add_class  ... ok\n\
             test [probe] fexit   ... ignored (refused: EPERM (kernel built without it))\n\n\
             test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s\n\n",
        );
        assert_eq!(
            report.skips,
            [skip("[probe] fexit", Some("refused: EPERM (kernel built without it)"))],
            "only the outermost bracket is libtest-mimic's"
        );
        assert_eq!(report.reported(), report.announced);
    }

    #[test]
    fn a_tests_own_output_may_come_between_its_name_and_its_outcome() {
        let report = read(
            "running 2 tests\ntest loud ... hello\nok then\nignored (quiet)\ntest next ... x\nFAILED\n\
             test result: FAILED. 0 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s\n",
        );
        assert_eq!(report.skips, [skip("loud", Some("quiet"))]);
        assert_eq!(report.failures, ["next"]);
    }

    #[test]
    fn an_executable_that_died_has_no_summary() {
        let report = read("running 7 tests\ntest a ... ok\ntest b ... ");
        assert_eq!((report.announced, report.reported(), report.summaries), (7, 0, 0));
        assert_eq!(report.seen, ["a"]);
    }

    #[test]
    fn several_doc_test_runs_add_up() {
        let one = "running 1 test\ntest src/lib.rs - f (line 3) ... ok\n\n\
                   test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.3s\n";
        let report = read(&one.repeat(2));
        assert_eq!((report.announced, report.passed, report.summaries), (2, 2, 2));
    }

    #[test]
    fn a_list_names_tests_and_no_benchmarks() {
        assert_eq!(
            listed("a::b: test\n[kind] c: test\nd: benchmark\n\n2 tests, 1 benchmark\n"),
            ["a::b", "[kind] c"]
        );
        assert!(listed("").is_empty());
    }
}
