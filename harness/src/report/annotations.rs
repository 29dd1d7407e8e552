//! GitHub's annotations: lines on standard output that its runner reads.
//!
//! Escaped as its toolkit does (`actions/toolkit`, packages/core/src/command.ts): percent signs and line ends everywhere, colons and
//! commas in properties, too. A runner shows ten of a kind in each step, so that what is worst comes first.

use std::fmt::Write as _;

use super::sheet::{Sheet, Verdict};

/// A line for each case that did not pass: `::error title=latency_p95_us in htb-class (closed)::14200, must be < 10000`. Inconclusive ones are
/// warnings.
pub fn render(sheet: &Sheet) -> String {
    let mut text = String::new();
    let mut cases: Vec<_> = sheet.cases.iter().collect();
    cases.sort_by_key(|case| std::cmp::Reverse(case.verdict));
    for case in cases {
        let level = match case.verdict {
            Verdict::Pass => continue,
            Verdict::Warning | Verdict::Inconclusive => "warning",
            Verdict::Critical => "error",
        };
        let title = property(&format!("{} in {}", case.name, case.group));
        let message = data(&format!("{}: {}", case.verdict, case.detail));
        let _ = writeln!(text, "::{level} title={title}::{message}");
    }
    let title = property(&sheet.title);
    let _ = writeln!(text, "::notice title={title}::{}", data(&format!("{}: {}", sheet.id, sheet.verdict)));
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::sheet::fixtures;

    #[test]
    fn a_sheet_is_these_lines() {
        assert_eq!(
            render(&fixtures::sheet()),
            "::error title=latency_p99_us in htb-class (closed)::critical: 1234, must be < 1000; p99 class-create: 83 %25 <RTNL> | \"tc\" & co,%0Abehind: `tc`\n\
             ::warning title=cpu_percent_of_one_core in htb-class (closed)::inconclusive: not measured, must be < 1000; not measured\n\
             ::warning title=load average in host::warning: 1.7 on 2 cores\n\
             ::notice title=qdiscope bench::20261123T120000Z-abc123: critical\n"
        );
    }

    /// As the runner reads it back.
    fn unescaped(text: &str) -> String {
        text.replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    }

    proptest! {
        #[test]
        fn each_case_is_one_line_and_reads_back(name in ".*", detail in "(?s).*") {
            let mut sheet = fixtures::sheet();
            sheet.cases.truncate(1);
            sheet.cases[0].verdict = Verdict::Critical;
            sheet.cases[0].name.clone_from(&name);
            sheet.cases[0].detail.clone_from(&detail);
            let text = render(&sheet);
            let lines: Vec<_> = text.split('\n').collect();
            prop_assert_eq!(lines.len(), 3);
            let (title, message) = lines[0].strip_prefix("::error title=").unwrap().split_once("::").unwrap();
            prop_assert_eq!(unescaped(title), format!("{name} in htb-class (closed)"));
            prop_assert_eq!(unescaped(message), format!("critical: {detail}"));
        }
    }
}
