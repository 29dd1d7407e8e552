//! Workloads: who asks the kernel for what. Pure: they yield requests and are told the outcome.

pub mod churn;
mod htb_class;
mod htb_qdisc;
mod lifecycle;
mod mix;
mod parameters;
mod streams;

use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tc_adapter::{Handle, HtbQdisc, Request};

pub use mix::Mix;
pub(crate) use parameters::random_class;
pub use streams::Streams;

use crate::plan::Workload;

/// The handle of every qdisc that a workload creates: `1:`.
pub const ROOT_QDISC: Handle = Handle::qdisc(1);

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Create and delete the root HTB qdisc of many devices, half of them up (`tc qdisc add|del dev D root htb`).
    HtbQdisc,
    /// Create classes with random valid parameters, concurrently (`tc class add dev D parent 1: … htb rate …`).
    HtbClass,
    /// Create, change, read and delete classes by weight, around a constant population.
    Lifecycle,
}

impl Kind {
    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::HtbQdisc => "htb-qdisc",
            Self::HtbClass => "htb-class",
            Self::Lifecycle => "lifecycle",
        }
    }
}

/// What an operation is to its caller; latency is kept apart for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum OperationKind {
    /// Create a root qdisc, or one that hangs on a subscriber's class.
    QdiscCreate,
    /// Delete a root qdisc.
    QdiscDelete,
    /// Create a class.
    ClassCreate,
    /// Change a class's parameters.
    ClassChange,
    /// Read one class with its statistics.
    ClassRead,
    /// Delete a class.
    ClassDelete,
    /// List all classes of a device.
    ClassDump,
    /// The same on a socket that is opened for it.
    ClassDumpCold,
    /// Create a filter.
    FilterCreate,
    /// Delete a filter.
    FilterDelete,
    /// List all filters of a device's root qdisc.
    FilterDump,
    /// The same on a socket that is opened for it.
    FilterDumpCold,
    /// Create a class that is there: `EEXIST`.
    ErrorExists,
    /// Change a class that is not there: `ENOENT`.
    ErrorMissing,
    /// Create a class that no qdisc can have: `EINVAL`.
    ErrorInvalid,
    /// Create a class on a device that is not there: `ENODEV`.
    ErrorNoDevice,
}

impl OperationKind {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 16] = [
        Self::QdiscCreate,
        Self::QdiscDelete,
        Self::ClassCreate,
        Self::ClassChange,
        Self::ClassRead,
        Self::ClassDelete,
        Self::ClassDump,
        Self::ClassDumpCold,
        Self::FilterCreate,
        Self::FilterDelete,
        Self::FilterDump,
        Self::FilterDumpCold,
        Self::ErrorExists,
        Self::ErrorMissing,
        Self::ErrorInvalid,
        Self::ErrorNoDevice,
    ];

    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::QdiscCreate => "qdisc-create",
            Self::QdiscDelete => "qdisc-delete",
            Self::ClassCreate => "class-create",
            Self::ClassChange => "class-change",
            Self::ClassRead => "class-read",
            Self::ClassDelete => "class-delete",
            Self::ClassDump => "class-dump",
            Self::ClassDumpCold => "class-dump-cold",
            Self::FilterCreate => "filter-create",
            Self::FilterDelete => "filter-delete",
            Self::FilterDump => "filter-dump",
            Self::FilterDumpCold => "filter-dump-cold",
            Self::ErrorExists => "error-exists",
            Self::ErrorMissing => "error-missing",
            Self::ErrorInvalid => "error-invalid",
            Self::ErrorNoDevice => "error-no-device",
        }
    }
}

/// One request on its way, with what its caller calls it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What it is.
    pub kind: OperationKind,
    /// What is sent.
    pub ask: Ask,
    /// The error number with which the kernel is to refuse it; `None`: it is to succeed.
    pub expects: Option<i32>,
}

impl Operation {
    /// A request that is to succeed.
    pub fn of(kind: OperationKind, request: Request) -> Self {
        Self { kind, ask: Ask::One(request), expects: None }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Ask {
    /// One netlink message.
    One(Request),
    /// The same past the adapter's own checks, for what the kernel is to refuse.
    Unchecked(Request),
    /// A list of a device's classes, with their statistics: as many messages as they fill (`tc -s class show dev D`).
    Classes {
        /// Interface index.
        device: u32,
        /// On which socket.
        socket: Socket,
    },
    /// A list of the filters on a qdisc or class (`tc filter show dev D parent P`).
    Filters {
        /// Interface index.
        device: u32,
        /// Where they hang.
        parent: Handle,
        /// On which socket.
        socket: Socket,
    },
}

/// On which socket a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The run's own, which is open and whose buffers are there: what a program pays that stays.
    Shared,
    /// One that is opened for this list and closed afterwards: what each start of `tc class show dev D` pays, beside the start itself.
    Fresh,
}

impl Socket {
    /// That of an operation.
    pub fn of(kind: OperationKind) -> Self {
        match kind {
            OperationKind::ClassDumpCold | OperationKind::FilterDumpCold => Self::Fresh,
            _ => Self::Shared,
        }
    }
}

/// One worker's stream of operations. Workers own disjoint devices or classes, so that the outcome of a
/// request never depends on how they interleave.
pub trait Source: Send {
    /// The next operation, or `None` when the work is done.
    fn next(&mut self) -> Option<Operation>;

    /// The outcome of the operation last yielded.
    fn settle(&mut self, succeeded: bool);
}

/// What stands in the kernel before the first operation, and who then works on it.
pub struct Scene {
    /// Requests that prepare it.
    pub setup: Vec<Request>,
    /// One for each worker.
    pub sources: Vec<Box<dyn Source>>,
    /// Most classes that will be in the kernel at once.
    pub population_max: u64,
}

/// The scene of one round of `workload` on `devices` (interface indices).
pub fn scene(workload: &Workload, devices: &[u32], seed: u64, warmup: u64) -> Scene {
    match workload.kind {
        Kind::HtbQdisc => htb_qdisc::scene(workload, devices),
        Kind::HtbClass => htb_class::scene(workload, devices, seed, warmup),
        Kind::Lifecycle => lifecycle::scene(workload, devices, seed),
    }
}

/// How many of `all` operations, dealt to the workers in turn from the first on, fall to `worker`. Who deals and who has something
/// ready must agree on this, or requests are asked of a worker that has none left.
pub fn share(all: u64, workers: u64, worker: u64) -> u64 {
    all / workers + u64::from(worker < all % workers)
}

/// Each worker draws from a stream of its own, so that the same seed gives the same requests on any machine.
fn worker_rng(seed: u64, worker: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(worker));
    rng
}

/// `tc qdisc add dev D root handle 1: htb default 0`, on each device.
fn root_qdiscs(devices: &[u32]) -> impl Iterator<Item = Request> + '_ {
    devices.iter().map(|&device| Request::AddQdisc {
        device,
        parent: Handle::ROOT,
        handle: ROOT_QDISC,
        qdisc: HtbQdisc::new().into(),
    })
}

/// Where the `index`-th class of a workload lives: classes are dealt to the devices in turn.
pub(crate) fn class_place(devices: &[u32], index: u64) -> (u32, Handle) {
    let devices_count = devices.len() as u64;
    let device = devices[usize::try_from(index % devices_count).expect("below a slice's length")];
    let minor = u16::try_from(index / devices_count + 1).expect("the plan keeps minors within 16 bits");
    (device, Handle::new(ROOT_QDISC.major(), minor))
}
