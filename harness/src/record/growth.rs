//! Looks for leaks: what the process and the kernel keep, sampled over the whole run, and how fast it grows.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::resources::{Descriptors, resident_bytes};
use super::slab;
use crate::profile::heap::live_bytes;
use crate::report::model::Growth;
use crate::stats::slope::slope;

/// The first interval; it doubles whenever there are [`MOST`]: a second after two minutes.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// Room is taken for them before the run: what looks for leaks must not grow.
const MOST: usize = 512;

/// Of a shorter run nothing is said: a page a second is 15 MB an hour.
const SHORTEST: Duration = Duration::from_secs(20);

/// Samples of which the least counts: memory that is taken and given back within a second, such as the histograms of that second, lies on top
/// of what is kept, and a leak raises what lies below.
const OF_A_FLOOR: usize = 4;

/// Fewer say less than the samples themselves.
const FEWEST_FLOORS: usize = 60;

/// Figures, in the order of a sample's values.
const NAMES: [&str; 5] = ["rss_bytes", "heap_bytes", "fds", "sockets", "slab_bytes"];

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    /// `None` where it could not be read just then.
    values: [Option<u64>; NAMES.len()],
}

impl Sample {
    fn now(at: Duration, slab: bool) -> Self {
        let open = Descriptors::now();
        let values = [
            resident_bytes(),
            live_bytes(),
            open.map(|open| open.fds),
            open.map(|open| open.sockets),
            slab.then(slab::bytes_in_use).flatten(),
        ];
        Self { at, values }
    }
}

/// Samples until it is stopped.
pub struct GrowthMeter {
    end: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl GrowthMeter {
    /// Starts a thread that takes a sample four times a second, later less often: a tenth of a millisecond each, and once a second another
    /// for the slab, for which the kernel walks all of its caches.
    pub fn start() -> io::Result<Self> {
        let (end, ended) = channel();
        let thread = thread::Builder::new().name("qdiscope-growth".into()).spawn(move || {
            super::give_way();
            let began = Instant::now();
            let mut samples = Vec::with_capacity(MOST);
            let mut interval = FIRST_INTERVAL;
            loop {
                if samples.len() == MOST {
                    thin(&mut samples);
                    interval *= 2;
                }
                samples.push(Sample::now(began.elapsed(), samples.len() % OF_A_FLOOR == 0));
                match ended.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return samples,
                }
            }
        })?;
        Ok(Self { end, thread })
    }

    /// How fast each figure grew, by name: `rss_bytes`, `heap_bytes`, `fds`, `sockets`, `slab_bytes`. What cannot be said, for want of time or of
    /// samples, is not in it, and `None` stands for nothing at all. And what that was told from.
    pub fn stop(self) -> (Option<BTreeMap<String, Growth>>, Samples) {
        drop(self.end);
        // A thread that panicked has measured nothing.
        let samples = self.thread.join().unwrap_or_default();
        (Some(growth(&samples)).filter(|growth| !growth.is_empty()), Samples(samples))
    }
}

/// What was sampled: a list of objects, `at_seconds` and the figures by their names, null where one was not read.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|sample| {
            let at = ("at_seconds", json!(sample.at.as_secs_f64()));
            std::iter::once(at)
                .chain(NAMES.into_iter().zip(sample.values.iter().map(|value| json!(value))))
                .collect::<BTreeMap<_, _>>()
        }))
    }
}

/// Keeps every second one.
fn thin(samples: &mut Vec<Sample>) {
    let mut keep = false;
    samples.retain(|_| {
        keep = !keep;
        keep
    });
}

fn growth(samples: &[Sample]) -> BTreeMap<String, Growth> {
    const HOUR: f64 = 3_600.0;
    let mut growths = BTreeMap::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        let series: Vec<_> = samples
            .iter()
            .filter_map(|sample| Some((sample.at.as_secs_f64(), sample.values[index]? as f64)))
            .collect();
        let seconds = series.first().zip(series.last()).map_or(0.0, |(first, last)| last.0 - first.0);
        if seconds < SHORTEST.as_secs_f64() {
            continue;
        }
        if let Some(slope) = slope(&floors(&series)) {
            let growth = Growth {
                per_hour: slope.per_second * HOUR,
                interval: slope.interval.map(|end| end * HOUR),
                samples: series.len() as u64,
                seconds,
            };
            growths.insert(name.to_owned(), growth);
        }
    }
    growths
}

/// The least of each few samples, where enough are left for a slope.
fn floors(series: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let of = if series.len() / OF_A_FLOOR >= FEWEST_FLOORS { OF_A_FLOOR } else { 1 };
    series.chunks(of).filter_map(|few| few.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, rss: Option<u64>) -> Sample {
        Sample { at: Duration::from_secs(seconds), values: [rss, None, Some(9), Some(2), Some(seconds)] }
    }

    #[test]
    fn what_was_sampled_grows_and_nothing_else_is_named() {
        let samples: Vec<_> = (0..100).map(|second| sample(second, Some(1_000 * second))).collect();
        let growth = growth(&samples);
        assert_eq!(growth.keys().collect::<Vec<_>>(), ["fds", "rss_bytes", "slab_bytes", "sockets"]);
        let rss = growth["rss_bytes"];
        assert!((rss.per_hour - 3.6e6).abs() < 1.0, "{rss:?}");
        assert_eq!((rss.samples, rss.seconds), (100, 99.0));
        assert_eq!((growth["fds"].per_hour, growth["fds"].interval), (0.0, [0.0, 0.0]));
    }

    /// As lists on sockets of their own do: some samples meet one, and one more is no growth.
    #[test]
    fn what_is_open_for_a_moment_is_no_growth() {
        use rand::{RngExt as _, SeedableRng as _};
        for seed in 0..20 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            for often in [0.01, 0.5, 0.99] {
                let samples: Vec<_> = (0..400)
                    .map(|second| {
                        let open = u64::from(rng.random_bool(often));
                        Sample {
                            at: Duration::from_secs(second),
                            values: [None, None, Some(30 + open), Some(3 + open), None],
                        }
                    })
                    .collect();
                for (name, growth) in growth(&samples) {
                    assert!(growth.interval[0] <= 0.0, "seed {seed}, {often}: {name}: {growth:?}");
                }
            }
        }
    }

    #[test]
    fn of_a_short_run_nothing_is_said() {
        let quick: Vec<_> = (0..400)
            .map(|number| Sample { at: Duration::from_millis(number * 40), ..sample(0, Some(1)) })
            .collect();
        assert!(growth(&quick).is_empty());
        assert!(growth(&[]).is_empty());
        assert_eq!(GrowthMeter::start().unwrap().stop().0.map(|growth| growth.len()), None);
    }

    #[test]
    fn what_could_mostly_not_be_read_is_absent() {
        let samples: Vec<_> = (0..100).map(|second| sample(second, (second < 20).then_some(1))).collect();
        assert!(!growth(&samples).contains_key("rss_bytes"));
    }

    #[test]
    fn samples_are_saved_by_name() {
        let saved = serde_json::to_value(Samples(vec![sample(3, None)])).unwrap();
        let wanted = json!([{ "at_seconds": 3.0, "rss_bytes": null, "heap_bytes": null, "fds": 9, "sockets": 2, "slab_bytes": 3 }]);
        assert_eq!(saved, wanted);
    }

    #[test]
    fn thinning_keeps_the_first_and_every_second() {
        let mut samples: Vec<_> = (0..5).map(|second| sample(second, None)).collect();
        thin(&mut samples);
        assert_eq!(samples.iter().map(|sample| sample.at.as_secs()).collect::<Vec<_>>(), [0, 2, 4]);
    }

    /// Alone in its process: `cargo test -p qdiscope --lib a_leak_in_this_process -- --ignored`.
    #[test]
    #[ignore = "takes three minutes, and no other test may allocate meanwhile"]
    fn a_leak_in_this_process_is_found_and_none_where_there_is_none() {
        const RUN: Duration = Duration::from_secs(90);
        for rate in [None, Some(12.0)] {
            let meter = GrowthMeter::start().unwrap();
            let leak = rate.map(|rate| crate::disturb::leak::Leak::start(rate).unwrap());
            thread::sleep(RUN);
            let growth = meter.stop().0.unwrap();
            println!("{rate:?} MB/h: {growth:#?}");
            drop(leak);
            let heap = growth["heap_bytes"];
            let found = heap.per_hour > 10e6 && heap.interval[0] > 0.0;
            assert_eq!(found, rate.is_some(), "{heap:?}");
        }
    }

    #[test]
    fn everything_can_be_read_here() {
        assert!(Sample::now(Duration::ZERO, true).values.iter().all(Option::is_some));
    }
}
