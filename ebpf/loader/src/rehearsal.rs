//! That a probe is attached does not say that it works: a function may have been inlined, or BTF may describe another kernel.
//! So the probes are tried with requests whose answer is known and that change nothing.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use ebpf_common::{Cookie, Detail, KNOWN_NETNS, KNOWN_VERDICT, RTNL_HOLD_SEEN, RequestEvent, Section};

use crate::{
    attach_points::{RTNL_UNLOCK, function_of},
    report::ProbeState,
    requests::{RTM_DELTCLASS, RTM_DELTFILTER, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER},
};

/// Requests, each with the handler that it calls. Classes come first: every kind of probes sees them.
pub(crate) const REQUESTS: [(u16, &str); 6] = [
    (RTM_DELTCLASS, "tc_ctl_tclass"),
    (RTM_NEWQDISC, "tc_modify_qdisc"),
    (RTM_GETQDISC, "tc_get_qdisc"),
    (RTM_NEWTFILTER, "tc_new_tfilter"),
    (RTM_DELTFILTER, "tc_del_tfilter"),
    (RTM_GETTFILTER, "tc_get_tfilter"),
];

/// Numbers that no other request on this machine has.
pub(crate) fn cookie() -> Cookie {
    // The standard library seeds this from the kernel's random numbers.
    let drawn = RandomState::new().build_hasher().finish().to_ne_bytes();
    let half = |at: usize| u32::from_ne_bytes([drawn[at], drawn[at + 1], drawn[at + 2], drawn[at + 3]]);
    Cookie { sequence: half(0) | 1, port_id: half(4) }
}

/// What the events of the [`REQUESTS`], sent from a socket with this port id, say of the probes.
pub(crate) enum Verdict {
    /// Requests are followed.
    Works,
    /// They are not, for this reason.
    Fails(String),
    /// The kernel's structures are not as its BTF says.
    WrongStructures(String),
}

/// What is so, as far as it is known without the probes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Truth {
    /// The sending socket's port id, where the probes read that.
    pub(crate) port_id: Option<u32>,
    /// The kernel's verdict on the first request.
    pub(crate) verdict: Option<i32>,
    /// The inode of the sending thread's network namespace.
    pub(crate) netns: Option<u32>,
}

/// The inode of the calling thread's network namespace.
pub(crate) fn own_netns() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    u32::try_from(std::fs::metadata("/proc/thread-self/ns/net").ok()?.ino()).ok()
}

pub(crate) fn judge(events: &[(RequestEvent, Option<Detail>)], truth: &Truth) -> Verdict {
    let Some((event, detail)) = events.first() else {
        return Verdict::Fails("attached, and a request that was sent to try them gave no event".to_owned());
    };
    let differs = |what: &str, read: i64, is: i64| {
        Verdict::WrongStructures(format!("at the offsets that BTF gives, {what} read as {read} and is {is}"))
    };
    if let Some(port_id) = truth.port_id
        && event.port_id != port_id
    {
        return differs("the port id of a socket", event.port_id.into(), port_id.into());
    }
    let detail = detail.unwrap_or_default();
    if let Some(netns) = truth.netns
        && detail.knows(KNOWN_NETNS)
        && detail.netns != netns
    {
        return differs("the inode of a network namespace", detail.netns.into(), netns.into());
    }
    if let Some(verdict) = truth.verdict
        && detail.knows(KNOWN_VERDICT)
        && detail.verdict != verdict
    {
        return differs("a verdict of the kernel", detail.verdict.into(), verdict.into());
    }
    Verdict::Works
}

/// Marks the probes that are attached and did not fire.
pub(crate) fn mark_silent(probes: &mut [ProbeState], events: &[RequestEvent]) {
    let mut silent = |function: &str| {
        let on_function =
            |probe: &&mut ProbeState| probe.attached && function_of(&probe.name) == Some(function);
        if let Some(probe) = probes.iter_mut().find(on_function) {
            probe.attached = false;
            probe.reason = Some("attached, and did not fire when it was tried: inlined?".to_owned());
        }
    };
    for (message_type, handler) in REQUESTS {
        let Some(event) = events.iter().find(|event| event.message_type == message_type) else { continue };
        if event.section(Section::Handler).is_none() {
            silent(handler);
        }
    }
    let class = events.iter().find(|event| event.message_type == RTM_DELTCLASS);
    if class.is_some_and(|event| event.sections_seen & RTNL_HOLD_SEEN == 0) {
        silent(RTNL_UNLOCK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(name: &str) -> ProbeState {
        ProbeState { name: name.to_owned(), attached: true, reason: None }
    }

    #[test]
    fn cookies_differ_and_are_never_nothing() {
        let (one, other) = (cookie(), cookie());
        assert!(one.sequence != 0 && other.sequence != 0);
        assert_ne!(one, other);
    }

    #[test]
    fn a_handler_that_did_not_fire_is_not_attached() {
        let mut probes = vec![
            attached("fexit:tc_ctl_tclass"),
            attached("fexit:tc_modify_qdisc"),
            attached("fentry:netdev_run_todo"),
        ];
        let seen = Section::Handler.bit() | RTNL_HOLD_SEEN;
        let events = [
            RequestEvent { message_type: RTM_DELTCLASS, sections_seen: seen, ..RequestEvent::default() },
            RequestEvent { message_type: RTM_NEWQDISC, ..RequestEvent::default() },
        ];
        mark_silent(&mut probes, &events);
        assert_eq!(probes.iter().map(|probe| probe.attached).collect::<Vec<_>>(), [true, false, true]);
        assert!(probes[1].reason.as_ref().unwrap().contains("did not fire"));
    }

    #[test]
    fn what_is_read_otherwise_shows_that_btf_is_wrong() {
        let event = RequestEvent { port_id: 7, ..RequestEvent::default() };
        let port = |port_id| Truth { port_id, ..Truth::default() };
        assert!(matches!(judge(&[], &port(Some(7))), Verdict::Fails(_)));
        assert!(matches!(judge(&[(event, None)], &port(Some(7))), Verdict::Works));
        assert!(matches!(judge(&[(event, None)], &port(Some(8))), Verdict::WrongStructures(_)));
        assert!(matches!(judge(&[(event, None)], &port(None)), Verdict::Works));
        let truth = Truth { port_id: Some(7), verdict: Some(-19), netns: Some(5) };
        let known = KNOWN_NETNS | KNOWN_VERDICT;
        let detail = |known, netns, verdict| Some(Detail { known, netns, verdict, ..Detail::default() });
        for (detail, works) in [
            (detail(known, 5, -19), true),
            (detail(known, 6, -19), false),
            (detail(known, 5, 0), false),
            (detail(0, 6, 0), true),
        ] {
            let verdict = judge(&[(event, detail)], &truth);
            assert_eq!(matches!(verdict, Verdict::Works), works, "{detail:?}");
        }
    }
}
