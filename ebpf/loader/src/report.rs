//! What was attached, and what was not and why.

use std::fmt;

use ebpf_common::Offsets;

use crate::{attach_points, error::Unavailable, kind::ProbeKind, rtnl::RtnlLock};

/// One attach point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeState {
    /// `category:name`, as `perf list` shows it, or `fexit:FUNCTION`, `kprobe:FUNCTION`.
    pub name: String,
    /// Whether the probe is attached. For `perf_event:cpu-clock`: whether sampling can be started.
    pub attached: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// The result of attaching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachReport {
    /// How requests are followed.
    pub kind: ProbeKind,
    /// Kinds that would have been preferred, and why each cannot be had here.
    pub passed_over: Vec<(ProbeKind, Unavailable)>,
    /// Every attach point that was tried.
    pub probes: Vec<ProbeState>,
    /// How RTNL is told from other locks.
    pub rtnl_lock: RtnlLock,
    /// Where the kernel's structures have the fields that are read; or why they could not be read, and with them neither the holder of
    /// RTNL nor a socket's port id.
    pub structures: Result<Offsets, String>,
}

impl AttachReport {
    /// Whether `name` is attached.
    pub fn attached(&self, name: &str) -> bool {
        self.probes.iter().any(|probe| probe.name == name && probe.attached)
    }

    /// Whether an event's `rtnl_wait_ns` is measured. Where it is not, the field is 0 and must not be shown as a time, and
    /// `off_cpu_ns` includes what was slept for RTNL.
    pub fn measures_rtnl_wait(&self) -> bool {
        attach_points::CONTENTION.iter().all(|name| self.attached(name))
    }

    /// Whether an event's `off_cpu_ns` is measured. Where it is not, the field is 0 and must not be shown as a time.
    pub fn measures_off_cpu(&self) -> bool {
        self.attached(attach_points::SWITCH)
    }

    /// Whether an event's `holder_tid` says who held RTNL.
    pub fn tells_holders(&self) -> bool {
        self.measures_rtnl_wait()
            && self.structures.as_ref().is_ok_and(|offsets| {
                [offsets.mutex_owner, offsets.task_pid, offsets.task_tgid]
                    .iter()
                    .all(|offset| *offset != Offsets::UNKNOWN)
            })
    }
}

impl fmt::Display for AttachReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} probes;", self.kind)?;
        for probe in &self.probes {
            match &probe.reason {
                None => write!(f, " {},", probe.name)?,
                Some(reason) => write!(f, " not {} ({reason}),", probe.name)?,
            }
        }
        write!(f, " RTNL: {}", self.rtnl_lock)?;
        if let Err(reason) = &self.structures {
            write!(f, "; kernel structures not read: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> AttachReport {
        let probe = |name: &str, reason: Option<&str>| ProbeState {
            name: name.to_owned(),
            attached: reason.is_none(),
            reason: reason.map(str::to_owned),
        };
        AttachReport {
            kind: ProbeKind::Tracepoint,
            passed_over: Vec::new(),
            probes: vec![
                probe("lock:contention_begin", None),
                probe("lock:contention_end", Some("this kernel has no such tracepoint")),
                probe("sched:sched_switch", None),
            ],
            rtnl_lock: RtnlLock::NotMeasured,
            structures: Ok(Offsets::NONE),
        }
    }

    #[test]
    fn half_a_pair_measures_nothing() {
        assert!(!report().measures_rtnl_wait());
        assert!(report().measures_off_cpu());
    }

    #[test]
    fn a_holder_needs_the_mutex_and_the_thread() {
        let mut report = report();
        report.probes[1] = ProbeState { attached: true, reason: None, ..report.probes[1].clone() };
        let known = Offsets { mutex_owner: 0, task_pid: 8, task_tgid: 12, ..Offsets::NONE };
        report.structures = Ok(known);
        assert!(report.tells_holders());
        // As with PREEMPT_RT, whose mutex has no such field.
        report.structures = Ok(Offsets { mutex_owner: Offsets::UNKNOWN, ..known });
        assert!(!report.tells_holders());
        report.structures = Err("this kernel has no BTF".to_owned());
        assert!(!report.tells_holders());
    }

    #[test]
    fn the_report_is_one_line_and_names_reasons() {
        let line = report().to_string();
        assert!(!line.contains('\n'));
        assert!(line.contains("not lock:contention_end (this kernel has no such tracepoint)"), "{line}");
    }
}
