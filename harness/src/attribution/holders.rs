//! Who held RTNL while requests waited for it.

use std::collections::{HashMap, HashSet};

use ebpf_loader::RequestEvent;

use crate::report::model::{RtnlHolder, RtnlWaits};

/// Waits by whom they were for.
///
/// The probes name the holder when a request begins to wait. Of one long wait behind several, who held RTNL one after another, it is the
/// one that held it when the request last began to wait.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// By process and its name: an id may be used again, and a process may change its name.
    waits: HashMap<(u32, String), Waits>,
    unknown: Waits,
    /// Those who send the requests: they can be their own obstacle.
    own: HashSet<u32>,
    requests_ns: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    count: u64,
    nanos: u64,
}

impl Waits {
    fn add(&mut self, nanos: u64) {
        self.count += 1;
        self.nanos += nanos;
    }
}

/// Holders named at most; the others are summed up.
const NAMED: usize = 10;

impl Holders {
    /// Adds a request.
    pub fn record(&mut self, event: &RequestEvent) {
        self.own.insert(event.tgid);
        self.requests_ns += event.total_ns;
        if event.rtnl_wait_ns == 0 {
            return;
        }
        let waits = if event.holder_tid == 0 {
            &mut self.unknown
        } else {
            self.waits.entry((event.holder_tgid, event.holder_name().to_owned())).or_default()
        };
        waits.add(event.rtnl_wait_ns);
    }

    /// What is known; `None` without a request.
    pub fn summary(&self) -> Option<RtnlWaits> {
        if self.requests_ns == 0 {
            return None;
        }
        let percent_of =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
        let all: u64 = self.unknown.nanos + self.waits.values().map(|waits| waits.nanos).sum::<u64>();
        let mut holders: Vec<RtnlHolder> = self
            .waits
            .iter()
            .map(|((pid, comm), waits)| RtnlHolder {
                comm: comm.clone(),
                pid: *pid,
                own: self.own.contains(pid),
                doing: None,
                waits: waits.count,
                wait_us: waits.nanos as f64 / 1e3,
                percent_of_waiting: percent_of(waits.nanos, all),
            })
            .collect();
        holders.sort_by(|one, other| other.wait_us.total_cmp(&one.wait_us).then(one.pid.cmp(&other.pid)));
        let foreign: u64 = self
            .waits
            .iter()
            .filter(|((pid, _), _)| !self.own.contains(pid))
            .map(|(_, waits)| waits.nanos)
            .sum();
        let others = holders.split_off(holders.len().min(NAMED));
        Some(RtnlWaits {
            wait_us: all as f64 / 1e3,
            percent_of_requests: percent_of(all, self.requests_ns),
            foreign_percent_of_requests: percent_of(foreign, self.requests_ns),
            holders,
            further_holders: others.len() as u64,
            // An empty sum of floats is -0.
            further_wait_us: others.iter().map(|holder| holder.wait_us).fold(0.0, |sum, wait| sum + wait),
            unknown_wait_us: self.unknown.nanos as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(wait: u64, holder: (u32, &str)) -> RequestEvent {
        let mut event = RequestEvent {
            tgid: 7,
            total_ns: 100_000,
            rtnl_wait_ns: wait,
            holder_tid: holder.0,
            holder_tgid: holder.0,
            ..RequestEvent::default()
        };
        event.holder_comm[..holder.1.len()].copy_from_slice(holder.1.as_bytes());
        event
    }

    #[test]
    fn the_one_behind_whom_most_was_waited_comes_first_and_ourselves_are_told_apart() {
        let mut holders = Holders::default();
        for (wait, holder) in
            [(10_000, (7, "qdiscope")), (60_000, (42, "tc")), (20_000, (42, "tc")), (10_000, (0, ""))]
        {
            holders.record(&event(wait, holder));
        }
        let waits = holders.summary().unwrap();
        let named: Vec<_> = waits.holders.iter().map(|h| (h.comm.as_str(), h.pid, h.own, h.waits)).collect();
        assert_eq!(named, [("tc", 42, false, 2), ("qdiscope", 7, true, 1)]);
        assert!((waits.holders[0].percent_of_waiting - 80.0).abs() < 1e-9);
        assert!((waits.percent_of_requests - 25.0).abs() < 1e-9);
        assert!((waits.foreign_percent_of_requests - 20.0).abs() < 1e-9);
        assert!((waits.unknown_wait_us - 10.0).abs() < 1e-9);
    }

    #[test]
    fn who_did_not_wait_names_nobody() {
        let mut holders = Holders::default();
        assert!(holders.summary().is_none(), "no request is no answer");
        holders.record(&event(0, (42, "tc")));
        assert_eq!(holders.summary().unwrap().holders.len(), 0);
    }

    #[test]
    fn a_crowd_is_summed_up() {
        let mut holders = Holders::default();
        (1..=15).for_each(|pid| holders.record(&event(u64::from(pid) * 1_000, (100 + pid, "ip"))));
        let waits = holders.summary().unwrap();
        assert_eq!((waits.holders.len(), waits.further_holders), (NAMED, 5));
        assert!((waits.further_wait_us - 15.0).abs() < 1e-9);
    }
}
