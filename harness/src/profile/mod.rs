//! Stacks: the kernel's from the probes, ours from pprof and from a sampling allocator; flamegraphs of all.

pub mod heap;
mod kernel;
mod user;

pub use kernel::KernelProfile;
pub use user::{ReadyProfiler, UserProfile, UserProfiler};

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
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut svg)
        .map_err(|error| ProfileError::new("draw a flamegraph", &error))?;
    Ok(svg)
}
