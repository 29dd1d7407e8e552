//! Which columns there is room for, and what stands in them.

use super::rows::{Column, Group, Row, rate};
use crate::observe::{Duration, plain};

/// What comes between two columns.
pub(super) const GAP: u16 = 1;

/// A column that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) column: Column,
    pub(super) width: u16,
}

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Command => "COMMAND",
            Self::Type => "TYPE",
            Self::Rate => "REQ/S",
            Self::Errors => "ERR",
            Self::P50 => "P50",
            Self::P95 => "P95",
            Self::Max => "MAX",
            Self::WaitPercent => "RTNL%",
            Self::MeanWait => "RTNL AVG",
            Self::Holder => "HELD BY",
            Self::Requests => "REQUESTS",
        }
    }

    pub(super) fn is_to_the_left(self) -> bool {
        matches!(self, Self::Command | Self::Type | Self::Holder)
    }

    /// The least width, and the most that is of use.
    fn widths(self) -> (u16, u16) {
        match self {
            // As the kernel keeps them.
            Self::Command => (8, 15),
            Self::Type => (14, 15),
            Self::Rate | Self::Errors | Self::WaitPercent => (6, 6),
            Self::Pid | Self::P50 | Self::P95 | Self::Max => (7, 7),
            Self::MeanWait | Self::Requests => (9, 9),
            Self::Holder => (12, 24),
        }
    }

    /// What stands there.
    pub(super) fn text(self, row: &Row) -> String {
        let time = |ns: Option<u64>| ns.map_or_else(absent, |ns| Duration { ns }.to_string());
        let tally = &row.tally;
        match self {
            Self::Pid => row.label.pid.map_or_else(absent, |pid| pid.to_string()),
            Self::Command => row.label.comm.as_deref().map_or_else(absent, plain),
            Self::Type => row.label.message_type.as_deref().map_or_else(absent, plain),
            Self::Rate => figure(rate(tally.requests, row.length)),
            Self::Errors => count(tally.errors),
            Self::P50 => time(tally.quantile_ns(0.5)),
            Self::P95 => time(tally.quantile_ns(0.95)),
            Self::Max => time(tally.max_ns()),
            Self::WaitPercent => tally.wait_percent().map_or_else(absent, percent),
            Self::MeanWait => time(tally.mean_wait_ns()),
            Self::Holder => tally.main_holder().map_or_else(absent, |(pid, comm)| process(*pid, comm)),
            Self::Requests => count(tally.requests),
        }
    }
}

fn absent() -> String {
    "–".into()
}

/// `tc[42]`
pub(super) fn process(pid: u32, comm: &str) -> String {
    format!("{}[{pid}]", plain(comm))
}

/// At most six characters.
pub(super) fn figure(value: f64) -> String {
    match value {
        ..99.95 => format!("{value:.1}"),
        ..99_999.5 => format!("{value:.0}"),
        ..9_999_500.0 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.0}M", value / 1e6),
    }
}

/// At most six characters.
pub(super) fn count(value: u64) -> String {
    if value < 100_000 { value.to_string() } else { figure(value as f64) }
}

pub(super) fn percent(value: f64) -> String {
    if value < 99.95 { format!("{value:.1}%") } else { format!("{value:.0}%") }
}

/// In the order in which they stand.
fn of(group: Group) -> &'static [Column] {
    use Column::{Command, Errors, Holder, Max, MeanWait, P50, P95, Pid, Rate, Requests, Type, WaitPercent};
    match group {
        Group::Process => {
            &[Pid, Command, Rate, Errors, P50, P95, Max, WaitPercent, MeanWait, Holder, Requests]
        }
        Group::Command => &[Command, Rate, Errors, P50, P95, Max, WaitPercent, MeanWait, Holder, Requests],
        Group::Type => &[Type, Rate, Errors, P50, P95, Max, WaitPercent, MeanWait, Holder, Requests],
    }
}

/// What is dropped last comes first.
const BY_IMPORTANCE: [Column; 12] = [
    Column::Type,
    Column::Command,
    Column::Rate,
    Column::Pid,
    Column::P95,
    Column::WaitPercent,
    Column::Errors,
    Column::Max,
    Column::P50,
    Column::Holder,
    Column::MeanWait,
    Column::Requests,
];

/// The columns that fit, each as wide as it may be. What matters less goes first where there is no room; names get what is left.
pub(super) fn fitting(group: Group, width: u16) -> Vec<Shown> {
    let all = of(group);
    let mut chosen: Vec<Column> = Vec::new();
    let mut left = width + GAP;
    for column in BY_IMPORTANCE.into_iter().filter(|column| all.contains(column)) {
        let needs = column.widths().0 + GAP;
        // The first one is there however narrow it is.
        if needs > left && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(needs);
        chosen.push(column);
    }
    let shown = all.iter().filter(|column| chosen.contains(column));
    shown
        .map(|&column| {
            let (least, most) = column.widths();
            let more = left.min(most - least);
            left -= more;
            Shown { column, width: least + more }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(group: Group, width: u16) -> Vec<&'static str> {
        fitting(group, width).iter().map(|shown| shown.column.title()).collect()
    }

    #[test]
    fn what_matters_less_goes_first() {
        assert_eq!(names(Group::Process, 40), ["PID", "COMMAND", "REQ/S", "P95", "RTNL%"]);
        assert_eq!(names(Group::Process, 160).len(), 11);
        assert_eq!(names(Group::Type, 22), ["TYPE", "REQ/S"]);
        assert_eq!(names(Group::Command, 3), ["COMMAND"]);
        for group in [Group::Process, Group::Type, Group::Command] {
            let mut before = 0;
            for width in 0..200 {
                let shown = fitting(group, width);
                assert!(shown.len() >= before.max(1), "{width}");
                before = shown.len();
                let taken: u16 = shown.iter().map(|shown| shown.width + GAP).sum();
                assert!(taken <= width + GAP || shown.len() == 1, "{width}: {shown:?}");
            }
        }
    }

    #[test]
    fn figures_are_short() {
        for value in [0.0, 0.04, 99.94, 99.96, 99_999.4, 99_999.6, 1_234_567.0, 9_999_499.0, 1e9] {
            assert!(figure(value).len() <= 6, "{}", figure(value));
        }
        assert_eq!((figure(3.21).as_str(), figure(1_234.5).as_str()), ("3.2", "1234"));
        assert_eq!((count(99_999).as_str(), count(1_234_567).as_str()), ("99999", "1235k"));
        assert_eq!((percent(0.0).as_str(), percent(100.0).as_str()), ("0.0%", "100%"));
    }
}
