//! From the verdict to the phase to the stack: a folder with one page that is read in a browser, without a network.
//!
//! A function of saved runs: bytes come out.

mod comparison;
mod findings;
mod functions;
mod page;
mod timeline;
mod trace;

use std::io;

use inferno::differential;

use crate::fingerprint::Fingerprint;
use crate::profile::STACK_FILES;
use crate::report::model::RunResult;
use crate::store::SavedRun;

/// The files of an investigation: name and content.
pub struct Investigation {
    /// To be written into one folder.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What to look at first, in words, the most telling first.
    pub findings: Vec<String>,
}

/// Why a page could not be made: a defect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template.
    #[error("the page: {0}")]
    Page(#[from] askama::Error),
    /// The trace.
    #[error("the trace: {0}")]
    Trace(#[from] serde_json::Error),
    /// The difference of the stacks.
    #[error("the difference of the stacks: {0}")]
    Difference(io::Error),
}

/// Looks into `run`, compared with `against` if that is given.
///
/// # Errors
///
/// [`Error`]: a defect of ours, or stacks that are no stacks.
pub fn investigate(run: &SavedRun, against: Option<&SavedRun>) -> Result<Investigation, Error> {
    let difference = against.map(|against| difference(against, run)).transpose()?.flatten();
    let found = findings::findings(&run.result);
    let mut files =
        vec![("index.html", page::render(run, against, &found, difference.as_deref())?.into_bytes())];
    if !run.slowest.is_empty() || !run.spans.spans.is_empty() {
        files.push(("trace.json", trace::perfetto(&run.spans, &run.slowest)?));
    }
    if let Some(svg) = &run.kernel_svg {
        files.push(("kernel.svg", svg.clone().into_bytes()));
    }
    if let Some(svg) = &run.user_svg {
        files.push(("user.svg", svg.clone().into_bytes()));
    }
    if let Some(svg) = &run.heap_svg {
        files.push(("heap.svg", svg.clone().into_bytes()));
    }
    for (name, svg) in &run.stack_svgs {
        files.push((name, svg.clone().into_bytes()));
    }
    if let Some(svg) = difference {
        files.push(("difference.svg", svg.into_bytes()));
    }
    let findings = found.iter().map(|finding| format!("{}: {}", finding.title, finding.text)).collect();
    Ok(Investigation { files, findings })
}

/// All names that [`investigate`] may give to a file.
pub fn files() -> Vec<&'static str> {
    let own = ["index.html", "trace.json", "kernel.svg", "user.svg", "heap.svg", "difference.svg"];
    own.into_iter().chain(STACK_FILES).collect()
}

/// A flamegraph of `run`, coloured by what grew since `before`. `None` where one of them has no stacks.
fn difference(before: &SavedRun, run: &SavedRun) -> Result<Option<String>, Error> {
    let (Some(before), Some(after)) = (&before.kernel_folded, &run.kernel_folded) else { return Ok(None) };
    let mut folded = Vec::new();
    let options = differential::Options { normalize: true, ..differential::Options::default() };
    differential::from_readers(options, before.as_bytes(), after.as_bytes(), &mut folded)
        .map_err(Error::Difference)?;
    let folded = String::from_utf8_lossy(&folded);
    let mut options = inferno::flamegraph::Options::default();
    "qdiscope: what the kernel spends more (red) and less (blue) time in".clone_into(&mut options.title);
    options.subtitle = Some(
        "samples of the earlier run scaled to as many as the later one's; widths are the later one's"
            .to_owned(),
    );
    let mut svg = Vec::new();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg).map_err(Error::Difference)?;
    Ok(Some(String::from_utf8_lossy(&svg).into_owned()))
}

/// `htb-class (closed)`
fn place(workload: &crate::report::model::WorkloadResult) -> String {
    workload.title()
}

/// Which settings and machines two runs do not share: their figures are shown side by side then, and nothing is said of them.
fn incomparable(one: &RunResult, other: &RunResult) -> Vec<String> {
    Fingerprint::of(one).differences_of_what_both_have(&Fingerprint::of(other))
}
