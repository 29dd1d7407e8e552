//! Pairs of a `tc` command and the request that is to mean the same.

use tc_adapter::{Handle, HtbClass, HtbQdisc, LinkLayer, Rate, Request, Size};

/// The device that the commands name.
pub(crate) const DEVICE: &str = "gold0";

/// What the request is about, for looking at afterwards.
#[derive(Clone, Debug)]
pub(crate) enum After {
    Qdisc(Handle, HtbQdisc),
    NoQdisc,
    Class { classid: Handle, class: HtbClass },
    NoClass(Handle),
}

/// One pair.
pub(crate) struct Case {
    pub(crate) name: String,
    /// `tc` commands that come before.
    pub(crate) setup: &'static [&'static str],
    /// Arguments of `tc`.
    pub(crate) command: String,
    /// The same as a request about a device.
    pub(crate) request: Box<dyn Fn(u32) -> Request + Send>,
    pub(crate) after: After,
}

const QDISC: &[&str] = &["qdisc add dev gold0 root handle 1: htb"];
const CLASS: &[&str] = &[QDISC[0], "class add dev gold0 parent 1: classid 1:10 htb rate 3mbit"];
const CHILD: &[&str] = &[QDISC[0], CLASS[1], "class add dev gold0 parent 1:10 classid 1:11 htb rate 1mbit"];

/// Every kind of request, and many settings of one kind.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = qdiscs();
    cases.extend(requests());
    cases.extend(settings());
    cases
}

fn qdiscs() -> Vec<Case> {
    let plain = || (Handle::qdisc(1), HtbQdisc::new());
    let full = || {
        let htb = HtbQdisc { default_class: 0x30, r2q: 77, direct_qlen: Some(5), ..HtbQdisc::new() };
        (Handle::qdisc(0xabc), htb)
    };
    let add = |(handle, htb): (Handle, HtbQdisc)| {
        move |device| Request::AddQdisc { device, parent: Handle::ROOT, handle, qdisc: htb.clone().into() }
    };
    let replace = |(handle, htb): (Handle, HtbQdisc)| {
        move |device| Request::ReplaceQdisc {
            device,
            parent: Handle::ROOT,
            handle,
            qdisc: htb.clone().into(),
        }
    };
    let shown = |(handle, htb)| After::Qdisc(handle, htb);
    let delete = |handle| move |device| Request::DeleteQdisc { device, parent: Handle::ROOT, handle };
    let full_text = "root handle abc: htb default 30 r2q 77 direct_qlen 5";
    vec![
        case("qdisc add", &[], "qdisc add dev gold0 root handle 1: htb", add(plain()), shown(plain())),
        case("qdisc add full", &[], &format!("qdisc add dev gold0 {full_text}"), add(full()), shown(full())),
        case(
            "qdisc replace none",
            &[],
            "qdisc replace dev gold0 root handle 1: htb",
            replace(plain()),
            shown(plain()),
        ),
        case(
            "qdisc replace",
            CLASS,
            &format!("qdisc replace dev gold0 {full_text}"),
            replace(full()),
            shown(full()),
        ),
        case(
            "qdisc del",
            QDISC,
            "qdisc del dev gold0 root handle 1:",
            delete(Handle::qdisc(1)),
            After::NoQdisc,
        ),
        case("qdisc del any", CLASS, "qdisc del dev gold0 root", delete(Handle::UNSPEC), After::NoQdisc),
    ]
}

fn requests() -> Vec<Case> {
    let class = || HtbClass::new(rate("7mbit"));
    let (ten, eleven) = (Handle::new(1, 0x10), Handle::new(1, 0x11));
    let under = |parent, classid| {
        let add = move |device| Request::AddClass { device, parent, classid, class: class() };
        let change = move |device| Request::ChangeClass { device, parent, classid, class: class() };
        let replace = move |device| Request::ReplaceClass { device, parent, classid, class: class() };
        (add, change, replace, After::Class { classid, class: class() })
    };
    let (add, change, replace, after) = under(Handle::qdisc(1), ten);
    let (add_child, change_child, replace_child, after_child) = under(ten, eleven);
    let (_, change_anywhere, ..) = under(Handle::UNSPEC, eleven);
    let (add_root, ..) = under(Handle::ROOT, ten);
    let delete = move |device| Request::DeleteClass { device, classid: eleven };
    let text = |verb: &str, place: &str| format!("class {verb} dev gold0 {place} htb rate 7mbit");
    let (root, child) = ("parent 1: classid 1:10", "parent 1:10 classid 1:11");
    vec![
        case("class add", QDISC, &text("add", root), add, after.clone()),
        case("class add root", QDISC, &text("add", "root classid 1:10"), add_root, after.clone()),
        case("class add child", CLASS, &text("add", child), add_child, after_child.clone()),
        case("class change", CLASS, &text("change", root), change, after.clone()),
        case("class change child", CHILD, &text("change", child), change_child, after_child.clone()),
        case(
            "class change anywhere",
            CHILD,
            &text("change", "classid 1:11"),
            change_anywhere,
            after_child.clone(),
        ),
        case("class replace", CLASS, &text("replace", root), replace, after.clone()),
        case("class replace none", QDISC, &text("replace", root), replace, after),
        case("class replace child", CLASS, &text("replace", child), replace_child, after_child),
        case("class del", CHILD, "class del dev gold0 classid 1:11", delete, After::NoClass(eleven)),
    ]
}

/// Rates below and above what 32 bits of bytes/s hold, odd ones, every unit; bursts from one byte to megabytes.
fn settings() -> Vec<Case> {
    let mut cases = Vec::new();
    for text in [
        "64bit",
        "1kbit",
        "333kbit",
        "1234567bit",
        "1mbit",
        "1mibit",
        "10.5mbit",
        "99999999bit",
        "1gbit",
        "8gbit",
        "17gbit",
        "34359738360bit",
        "34359738368bit",
        "34359738376bit",
        "40gbit",
        "100gbit",
        "400gbit",
        "1tbit",
        "3mbps",
        "5kibps",
        "2gibit",
        "1gbps",
    ] {
        cases.push(setting(&format!("rate {text}"), HtbClass::new(rate(text))));
    }
    for (low, high) in
        [("1mbit", "10mbit"), ("10mbit", "40gbit"), ("40gbit", "100gbit"), ("1kbit", "1001bit")]
    {
        let class = HtbClass { ceil: rate(high), ..HtbClass::new(rate(low)) };
        cases.push(setting(&format!("rate {low} ceil {high}"), class));
    }
    for (rates, burst, cburst) in [
        ("10mbit", "1b", "1b"),
        ("10mbit", "1600b", "15k"),
        ("333kbit", "1601b", "12345b"),
        ("1gbit", "1mb", "8kbit"),
        ("7gbit", "200k", "3mbit"),
        ("100gbit", "3m", "64k"),
    ] {
        let class =
            HtbClass { burst: Some(size(burst)), cburst: Some(size(cburst)), ..HtbClass::new(rate(rates)) };
        cases.push(setting(&format!("rate {rates} burst {burst} cburst {cburst}"), class));
    }
    let base = || HtbClass::new(rate("5mbit"));
    cases.push(setting("rate 5mbit prio 7", HtbClass { prio: 7, ..base() }));
    cases.push(setting("rate 5mbit quantum 1514", HtbClass { quantum: Some(1514), ..base() }));
    cases.push(setting("rate 5mbit mpu 64 overhead 24", HtbClass { mpu: 64, overhead: 24, ..base() }));
    let atm = HtbClass { link_layer: LinkLayer::Atm, overhead: 40, ..base() };
    cases.push(setting("rate 5mbit overhead 40 linklayer atm", atm));
    cases.push(setting(
        "rate 5mbit ceil 9mbit burst 3k cburst 4k prio 3 quantum 60000 mpu 64 overhead 4",
        HtbClass {
            ceil: rate("9mbit"),
            burst: Some(size("3k")),
            cburst: Some(size("4k")),
            prio: 3,
            quantum: Some(60_000),
            mpu: 64,
            overhead: 4,
            ..base()
        },
    ));
    cases
}

/// A class added directly under the qdisc with these settings.
fn setting(text: &str, class: HtbClass) -> Case {
    let (parent, classid) = (Handle::qdisc(1), Handle::new(1, 0xfff));
    let command = format!("class add dev gold0 parent 1: classid 1:fff htb {text}");
    let after = After::Class { classid, class: class.clone() };
    let request = move |device| Request::AddClass { device, parent, classid, class: class.clone() };
    case(text, QDISC, &command, request, after)
}

fn case(
    name: &str,
    setup: &'static [&'static str],
    command: &str,
    request: impl Fn(u32) -> Request + Send + 'static,
    after: After,
) -> Case {
    Case {
        name: name.replace(' ', "_"),
        setup,
        command: command.to_owned(),
        request: Box::new(request),
        after,
    }
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn size(text: &str) -> Size {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}
