//! The picture on the terminal, and the keys.

use std::time::{Duration, Instant};

use ebpf_loader::{Probes, RtnlLock, Seen};
use ratatui::crossterm::event::Event;

use super::board::{Board, Span};
use super::columns::fitting;
use super::draw::{About, Scene};
use super::terminal::Screen;
use super::view::{Pressed, View};
use super::{count, losses};
use crate::exit::Failure;
use crate::observe::{Audience, Ending, Request, State};

/// For so long news are shown.
const NEWS: Duration = Duration::from_secs(5);

/// Draws.
pub(super) struct Live {
    board: Board,
    view: View,
    about: About,
    /// When the interval has begun.
    since: Instant,
    screen: Option<Screen>,
    is_drawn: bool,
    news: Option<(String, Option<Instant>)>,
    has_enough: bool,
    /// Nobody is left to follow; it is looked at until a key is pressed.
    is_over: bool,
}

impl Live {
    pub(super) fn new(view: View, about: About) -> Self {
        Self {
            board: Board::default(),
            view,
            about,
            since: Instant::now(),
            screen: None,
            is_drawn: false,
            news: None,
            has_enough: false,
            is_over: false,
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            about: &self.about,
            board: &self.board,
            view: &self.view,
            news: self.news.as_ref().map(|(news, _)| news.as_str()),
        }
    }

    fn close(&mut self, probes: &mut Probes) {
        let now = Instant::now();
        self.board.close(now - self.since, losses(probes));
        self.since = now;
        self.is_drawn = false;
    }

    fn show(&mut self, news: String, until: Option<Instant>) {
        self.news = Some((news, until));
        self.is_drawn = false;
    }

    /// Takes keys, and draws what has changed.
    fn refresh(&mut self, mut screen: Screen) -> std::io::Result<()> {
        while let Some(event) = Screen::event()? {
            match event {
                Event::Key(key) => {
                    let columns = fitting(self.view.group, ratatui::crossterm::terminal::size()?.0);
                    let rows = self.scene().rows();
                    match self.view.press(key, &rows, &columns) {
                        Pressed::Quit => self.has_enough = true,
                        Pressed::Changed => self.is_drawn = false,
                        Pressed::Nothing => {}
                    }
                }
                Event::Resize(..) => self.is_drawn = false,
                _ => {}
            }
        }
        if self.news.as_ref().is_some_and(|(_, until)| until.is_some_and(|until| Instant::now() > until)) {
            self.news = None;
            self.is_drawn = false;
        }
        if !self.is_drawn && Screen::takes_more() {
            let scene = self.scene();
            screen.draw(|frame| scene.draw(frame.area(), frame.buffer_mut()))?;
            self.is_drawn = true;
        }
        self.screen = Some(screen);
        Ok(())
    }
}

impl Audience for Live {
    fn begin(&mut self, probes: &mut Probes) -> Result<(), Failure> {
        self.since = Instant::now();
        let report = probes.report();
        report.kind.name().clone_into(&mut self.about.probes);
        self.about.waits = if !report.measures_rtnl_wait() {
            Some("RTNL waits not measured")
        } else if matches!(report.rtnl_lock, RtnlLock::AnyMutex { .. }) {
            Some("RTNL waits: those for any mutex")
        } else {
            None
        };
        Ok(())
    }

    fn tell(&mut self, news: &str) {
        self.show(news.to_owned(), Some(Instant::now() + NEWS));
    }

    fn take(&mut self, seen: &Seen<'_>, request: Request) {
        count(&mut self.board, seen, request);
    }

    fn flush(&mut self, probes: &mut Probes) -> State {
        // Paused, the interval goes on: nothing is missing afterwards.
        if !self.view.paused && !self.is_over && self.since.elapsed() >= self.about.interval {
            self.close(probes);
        }
        let screen = match self.screen.take().map_or_else(Screen::take, Ok) {
            Ok(screen) => screen,
            Err(failure) => return State::Failed(std::io::Error::other(failure)),
        };
        match self.refresh(screen) {
            Err(error) => State::Failed(error),
            Ok(()) if self.has_enough => State::Enough,
            Ok(()) => State::Open,
        }
    }

    fn end(&mut self, probes: &mut Probes, ending: Ending) {
        self.close(probes);
        if let Ending::Nobody(code) = ending {
            self.is_over = true;
            // Of the last interval there is only a piece.
            self.view.span = Span::All;
            let who = code.map_or_else(
                || "everybody who was followed has ended".to_owned(),
                |code| format!("the command has ended with {code}"),
            );
            self.show(format!("{who}; q quits"), None);
        }
    }

    fn is_empty(&self) -> bool {
        !self.is_over || self.has_enough
    }
}
