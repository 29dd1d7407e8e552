//! The picture.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span as Text;

use super::board::{Board, Span};
use super::columns::{GAP, Shown, count, figure, fitting, percent, process};
use super::histogram::{bar, buckets};
use super::layout::{flow, parts};
use super::rows::{Row, rate, rows, sort, total};
use super::tally::Tally;
use super::view::{KEYS, View};
use crate::observe::{Duration as Time, Losses, plain};

const PLAIN: Style = Style::new();
const BOLD: Style = PLAIN.add_modifier(Modifier::BOLD);
const DIM: Style = PLAIN.add_modifier(Modifier::DIM);
const SELECTED: Style = PLAIN.add_modifier(Modifier::REVERSED);
const BAD: Style = PLAIN.fg(Color::Red).add_modifier(Modifier::BOLD);
const BAR: Style = PLAIN.fg(Color::Cyan);

/// What does not change while it is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    /// Whom it is about.
    pub(super) subject: String,
    /// By which probes.
    pub(super) probes: String,
    pub(super) interval: Duration,
    /// What the waits for RTNL are, where they are not just that.
    pub(super) waits: Option<&'static str>,
}

/// Everything that a picture shows.
pub(super) struct Scene<'a> {
    pub(super) about: &'a About,
    pub(super) board: &'a Board,
    pub(super) view: &'a View,
    pub(super) news: Option<&'a str>,
}

impl Scene<'_> {
    /// The rows in their order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let View { span, group, sort: by, reversed, filter, .. } = self.view;
        let mut rows = rows(self.board, *span, *group, filter);
        sort(&mut rows, *by, *reversed);
        rows
    }

    /// Draws it, at whatever size.
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let rows = self.rows();
        let period = self.board.period(self.view.span);
        let all = total(period, &self.view.filter);
        let head = [flowed(&self.title(), area.width, 1), flowed(&self.totals(&all), area.width, 2)].concat();
        let mut foot = Vec::new();
        if let Some(news) = self.news {
            foot.push(vec![(news.to_owned(), BOLD)]);
        }
        foot.extend(self.keys(area.width, if area.height < 10 { 1 } else { 2 }));
        let lines = |lines: &[Vec<Piece>]| u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let parts = parts(area, lines(&head), lines(&foot));
        put_lines(buffer, parts.head, &head);
        put_lines(buffer, parts.foot, &foot);
        self.table(buffer, parts.table, &rows);
        let selected = self.view.position(&rows).and_then(|position| rows.get(position));
        let of = selected.map_or_else(|| "all".to_owned(), name);
        let tally = selected.map_or(&all, |row| &row.tally);
        latency(buffer, parts.latency, tally, &of);
        holders(buffer, parts.holders, tally, &of);
    }

    fn title(&self) -> Vec<Piece> {
        let View { span, group, filter, is_typing, paused, .. } = self.view;
        let mut pieces = vec![("qdiscope top".to_owned(), BOLD)];
        if *paused {
            pieces.push(("PAUSED".to_owned(), SELECTED));
        }
        if !filter.is_empty() && !is_typing {
            pieces.push((format!("filter: {}", plain(filter)), BOLD));
        }
        let shown = match span {
            Span::Interval => format!("last {}", seconds(self.about.interval)),
            Span::All => "since start".to_owned(),
        };
        pieces.push((shown, PLAIN));
        pieces.push((format!("by {}", group.name()), PLAIN));
        pieces.push((plain(&self.about.subject), PLAIN));
        pieces.push((format!("{} probes", self.about.probes), DIM));
        pieces
    }

    fn totals(&self, all: &Tally) -> Vec<Piece> {
        let period = self.board.period(self.view.span);
        let time = |name: &str, ns: Option<u64>| {
            (ns.map_or_else(|| format!("{name} –"), |ns| format!("{name} {}", Time { ns })), PLAIN)
        };
        let mut pieces = vec![
            (format!("{} req/s", figure(rate(all.requests, period.length))), BOLD),
            lost(self.board.losses()),
            (format!("{} errors", count(all.errors)), if all.errors > 0 { BAD } else { PLAIN }),
            time("p50", all.quantile_ns(0.5)),
            time("p95", all.quantile_ns(0.95)),
            time("max", all.max_ns()),
        ];
        let wait = all.wait_percent().map_or_else(|| "–".to_owned(), percent);
        pieces.push((format!("RTNL {wait}"), PLAIN));
        let started: u64 = self.board.period(Span::All).tallies.values().map(|tally| tally.requests).sum();
        pieces.push((format!("{} since start", count(started)), PLAIN));
        if all.unknown > 0 {
            pieces.push((format!("{} with an unknown result", count(all.unknown)), PLAIN));
        }
        if let Some(waits) = self.about.waits {
            pieces.push((waits.to_owned(), DIM));
        }
        pieces
    }

    fn keys(&self, width: u16, lines: usize) -> Vec<Vec<Piece>> {
        if self.view.is_typing {
            let text = format!("/{}▏", plain(&self.view.filter));
            let keys = ("Enter keeps, Esc clears".to_owned(), DIM);
            let meaning = ("a part of the command, pid, type or device".to_owned(), DIM);
            return flowed(&[(text, BOLD), keys, meaning], width, lines);
        }
        flowed(&KEYS.map(|(key, what)| (format!("{key} {what}"), DIM)), width, lines)
    }

    fn table(&self, buffer: &mut Buffer, area: Rect, rows: &[Row]) {
        let columns = fitting(self.view.group, area.width);
        let mark = if self.view.reversed { "▲" } else { "▼" };
        let mut x = 0;
        for shown in &columns {
            let title = shown.column.title();
            let is_sorted = shown.column == self.view.sort;
            let title = if is_sorted { format!("{title}{mark}") } else { title.to_owned() };
            let style = BOLD.add_modifier(Modifier::UNDERLINED);
            let style = if is_sorted { style.fg(Color::Cyan) } else { style };
            cell(buffer, area, (x, 0), *shown, &title, style);
            x += shown.width + GAP;
        }
        let room = usize::from(area.height.saturating_sub(1));
        if rows.is_empty() {
            let nothing = match (self.board.losses(), self.view.filter.as_str()) {
                (None, _) => "waiting for the first interval to end",
                (_, "") => "no request yet",
                _ => "nothing has this text",
            };
            put(buffer, area, (0, 1), area.width, nothing, DIM);
        }
        let position = self.view.position(rows);
        let first = position.map_or(0, |position| (position + 1).saturating_sub(room));
        for (y, row) in (1_u16..).zip(rows.iter().skip(first).take(room)) {
            let is_selected = position.is_some_and(|position| position == first + usize::from(y) - 1);
            let style = match (is_selected, row.tally.requests) {
                (true, _) => SELECTED,
                (false, 0) => DIM,
                _ => PLAIN,
            };
            if is_selected {
                put(buffer, area, (0, y), area.width, &" ".repeat(usize::from(area.width)), style);
            }
            let mut x = 0;
            for shown in &columns {
                cell(buffer, area, (x, y), *shown, &shown.column.text(row), style);
                x += shown.width + GAP;
            }
        }
    }
}

/// Of whom the row is.
fn name(row: &Row) -> String {
    let comm = row.label.comm.as_deref().or(row.label.message_type.as_deref()).unwrap_or_default();
    row.label.pid.map_or_else(|| plain(comm), |pid| process(pid, comm))
}

fn seconds(length: Duration) -> String {
    format!("{} s", length.as_secs_f64())
}

/// Short; how it is to be understood is in [`Losses`]' own words, for the end.
fn lost(losses: Option<&Result<Losses, String>>) -> Piece {
    match losses {
        None => ("lost –".to_owned(), PLAIN),
        Some(Err(_)) => ("lost: not known".to_owned(), BAD),
        Some(Ok(losses)) => {
            let at_most = if losses.other > 0 { "≤" } else { "" };
            let all = losses.ring_full + losses.other;
            let text = format!("lost {at_most}{}", count(all));
            match losses.processes {
                0 => (text, if all > 0 { BAD } else { PLAIN }),
                processes => (format!("{text}, {} processes", count(processes)), BAD),
            }
        }
    }
}

fn latency(buffer: &mut Buffer, area: Rect, tally: &Tally, of: &str) {
    rule(buffer, area, &format!("Latency of {of}"));
    let buckets = buckets(&tally.latency, usize::from(area.height.saturating_sub(1)));
    if buckets.is_empty() {
        put(buffer, area, (0, 1), area.width, "no request", DIM);
    }
    let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
    let names: Vec<_> = buckets.iter().map(|bucket| bucket.name()).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
    for (y, (bucket, name)) in (1_u16..).zip(buckets.iter().zip(&names)) {
        let text = format!("{name:>width$} {:>6} ", count(bucket.count), width = usize::from(widest));
        put(buffer, area, (0, y), area.width, &text, PLAIN);
        let x = width(&text);
        let room = area.width.saturating_sub(x);
        put(buffer, area, (x, y), room, &bar(bucket.count, most, room), BAR);
    }
}

fn holders(buffer: &mut Buffer, area: Rect, tally: &Tally, of: &str) {
    rule(buffer, area, &format!("Who held RTNL while {of} waited"));
    let Some(waited) = tally.waited_ns() else {
        let why = if tally.requests == 0 { "no request" } else { "these probes do not measure it" };
        return put(buffer, area, (0, 1), area.width, why, DIM);
    };
    let holders = tally.holders();
    if holders.is_empty() {
        put(buffer, area, (0, 1), area.width, "nobody waited", DIM);
    }
    for (y, (holder, waits)) in (1..area.height).zip(holders) {
        let name = holder.map_or_else(|| "not known".to_owned(), |(pid, comm)| process(*pid, comm));
        let share = percent(waits.ns as f64 / waited.max(1) as f64 * 100.0);
        let text = format!("{share:>6} {:>7} {name}", Time { ns: waits.ns }.to_string());
        put(buffer, area, (0, y), area.width, &text, PLAIN);
        let x = width(&text) + 1;
        let room = area.width.saturating_sub(x);
        put(buffer, area, (x, y), room, &bar(waits.ns, waited, room), BAR);
    }
}

/// A panel's first line.
fn rule(buffer: &mut Buffer, area: Rect, title: &str) {
    put(buffer, area, (0, 0), area.width, &"─".repeat(usize::from(area.width)), DIM);
    let room = area.width.saturating_sub(4);
    put(buffer, area, (2, 0), room, &format!(" {} ", shortened(title, room.saturating_sub(2))), BOLD);
}

/// A text and its style.
type Piece = (String, Style);

fn flowed(pieces: &[Piece], within: u16, lines: usize) -> Vec<Vec<Piece>> {
    let widths: Vec<_> = pieces.iter().map(|(text, _)| usize::from(width(text))).collect();
    let lines = flow(&widths, within, lines).into_iter();
    lines.map(|line| line.into_iter().map(|piece| pieces[piece].clone()).collect()).collect()
}

fn put_lines(buffer: &mut Buffer, area: Rect, lines: &[Vec<Piece>]) {
    for (y, line) in (0..area.height).zip(lines) {
        let mut x = 0;
        for (text, style) in line {
            put(buffer, area, (x, y), area.width.saturating_sub(x), text, *style);
            x = x.saturating_add(width(text) + 2);
        }
    }
}

fn cell(buffer: &mut Buffer, area: Rect, (x, y): (u16, u16), shown: Shown, text: &str, style: Style) {
    let room = shown.width.min(area.width.saturating_sub(x));
    let text = shortened(text, room);
    let indent = if shown.column.is_to_the_left() { 0 } else { room - width(&text) };
    put(buffer, area, (x + indent, y), room - indent, &text, style);
}

/// Columns that a text takes.
fn width(text: &str) -> u16 {
    u16::try_from(Text::raw(text).width()).unwrap_or(u16::MAX)
}

fn shortened(text: &str, room: u16) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short) >= room {
            short.pop();
            break;
        }
    }
    if room > 0 {
        short.push('…');
    }
    short
}

/// Writes within an area, and nothing outside it.
fn put(buffer: &mut Buffer, area: Rect, (x, y): (u16, u16), room: u16, text: &str, style: Style) {
    let area = area.intersection(buffer.area);
    if x < area.width && y < area.height {
        let room = room.min(area.width - x);
        buffer.set_stringn(area.x + x, area.y + y, text, usize::from(room), style);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::board::tests::key;
    use super::super::rows::Group;
    use super::super::rows::tests::board;
    use super::super::tally::tests::sample;
    use super::super::view::View;
    use super::*;

    /// The lines of a picture.
    fn drawn(width: u16, height: u16, board: &Board, view: &View, news: Option<&str>) -> Vec<String> {
        let about = About {
            subject: "everybody".into(),
            probes: "fexit".into(),
            interval: Duration::from_secs(1),
            waits: None,
        };
        let scene = Scene { about: &about, board, view, news };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| scene.draw(frame.area(), frame.buffer_mut())).unwrap();
        let cells = terminal.backend().buffer().content();
        cells
            .chunks(usize::from(width).max(1))
            .map(|line| {
                line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
            })
            .collect()
    }

    #[track_caller]
    fn assert_has(lines: &[String], parts: &[&str]) {
        for part in parts {
            assert!(lines.iter().any(|line| line.contains(part)), "no `{part}` in\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn a_small_terminal_shows_who_and_how_many_and_the_keys() {
        let lines = drawn(40, 12, &board(), &View::new(Group::Process), None);
        assert_has(
            &lines,
            &[
                "qdiscope top",
                "17.0 req/s",
                "lost 0",
                "PID",
                "COMMAND",
                "REQ/S▼",
                "P95",
                "300 agent",
                "20 tc",
                "q quit",
            ],
        );
        assert!(!lines.iter().any(|line| line.contains("Latency")));
    }

    #[test]
    fn a_usual_terminal_shows_latencies_and_holders_too() {
        let lines = drawn(80, 24, &board(), &View::new(Group::Process), None);
        assert_has(
            &lines,
            &[
                "last 1 s",
                "everybody",
                "fexit probes",
                "1 errors",
                "RTNL%",
                "Latency of all",
                "5µs–10µs",
                "Who held RTNL while all waited",
                "holder300[300]",
                "100%",
                "s ←→ sort",
                "/ filter",
                "p pause",
            ],
        );
        // The one that was waited for stands in a row of its own, sorted behind the one with more requests.
        let row = |name: &str| lines.iter().position(|line| line.contains(name)).unwrap();
        assert!(row("300 agent") < row("20 tc"));
    }

    #[test]
    fn a_large_terminal_shows_all_columns() {
        let lines = drawn(160, 50, &board(), &View::new(Group::Process), None);
        assert_has(&lines, &["P50", "MAX", "RTNL AVG", "HELD BY", "REQUESTS", "30.0 µs", "34 since start"]);
        let waiting = lines.iter().find(|line| line.contains("20 tc")).unwrap();
        for part in ["60.0%", "holder300[300]"] {
            assert!(waiting.contains(part), "{waiting}");
        }
    }

    #[test]
    fn the_selected_row_has_its_own_latencies_and_holders() {
        let mut view = View::new(Group::Process);
        let rows = rows(&board(), Span::Interval, Group::Process, "tc");
        view.selected = rows.into_iter().map(|row| row.label).find(|label| label.pid == Some(7));
        let lines = drawn(160, 50, &board(), &view, None);
        assert_has(&lines, &["Latency of tc[7]", "while tc[7] waited", "these probes do not measure it"]);
    }

    #[test]
    fn losses_news_and_filters_are_seen_at_every_width() {
        let mut board = Board::default();
        board.count(key(1, "tc", "RTM_NEWTCLASS", "eth0"), sample(1_000, 0, 0));
        let losses = Losses { ring_full: 5, other: 2, ..Losses::default() };
        board.close(Duration::from_secs(1), Ok(losses));
        let mut view = View { filter: "tc".into(), paused: true, ..View::new(Group::Type) };
        let lines = drawn(40, 12, &board, &view, Some("the command has ended with 0"));
        assert_has(&lines, &["lost ≤7", "PAUSED", "the command has ended with 0", "RTM_NEWTCLASS"]);
        assert_has(&drawn(80, 24, &board, &view, None), &["filter: tc", "by type"]);
        (view.is_typing, view.filter) = (true, "nobody".into());
        assert_has(&drawn(40, 12, &board, &view, None), &["/nobody", "nothing has this text"]);
        board.close(Duration::from_secs(1), Err("why".into()));
        assert_has(&drawn(40, 12, &board, &view, None), &["lost: not known"]);
    }

    #[test]
    fn the_selected_row_is_in_sight_among_many() {
        let mut board = Board::default();
        for pid in 1..=200 {
            board.count(key(pid, "tc", "RTM_NEWTCLASS", "eth0"), sample(1_000, 0, 0));
        }
        board.close(Duration::from_secs(1), Ok(Losses::default()));
        let mut view = View::new(Group::Process);
        let mut all = rows(&board, Span::Interval, Group::Process, "");
        sort(&mut all, view.sort, false);
        view.selected = all.last().map(|row| row.label.clone());
        assert_has(&drawn(80, 24, &board, &view, None), &["    200 tc"]);
    }

    #[test]
    fn names_that_are_meant_for_the_terminal_do_not_reach_it() {
        let mut board = Board::default();
        board.count(key(1, "\u{1b}[2J日本語", "RTM_NEWTCLASS", "eth0"), sample(9_000, 3_000, 5));
        board.close(Duration::from_secs(1), Ok(Losses::default()));
        let lines = drawn(60, 24, &board, &View::new(Group::Process), Some("a\u{1b}b"));
        assert!(!lines.iter().any(|line| line.contains('\u{1b}')), "{lines:?}");
    }

    #[test]
    fn no_size_panics() {
        let mut view = View::new(Group::Process);
        view.selected = rows(&board(), Span::All, Group::Process, "").pop().map(|row| row.label);
        for width in (0..60).chain([79, 80, 200]) {
            for height in (0..30).chain([60]) {
                drawn(width, height, &board(), &view, Some("news"));
                drawn(width, height, &Board::default(), &view, None);
            }
        }
    }
}
