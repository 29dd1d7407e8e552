//! Which program goes where, for each kind of probes.

use ebpf_common::tracepoint::{self, Field};

use crate::kind::ProbeKind;

/// One program and what it is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) program: &'static str,
    pub(crate) to: Target,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// A kernel function's begin, by trampoline.
    Fentry(&'static str),
    /// Its end.
    Fexit(&'static str),
    /// A kernel function's begin, by breakpoint or ftrace.
    Kprobe(&'static str),
    /// Its end.
    Kretprobe(&'static str),
    /// A tracepoint's arguments as the kernel passes them.
    RawTracepoint(&'static str),
    /// A trace event, and the fields of its record that the program reads.
    Tracepoint { category: &'static str, name: &'static str, fields: &'static [Field] },
}

/// Programs that mean something only together.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// How it is reported: `fexit:FUNCTION`, `kprobe:FUNCTION`, or `category:name` as `perf list` shows it.
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
    /// What is tried when the points cannot be attached: name and points.
    pub(crate) otherwise: Option<Box<Probe>>,
}

/// What a kind attaches.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Without which no request can be followed.
    pub(crate) essential: Vec<Probe>,
    /// What looks into requests.
    pub(crate) optional: Vec<Probe>,
}

/// A function that rtnetlink calls for each message.
pub(crate) const MESSAGE: &str = "rtnetlink_rcv_msg";
/// Handlers of messages, which rtnetlink calls with RTNL held.
const HANDLERS: [&str; 3] = ["tc_modify_qdisc", "tc_get_qdisc", "tc_ctl_tclass"];
/// Handlers that take RTNL themselves.
const FILTER_HANDLERS: [&str; 3] = ["tc_new_tfilter", "tc_del_tfilter", "tc_get_tfilter"];
const QDISC_CREATE: &str = "qdisc_create";
/// Functions of `sch_htb`, which may be a module.
const CLASS_OPERATIONS: [&str; 2] = ["htb_change_class", "htb_delete"];
const RCU: [&str; 2] = ["synchronize_rcu", "synchronize_rcu_expedited"];
/// By which RTNL is taken.
const RTNL_LOCK: &str = "rtnl_lock";
/// By which it is given back, and how holding it is reported.
pub(crate) const RTNL_UNLOCK: &str = "netdev_run_todo";

pub(crate) const CONTENTION: [&str; 2] = ["lock:contention_begin", "lock:contention_end"];
pub(crate) const SWITCH: &str = "sched:sched_switch";

/// What of a plan can be left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// What tells the parts of a request.
    pub(crate) in_parts: bool,
    /// What tells that a process has started another.
    pub(crate) births: bool,
    /// What tells that a thread has ended.
    pub(crate) deaths: bool,
}

impl Plan {
    /// What `kind` attaches.
    pub(crate) fn of(kind: ProbeKind, Wanted { in_parts, births, deaths }: Wanted) -> Self {
        let mut optional = every_kinds();
        let mut essential = match kind {
            ProbeKind::Fexit => {
                if in_parts {
                    optional.extend(fexit_parts());
                }
                vec![fexit(MESSAGE, "fentry_message", "fexit_message")]
            }
            ProbeKind::Kprobe => {
                if in_parts {
                    optional.extend(kprobe_parts());
                }
                vec![kprobe(MESSAGE, "kprobe_message", "kretprobe_message")]
            }
            ProbeKind::Tracepoint => system_calls(),
        };
        for (wanted, program, name) in
            [(births, "process_fork", "sched_process_fork"), (deaths, "process_exit", "sched_process_exit")]
        {
            if wanted {
                essential.push(single("raw_tracepoint", name, program, Target::RawTracepoint(name)));
            }
        }
        Self { essential, optional }
    }
}

fn every_kinds() -> Vec<Probe> {
    vec![
        tracepoint("begin_contention", "lock", "contention_begin", tracepoint::contention_begin::FIELDS),
        tracepoint("end_contention", "lock", "contention_end", tracepoint::contention_end::FIELDS),
        tracepoint("switch", "sched", "sched_switch", tracepoint::sched_switch::FIELDS),
        tracepoint("extack", "netlink", "netlink_extack", tracepoint::netlink_extack::FIELDS),
    ]
}

/// Each falls back to a kprobe by itself: a module's function is not in the kernel's own BTF, and the trampolines of kernels
/// before 6.6 take six arguments at most, where `qdisc_create` has seven.
fn fexit_parts() -> Vec<Probe> {
    let pairs = [
        ("tc_modify_qdisc", "fentry_tc_modify_qdisc", "fexit_tc_modify_qdisc"),
        ("tc_get_qdisc", "fentry_tc_get_qdisc", "fexit_tc_get_qdisc"),
        ("tc_ctl_tclass", "fentry_tc_ctl_tclass", "fexit_tc_ctl_tclass"),
        ("tc_new_tfilter", "fentry_tc_new_tfilter", "fexit_tc_new_tfilter"),
        ("tc_del_tfilter", "fentry_tc_del_tfilter", "fexit_tc_del_tfilter"),
        ("tc_get_tfilter", "fentry_tc_get_tfilter", "fexit_tc_get_tfilter"),
        ("qdisc_create", "fentry_qdisc_create", "fexit_qdisc_create"),
        ("htb_change_class", "fentry_htb_change_class", "fexit_htb_change_class"),
        ("htb_delete", "fentry_htb_delete", "fexit_htb_delete"),
        ("synchronize_rcu", "fentry_synchronize_rcu", "fexit_synchronize_rcu"),
        ("synchronize_rcu_expedited", "fentry_synchronize_rcu_expedited", "fexit_synchronize_rcu_expedited"),
    ];
    let mut probes: Vec<Probe> =
        pairs.into_iter().map(|(function, begin, end)| fexit(function, begin, end)).collect();
    probes.push(single("fexit", RTNL_LOCK, "fexit_rtnl_lock", Target::Fexit(RTNL_LOCK)));
    probes.push(single("fentry", RTNL_UNLOCK, "fentry_netdev_run_todo", Target::Fentry(RTNL_UNLOCK)));
    let mut by_kprobe = kprobe_parts();
    for probe in &mut probes {
        let same = by_kprobe.iter().position(|other| function_of(&other.name) == function_of(&probe.name));
        probe.otherwise = same.map(|index| Box::new(by_kprobe.swap_remove(index)));
    }
    probes
}

/// The function in `kind:function`.
pub(crate) fn function_of(name: &str) -> Option<&str> {
    name.split_once(':').map(|(_, function)| function)
}

fn kprobe_parts() -> Vec<Probe> {
    let groups: [(&[&'static str], &'static str, &'static str); 5] = [
        (&HANDLERS, "kprobe_handler", "kretprobe_handler"),
        (&FILTER_HANDLERS, "kprobe_filter_handler", "kretprobe_filter_handler"),
        (&[QDISC_CREATE], "kprobe_qdisc_create", "kretprobe_qdisc_create"),
        (&CLASS_OPERATIONS, "kprobe_class_operation", "kretprobe_class_operation"),
        (&RCU, "kprobe_rcu", "kretprobe_rcu"),
    ];
    let mut probes = Vec::new();
    for (functions, begin, end) in groups {
        probes.extend(functions.iter().map(|function| kprobe(function, begin, end)));
    }
    probes.push(single("kretprobe", RTNL_LOCK, "kretprobe_rtnl_lock", Target::Kretprobe(RTNL_LOCK)));
    probes.push(single("kprobe", RTNL_UNLOCK, "kprobe_netdev_run_todo", Target::Kprobe(RTNL_UNLOCK)));
    probes
}

/// The end at the socket costs processes that do not use sockets nothing, the end at the system call's exit does; only newer
/// kernels have the first.
fn system_calls() -> Vec<Probe> {
    use tracepoint::{
        sock_send_length, sys_enter_sendmsg, sys_enter_sendto, sys_exit_sendmsg, sys_exit_sendto,
    };
    let at_the_exit = Probe {
        name: "syscalls:sys_exit_sendto and sys_exit_sendmsg".to_owned(),
        points: [
            tracepoint("exit_sendto", "syscalls", "sys_exit_sendto", sys_exit_sendto::FIELDS),
            tracepoint("exit_sendmsg", "syscalls", "sys_exit_sendmsg", sys_exit_sendmsg::FIELDS),
        ]
        .into_iter()
        .flat_map(|probe| probe.points)
        .collect(),
        otherwise: None,
    };
    vec![
        Probe {
            otherwise: Some(Box::new(at_the_exit)),
            ..tracepoint("sent", "sock", "sock_send_length", sock_send_length::FIELDS)
        },
        tracepoint("enter_sendto", "syscalls", "sys_enter_sendto", sys_enter_sendto::FIELDS),
        tracepoint("enter_sendmsg", "syscalls", "sys_enter_sendmsg", sys_enter_sendmsg::FIELDS),
    ]
}

fn tracepoint(
    program: &'static str,
    category: &'static str,
    name: &'static str,
    fields: &'static [Field],
) -> Probe {
    Probe {
        name: format!("{category}:{name}"),
        points: vec![Point { program, to: Target::Tracepoint { category, name, fields } }],
        otherwise: None,
    }
}

/// The end is attached first, so that nothing begins that cannot end.
fn fexit(function: &'static str, begin: &'static str, end: &'static str) -> Probe {
    Probe {
        name: format!("fexit:{function}"),
        points: vec![
            Point { program: end, to: Target::Fexit(function) },
            Point { program: begin, to: Target::Fentry(function) },
        ],
        otherwise: None,
    }
}

fn kprobe(function: &'static str, begin: &'static str, end: &'static str) -> Probe {
    Probe {
        name: format!("kprobe:{function}"),
        points: vec![
            Point { program: end, to: Target::Kretprobe(function) },
            Point { program: begin, to: Target::Kprobe(function) },
        ],
        otherwise: None,
    }
}

fn single(kind: &str, function: &'static str, program: &'static str, to: Target) -> Probe {
    Probe { name: format!("{kind}:{function}"), points: vec![Point { program, to }], otherwise: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The functions that are traced.
    fn functions(kind: ProbeKind, in_parts: bool) -> BTreeSet<&'static str> {
        let Plan { essential, optional } = Plan::of(kind, Wanted { in_parts, ..Wanted::default() });
        let points = essential.iter().chain(&optional).flat_map(|probe| &probe.points);
        points
            .filter_map(|point| match point.to {
                Target::Fentry(function)
                | Target::Fexit(function)
                | Target::Kprobe(function)
                | Target::Kretprobe(function) => Some(function),
                Target::RawTracepoint(_) | Target::Tracepoint { .. } => None,
            })
            .collect()
    }

    #[test]
    fn fexit_and_kprobes_trace_the_same_functions() {
        assert_eq!(functions(ProbeKind::Fexit, true), functions(ProbeKind::Kprobe, true));
        assert!(functions(ProbeKind::Tracepoint, true).is_empty());
        for function in HANDLERS.iter().chain(&FILTER_HANDLERS).chain(&CLASS_OPERATIONS).chain(&RCU) {
            assert!(functions(ProbeKind::Fexit, true).contains(function), "{function}");
        }
    }

    #[test]
    fn no_two_probes_of_a_kind_have_one_name() {
        for kind in ProbeKind::IN_ORDER_OF_PREFERENCE {
            let Plan { essential, optional } = Plan::of(kind, Wanted { in_parts: true, ..Wanted::default() });
            let names: BTreeSet<_> = essential.iter().chain(&optional).map(|probe| &probe.name).collect();
            assert_eq!(names.len(), essential.len() + optional.len(), "{names:?}");
        }
    }

    #[test]
    fn each_part_that_a_trampoline_cannot_reach_has_a_kprobe() {
        for probe in fexit_parts() {
            let otherwise = probe.otherwise.unwrap();
            assert_eq!(function_of(&otherwise.name), function_of(&probe.name));
            assert_eq!(otherwise.points.len(), probe.points.len());
        }
    }

    #[test]
    fn families_need_to_see_births_and_deaths() {
        for kind in ProbeKind::IN_ORDER_OF_PREFERENCE {
            let plan = Plan::of(kind, Wanted { births: true, deaths: true, in_parts: false });
            for name in ["raw_tracepoint:sched_process_fork", "raw_tracepoint:sched_process_exit"] {
                assert!(plan.essential.iter().any(|probe| probe.name == name), "{name}");
            }
        }
    }

    #[test]
    fn without_parts_only_begin_and_end_are_on_functions() {
        assert_eq!(functions(ProbeKind::Fexit, false), BTreeSet::from([MESSAGE]));
    }
}
