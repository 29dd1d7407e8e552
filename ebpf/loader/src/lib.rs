//! Loads qdiscope's probes, chosen by what the running kernel can do, and reads what they see.
//!
//! ```no_run
//! use ebpf_loader::{Options, Probes};
//!
//! let mut probes = Probes::attach(&Options::default())?;
//! println!("{}", probes.report());
//! // ... this process sends traffic-control requests ...
//! probes.drain(|event| println!("{} ns, of which {} for RTNL", event.syscall_ns, event.rtnl_wait_ns));
//! println!("lost: {}", probes.counters()?.lost());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture invariant:** what a kernel can do is found out by doing it. Nothing here looks at a version.
//!
//! **Architecture invariant:** nothing is pinned. Programs, maps and links live as long as their file descriptors, so the end
//! of the process, `kill -9` too, detaches everything.

mod attach;
mod bytes;
mod calibration;
mod capabilities;
mod counters;
mod error;
mod handshake;
mod kallsyms;
mod report;
mod rtnl;
mod sampling;
mod tracefs;

pub use attach::{Options, Probes};
pub use capabilities::{Capability, Support, capabilities};
pub use counters::Counters;
pub use ebpf_common::RequestEvent;
pub use error::{Error, Unavailable};
pub use report::{AttachReport, ProbeKind, ProbeState};
pub use rtnl::RtnlLock;
pub use sampling::{KernelStack, SampleSet};
