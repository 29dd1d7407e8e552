//! qdiscope drives Linux traffic control over netlink under concurrent load, sees with eBPF and pprof
//! where each request spent its time, and holds the result against a budget.
//!
//! A folder is a role: [`cli`] parses, [`session`] orchestrates, [`workload`] yields requests, [`load`]
//! times them, [`record`] keeps figures, [`attribution`] says where time went, [`profile`] keeps stacks, [`spans`] what the harness was
//! at, [`observe`] follows other programs, [`top`] shows which of them keep it busy, [`disturb`] stands in a run's way on purpose,
//! [`budget`] judges, [`compare`] holds two sides of runs against each other, [`bisect`] decides of commits, [`gate`] lets a change pass or not, with [`traffic`] flowing
//! through classes meanwhile, [`report`] renders and [`store`] saves. Only `session` knows all of them.

pub mod attribution;
pub mod baseline;
pub mod bisect;
pub mod budget;
pub mod capacity;
pub mod cli;
pub mod clocks;
pub mod compare;
pub mod disturb;
pub mod duration;
pub mod environment;
pub mod exit;
pub mod fingerprint;
pub mod gate;
pub mod history;
pub mod incident;
pub mod investigate;
pub mod isolation;
pub mod load;
pub mod load_profile;
mod memory;
pub mod observe;
pub mod overhead;
pub mod plan;
pub mod probes;
pub mod profile;
pub mod record;
pub mod report;
pub mod scaling;
pub mod session;
pub mod spans;
pub mod stats;
pub mod store;
pub mod top;
pub mod traffic;
pub mod trend;
pub mod workload;
