//! Who keeps traffic control busy at this moment, and behind whom others wait.
//!
//! A `Board` counts what is seen; `rows` groups, filters and sorts it; `View` is what a person wants to see of
//! it, and `draw` makes a picture of both: all of them pure. `live` brings it to the terminal, and `headless` writes objects instead.

mod board;
mod columns;
mod draw;
mod headless;
mod histogram;
mod layout;
mod live;
mod object;
mod rows;
mod tally;
mod terminal;
mod view;

use std::time::{Duration, Instant};

use ebpf_loader::{Probes, Seen};

use self::board::{Board, Key};
use self::draw::About;
use self::headless::Headless;
use self::live::Live;
pub use self::rows::Group;
use self::tally::Sample;
use self::view::View;
use crate::exit::Failure;
use crate::observe::{self, Ended, Losses, Request, Sink, Watch};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Top {
    /// Whom to follow.
    pub watch: Watch,
    /// How often figures are new.
    pub interval: Duration,
    /// What has a row, at first.
    pub group: Group,
    /// Objects instead of a picture.
    pub headless: bool,
    /// With objects: how many; `None`: as long as somebody is followed.
    pub count: Option<u64>,
}

/// Follows and shows. `say` is told what a person should know meanwhile, where there is no picture.
pub fn top(top: &Top, say: &mut dyn FnMut(&str)) -> Result<Ended, Failure> {
    if !top.headless {
        terminal::check()?;
        let about =
            About { subject: top.watch.subject.to_string(), interval: top.interval, ..About::default() };
        return observe::watch(&top.watch, &mut Live::new(View::new(top.group), about));
    }
    let sink = Sink::stdout()
        .map_err(|error| Failure::environment(format!("cannot write to standard output: {error}")))?;
    let mut headless = Headless {
        board: Board::default(),
        group: top.group,
        interval: top.interval,
        left: top.count,
        since: Instant::now(),
        sink,
        say,
    };
    observe::watch(&top.watch, &mut headless)
}

/// Counts a request.
fn count(board: &mut Board, seen: &Seen<'_>, mut request: Request) {
    let sample = Sample::of(&mut request, seen.event.rtnl_wait_ns);
    let key = Key {
        pid: Some(request.pid),
        comm: request.comm.unwrap_or_else(|| "?".to_owned()),
        message_type: request.message_type,
        device: request.dev,
    };
    board.count(key, sample);
}

fn losses(probes: &Probes) -> Result<Losses, String> {
    probes.counters().map(Losses::from).map_err(|error| error.to_string())
}
