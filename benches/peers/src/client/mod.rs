//! The clients that are written in Rust, each in a process of its own.

mod adapter;
mod nlink;
mod rtnetlink;

use clap::{Args, ValueEnum};

use crate::arena::POPULATION;
use crate::measure::Figures;

/// Which client, and what it is to do.
#[derive(Args)]
pub(crate) struct Arguments {
    name: Name,
    work: Work,
    device: String,
    count: u32,
    /// Concurrent tasks; 0: everything in one call
    callers: u32,
    /// Threads of the runtime
    #[arg(default_value_t = 1)]
    threads: usize,
    /// Count allocations, which takes time
    #[arg(long)]
    count_allocations: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The asynchronous client.
    Adapter,
    /// The blocking connection, without any runtime.
    AdapterBlocking,
    /// rtnetlink, with messages made by hand: it has no classes.
    Rtnetlink,
    /// nlink.
    Nlink,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Work {
    /// `tc class change`, over and over the population.
    Change,
    /// `tc class add`, beyond the population.
    Add,
    /// `tc class show`, of `count` devices.
    Dump,
}

/// The minor and the rate (bytes/s) of operation `index`. Two rates in turn, so that each change is one.
pub(crate) fn operation(work: Work, index: u32) -> (u16, u32) {
    let population = u32::from(POPULATION);
    let minor = if work == Work::Add { population + 1 + index } else { 1 + index % population };
    let rate = if index / population % 2 == 1 { 1_250_000 } else { 1_375_000 };
    (u16::try_from(minor).expect("the works stay within 16 bits"), rate)
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.count_allocations {
        crate::allocations::count();
    }
    let figures: Figures = match arguments.name {
        Name::Adapter => adapter::run(arguments)?,
        Name::AdapterBlocking => adapter::run_blocking(arguments)?,
        Name::Rtnetlink => rtnetlink::run(arguments)?,
        Name::Nlink => nlink::run(arguments)?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

/// Runs `callers` tasks and puts their latencies together.
async fn tasks<F>(
    count: u32,
    callers: u32,
    task: impl Fn(u32, Vec<std::time::Duration>) -> F,
) -> anyhow::Result<Figures>
where
    F: Future<Output = anyhow::Result<Vec<std::time::Duration>>> + Send + 'static,
{
    let share = (count / callers + 1) as usize;
    let watch = crate::measure::Stopwatch::start();
    let running: Vec<_> =
        (0..callers).map(|caller| tokio::spawn(task(caller, Vec::with_capacity(share)))).collect();
    let mut latencies = Vec::with_capacity(count as usize);
    for task in running {
        latencies.extend(task.await??);
    }
    Ok(watch.stop(count.into(), latencies))
}
