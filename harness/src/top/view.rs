//! What is shown of it, and how keys change that.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::board::Span;
use super::columns::Shown;
use super::rows::{Column, Group, Label, Row};

/// So many rows a page key goes.
const PAGE: usize = 10;
/// A text that is looked for is no longer than this.
const LONGEST: usize = 64;

/// The keys, for the last lines of the screen: what is most wanted first.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("q", "quit"),
    ("s ←→", "sort"),
    ("/", "filter"),
    ("t", "group"),
    ("a", "all time"),
    ("↑↓", "row"),
    ("p", "pause"),
    ("r", "reverse"),
];

/// What is shown, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) group: Group,
    pub(super) span: Span,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    /// Only what has this text.
    pub(super) filter: String,
    /// Whether keys are letters of that text.
    pub(super) is_typing: bool,
    pub(super) paused: bool,
    /// The row whose latencies and holders are shown; `None`: those of all.
    pub(super) selected: Option<Label>,
}

/// What a key has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressed {
    Quit,
    /// The view is another, perhaps.
    Changed,
    Nothing,
}

impl View {
    pub(super) fn new(group: Group) -> Self {
        Self {
            group,
            span: Span::default(),
            sort: Column::Rate,
            reversed: false,
            filter: String::new(),
            is_typing: false,
            paused: false,
            selected: None,
        }
    }

    /// A key is pressed while these rows and columns are shown.
    pub(super) fn press(&mut self, key: KeyEvent, rows: &[Row], columns: &[Shown]) -> Pressed {
        if key.kind == KeyEventKind::Release {
            return Pressed::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Pressed::Quit } else { Pressed::Nothing };
        }
        // Esc and a key so soon after it that they look like one.
        if key.modifiers.contains(KeyModifiers::ALT)
            && self.press(KeyCode::Esc.into(), rows, columns) == Pressed::Quit
        {
            return Pressed::Quit;
        }
        if self.is_typing { self.type_into_filter(key.code) } else { self.command(key.code, rows, columns) }
    }

    fn type_into_filter(&mut self, code: KeyCode) -> Pressed {
        match code {
            KeyCode::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if !letter.is_control() && self.filter.len() < LONGEST => {
                self.filter.push(letter);
            }
            _ => return Pressed::Nothing,
        }
        Pressed::Changed
    }

    fn command(&mut self, code: KeyCode, rows: &[Row], columns: &[Shown]) -> Pressed {
        match code {
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Char('q') | KeyCode::Esc => return Pressed::Quit,
            KeyCode::Char('s') | KeyCode::Right => self.sort_by_next(&columns.iter()),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by_next(&columns.iter().rev()),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('a') => {
                self.span = if self.span == Span::All { Span::Interval } else { Span::All };
            }
            KeyCode::Char('t') => {
                self.group = self.group.next();
                self.selected = None;
                if matches!(self.sort, Column::Pid | Column::Command | Column::Type) {
                    self.sort = Column::Rate;
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.up(1, rows),
            KeyCode::Down | KeyCode::Char('j') => self.down(1, rows),
            KeyCode::PageUp => self.up(PAGE, rows),
            KeyCode::PageDown => self.down(PAGE, rows),
            KeyCode::Home => self.selected = None,
            KeyCode::End => self.down(rows.len(), rows),
            _ => return Pressed::Nothing,
        }
        Pressed::Changed
    }

    fn sort_by_next<'a>(&mut self, columns: &(impl Iterator<Item = &'a Shown> + Clone)) {
        let mut from_here = columns.clone().cycle().skip_while(|shown| shown.column != self.sort);
        let is_shown = columns.clone().any(|shown| shown.column == self.sort);
        let next = if is_shown { from_here.nth(1) } else { columns.clone().next() };
        self.sort = next.map_or(self.sort, |shown| shown.column);
    }

    /// Where the selected row is.
    pub(super) fn position(&self, rows: &[Row]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        rows.iter().position(|row| row.label == *selected)
    }

    fn up(&mut self, by: usize, rows: &[Row]) {
        let to = self.position(rows).and_then(|position| position.checked_sub(by));
        self.selected = to.and_then(|to| rows.get(to)).map(|row| row.label.clone());
    }

    fn down(&mut self, by: usize, rows: &[Row]) {
        let to = self.position(rows).map_or(by.saturating_sub(1), |position| position + by);
        self.selected = rows.get(to).or(rows.last()).map(|row| row.label.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::fitting;
    use super::super::rows::tests::board;
    use super::super::rows::{rows, sort};
    use super::*;

    /// Types keys into a view of three processes: `agent[300]`, `tc[20]` and `tc[7]`.
    fn typed(view: &mut View, codes: &[KeyCode]) -> Pressed {
        let mut last = Pressed::Nothing;
        for code in codes {
            let mut rows = rows(&board(), view.span, view.group, &view.filter);
            sort(&mut rows, view.sort, view.reversed);
            last = view.press((*code).into(), &rows, &fitting(view.group, 80));
        }
        last
    }

    fn letters(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn three_keys_quit() {
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(typed(&mut View::new(Group::Process), &[code]), Pressed::Quit);
        }
        let mut view = View::new(Group::Process);
        view.is_typing = true;
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.press(interrupt, &[], &[]), Pressed::Quit, "also while a filter is typed");
        let other = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL);
        assert_eq!(view.press(other, &[], &[]), Pressed::Nothing);
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let mut view = View::new(Group::Process);
        typed(&mut view, &letters("/tcq"));
        assert_eq!((view.filter.as_str(), view.is_typing), ("tcq", true), "q is a letter here");
        typed(&mut view, &[KeyCode::Backspace, KeyCode::Enter]);
        assert_eq!((view.filter.as_str(), view.is_typing), ("tc", false));
        assert_eq!(typed(&mut view, &[KeyCode::Esc]), Pressed::Changed, "the first Esc clears");
        assert_eq!(view.filter, "");
        assert_eq!(typed(&mut view, &[KeyCode::Esc]), Pressed::Quit);
        typed(&mut view, &letters("/x"));
        typed(&mut view, &[KeyCode::Esc]);
        assert_eq!((view.filter.as_str(), view.is_typing), ("", false));
        typed(&mut view, &letters("/x"));
        assert_eq!(
            view.press(KeyEvent::new(KeyCode::Char('p'), KeyModifiers::ALT), &[], &[]),
            Pressed::Changed
        );
        assert_eq!((view.filter.as_str(), view.is_typing, view.paused), ("", false, true), "Esc and p");
        typed(&mut view, &letters(&format!("/{}", "x".repeat(1_000))));
        assert_eq!(view.filter.len(), LONGEST);
    }

    #[test]
    fn sorting_goes_through_the_columns_that_are_shown() {
        let mut view = View::new(Group::Process);
        let columns = fitting(Group::Process, 80);
        let mut seen = Vec::new();
        for _ in 0..columns.len() {
            seen.push(view.sort);
            typed(&mut view, &letters("s"));
        }
        assert_eq!(view.sort, Column::Rate, "round");
        assert!(columns.iter().all(|shown| seen.contains(&shown.column)), "{seen:?}");
        typed(&mut view, &[KeyCode::Right, KeyCode::Left, KeyCode::Left]);
        assert_eq!(view.sort, Column::Command);
        typed(&mut view, &letters("rt"));
        assert_eq!((view.sort, view.reversed, view.group), (Column::Rate, true, Group::Type));
        view.sort = Column::Requests;
        typed(&mut view, &letters("s"));
        assert_eq!(view.sort, Column::Type, "one that is not shown");
    }

    #[test]
    fn a_row_stays_selected_wherever_it_goes() {
        let mut view = View::new(Group::Process);
        let pid = |view: &View| view.selected.as_ref().and_then(|label| label.pid);
        typed(&mut view, &[KeyCode::Down]);
        assert_eq!(pid(&view), Some(300));
        typed(&mut view, &letters("r"));
        typed(&mut view, &[KeyCode::Up]);
        assert_eq!(pid(&view), Some(20), "it was the last one");
        typed(&mut view, &[KeyCode::Up, KeyCode::Up]);
        assert_eq!(pid(&view), None, "above the first: all");
        typed(&mut view, &[KeyCode::PageDown, KeyCode::Down]);
        assert_eq!(pid(&view), Some(300));
        typed(&mut view, &[KeyCode::Home, KeyCode::End]);
        assert_eq!(pid(&view), Some(300));
        // It is not there for now: the next key begins at the first.
        typed(&mut view, &letters("/tc"));
        typed(&mut view, &[KeyCode::Enter, KeyCode::Down]);
        assert_eq!(pid(&view), Some(7));
    }

    #[test]
    fn no_key_panics_without_rows() {
        let mut view = View::new(Group::Process);
        let codes =
            [KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End];
        for code in codes.into_iter().chain(letters("sSrtpa/x")) {
            view.press(code.into(), &[], &[]);
        }
        assert_eq!(view.selected, None);
    }
}
