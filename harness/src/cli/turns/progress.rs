//! Tells stderr how it goes on: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::words::duration;

/// How blocks go on.
pub(in crate::cli) struct Progress {
    bar: Option<ProgressBar>,
    /// Whether there is a line a block where there is no bar.
    each_block: bool,
}

impl Progress {
    pub(in crate::cli) fn new(each_block: bool) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} {prefix}{bar:30} {pos} of {len} blocks, {elapsed} of about {duration}, {msg}",
            ) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, each_block }
    }

    /// Says of what the following blocks are; only where there is a bar.
    pub(in crate::cli) fn title(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("{text} "));
            bar.set_message("");
        }
    }

    /// What is done between blocks; only where there is a bar.
    pub(in crate::cli) fn doing(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(0);
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    pub(super) fn begin(&self, warm_up: u32, done: u32, blocks: u32) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length((warm_up + blocks).saturating_sub(done).into());
        }
    }

    pub(super) fn block(&self, name: &str, took: [Duration; 2]) {
        let [a, b] = took.map(|took| duration(took.as_secs_f64() * 1e6));
        let text = format!("A took {a}, B took {b}");
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(text);
            }
            None if self.each_block => self.line(&format!("{name}: {text}")),
            None => {}
        }
    }

    /// A line of its own.
    pub(in crate::cli) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }

    /// The bar goes.
    pub(in crate::cli) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
