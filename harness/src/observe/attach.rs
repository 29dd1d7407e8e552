//! Laying the probes, in namespaces that the observed command does not inherit.

use std::fs::File;
use std::thread;

use ebpf_loader::{Options, ProbeKind, Probes, Unavailable};

use crate::exit::Failure;
use crate::isolation;

/// 80,000 requests: of the fastest that were seen, a quarter of a second's.
const RING_BUFFER_BYTES: u32 = 16 << 20;

/// What is asked of probes that watch other programs: requests with what they are about, and no samples.
pub fn options(kind: Option<ProbeKind>) -> Options {
    Options {
        kind,
        details: true,
        ring_buffer_bytes: RING_BUFFER_BYTES,
        sample_hz: None,
        ..Options::default()
    }
}

/// Attaches the probes of a kind, or of the first that works here.
///
/// On a thread of its own, which alone enters a network and a mount namespace: trying the probes takes requests and perhaps
/// tracefs, and neither is to be seen anywhere else.
///
/// That network namespace is returned, and is to be kept until nobody is observed any more: the kernel holds RTNL while it clears one
/// away, for which the observed would wait.
pub(super) fn attach(options: Options) -> Result<(Probes, File), Failure> {
    let attaching = thread::Builder::new()
        .name("qdiscope-attach".into())
        .spawn(move || {
            isolation::enter()?;
            let place = File::open("/proc/thread-self/ns/net")
                .map_err(|error| Failure::internal(format!("keep a network namespace: {error}")))?;
            let probes =
                Probes::attach(&options).map_err(|unavailable| no_probes(options.kind, &unavailable))?;
            Ok((probes, place))
        })
        .map_err(|error| Failure::internal(format!("start a thread: {error}")))?;
    attaching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn no_probes(kind: Option<ProbeKind>, unavailable: &Unavailable) -> Failure {
    Failure::environment(match kind {
        Some(kind) => format!("--probes {kind}: {unavailable}"),
        None => format!("no probes attach here: {unavailable}; see: qdiscope doctor"),
    })
}
