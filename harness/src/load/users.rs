//! Closed loop with people in it: virtual users that come, think between their requests, and go.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tokio::task::JoinSet;

use super::{Alarm, Crew, Driven, Ramp};
use crate::workload::Source;

/// How long a user waits between an answer and the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Think {
    /// Not at all.
    #[default]
    None,
    /// Always as long.
    Constant(Duration),
    /// Exponentially distributed around a mean, so that users who came together do not stay in step.
    Exponential(Duration),
}

impl Think {
    fn draw(self, rng: &mut ChaCha8Rng) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Constant(time) => time,
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - rng.random_range(0.0..1.0_f64)).ln()),
        }
    }

    /// The wait before the first request: somewhere within a think time, or else all would begin at once.
    fn first(self, rng: &mut ChaCha8Rng) -> Duration {
        self.draw(rng).mul_f64(rng.random_range(0.0..1.0))
    }
}

/// How many users there are over a stage, and how they behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Users {
    /// So many.
    pub count: Ramp,
    /// Between requests.
    pub think: Think,
    /// Of the think times.
    pub seed: u64,
    /// How long the stage is.
    pub duration: Duration,
}

/// Each user sends a request when the last was answered and it has thought. A user is a task: thousands of them share a few threads.
/// Latency counts from the send; how much later than its think time's end that was is kept as lag.
pub async fn users(
    crew: &Crew,
    sources: Vec<Box<dyn Source>>,
    plan: Users,
    alarm: &Alarm,
    start: Instant,
) -> Driven {
    let mut tasks = JoinSet::new();
    let mut idle = Vec::new();
    for (worker, mut source) in sources.into_iter().enumerate() {
        let index = u32::try_from(worker).unwrap_or(u32::MAX);
        let Some((from, until)) = plan.count.presence(index, plan.duration) else {
            idle.push((worker, source));
            continue;
        };
        let (crew, alarm) = (crew.clone(), alarm.clone());
        tasks.spawn(async move {
            let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
            rng.set_stream(worker as u64);
            let until = start + until;
            let mut due = start + from + plan.think.first(&mut rng);
            while due < until && alarm.at(due).await {
                let Some(operation) = source.next() else { break };
                let now = Instant::now();
                crew.began(worker, due, now);
                crew.perform(worker, source.as_mut(), &operation, now).await;
                due = Instant::now() + plan.think.draw(&mut rng);
            }
            (worker, source)
        });
    }
    let mut finished = tasks.join_all().await;
    // The time after the last request belongs to the stage as well.
    alarm.at(start + plan.duration).await;
    finished.append(&mut idle);
    finished.sort_by_key(|(worker, _)| *worker);
    Driven { sources: finished.into_iter().map(|(_, source)| source).collect(), unsent: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn think_times_have_their_mean() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mean = Duration::from_millis(10);
        let think = Think::Exponential(mean);
        let sum: Duration = (0..100_000).map(|_| think.draw(&mut rng)).sum();
        assert!(sum.abs_diff(mean * 100_000) < mean * 2_000, "{sum:?}");
        assert_eq!(Think::None.draw(&mut rng), Duration::ZERO);
        assert!((0..100).all(|_| Think::Constant(mean).first(&mut rng) < mean));
    }
}
