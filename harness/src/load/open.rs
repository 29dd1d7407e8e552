//! Open loop: requests are due whether or not the kernel keeps up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use super::{Crew, Driven, Schedule, pacer};
use crate::workload::Source;

/// How long after the schedule's end late requests are still sent. What is left then is counted as unsent:
/// an overloaded kernel must not keep a run from ending.
const GRACE: Duration = Duration::from_secs(10);

/// Sends each request when it is due, or as soon after as its worker is free. Latency counts from the due time.
pub async fn open(
    crew: &Crew,
    sources: Vec<Box<dyn Source>>,
    schedule: Schedule,
    start: Instant,
) -> std::io::Result<Driven> {
    let give_up = start + schedule.duration() + GRACE;
    let waiting = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    let mut tasks = JoinSet::new();
    for (worker, mut source) in sources.into_iter().enumerate() {
        let (sender, mut due_times) = unbounded_channel::<Instant>();
        senders.push(sender);
        let crew = crew.clone();
        let waiting = Arc::clone(&waiting);
        tasks.spawn(async move {
            let mut unsent = 0;
            let mut free = start;
            while let Some(due) = due_times.recv().await {
                waiting.fetch_sub(1, Ordering::Relaxed);
                let now = Instant::now();
                let operation = if crew.stop.is_set() || now >= give_up { None } else { source.next() };
                match operation {
                    Some(operation) => {
                        crew.began(worker, due.max(free), now);
                        crew.perform(worker, source.as_mut(), &operation, due).await;
                    }
                    None => unsent += 1,
                }
                free = Instant::now();
            }
            (worker, source, unsent)
        });
    }
    let pacer = pacer::start(schedule, start, senders, waiting, crew.stop.clone())?;
    let mut finished = tasks.join_all().await;
    // The workers end when the pacer has dropped its senders, so this does not block.
    let dropped = pacer.join().unwrap_or_default();
    finished.sort_by_key(|(worker, ..)| *worker);
    let unsent = dropped + finished.iter().map(|(.., unsent)| unsent).sum::<u64>();
    Ok(Driven { sources: finished.into_iter().map(|(_, source, _)| source).collect(), unsent })
}
