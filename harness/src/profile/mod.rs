//! Stacks: the kernel's and programs' from the probes, ours from pprof and from a sampling allocator; flamegraphs of all.
//!
//! What the probes count by themselves is a [`KernelProfile`]. Where each wait and each request is to be looked into, samples are
//! [`Gathered`], the mapped files of those who were seen are remembered in [`Mappings`], and both together have [`Names`].

mod gathered;
mod graphs;
pub mod heap;
mod kernel;
mod mappings;
mod named;
mod symbols;
mod user;

pub use gathered::{Doing, Gathered, ON_CPU, Slow, Stack, Weight};
pub use graphs::{File, Graphs, Part, STACK_FILES, STACK_SVGS, kernel_samples};
pub use kernel::KernelProfile;
pub use mappings::{Mappings, Place};
pub use named::{Frames, Named, Names};
pub use symbols::Symbols;
pub use user::{ReadyProfiler, UserProfile, UserProfiler};

use std::borrow::Cow;

use inferno::flamegraph::color::{BackgroundColor, MultiPalette, Palette};
use inferno::flamegraph::{self, Options};

/// Samples of the kernel a second and CPU: prime, so as not to march in step with anything that happens a hundred times
/// a second. In a virtual machine 997 took 5 % of the throughput of `htb-class` with 8 workers; with 199 the probes
/// and the sampling take 1 to 3 % together (`qdiscope overhead`).
pub const KERNEL_SAMPLE_HZ: u16 = 199;

/// A profile could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {reason}")]
pub struct ProfileError {
    operation: &'static str,
    reason: String,
}

impl ProfileError {
    fn new(operation: &'static str, reason: &dyn std::fmt::Display) -> Self {
        Self { operation, reason: reason.to_string() }
    }
}

/// Draws folded stacks, which count `unit`.
fn flamegraph(title: &str, subtitle: &str, unit: &str, folded: &str) -> Result<Vec<u8>, ProfileError> {
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    options.subtitle = Some(subtitle.to_owned());
    unit.clone_into(&mut options.count_name);
    draw_lines(options, folded.lines().map(Cow::Borrowed))
}

/// Draws folded stacks whose kernel frames are marked, weighed in µs: the kernel in orange, user mode in blue.
fn mixed_flamegraph(title: &str, subtitle: &str, folded: &str) -> Result<Vec<u8>, ProfileError> {
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    options.subtitle = Some(subtitle.to_owned());
    "µs".clone_into(&mut options.count_name);
    // Which has two colours for two marks, and draws neither mark.
    options.colors = Palette::Multi(MultiPalette::Java);
    options.bgcolors = Some(BackgroundColor::Grey);
    draw_lines(options, folded.lines().map(|line| Cow::Owned(mark_user(line))))
}

/// The mark that the palette draws in blue.
const BLUE: &str = "_[i]";

/// `tc;main;tc_ctl_tclass_[k] 3` → `tc_[i];main_[i];tc_ctl_tclass_[k] 3`
fn mark_user(line: &str) -> String {
    let Some((stack, weight)) = line.rsplit_once(' ') else { return line.to_owned() };
    let frames = stack.split(';').map(|frame| {
        if frame.ends_with(named::KERNEL) {
            Cow::Borrowed(frame)
        } else {
            Cow::Owned(format!("{frame}{BLUE}"))
        }
    });
    format!("{} {weight}", frames.collect::<Vec<_>>().join(";"))
}

fn draw_lines<'a>(
    mut options: Options<'_>,
    lines: impl Iterator<Item = Cow<'a, str>>,
) -> Result<Vec<u8>, ProfileError> {
    let lines: Vec<_> = lines.collect();
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(AsRef::as_ref), &mut svg)
        .map_err(|error| ProfileError::new("draw a flamegraph", &error))?;
    Ok(svg)
}
