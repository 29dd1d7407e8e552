//! How long the parts of requests take in the kernel.

use ebpf_loader::{RequestEvent, Section};
use hdrhistogram::Histogram;

use super::{nanoseconds, percentiles, record};
use crate::attribution::Measured;
use crate::report::model::KernelPhases;

/// Distributions of the kernel's side of requests.
pub struct Phases {
    request: Histogram<u64>,
    rtnl_wait: Histogram<u64>,
    off_cpu: Histogram<u64>,
    on_cpu: Histogram<u64>,
    // Those that not every kind of probes and not every request has: made when the first comes.
    rtnl_hold: Option<Histogram<u64>>,
    sections: [Option<Histogram<u64>>; Section::ALL.len()],
}

impl Phases {
    /// Without a request.
    pub fn new() -> Self {
        Self {
            request: nanoseconds(),
            rtnl_wait: nanoseconds(),
            off_cpu: nanoseconds(),
            on_cpu: nanoseconds(),
            rtnl_hold: None,
            sections: [const { None }; Section::ALL.len()],
        }
    }

    /// Adds a request.
    pub fn record(&mut self, event: &RequestEvent) {
        record(&mut self.request, event.total_ns);
        record(&mut self.rtnl_wait, event.rtnl_wait_ns);
        record(&mut self.off_cpu, event.off_cpu_ns);
        record(&mut self.on_cpu, event.on_cpu_ns());
        if let Some(held) = event.rtnl_hold() {
            record(self.rtnl_hold.get_or_insert_with(nanoseconds), held);
        }
        for (section, histogram) in Section::ALL.into_iter().zip(&mut self.sections) {
            if let Some(spent) = event.section(section) {
                record(histogram.get_or_insert_with(nanoseconds), spent);
            }
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.request.len()
    }

    /// The distributions of what was `measured`; `None` without a request. `system_calls`: what is timed are those, not messages.
    pub fn figures(&self, measured: Measured, system_calls: bool) -> Option<KernelPhases> {
        let Measured { rtnl_wait, off_cpu } = measured;
        let if_measured = |measured: bool, histogram| if measured { percentiles(histogram) } else { None };
        let section = |section: Section| self.sections[section as usize].as_ref().and_then(percentiles);
        Some(KernelPhases {
            request: percentiles(&self.request)?,
            syscall: if_measured(system_calls, &self.request),
            rtnl_wait: if_measured(rtnl_wait, &self.rtnl_wait),
            // Without the RTNL wait, sleeping for RTNL is off CPU and the probes count it there.
            off_cpu: if_measured(off_cpu, &self.off_cpu),
            on_cpu: if_measured(rtnl_wait && off_cpu, &self.on_cpu),
            rtnl_hold: self.rtnl_hold.as_ref().and_then(percentiles),
            handler: section(Section::Handler),
            qdisc_create: section(Section::QdiscCreate),
            class_operation: section(Section::ClassOperation),
            rcu: section(Section::Rcu),
        })
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self::new()
    }
}
