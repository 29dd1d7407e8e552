//! Each request as a line, or as an object of JSON.

use std::path::{Path, PathBuf};

use ebpf_loader::{Probes, Seen};

use super::audience::{Audience, State};
use super::filter::Filter;
use super::request::Request;
use super::sink::Sink;
use super::summary::Summary;
use super::watch::{Ended, Watch, watch};
use crate::exit::Failure;

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Lines,
    /// An object on each line.
    Json,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Whom to follow.
    pub watch: Watch,
    /// Which requests to show.
    pub filter: Filter,
    /// How.
    pub format: Format,
    /// Where; `None`: standard output.
    pub output: Option<PathBuf>,
}

/// Follows, and writes what is seen. `say` is told what a person should know meanwhile.
pub fn trace(trace: &Trace, say: &mut dyn FnMut(&str)) -> Result<(Ended, Summary), Failure> {
    // Before a file is emptied.
    trace.watch.subject.process()?;
    let sink = open(trace.output.as_deref())?;
    let mut writer = Writer { trace, sink, summary: Summary::default(), say };
    let ended = watch(&trace.watch, &mut writer)?;
    Ok((ended, writer.summary))
}

fn open(output: Option<&Path>) -> Result<Sink, Failure> {
    match output {
        None => Sink::stdout()
            .map_err(|error| Failure::environment(format!("cannot write to standard output: {error}"))),
        Some(path) => Sink::file(path)
            .map_err(|error| Failure::environment(format!("--output {}: {error}", path.display()))),
    }
}

struct Writer<'a> {
    trace: &'a Trace,
    sink: Sink,
    summary: Summary,
    say: &'a mut dyn FnMut(&str),
}

impl Audience for Writer<'_> {
    fn tell(&mut self, news: &str) {
        (self.say)(news);
    }

    fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    fn take(&mut self, _seen: &Seen<'_>, mut request: Request) {
        let shown = self.trace.filter.lets_through(&request);
        self.summary.count(&request, shown);
        if shown {
            match self.trace.format {
                Format::Lines => self.sink.push(&request.line()),
                // Numbers and strings: there is nothing in it that JSON has not.
                Format::Json => self.sink.push(&request.json().unwrap_or_default()),
            }
        }
    }

    fn flush(&mut self, _probes: &mut Probes) -> State {
        self.sink.flush()
    }

    fn is_empty(&self) -> bool {
        self.sink.is_empty()
    }
}
