//! That a probe is attached does not say that it works: a function may have been inlined, or BTF may describe another kernel.
//! So the probes are tried with requests whose answer is known and that change nothing.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use ebpf_common::{Cookie, RTNL_HOLD_SEEN, RequestEvent, Section};

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

pub(crate) fn judge(events: &[RequestEvent], port_id: u32, reads_port_ids: bool) -> Verdict {
    let Some(event) = events.first() else {
        return Verdict::Fails("attached, and a request that was sent to try them gave no event".to_owned());
    };
    if reads_port_ids && event.port_id != port_id {
        return Verdict::WrongStructures(format!(
            "at the offsets that BTF gives, the port id of a socket read as {} and is {port_id}",
            event.port_id
        ));
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
    fn a_port_id_that_is_another_shows_that_btf_is_wrong() {
        let event = RequestEvent { port_id: 7, ..RequestEvent::default() };
        assert!(matches!(judge(&[], 7, true), Verdict::Fails(_)));
        assert!(matches!(judge(&[event], 7, true), Verdict::Works));
        assert!(matches!(judge(&[event], 8, true), Verdict::WrongStructures(_)));
        assert!(matches!(judge(&[event], 8, false), Verdict::Works));
    }
}
