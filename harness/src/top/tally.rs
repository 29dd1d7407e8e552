//! What is counted of some requests.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use crate::observe::Request;
use crate::record::record;

/// Two significant digits, a percent, in a sixth of the room that three take: there is a tally for each process.
const SIGNIFICANT_DIGITS: u8 = 2;
/// So many holders are told apart; of more, those behind whom least was waited become nameless.
const MOST_HOLDERS: usize = 128;

/// A process that held RTNL when another began to wait: its id, and its thread's name.
pub(super) type Holder = (u32, String);

/// A request, as far as it is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) total_ns: u64,
    /// `None`: not known.
    pub(super) errno: Option<i32>,
    /// `None`: not measured.
    pub(super) rtnl_wait_ns: Option<u64>,
    pub(super) holder: Option<Holder>,
}

impl Sample {
    pub(super) fn of(request: &mut Request, rtnl_wait_ns: u64) -> Self {
        Self {
            total_ns: request.total_ns,
            errno: request.errno,
            rtnl_wait_ns: request.phases_us.rtnl_wait.map(|_| rtnl_wait_ns),
            holder: request.holder.take().map(|holder| (holder.pid, holder.comm)),
        }
    }
}

/// For how long, and how often, somebody was waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) ns: u64,
    pub(super) count: u64,
}

impl Waits {
    fn add(&mut self, other: Self) {
        self.ns += other.ns;
        self.count += other.count;
    }
}

/// Counts, latencies and waits of some requests.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Requests whose result is not known.
    pub(super) unknown: u64,
    pub(super) latency: Histogram<u32>,
    max_ns: u64,
    /// The requests whose wait for RTNL was measured: how many, their time, and their waits.
    measured: u64,
    measured_ns: u64,
    waited_ns: u64,
    holders: HashMap<Holder, Waits>,
    /// Behind somebody of whom it is not known who that was.
    nameless: Waits,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: 0,
            errors: 0,
            unknown: 0,
            latency: Histogram::new(SIGNIFICANT_DIGITS).expect("two digits are within HdrHistogram's 0 to 5"),
            max_ns: 0,
            measured: 0,
            measured_ns: 0,
            waited_ns: 0,
            holders: HashMap::new(),
            nameless: Waits::default(),
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, sample: Sample) {
        self.requests += 1;
        match sample.errno {
            Some(0) => {}
            Some(_) => self.errors += 1,
            None => self.unknown += 1,
        }
        record(&mut self.latency, sample.total_ns);
        self.max_ns = self.max_ns.max(sample.total_ns);
        let Some(ns) = sample.rtnl_wait_ns else { return };
        self.measured += 1;
        self.measured_ns += sample.total_ns;
        self.waited_ns += ns;
        if ns == 0 {
            return;
        }
        let waits = Waits { ns, count: 1 };
        match sample.holder {
            Some(holder) => self.blame(holder, waits),
            None => self.nameless.add(waits),
        }
    }

    fn blame(&mut self, holder: Holder, waits: Waits) {
        self.holders.entry(holder).or_default().add(waits);
        if self.holders.len() > MOST_HOLDERS
            && let Some(least) =
                self.holders.iter().min_by_key(|(_, waits)| waits.ns).map(|(holder, _)| holder.clone())
            && let Some(waits) = self.holders.remove(&least)
        {
            self.nameless.add(waits);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.unknown += other.unknown;
        self.latency.add(&other.latency).expect("an auto-resizing histogram takes any other");
        self.max_ns = self.max_ns.max(other.max_ns);
        self.measured += other.measured;
        self.measured_ns += other.measured_ns;
        self.waited_ns += other.waited_ns;
        for (holder, waits) in &other.holders {
            self.blame(holder.clone(), *waits);
        }
        self.nameless.add(other.nameless);
    }

    /// Nanoseconds; `None` without a request.
    pub(super) fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        (self.requests > 0).then(|| self.latency.value_at_quantile(quantile).min(self.max_ns))
    }

    pub(super) fn max_ns(&self) -> Option<u64> {
        (self.requests > 0).then_some(self.max_ns)
    }

    /// The time that was waited for RTNL; `None` where it was not measured.
    pub(super) fn waited_ns(&self) -> Option<u64> {
        (self.measured > 0).then_some(self.waited_ns)
    }

    pub(super) fn mean_wait_ns(&self) -> Option<u64> {
        self.waited_ns.checked_div(self.measured)
    }

    /// Of the requests' time, what they waited for RTNL.
    pub(super) fn wait_percent(&self) -> Option<f64> {
        (self.measured_ns > 0).then(|| self.waited_ns as f64 / self.measured_ns as f64 * 100.0)
    }

    /// Behind whom how long was waited, longest first. `None`: it is not known behind whom.
    pub(super) fn holders(&self) -> Vec<(Option<&Holder>, Waits)> {
        let mut holders: Vec<_> = self.holders.iter().map(|(holder, waits)| (Some(holder), *waits)).collect();
        if self.nameless.count > 0 {
            holders.push((None, self.nameless));
        }
        holders.sort_by(|left, right| right.1.ns.cmp(&left.1.ns).then_with(|| left.0.cmp(&right.0)));
        holders
    }

    /// Behind whom most was waited.
    pub(super) fn main_holder(&self) -> Option<&Holder> {
        let most = |left: &(&Holder, &Waits), right: &(&Holder, &Waits)| {
            left.1.ns.cmp(&right.1.ns).then_with(|| right.0.cmp(left.0))
        };
        self.holders.iter().max_by(most).map(|(holder, _)| holder)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request that worked, took so long, and of it waited so long behind that process.
    pub(in super::super) fn sample(total_ns: u64, wait_ns: u64, holder: u32) -> Sample {
        Sample {
            total_ns,
            errno: Some(0),
            rtnl_wait_ns: Some(wait_ns),
            holder: (holder != 0).then(|| (holder, format!("holder{holder}"))),
        }
    }

    fn tally(samples: &[Sample]) -> Tally {
        let mut tally = Tally::default();
        for sample in samples {
            tally.count(sample.clone());
        }
        tally
    }

    #[test]
    fn nothing_has_no_latency() {
        let nothing = Tally::default();
        assert_eq!((nothing.quantile_ns(0.5), nothing.max_ns()), (None, None));
        assert_eq!((nothing.waited_ns(), nothing.wait_percent(), nothing.mean_wait_ns()), (None, None, None));
        assert!(nothing.holders().is_empty());
    }

    #[test]
    fn results_are_told_apart() {
        let of = |errno| Sample { errno, ..sample(1_000, 0, 0) };
        let tally = tally(&[of(Some(0)), of(Some(17)), of(None)]);
        assert_eq!((tally.requests, tally.errors, tally.unknown), (3, 1, 1));
    }

    #[test]
    fn waits_are_shares_of_the_time_of_those_that_were_measured() {
        let unmeasured = Sample { rtnl_wait_ns: None, ..sample(1_000_000, 0, 0) };
        let tally = tally(&[sample(10_000, 4_000, 7), sample(10_000, 0, 0), unmeasured]);
        assert_eq!((tally.waited_ns(), tally.mean_wait_ns()), (Some(4_000), Some(2_000)));
        assert!((tally.wait_percent().unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(tally.max_ns(), Some(1_000_000));
    }

    #[test]
    fn sums_are_those_of_all_requests() {
        let samples: Vec<_> =
            (1..=100).map(|n| sample(u64::from(n) * 1_000, u64::from(n) * 10, n % 3)).collect();
        let whole = tally(&samples);
        let mut parts = tally(&samples[..30]);
        parts.add(&tally(&samples[30..]));
        assert_eq!(parts.holders(), whole.holders());
        assert_eq!(parts.latency, whole.latency);
        assert_eq!((parts.requests, parts.waited_ns()), (100, Some(50_500)));
        let p50 = parts.quantile_ns(0.5).unwrap();
        assert!((49_500..=50_500).contains(&p50), "{p50}");
    }

    #[test]
    fn those_behind_whom_most_was_waited_keep_their_names() {
        let mut tally = Tally::default();
        for holder in 1..=1_000_u32 {
            tally.count(sample(1_000_000, u64::from(holder), holder));
        }
        let holders = tally.holders();
        assert_eq!(holders.len(), MOST_HOLDERS + 1);
        assert_eq!(tally.main_holder(), Some(&(1_000, "holder1000".to_owned())));
        assert_eq!(holders.iter().map(|(_, waits)| waits.ns).sum::<u64>(), 500_500);
        assert_eq!(holders.iter().map(|(_, waits)| waits.count).sum::<u64>(), 1_000);
    }
}
