//! Latencies in few buckets, each several times as wide as the one before.

use hdrhistogram::Histogram;

use crate::observe::Duration;

/// From where to where, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) count: u64,
}

impl Bucket {
    /// `10–20 µs`
    pub(super) fn name(self) -> String {
        format!("{}–{}", bound(self.from_ns), bound(self.to_ns))
    }
}

/// `20µs`
fn bound(ns: u64) -> String {
    let text = Duration { ns }.to_string();
    let (value, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let value = if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { value };
    format!("{value}{unit}")
}

/// Bounds of buckets up to an hour: three in each power of ten, or one.
fn bounds(steps: &'static [u64]) -> impl Iterator<Item = u64> {
    (2..13).flat_map(move |power| steps.iter().map(move |step| step * 10_u64.pow(power)))
}

/// The buckets from the first to the last that is not empty, as fine as there is room for: at most `most` of them.
pub(super) fn buckets(latency: &Histogram<u32>, most: usize) -> Vec<Bucket> {
    if latency.is_empty() || most == 0 {
        return Vec::new();
    }
    let fine = divided(latency, &[1, 2, 5]);
    if fine.len() <= most {
        return fine;
    }
    let mut coarse = divided(latency, &[1]);
    // Only a few requests are this slow.
    while coarse.len() > most
        && let (Some(last), Some(before)) = (coarse.pop(), coarse.last_mut())
    {
        before.to_ns = last.to_ns;
        before.count += last.count;
    }
    coarse
}

fn divided(latency: &Histogram<u32>, steps: &'static [u64]) -> Vec<Bucket> {
    let mut from_ns = 0;
    let mut buckets: Vec<_> = bounds(steps)
        .map(|to_ns| {
            let bucket = Bucket { from_ns, to_ns, count: 0 };
            from_ns = to_ns;
            bucket
        })
        .collect();
    for value in latency.iter_recorded() {
        let at = buckets.partition_point(|bucket| bucket.to_ns <= value.value_iterated_to());
        let at = at.min(buckets.len() - 1);
        buckets[at].count += value.count_since_last_iteration();
    }
    let first = buckets.iter().position(|bucket| bucket.count > 0).unwrap_or(0);
    let last = buckets.iter().rposition(|bucket| bucket.count > 0).unwrap_or(0);
    buckets[first..=last].to_vec()
}

/// A bar of so many eighths of a character.
pub(super) fn bar(count: u64, most: u64, width: u16) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if count == 0 || most == 0 {
        return String::new();
    }
    let eighths = (u128::from(count) * u128::from(width) * 8).div_ceil(u128::from(most));
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).min(usize::from(width) * 8);
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram<u32> {
        let mut latency = Histogram::new(2).unwrap();
        for value in values {
            latency.record(*value).unwrap();
        }
        latency
    }

    #[test]
    fn buckets_are_as_fine_as_there_is_room_for() {
        let latency = of(&[7_000, 7_100, 12_000, 130_000]);
        let fine = buckets(&latency, 10);
        let names: Vec<_> = fine.iter().map(|bucket| bucket.name()).collect();
        assert_eq!(names, ["5µs–10µs", "10µs–20µs", "20µs–50µs", "50µs–100µs", "100µs–200µs"]);
        let counts: Vec<_> = fine.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 1]);
        let coarse = buckets(&latency, 3);
        assert_eq!(coarse.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [2, 1, 1]);
        let two = buckets(&latency, 2);
        assert_eq!(two[1], Bucket { from_ns: 10_000, to_ns: 1_000_000, count: 2 });
        assert_eq!(buckets(&latency, 1)[0].count, 4);
    }

    #[test]
    fn no_value_is_outside() {
        assert_eq!(buckets(&of(&[]), 10), []);
        assert_eq!(buckets(&of(&[5]), 0), []);
        for values in [&[0, 1, 50][..], &[u64::from(u32::MAX) * 1_000_000, 3]] {
            for most in 1..30 {
                let found = buckets(&of(values), most);
                assert!(found.len() <= most);
                assert_eq!(found.iter().map(|bucket| bucket.count).sum::<u64>(), values.len() as u64);
            }
        }
    }

    #[test]
    fn bars_are_seen_wherever_something_is() {
        assert_eq!(bar(0, 10, 10), "");
        assert_eq!(bar(1, 1_000_000, 10), "▏");
        assert_eq!(bar(5, 10, 10), "█████");
        assert_eq!(bar(10, 10, 10).chars().count(), 10);
        assert_eq!(bar(3, 0, 10), "");
        assert_eq!(bar(1, 1, 0), "");
    }
}
