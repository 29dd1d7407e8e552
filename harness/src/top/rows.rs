//! What was seen, as rows: grouped, filtered and sorted.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use clap::ValueEnum;

use super::board::{Board, Key, Period, Span};
use super::tally::Tally;

/// What has a row of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// A process under a name: threads of one process may have several.
    #[default]
    Process,
    /// A message type.
    Type,
    /// A command: all processes of one name.
    Command,
}

impl Group {
    /// The one after it.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Process => Self::Type,
            Self::Type => Self::Command,
            Self::Command => Self::Process,
        }
    }

    /// As on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Type => "type",
            Self::Command => "command",
        }
    }

    fn label(self, key: &Key) -> Label {
        let comm = Some(key.comm.clone());
        match self {
            Self::Process => Label { pid: key.pid, comm, message_type: None },
            Self::Command => Label { pid: None, comm, message_type: None },
            Self::Type => Label { message_type: Some(key.message_type.clone()), ..Label::default() },
        }
    }
}

/// What a row is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Label {
    pub(super) pid: Option<u32>,
    pub(super) comm: Option<String>,
    pub(super) message_type: Option<String>,
}

/// A row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) label: Label,
    pub(super) tally: Tally,
    pub(super) length: Duration,
}

/// Requests a second; none in no time.
pub(super) fn rate(requests: u64, length: Duration) -> f64 {
    if length.is_zero() { 0.0 } else { requests as f64 / length.as_secs_f64() }
}

/// By what rows are sorted, and what they show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Pid,
    Command,
    Type,
    Rate,
    Errors,
    P50,
    P95,
    Max,
    WaitPercent,
    MeanWait,
    Holder,
    Requests,
}

impl Column {
    /// Whether it is read from A to Z; figures come largest first.
    fn is_name(self) -> bool {
        matches!(self, Self::Pid | Self::Command | Self::Type | Self::Holder)
    }

    fn compare(self, left: &Row, right: &Row) -> Ordering {
        let figure = |of: fn(&Tally) -> Option<f64>| {
            let (left, right) = (of(&left.tally), of(&right.tally));
            left.unwrap_or_default().total_cmp(&right.unwrap_or_default())
        };
        let time = |of: fn(&Tally) -> Option<u64>| of(&left.tally).cmp(&of(&right.tally));
        match self {
            Self::Pid => left.label.pid.cmp(&right.label.pid),
            Self::Command => left.label.comm.cmp(&right.label.comm),
            Self::Type => left.label.message_type.cmp(&right.label.message_type),
            // They are of equally long times.
            Self::Rate | Self::Requests => left.tally.requests.cmp(&right.tally.requests),
            Self::Errors => left.tally.errors.cmp(&right.tally.errors),
            Self::P50 => time(|tally| tally.quantile_ns(0.5)),
            Self::P95 => time(|tally| tally.quantile_ns(0.95)),
            Self::Max => time(Tally::max_ns),
            Self::WaitPercent => figure(Tally::wait_percent),
            Self::MeanWait => time(Tally::mean_wait_ns),
            Self::Holder => {
                let name = |row: &Row| row.tally.main_holder().map(|(pid, comm)| (comm.clone(), *pid));
                name(left).cmp(&name(right))
            }
        }
    }

    /// Whether the row has nothing there.
    fn is_absent(self, row: &Row) -> bool {
        match self {
            Self::Pid => row.label.pid.is_none(),
            Self::Command => row.label.comm.is_none(),
            Self::Type => row.label.message_type.is_none(),
            Self::Rate | Self::Errors | Self::Requests => false,
            Self::P50 | Self::P95 | Self::Max => row.tally.requests == 0,
            Self::WaitPercent => row.tally.wait_percent().is_none(),
            Self::MeanWait => row.tally.mean_wait_ns().is_none(),
            Self::Holder => row.tally.main_holder().is_none(),
        }
    }
}

/// Sorts: names from A to Z and figures from the largest, or the other way round; whoever has nothing there comes last either way.
pub(super) fn sort(rows: &mut [Row], by: Column, reversed: bool) {
    rows.sort_by(|left, right| {
        let ascending = by.compare(left, right);
        let wanted = if by.is_name() == reversed { ascending.reverse() } else { ascending };
        by.is_absent(left).cmp(&by.is_absent(right)).then(wanted).then_with(|| left.label.cmp(&right.label))
    });
}

/// Two letters are not yet of a message type: `tc` is in half of them.
const OF_A_TYPE: usize = 3;

/// Whether the text is part of its command, process id, message type or device.
fn has(key: &Key, text: &str) -> bool {
    let contains = |field: &str| field.to_lowercase().contains(text);
    text.is_empty()
        || contains(&key.comm)
        || text.len() >= OF_A_TYPE && contains(&key.message_type)
        || key.device.as_deref().is_some_and(contains)
        || key.pid.is_some_and(|pid| pid.to_string().contains(text))
}

/// The rows of a span, of whatever has the text, which is not sorted by case. In an interval, also those who were seen shortly before.
pub(super) fn rows(board: &Board, span: Span, group: Group, text: &str) -> Vec<Row> {
    let text = text.to_lowercase();
    let period = board.period(span);
    let mut tallies: HashMap<Label, Tally> = HashMap::new();
    if span == Span::Interval {
        for key in board.recent().filter(|key| has(key, &text)) {
            tallies.entry(group.label(key)).or_default();
        }
    }
    for (key, tally) in period.tallies.iter().filter(|(key, _)| has(key, &text)) {
        tallies.entry(group.label(key)).or_default().add(tally);
    }
    tallies.into_iter().map(|(label, tally)| Row { label, tally, length: period.length }).collect()
}

/// All of a span that has the text.
pub(super) fn total(period: &Period, text: &str) -> Tally {
    let text = text.to_lowercase();
    let mut total = Tally::default();
    for (_, tally) in period.tallies.iter().filter(|(key, _)| has(key, &text)) {
        total.add(tally);
    }
    total
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::board::tests::key;
    use super::super::tally::Sample;
    use super::super::tally::tests::sample;
    use super::*;
    use crate::observe::Losses;

    /// Two processes named `tc`, of which one waits for the agent, which makes many quick requests and an error.
    pub(in super::super) fn board() -> Board {
        let mut board = Board::default();
        for _ in 0..30 {
            board.count(key(300, "agent", "RTM_NEWTCLASS", "eth0"), sample(5_000, 0, 0));
        }
        let refused = Sample { errno: Some(17), ..sample(6_000, 0, 0) };
        board.count(key(300, "agent", "RTM_DELTCLASS", "eth0"), refused);
        board.count(key(20, "tc", "RTM_NEWTCLASS", "eth1"), sample(90_000, 60_000, 300));
        board.count(key(20, "tc", "RTM_NEWTCLASS", "eth1"), sample(10_000, 0, 0));
        board.count(
            key(7, "tc", "RTM_GETQDISC", "eth0"),
            Sample { rtnl_wait_ns: None, ..sample(8_000, 0, 0) },
        );
        board.close(Duration::from_secs(2), Ok(Losses::default()));
        board
    }

    fn shown(rows: &[Row]) -> Vec<String> {
        rows.iter()
            .map(|row| {
                let Label { pid, comm, message_type } = &row.label;
                let name = comm.as_deref().or(message_type.as_deref()).unwrap_or_default();
                format!("{name}[{}] {}", pid.unwrap_or(0), row.tally.requests)
            })
            .collect()
    }

    fn sorted(group: Group, by: Column, reversed: bool) -> Vec<String> {
        let mut rows = rows(&board(), Span::Interval, group, "");
        sort(&mut rows, by, reversed);
        shown(&rows)
    }

    #[test]
    fn each_group_has_its_rows() {
        let by = Column::Rate;
        assert_eq!(sorted(Group::Process, by, false), ["agent[300] 31", "tc[20] 2", "tc[7] 1"]);
        assert_eq!(sorted(Group::Command, by, false), ["agent[0] 31", "tc[0] 3"]);
        let types = ["RTM_NEWTCLASS[0] 32", "RTM_DELTCLASS[0] 1", "RTM_GETQDISC[0] 1"];
        assert_eq!(sorted(Group::Type, by, false), types);
        assert_eq!(Group::Process.next().next().next(), Group::Process);
    }

    #[test]
    fn figures_come_largest_first_and_names_from_the_first_and_what_is_absent_last() {
        let of = |by, reversed| sorted(Group::Process, by, reversed);
        assert_eq!(of(Column::Rate, true), ["tc[7] 1", "tc[20] 2", "agent[300] 31"]);
        assert_eq!(of(Column::Pid, false), ["tc[7] 1", "tc[20] 2", "agent[300] 31"]);
        assert_eq!(of(Column::P95, false), ["tc[20] 2", "tc[7] 1", "agent[300] 31"]);
        assert_eq!(of(Column::Errors, false)[0], "agent[300] 31");
        assert_eq!(of(Column::WaitPercent, false), ["tc[20] 2", "agent[300] 31", "tc[7] 1"]);
        assert_eq!(of(Column::WaitPercent, true), ["agent[300] 31", "tc[20] 2", "tc[7] 1"]);
        assert_eq!(of(Column::Holder, true)[0], "tc[20] 2");
        // Of equal ones the order does not change from one interval to the next.
        assert_eq!(of(Column::Command, false), ["agent[300] 31", "tc[7] 1", "tc[20] 2"]);
    }

    #[test]
    fn a_text_is_looked_for_in_each_name() {
        let with = |text| {
            let mut rows = rows(&board(), Span::All, Group::Process, text);
            sort(&mut rows, Column::Rate, false);
            (shown(&rows), total(board().period(Span::All), text).requests)
        };
        assert_eq!(with("AGENT"), (vec!["agent[300] 31".to_owned()], 31));
        assert_eq!(with("eth1"), (vec!["tc[20] 2".to_owned()], 2));
        assert_eq!(with("tc"), (vec!["tc[20] 2".to_owned(), "tc[7] 1".to_owned()], 3));
        assert_eq!(with("deltclass"), (vec!["agent[300] 1".to_owned()], 1));
        assert_eq!(with("20"), (vec!["tc[20] 2".to_owned()], 2));
        assert_eq!(with("nobody"), (vec![], 0));
    }

    #[test]
    fn who_was_seen_shortly_before_has_a_row_without_latencies() {
        let mut board = board();
        board.close(Duration::from_secs(1), Ok(Losses::default()));
        let rows = rows(&board, Span::Interval, Group::Process, "");
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.tally.requests == 0 && row.tally.quantile_ns(0.5).is_none()));
    }
}
