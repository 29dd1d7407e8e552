//! Markdown for a pull request or a job's summary: GitHub's, with tables.

use std::fmt::Write as _;

use super::sheet::{Better, Sheet, Verdict, number};

/// The text. Headings begin at the third level, as summaries are put under others' headings.
pub fn render(sheet: &Sheet) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "### {}: {}\n", escaped(&sheet.title), sheet.verdict);
    let _ = writeln!(text, "`{}` on {}\n", sheet.id, escaped(&sheet.environment));
    let bad = sheet.cases.iter().filter(|case| case.verdict != Verdict::Pass).count();
    if !sheet.cases.is_empty() {
        text.push_str("| | what | in | found |\n|---|---|---|---|\n");
        // What needs eyes comes first.
        let mut cases: Vec<_> = sheet.cases.iter().collect();
        cases.sort_by_key(|case| std::cmp::Reverse(case.verdict));
        for case in cases {
            let verdict = match case.verdict {
                Verdict::Pass => "pass".to_owned(),
                verdict => format!("**{verdict}**"),
            };
            let _ = writeln!(
                text,
                "| {verdict} | {} | {} | {} |",
                escaped(&case.name),
                escaped(&case.group),
                escaped(&case.detail)
            );
        }
        let _ = writeln!(text, "\n{} of {} as they are to be.\n", sheet.cases.len() - bad, sheet.cases.len());
    }
    if !sheet.figures.is_empty() {
        text.push_str(
            "<details><summary>Figures</summary>\n\n| figure | value | good is |\n|---|---:|---|\n",
        );
        for figure in &sheet.figures {
            let good = match figure.better {
                Better::Smaller => "small",
                Better::Bigger => "big",
            };
            let _ = writeln!(
                text,
                "| {} | {} {} | {good} |",
                escaped(&figure.name),
                number(figure.value),
                figure.unit
            );
        }
        text.push_str("\n</details>\n");
    }
    for note in &sheet.notes {
        let _ = writeln!(text, "\n{}", escaped(note));
    }
    text
}

/// One line of plain text: neither a table's bar nor HTML nor emphasis.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sheet::fixtures;

    #[test]
    fn a_sheet_is_this_text() {
        let text = render(&fixtures::sheet());
        assert_eq!(text, include_str!("golden/sheet.md"), "{text}");
    }

    #[test]
    fn no_text_breaks_a_table() {
        let mut sheet = fixtures::sheet();
        sheet.cases[0].detail = "a | b\n| c |\r\n<script>".into();
        let text = render(&sheet);
        let row = text.lines().find(|line| line.contains("script")).unwrap();
        // Five bars of the table, and those of the text with a backslash before them.
        assert_eq!(row.matches('|').count() - row.matches("\\|").count(), 5, "{row}");
        assert!(!text.contains("<script>"));
    }
}
