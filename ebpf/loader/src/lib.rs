//! Loads qdiscope's probes, chosen by what the running kernel can do, and reads what they see.
//!
//! ```no_run
//! use ebpf_loader::{Options, Probes};
//!
//! let mut probes = Probes::attach(&Options::default())?;
//! println!("{}", probes.report());
//! // ... this process sends traffic-control requests ...
//! probes.drain(|event, ext_ack| {
//!     println!("{} ns, of which {} for RTNL: {}", event.total_ns, event.rtnl_wait_ns, ext_ack.unwrap_or("no text"));
//! });
//! println!("lost: {}", probes.counters()?.lost());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture invariant:** what a kernel can do is found out by doing it. Nothing here looks at a version.
//!
//! **Architecture invariant:** nothing is pinned. Programs, maps and links live as long as their file descriptors, so the end
//! of the process, `kill -9` too, detaches everything.

mod attach;
mod attach_points;
mod bytes;
mod calibration;
mod capabilities;
mod counters;
mod error;
mod events;
mod kallsyms;
mod kind;
mod lockdown;
mod probes;
mod rehearsal;
mod report;
mod requests;
mod rtnl;
mod sampling;
mod structures;
mod tracefs;

pub use capabilities::{Capability, Support, capabilities};
pub use counters::Counters;
pub use ebpf_common::{
    Detail, KNOWN_COMM, KNOWN_KIND, KNOWN_MESSAGE, KNOWN_NETNS, KNOWN_VERDICT, RequestEvent, SAMPLE_FOLLOWED,
    SAMPLE_HOLDS_RTNL, SAMPLE_OFF_CPU, SAMPLE_ON_CPU, SAMPLE_RTNL_WAIT, STACK_LOST, SampleEvent, Section,
};
pub use error::{Error, Unavailable};
pub use kind::{ProbeKind, UnknownKind};
pub use probes::{Follow, Found, Options, Probes, Seen};
pub use report::{AttachReport, ProbeState};
pub use rtnl::RtnlLock;
pub use sampling::{KernelStack, SampleSet};
