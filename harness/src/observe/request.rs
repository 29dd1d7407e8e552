//! A request, described so that it can be understood by itself: the contract of `--json`.

use ebpf_loader::{
    AttachReport, Detail, KNOWN_MESSAGE, KNOWN_NETNS, KNOWN_VERDICT, RequestEvent, Section, Seen,
};
use serde::Serialize;

use super::clock::{Clock, Instant};
use super::message::{Message, is_dump, type_name};

/// Which of an event's times the attached probes measure; the others are absent, not zero.
#[derive(Debug, Clone, Copy)]
pub struct Measures {
    /// Each event is one message, whose verdict the kernel returned.
    pub messages: bool,
    /// The wait for RTNL.
    pub rtnl_wait: bool,
    /// Time off the CPU.
    pub off_cpu: bool,
}

impl Measures {
    /// What these probes measure.
    pub fn of(report: &AttachReport) -> Self {
        Self {
            messages: report.kind.tells_messages_apart(),
            rtnl_wait: report.measures_rtnl_wait(),
            off_cpu: report.measures_off_cpu(),
        }
    }
}

/// Where the time went; µs. `null`: not measured, or the request did not come there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Waiting for RTNL, whether spinning or asleep.
    pub rtnl_wait: Option<f64>,
    /// Off the CPU for other reasons.
    pub off_cpu: Option<f64>,
    /// The rest.
    pub on_cpu: Option<f64>,
    /// Holding RTNL.
    pub rtnl_hold: Option<f64>,
    /// In rtnetlink's handler.
    pub handler: Option<f64>,
    /// In `qdisc_create()`.
    pub qdisc_create: Option<f64>,
    /// In the qdisc's own operation on a class.
    pub class_operation: Option<f64>,
    /// Waiting for an RCU grace period.
    pub rcu: Option<f64>,
}

impl Phases {
    fn of(event: &RequestEvent, measures: Measures) -> Self {
        let section = |section| event.section(section).map(microseconds);
        let on_cpu = measures.rtnl_wait && measures.off_cpu;
        Self {
            rtnl_wait: measures.rtnl_wait.then(|| microseconds(event.rtnl_wait_ns)),
            off_cpu: measures.off_cpu.then(|| microseconds(event.off_cpu_ns)),
            on_cpu: on_cpu.then(|| microseconds(event.on_cpu_ns())),
            rtnl_hold: event.rtnl_hold().map(microseconds),
            handler: section(Section::Handler),
            qdisc_create: section(Section::QdiscCreate),
            class_operation: section(Section::ClassOperation),
            rcu: section(Section::Rcu),
        }
    }
}

/// Who held RTNL when the request last began to wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The process, as numbered in the initial PID namespace.
    pub pid: u32,
    /// The thread's name.
    pub comm: String,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// When it began: RFC 3339, UTC.
    pub time: String,
    /// The message type, as `RTM_NEWTCLASS`. Of several messages, the first one's, as everything that follows.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The device's name in the namespace of the sending socket, or `if` and its index where it has no name any more.
    pub dev: Option<String>,
    /// The device's index.
    pub ifindex: Option<i32>,
    /// The parent: `1:`, `1:10`, `root`, `ingress`.
    pub parent: Option<String>,
    /// The class, in a request about one.
    pub classid: Option<String>,
    /// The qdisc's or filter's handle, in a request about one.
    pub handle: Option<String>,
    /// The filter's priority.
    pub priority: Option<u32>,
    /// The kind: `htb`, `u32`.
    pub kind: Option<String>,
    /// The process, as numbered in the initial PID namespace.
    pub pid: u32,
    /// The thread's name.
    pub comm: Option<String>,
    /// The kernel's verdict: 0, or an errno such as 17. `null`: not known.
    pub errno: Option<i32>,
    /// What the kernel said in words.
    pub ext_ack: Option<String>,
    /// How long it took in the kernel; µs.
    pub total_us: f64,
    /// Where the time went.
    pub phases_us: Phases,
    /// Who held RTNL.
    pub holder: Option<Holder>,
    /// The sequence number.
    pub seq: u32,
    /// The sending socket's port id.
    pub port_id: u32,
    /// The inode of the sending socket's network namespace.
    pub netns: Option<u32>,
    /// How many messages these are: with tracepoints all that one system call sent. `null`: they could not be counted.
    pub messages: Option<u16>,
    /// Whether it asks for a list, of which only the first part is measured: the others are made while it is read.
    pub dump: bool,
    #[serde(skip)]
    pub(super) begun: Instant,
    #[serde(skip)]
    pub(super) words: String,
    #[serde(skip)]
    pub(crate) total_ns: u64,
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

impl Request {
    /// Describes what was seen. `name_of` gives the name of a device, by its index, in the namespace with this inode.
    pub(super) fn describe(
        seen: &Seen<'_>,
        measures: Measures,
        clock: Clock,
        name_of: impl FnOnce(u32, i32, &RequestEvent) -> Option<String>,
    ) -> Self {
        let event = seen.event;
        let detail = seen.detail.copied().unwrap_or_default();
        let begun = clock.instant(event.start_ns);
        let message = detail.knows(KNOWN_MESSAGE).then_some(Message {
            message_type: event.message_type,
            flags: event.flags,
            ifindex: detail.ifindex,
            handle: detail.handle,
            parent: detail.parent,
            info: detail.info,
        });
        let netns = detail.knows(KNOWN_NETNS).then_some(detail.netns);
        let ifindex = message.and_then(|message| message.device());
        let dev = ifindex.map(|index| {
            netns.and_then(|netns| name_of(netns, index, event)).unwrap_or_else(|| format!("if{index}"))
        });
        Self {
            time: String::new(),
            message_type: type_name(event.message_type),
            words: message.map(|message| message.words(dev.as_deref())).unwrap_or_default(),
            dev,
            ifindex,
            parent: message.and_then(|message| message.parent()),
            classid: message.and_then(|message| message.classid()),
            handle: message.and_then(|message| message.handle()),
            priority: message.and_then(|message| message.priority()),
            kind: detail.kind().map(str::to_owned),
            pid: event.tgid,
            comm: detail.comm().map(str::to_owned),
            errno: verdict(event, &detail, measures),
            ext_ack: seen.ext_ack.map(str::to_owned),
            total_us: microseconds(event.total_ns),
            phases_us: Phases::of(event, measures),
            holder: holder(event),
            seq: event.sequence,
            port_id: event.port_id,
            netns,
            messages: (event.messages != 0).then_some(event.messages),
            dump: is_dump(event.message_type, event.flags),
            begun,
            total_ns: event.total_ns,
        }
    }

    /// One line of JSON, without its end.
    pub(super) fn json(&mut self) -> serde_json::Result<String> {
        self.time = self.begun.rfc3339();
        serde_json::to_string(self)
    }
}

/// 0, or a positive errno.
fn verdict(event: &RequestEvent, detail: &Detail, measures: Measures) -> Option<i32> {
    let negative = if detail.knows(KNOWN_VERDICT) {
        detail.verdict
    } else if measures.messages {
        event.result
    } else {
        return None;
    };
    // How the kernel says to itself that a list has been begun and needs no acknowledgement (`netlink_dump_start()`).
    let begun = negative == -libc::EINTR && is_dump(event.message_type, event.flags);
    Some(if begun { 0 } else { negative.saturating_neg() })
}

fn holder(event: &RequestEvent) -> Option<Holder> {
    (event.rtnl_contentions > 0 && event.holder_tid != 0)
        .then(|| Holder { pid: event.holder_tgid, comm: event.holder_name().to_owned() })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const TRACEPOINTS: Measures =
        Measures { messages: false, rtnl_wait: true, off_cpu: true };

    /// A class that was there already, by `tc[42]`, which waited for `other[7]`.
    pub(in super::super) fn refused() -> (RequestEvent, Detail) {
        let mut event = RequestEvent {
            total_ns: 14_200,
            rtnl_wait_ns: 3_100,
            off_cpu_ns: 2_000,
            rtnl_contentions: 1,
            holder_tid: 8,
            holder_tgid: 7,
            tgid: 42,
            tid: 43,
            sequence: 5,
            port_id: 6,
            message_type: 40,
            flags: 0x605,
            messages: 1,
            result: 100,
            ..RequestEvent::default()
        };
        event.holder_comm[..5].copy_from_slice(b"other");
        let mut detail = Detail {
            known: 31,
            netns: 99,
            ifindex: 3,
            handle: 0x1_0010,
            parent: 0x1_0000,
            verdict: -17,
            ..Detail::default()
        };
        detail.comm[..2].copy_from_slice(b"tc");
        detail.kind[..3].copy_from_slice(b"htb");
        (event, detail)
    }

    pub(in super::super) fn described(event: &RequestEvent, detail: &Detail, text: Option<&str>) -> Request {
        let seen = Seen { event, ext_ack: text, detail: Some(detail) };
        Request::describe(&seen, TRACEPOINTS, Clock::now(), |netns, index, _| {
            (netns == 99 && index == 3).then(|| "eth0".to_owned())
        })
    }

    #[test]
    fn json_has_what_is_promised() {
        let (event, detail) = refused();
        let line = described(&event, &detail, Some("no")).json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "type": "RTM_NEWTCLASS", "dev": "eth0", "ifindex": 3, "parent": "1:", "classid": "1:10", "handle": null,
            "priority": null, "kind": "htb", "pid": 42, "comm": "tc", "errno": 17, "ext_ack": "no", "total_us": 14.2,
            "phases_us": {
                "rtnl_wait": 3.1, "off_cpu": 2.0, "on_cpu": 9.1, "rtnl_hold": null, "handler": null,
                "qdisc_create": null, "class_operation": null, "rcu": null,
            },
            "holder": {"pid": 7, "comm": "other"}, "seq": 5, "port_id": 6, "netns": 99, "messages": 1, "dump": false,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&json[name], value, "{name}");
        }
        assert!(json["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(json.as_object().unwrap().len(), expected.as_object().unwrap().len() + 1);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let (event, _) = refused();
        let mut request = described(&RequestEvent { messages: 0, ..event }, &Detail::default(), None);
        let json: serde_json::Value = serde_json::from_str(&request.json().unwrap()).unwrap();
        for name in ["dev", "parent", "classid", "kind", "comm", "errno", "ext_ack", "netns", "messages"] {
            assert!(json[name].is_null(), "{name}: {}", json[name]);
        }
        let unmeasured = Measures { rtnl_wait: false, ..TRACEPOINTS };
        let phases = Phases::of(&event, unmeasured);
        assert_eq!((phases.rtnl_wait, phases.on_cpu), (None, None));
    }

    #[test]
    fn a_list_that_has_been_begun_is_no_error() {
        let (event, detail) = refused();
        let begun = Detail { verdict: -libc::EINTR, ..detail };
        let list = RequestEvent { message_type: 42, flags: 0x301, ..event };
        assert_eq!(verdict(&list, &begun, TRACEPOINTS), Some(0));
        assert_eq!(verdict(&event, &begun, TRACEPOINTS), Some(libc::EINTR));
        let unknown = Detail { known: 0, ..detail };
        assert_eq!(verdict(&event, &unknown, TRACEPOINTS), None);
        let fexit = Measures { messages: true, ..TRACEPOINTS };
        assert_eq!(verdict(&RequestEvent { result: -2, ..event }, &unknown, fexit), Some(2));
    }

    #[test]
    fn a_device_without_a_name_is_its_index() {
        let (event, detail) = refused();
        let request = described(&event, &Detail { ifindex: 4, ..detail }, None);
        assert_eq!(request.dev.as_deref(), Some("if4"));
    }
}
