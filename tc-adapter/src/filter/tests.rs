//! Every kind of filter there and back: as a message, as words and as JSON.

use super::*;
use crate::message::{Envelope, MessageType, NETLINK_HEADER, append};
use proptest::prelude::*;

/// What it sends comes back; also through words and through JSON.
pub(super) fn assert_round_trip(filter: &Filter) {
    let parent = Handle::qdisc(1);
    let mut bytes = Vec::new();
    let envelope = Envelope {
        message_type: MessageType::NewFilter,
        flags: 0,
        sequence: 1,
        port: 1,
        device: 7,
        handle: Handle::from_raw(filter.handle),
        parent,
        info: info(filter.prio, filter.protocol),
    };
    append(&mut bytes, envelope, |buffer| filter.encode(buffer));
    let entry = FilterEntry::decode(&bytes[NETLINK_HEADER..]).unwrap();
    assert_eq!((entry.device, entry.parent, entry.filter.as_ref()), (7, parent, Some(filter)));
    assert_text_round_trip(filter);
}

pub(super) fn assert_text_round_trip(filter: &Filter) {
    let text = format!("filter add dev eth0 parent 1: {filter}");
    let command: crate::command::Command = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let crate::command::Object::Filter { filter: parsed, .. } = command.object else { panic!("{text}") };
    assert_eq!(parsed.as_deref(), Some(filter), "{text}");
    let json = serde_json::to_string(filter).unwrap();
    assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), *filter, "{json}");
}

const WORDS: &[&str] = &[
    "mirred",
    "egress",
    "mirror",
    "redirect",
    "dev",
    "police",
    "rate",
    "1mbit",
    "burst",
    "10k",
    "conform-exceed",
    "drop/pipe",
    "skbedit",
    "priority",
    "gact",
    "goto",
    "chain",
    "index",
    "cookie",
    "abcd",
    "random",
    "determ",
    "pkts_rate",
    "jump",
    "match",
    "u32",
    "u16",
    "u8",
    "ip",
    "ip6",
    "src",
    "dst",
    "sport",
    "protocol",
    "tcp",
    "icmp_code",
    "mark",
    "ether",
    "at",
    "nexthdr+2",
    "nexthdr+",
    "0",
    "1",
    "4",
    "6",
    "0xff",
    "-8",
    "10.0.0.0/8",
    "2001:db8::/33",
    "1:2:3:4:5:6",
    "divisor",
    "256",
    "ht",
    "link",
    "2:",
    "2:1a:",
    "hashkey",
    "mask",
    "offset",
    "plus",
    "shift",
    "eat",
    "order",
    "sample",
    "indev",
    "eth1",
    "skip_hw",
    "skip_sw",
    "flowid",
    "1:10",
    "action",
    "drop",
    "pass",
];

proptest! {
    #[test]
    fn fw_comes_back(handle: u32, mask: Option<u32>, classid: u32, prio: u16, chain: u32, protocol: u16) {
        let filter = Filter {
            chain, prio, handle, classid: Handle::from_raw(classid),
            ..Filter::new(Protocol::from_number(protocol), Classifier::Fw(Fw { mask }))
        };
        assert_round_trip(&filter);
    }

    #[test]
    fn u32_comes_back(
        u32 in u32::tests::anything(),
        handle: u32,
        classid: u32,
        actions in prop::collection::vec(action::tests::anything(), 0..4),
        police in prop::option::of(action::tests::police()),
    ) {
        let police = police.map(|police| {
            // In this form only the settings are sent.
            let index = police.options.index;
            Box::new(Police { options: ActionOptions { index, ..ActionOptions::default() }, ..police })
        });
        let filter = Filter {
            handle, classid: Handle::from_raw(classid), actions, police,
            ..Filter::new(Protocol::IP, Classifier::U32(u32))
        };
        assert_round_trip(&filter);
        prop_assert!(filter.meets(&filter));
    }

    #[test]
    fn bpf_comes_back(bpf in bpf::tests::anything(), handle: u32, actions in prop::collection::vec(action::tests::anything(), 0..2)) {
        let filter = Filter { handle, actions, ..Filter::new(Protocol::IP, Classifier::Bpf(bpf)) };
        assert_round_trip(&filter);
        prop_assert!(filter.meets(&filter));
    }

    #[test]
    fn flower_comes_back(flower in flower::tests::anything(), protocol in prop::sample::select(&[Protocol::IP, Protocol::ALL])) {
        let filter = Filter::new(protocol, Classifier::Flower(Box::new(flower)));
        assert_round_trip(&filter);
        prop_assert!(filter.meets(&filter));
    }

    #[test]
    fn matchall_comes_back(handle: u32, skip_hw: bool, classid: u32) {
        let matchall = Matchall { skip: SkipFlags { skip_hw, skip_sw: false } };
        let classid = Handle::from_raw(classid);
        assert_round_trip(&Filter { handle, classid, ..Filter::new(Protocol::ALL, Classifier::Matchall(matchall)) });
    }

    #[test]
    fn any_words_are_read_or_refused(
        kind in prop::sample::select(&["bpf", "flower", "fw", "matchall", "u32"]),
        words in prop::collection::vec(prop::sample::select(WORDS), 0..12),
    ) {
        let text = format!("filter add dev eth0 parent 1: prio 1 {kind} {}", words.join(" "));
        if let Ok(command) = text.parse::<crate::command::Command>() {
            let plain = command.to_string();
            prop_assert_eq!(plain.parse::<crate::command::Command>(), Ok(command), "{} -> {}", text, plain);
        }
    }

    #[test]
    fn decoder_never_panics(kind in prop::sample::select(&["fw", "u32", "flower", "matchall", "bpf"]), header: [u8; 20], options: Vec<u8>) {
        let mut payload = header.to_vec();
        put_kind(kind, &mut payload);
        put(&mut payload, TCA_OPTIONS, &options);
        let _ = FilterEntry::decode(&payload);
    }
}

#[test]
fn unknown_words_of_json_are_refused() {
    let read = |json: &str| serde_json::from_str::<Filter>(json).map(|filter| filter.to_string());
    let text = read(
        r#"{"protocol": "ip", "prio": 5, "kind": "u32", "match": ["ip dst 10/8"], "classid": "1:a",
        "actions": [{"kind": "mirred", "direction": "egress", "act": "redirect", "dev": "eth1"}]}"#,
    );
    let expected = "protocol ip prio 5 u32 match u32 0xa000000 0xff000000 at 16 classid 1:a action mirred egress redirect dev eth1";
    assert_eq!(text.unwrap(), expected);
    for json in [
        r#"{"kind": "u32", "mtach": []}"#,
        r#"{"kind": "flower", "dstip": "10/8"}"#,
        r#"{"kind": "matchall", "actions": [{"kind": "gact", "control": "pass", "indx": 1}]}"#,
        r#"{"kind": "teapot"}"#,
    ] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn what_the_kernel_would_leave_out_is_refused() {
    let filter = |text: &str| -> Filter {
        let command: crate::command::Command =
            format!("filter add dev eth0 parent 1: {text}").parse().unwrap();
        let crate::command::Object::Filter { filter: Some(filter), .. } = command.object else {
            panic!("{text}")
        };
        *filter
    };
    let pass = " action pass";
    for text in [
        "u32 hashkey mask ff at 12 link 2:",
        "u32 match u32 0 0 skip_hw skip_sw",
        "u32 match u32 0 0 police mtu 5 drop action pass",
        "u32 match u32 0 0 action mirred egress redirect dev eth1",
        "matchall action police rate 1mbit",
        &format!("matchall{}", pass.repeat(33)),
        &format!("matchall{}", " action police mtu 5 drop".repeat(9)),
        "flower dst_port 80",
    ] {
        assert!(filter(text).validate().is_err(), "{text}");
    }
    for text in [&*format!("matchall{}", pass.repeat(32)), "u32 match mark 1 1", "u32 classid 1:1"] {
        assert_eq!(filter(text).validate(), Ok(()), "{text}");
    }
}
