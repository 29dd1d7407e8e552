//! The terminal while it is ours. Whatever happens, it is given back as it was.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use crate::exit::Failure;

/// Fails, with what to do instead, where standard output is no terminal that can be drawn on.
pub(super) fn check() -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "standard output is no terminal; for an object of JSON in each interval: qdiscope top --headless",
        ));
    }
    if std::env::var_os("TERM").is_some_and(|name| name == "dumb") {
        return Err(Failure::usage(
            "this terminal cannot be drawn on (TERM=dumb); for an object of JSON in each interval: qdiscope top --headless",
        ));
    }
    Ok(())
}

/// The terminal, taken. It is given back when this is dropped, and before a panic is reported.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn take() -> Result<Self, Failure> {
        ratatui::try_init().map(|terminal| Self { terminal }).map_err(|error| {
            give_back();
            Failure::environment(format!(
                "cannot draw on this terminal: {error}; for an object of JSON in each interval: qdiscope top --headless"
            ))
        })
    }

    fn ready() -> libc::c_short {
        let mut terminal = libc::pollfd { fd: io::stdout().as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, which lives as long as the call takes.
        let ready = unsafe { libc::poll(&raw mut terminal, 1, 0) };
        if ready > 0 { terminal.revents } else { 0 }
    }

    /// Whether the terminal takes anything. One that has stopped is not waited for.
    pub(super) fn takes_more() -> bool {
        Self::ready() & libc::POLLOUT != 0
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// What has come from the terminal, without waiting.
    ///
    /// # Errors
    ///
    /// Among others: nobody is there any more. Reading on would never end then.
    pub(super) fn event() -> io::Result<Option<Event>> {
        if Self::ready() & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
            return Err(io::Error::other("the terminal has hung up"));
        }
        if event::poll(Duration::ZERO)? { event::read().map(Some) } else { Ok(None) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has had it given back before it was reported; once more, and the report would be overwritten.
        if !std::thread::panicking() {
            give_back();
        }
    }
}

fn give_back() {
    // Where the terminal has gone there is nothing to give back.
    let _ = ratatui::try_restore();
    let _ = ratatui::crossterm::execute!(io::stdout(), ratatui::crossterm::cursor::Show);
}
