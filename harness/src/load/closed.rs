//! Closed loop: capacity.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{Crew, Driven};
use crate::workload::{Source, share};

/// When a worker has done enough. The end of its source ends it too.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// No request is sent after this moment.
    Deadline(Instant),
    /// Operations, over all workers.
    Operations(u64),
}

/// Each worker sends its next request as soon as the last was answered.
pub async fn closed(crew: &Crew, sources: Vec<Box<dyn Source>>, until: Until) -> Driven {
    let workers = sources.len() as u64;
    let mut tasks = JoinSet::new();
    for (worker, mut source) in sources.into_iter().enumerate() {
        let crew = crew.clone();
        tasks.spawn(async move {
            let mut left = match until {
                Until::Operations(all) => share(all, workers, worker as u64),
                Until::Deadline(_) => u64::MAX,
            };
            while left > 0 && !crew.stop.is_set() {
                let now = Instant::now();
                if matches!(until, Until::Deadline(deadline) if now >= deadline) {
                    break;
                }
                let Some(operation) = source.next() else { break };
                crew.perform(worker, source.as_mut(), &operation, now).await;
                left -= 1;
            }
            (worker, source)
        });
    }
    let mut finished = tasks.join_all().await;
    finished.sort_by_key(|(worker, _)| *worker);
    Driven { sources: finished.into_iter().map(|(_, source)| source).collect(), unsent: 0 }
}
