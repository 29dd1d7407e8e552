//! The kernel, played: every request must make sense for what stands, by the kernel's own rules for handles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use proptest::prelude::*;
use tc_adapter::tree::{Rounding, Tree};
use tc_adapter::{Classifier, Filter, FilterName, Handle, HtbClass, Protocol, Request};

use super::*;
use crate::workload::{Ask, Operation};

const AUTOMATIC: u32 = 0x800;

/// A filter's place: device, parent, chain, prio.
type Place = (u32, Handle, u32, u16);

/// The filters of one prio (`struct tcf_proto`).
struct Prio {
    kind: &'static str,
    protocol: Protocol,
    /// The name of u32's root table.
    root: u32,
    tables: BTreeSet<u32>,
    filters: BTreeMap<u32, Filter>,
}

/// What u32 keeps for a qdisc (`struct tc_u_common`): the next name of a root table.
#[derive(Default)]
struct Common {
    next: u32,
}

/// What of net/sched this workload relies on.
#[derive(Default)]
struct Kernel {
    /// By what they hang on.
    qdiscs: HashMap<(u32, Handle), Handle>,
    classes: HashMap<(u32, Handle), (Handle, HtbClass)>,
    prios: BTreeMap<Place, Prio>,
    commons: HashMap<(u32, u16), Common>,
    /// Every filter that there ever was, by place and handle: one that comes back must be the same.
    known: HashMap<(Place, u32), Filter>,
}

impl Kernel {
    fn carry_out(&mut self, request: &Request) {
        match request {
            Request::AddQdisc { device, parent, handle, .. } => {
                let hook = [Handle::ROOT, Handle::INGRESS].contains(parent);
                let below =
                    || self.qdiscs.iter().any(|((on, _), qdisc)| on == device && *qdisc == parent.of_qdisc());
                assert!(hook || below(), "{request:?}");
                let htb_class = self.classes.contains_key(&(*device, *parent));
                assert!(!htb_class || !self.has_children(*device, *parent), "{request:?}");
                assert_eq!(self.qdiscs.insert((*device, *parent), *handle), None, "EEXIST: {request:?}");
            }
            Request::AddClass { device, parent, classid, class } => {
                let qdisc = classid.of_qdisc();
                assert!(self.qdiscs.iter().any(|((on, _), handle)| on == device && *handle == qdisc));
                let under_qdisc = *parent == qdisc || *parent == Handle::ROOT;
                assert!(
                    under_qdisc || self.classes.contains_key(&(*device, *parent)),
                    "no parent: {request:?}"
                );
                assert!(
                    !self.qdiscs.contains_key(&(*device, *parent)) || under_qdisc,
                    "a leaf's qdisc is lost"
                );
                let before = self.classes.insert((*device, *classid), (*parent, class.clone()));
                assert_eq!(before, None, "EEXIST: {request:?}");
            }
            Request::ChangeClass { device, classid, class, .. } => {
                let known = self.classes.get_mut(&(*device, *classid)).expect("ENOENT");
                assert!(class.rate <= class.ceil);
                known.1 = class.clone();
            }
            Request::GetClass { device, classid } => assert!(self.classes.contains_key(&(*device, *classid))),
            Request::DeleteClass { device, classid } => self.delete_class(*device, *classid),
            Request::AddFilter { device, parent, filter } => self.add_filter(*device, *parent, filter),
            Request::DeleteFilter { device, parent, name } => self.delete_filter(*device, *parent, name),
            other => panic!("{other:?}"),
        }
    }

    fn has_children(&self, device: u32, classid: Handle) -> bool {
        self.classes.iter().any(|((on, _), (parent, _))| *on == device && *parent == classid)
    }

    fn delete_class(&mut self, device: u32, classid: Handle) {
        assert!(!self.has_children(device, classid), "EBUSY: {classid} has children");
        for (place, prio) in &self.prios {
            let leads = |filter: &Filter| {
                place.0 == device && filter.classid == classid && place.1.major() == classid.major()
            };
            assert!(!prio.filters.values().any(leads), "EBUSY: a filter leads to {classid}");
        }
        assert!(self.classes.remove(&(device, classid)).is_some(), "ENOENT: {classid}");
        self.forget_below(device, classid);
    }

    fn forget_below(&mut self, device: u32, parent: Handle) {
        let Some(handle) = self.qdiscs.remove(&(device, parent)).filter(|handle| *handle != Handle::UNSPEC)
        else {
            return;
        };
        let inside = |other: Handle| other.major() == handle.major();
        self.classes.retain(|(on, classid), _| *on != device || !inside(*classid));
        self.prios.retain(|(on, parent, ..), _| *on != device || !inside(*parent));
        self.commons.remove(&(device, handle.major()));
        let below: Vec<Handle> =
            self.qdiscs.keys().filter(|(on, at)| *on == device && inside(*at)).map(|(_, at)| *at).collect();
        for at in below {
            self.forget_below(device, at);
        }
    }

    fn u32_prios(&self, device: u32, major: u16) -> impl Iterator<Item = &Prio> + Clone {
        let of = move |place: &Place| place.0 == device && place.1.major() == major;
        self.prios.iter().filter(move |(place, prio)| of(place) && prio.kind == "u32").map(|(_, prio)| prio)
    }

    fn add_filter(&mut self, device: u32, parent: Handle, filter: &Filter) {
        let place = (device, parent, filter.chain, filter.prio);
        if filter.classid != Handle::UNSPEC && filter.classid.major() == parent.major() {
            let htb =
                self.classes.keys().any(|(on, classid)| *on == device && classid.major() == parent.major());
            assert!(!htb || self.classes.contains_key(&(device, filter.classid)), "leads nowhere: {filter}");
        }
        let kind = filter.classifier.kind();
        if !self.prios.contains_key(&place) {
            let first = self.u32_prios(device, parent.major()).next().is_none();
            let mut root = 0;
            if kind == "u32" {
                // u32_init: the first is 800; the others are never numbered twice, as long as one is there.
                let common = self.commons.entry((device, parent.major())).or_default();
                common.next = if first { 1 } else { common.next + 1 };
                root = AUTOMATIC + common.next - 1;
            }
            let (tables, filters) = (BTreeSet::new(), BTreeMap::new());
            self.prios.insert(place, Prio { kind, protocol: filter.protocol, root, tables, filters });
        }
        let tables: BTreeSet<u32> =
            self.u32_prios(device, parent.major()).flat_map(|prio| prio.tables.iter().copied()).collect();
        let prio = self.prios.get_mut(&place).unwrap();
        assert_eq!((prio.kind, prio.protocol), (kind, filter.protocol), "EINVAL: {filter}");
        let handle = match &filter.classifier {
            Classifier::U32(u32) if u32.is_table() => {
                assert!(prio.tables.insert(filter.handle) && !tables.contains(&filter.handle));
                return;
            }
            Classifier::U32(u32) if *u32 == tc_adapter::filter::U32::default() => return,
            Classifier::U32(u32) => {
                let bucket = u32.ht.unwrap_or(prio.root << 20);
                assert!(
                    bucket >> 20 == prio.root || tables.contains(&(bucket & 0xFFF0_0000)),
                    "EINVAL: {filter}"
                );
                if filter.handle >> 20 != 0 {
                    assert_eq!(filter.handle >> 20, bucket >> 20, "EINVAL: {filter}");
                }
                let used = |node: &u32| prio.filters.contains_key(&(bucket | node));
                match filter.handle & 0xFFF {
                    0 => (0x800..=0xFFF).chain(1..0x800).find(|node| !used(node)).unwrap() | bucket,
                    node => node | bucket,
                }
            }
            Classifier::Matchall(_) => {
                assert!(prio.filters.is_empty(), "EEXIST: {filter}");
                1
            }
            _ if filter.handle != 0 => filter.handle,
            _ => (1..=u32::MAX).find(|handle| !prio.filters.contains_key(handle)).unwrap(),
        };
        assert!(prio.filters.insert(handle, filter.clone()).is_none(), "EEXIST: {filter}");
        let content = |filter: &Filter| Filter { handle: 0, ..filter.clone() };
        let before = self.known.entry((place, handle)).or_insert_with(|| filter.clone());
        assert_eq!(content(before), content(filter), "another one at {handle:x}");
    }

    fn delete_filter(&mut self, device: u32, parent: Handle, name: &FilterName) {
        let place = (device, parent, name.chain, name.prio);
        let prio = self.prios.get_mut(&place).unwrap_or_else(|| panic!("ENOENT: {name}"));
        assert_eq!(name.kind.as_deref(), Some(prio.kind));
        assert_eq!(name.protocol, Some(prio.protocol));
        if name.handle == 0 {
            assert_eq!(prio.filters.len(), 1, "others go along: {name}");
            self.prios.remove(&place);
            return;
        }
        assert_ne!(prio.kind, "matchall", "EOPNOTSUPP: mall_delete");
        assert!(prio.filters.remove(&name.handle).is_some(), "ENOENT: {name} in {:?}", prio.filters.keys());
        let last = if prio.kind == "u32" {
            // u32_delete: no other prio, and no filter.
            let mut prios = self.u32_prios(device, parent.major());
            prios.clone().count() == 1 && prios.all(|prio| prio.filters.is_empty())
        } else {
            prio.filters.is_empty()
        };
        if last {
            self.prios.remove(&place);
        }
    }
}

fn requests_of(text: &str, devices: &[u32]) -> Vec<Request> {
    let tree = Tree::from_batch(text, Rounding::Exact).unwrap_or_else(|error| panic!("{error}"));
    requests(&tree, devices).unwrap_or_else(|error| panic!("{error}"))
}

/// The typical file: inner classes, a leaf qdisc each, all filters u32 under prio 1.
fn typical(device: &str, subscribers: u32) -> String {
    let mut text = format!(
        "qdisc add dev {device} root handle 1: htb default fff\n\
         class add dev {device} parent 1: classid 1:1 htb rate 100mbit\n\
         class add dev {device} parent 1:1 classid 1:2 htb rate 50mbit ceil 60mbit\n\
         class add dev {device} parent 1:1 classid 1:3 htb rate 50mbit\n"
    );
    for subscriber in 0..subscribers {
        let minor = subscriber + 0x10;
        let _ = writeln!(
            text,
            "class add dev {device} parent 1:{} classid 1:{minor:x} htb rate 1mbit ceil 100mbit\n\
             qdisc add dev {device} parent 1:{minor:x} handle {minor:x}: pfifo limit 10\n\
             filter add dev {device} parent 1: protocol ip prio 1 u32 match ip dst 10.0.0.{subscriber}/32 flowid 1:{minor:x}\n\
             filter add dev {device} parent 1: protocol ip prio 1 u32 match ip src 10.0.0.{subscriber}/32 flowid 1:{minor:x}",
            2 + subscriber % 2
        );
    }
    text
}

/// Hash tables, prios of one subscriber and shared ones, filters on an inner class, handles in the file.
const TABLES: &str = "\
qdisc add dev a root handle 1: htb
class add dev a parent 1: classid 1:1 htb rate 100mbit
class add dev a parent 1:1 classid 1:10 htb rate 1mbit
class add dev a parent 1:1 classid 1:11 htb rate 1mbit
class add dev a parent 1:1 classid 1:12 htb rate 1mbit
class add dev a parent 1: classid 1:13 htb rate 1mbit
filter add dev a parent 1: protocol ip prio 5 handle 2: u32 divisor 256
filter add dev a parent 1: protocol ip prio 5 u32 ht 800:: match ip dst 10.0.0.0/8 hashkey mask 0xff at 16 link 2:
filter add dev a parent 1: protocol ip prio 5 u32 ht 2:1a: match ip dst 10.0.0.26/32 flowid 1:10
filter add dev a parent 1: protocol ip prio 5 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.1.0.26/32 flowid 1:11
filter add dev a parent 1: protocol ip prio 5 u32 ht 2:1a: match ip dst 10.2.0.26/32 flowid 1:11
filter add dev a parent 1: protocol ip prio 6 u32 match ip src 10.0.0.1/32 flowid 1:12
filter add dev a parent 1: protocol ipv6 prio 7 handle ::801 u32 match u32 1 0xff at 0 flowid 1:12
filter add dev a parent 1: protocol ipv6 prio 7 u32 match u32 2 0xff at 0 flowid 1:13
filter add dev a parent 1: protocol ipv6 prio 7 u32 match u32 3 0xff at 0 flowid 1:13
filter add dev a parent 1: protocol ip prio 8 u32 match u32 0 0 flowid 1:1
filter add dev a parent 1:1 protocol ip prio 5 u32 match ip dport 80 0xffff flowid 1:10
filter add dev a parent 1:1 protocol ip prio 9 u32 match ip dport 81 0xffff flowid 1:11
";

/// Other classifiers; a leaf with a tree of its own, and an HTB below another qdisc.
const KINDS: &str = "\
qdisc add dev a root handle 1: prio bands 3
qdisc add dev a parent 1:1 handle 2: htb
class add dev a parent 2: classid 2:1 htb rate 10mbit
class add dev a parent 2:1 classid 2:2 htb rate 1mbit ceil 5mbit
class add dev a parent 2:1 classid 2:3 htb rate 1mbit
class add dev a parent 2: classid 2:4 htb rate 1mbit
qdisc add dev a parent 2:2 handle 20: htb
class add dev a parent 20: classid 20:1 htb rate 1mbit
class add dev a parent 20:1 classid 20:2 htb rate 1mbit
qdisc add dev a parent 20:2 pfifo
filter add dev a parent 20: protocol ip prio 1 u32 match u32 0 0 flowid 20:2
filter add dev a parent 2: protocol ip prio 1 flower dst_ip 10.0.0.1 classid 2:2
filter add dev a parent 2: protocol ip prio 1 handle 2 flower dst_ip 10.0.0.2 classid 2:3
filter add dev a parent 2: protocol ip prio 1 flower dst_ip 10.0.0.3 classid 2:4
filter add dev a parent 2: protocol ip prio 2 handle 7 fw classid 2:2
filter add dev a parent 2: protocol ip prio 2 handle 8 fw classid 2:3
filter add dev a parent 2: protocol all prio 3 matchall classid 2:4
filter add dev a parent 2: protocol ip prio 4 bpf bytecode '1,6 0 0 1' classid 2:3
filter add dev a parent 2: protocol ip prio 4 bpf bytecode '1,6 0 0 2' classid 2:4
filter add dev a parent 1: protocol ip prio 1 u32 match u32 0 0 flowid 1:1
qdisc add dev a ingress
filter add dev a parent ffff: protocol ip prio 1 u32 match u32 0 0 action pass
";

fn trees() -> [String; 4] {
    [typical("a", 30) + &typical("b", 11), typical("a", 1), TABLES.to_owned(), KINDS.to_owned()]
}

/// Workers take turns as chance will have it. Gives what the requests were called, and how many subscribers stood at least.
fn play(text: &str, workers: u32, mix: Mix, seed: u64, steps: usize) -> BTreeMap<OperationKind, usize> {
    let requests = requests_of(text, &[4, 9]);
    let leaves: BTreeMap<(u32, Handle), (HtbClass, Option<HtbClass>)> = {
        let estate = Estate::of(requests.clone()).unwrap();
        let mut kernel = Kernel::default();
        for request in &requests {
            kernel.carry_out(request);
        }
        let above = |device, classid| kernel.classes.get(&(device, kernel.classes[&(device, classid)].0));
        let of = |subscriber: &Subscriber| {
            let key = (subscriber.device, subscriber.classid);
            (key, (kernel.classes[&key].1.clone(), above(key.0, key.1).map(|(_, class)| class.clone())))
        };
        estate.subscribers.iter().map(of).collect()
    };
    let mut scene = scene(requests, workers, mix, seed).unwrap();
    let mut kernel = Kernel::default();
    for request in &scene.setup {
        kernel.carry_out(request);
    }
    assert_eq!(kernel.classes.len() as u64, scene.population_max);
    let away = leaves.len().div_ceil(workers as usize).div_ceil(20) * workers as usize;
    let mut rng = worker_rng(seed, u32::MAX);
    let mut counts: BTreeMap<OperationKind, usize> = BTreeMap::new();
    for _ in 0..steps {
        let worker = rng.random_range(0..scene.sources.len());
        let source = &mut scene.sources[worker];
        let Some(operation) = source.next() else { continue };
        assert_eq!(operation.expects, None);
        *counts.entry(operation.kind).or_default() += 1;
        match operation.ask {
            Ask::One(request) | Ask::Unchecked(request) => {
                request.validate().unwrap();
                kernel.carry_out(&request);
                if let Request::ChangeClass { device, classid, class, .. } = &request {
                    let (file, above) = &leaves[&(*device, *classid)];
                    assert!(class.rate <= file.rate && class.ceil <= file.ceil, "{request:?}");
                    assert!(above.as_ref().is_none_or(|above| class.ceil <= above.ceil), "{request:?}");
                }
            }
            Ask::Classes { device, .. } => assert!([4, 9].contains(&device)),
            Ask::Filters { device, parent, .. } => {
                assert!(
                    kernel
                        .qdiscs
                        .iter()
                        .any(|((on, _), handle)| *on == device && *handle == parent.of_qdisc())
                );
            }
        }
        source.settle(true);
        let standing = leaves.keys().filter(|key| kernel.classes.contains_key(key)).count();
        assert!(kernel.classes.len() as u64 <= scene.population_max);
        assert!(standing + away >= leaves.len(), "{standing} of {}", leaves.len());
    }
    counts
}

#[test]
fn subscribers_join_change_and_leave_request_by_request() {
    use OperationKind::{
        ClassChange, ClassCreate, ClassDelete, ClassDump, ClassDumpCold, ClassRead, FilterCreate,
        FilterDelete, FilterDump, FilterDumpCold, QdiscCreate,
    };
    let mix = "create=5,change=1,read=1,delete=5,dump=1,dump-cold=1,filter-dump=1,filter-dump-cold=1"
        .parse()
        .unwrap();
    let counts = play(&trees()[0], 3, mix, 7, 20_000);
    let asked = [
        QdiscCreate,
        ClassCreate,
        ClassChange,
        ClassRead,
        ClassDelete,
        ClassDump,
        ClassDumpCold,
        FilterCreate,
        FilterDelete,
        FilterDump,
        FilterDumpCold,
    ];
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), asked);
    // Each has a qdisc and two filters, and some are on their way.
    assert!(counts[&ClassCreate].abs_diff(counts[&QdiscCreate]) <= 3, "{counts:?}");
    assert!(counts[&FilterCreate].abs_diff(2 * counts[&ClassCreate]) <= 6, "{counts:?}");
    assert!(counts[&FilterDelete].abs_diff(2 * counts[&ClassDelete]) <= 6, "{counts:?}");
    assert!(counts[&ClassCreate] > 1_000, "{counts:?}");
}

#[test]
fn the_kernels_numbers_are_foreseen() {
    let mut estate = Estate::of(requests_of(TABLES, &[1])).unwrap();
    let names = |subscriber: &mut Subscriber| -> Vec<String> {
        let name = |operation: &Operation| match &operation.ask {
            Ask::One(Request::DeleteFilter { parent, name, .. }) => format!("{parent}{name}"),
            other => panic!("{other:?}"),
        };
        subscriber.filters.iter().map(|(_, leave)| name(leave)).collect()
    };
    let names: Vec<Vec<String>> = estate.subscribers.iter_mut().map(names).collect();
    let expected: [&[&str]; 4] = [
        // 1:1 with its prio 5 is the fifth place with a root table: those of a qdisc are one list.
        &["1: protocol ip prio 5 handle 2:1a:800 u32", "1:1 protocol ip prio 5 handle 804::800 u32"],
        &[
            "1: protocol ip prio 5 handle 2:1a:7 u32",
            "1: protocol ip prio 5 handle 2:1a:801 u32",
            "1:1 protocol ip prio 9 handle 805::800 u32",
        ],
        &["1: protocol ip prio 6 handle 801::800 u32", "1: protocol ipv6 prio 7 handle 802::801 u32"],
        &["1: protocol ipv6 prio 7 handle 802::800 u32", "1: protocol ipv6 prio 7 handle 802::802 u32"],
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_leaf_takes_along_what_hangs_on_it() {
    let estate = Estate::of(requests_of(KINDS, &[1])).unwrap();
    let [nested, ..] = &estate.subscribers[..] else { panic!("{estate:?}") };
    let kinds: Vec<_> = nested.belongings.iter().map(|operation| operation.kind.name()).collect();
    assert_eq!(
        kinds,
        ["class-create", "qdisc-create", "class-create", "class-create", "qdisc-create", "filter-create"]
    );
    assert_eq!(nested.filters.len(), 2);
    assert_eq!(estate.subscribers.iter().map(|leaf| leaf.classid.minor()).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(estate.population, 6);
}

#[test]
fn a_refusal_ends_a_way_where_it_is() {
    let text = "qdisc add dev a root handle 1: htb\n\
                class add dev a parent 1: classid 1:1 htb rate 1mbit\n\
                qdisc add dev a parent 1:1 pfifo\n\
                filter add dev a parent 1: protocol ip prio 1 u32 match u32 0 0 flowid 1:1\n\
                filter add dev a parent 1: protocol ip prio 1 u32 match u32 1 1 at 0 flowid 1:1\n";
    let mix = "create=1,delete=1".parse().unwrap();
    let mut scene = scene(requests_of(text, &[1]), 1, mix, 1).unwrap();
    let source = &mut scene.sources[0];
    let mut next = |succeeds: bool| {
        let kind = source.next().unwrap().kind.name();
        source.settle(succeeds);
        kind
    };
    // Nothing has gone, so it leaves again; then half of it has, so it comes back with what is missing.
    assert_eq!(
        [false, true, false, true].map(&mut next),
        ["filter-delete", "filter-delete", "filter-delete", "filter-create"]
    );
    assert_eq!([true, true, false].map(&mut next), ["filter-delete", "filter-delete", "class-delete"]);
    assert_eq!([false, true, true].map(&mut next), ["filter-create", "filter-create", "filter-create"]);
    assert_eq!([true, true, true].map(&mut next), ["filter-delete", "filter-delete", "class-delete"]);
    // A join that breaks off goes on from there.
    assert_eq!([true, false].map(&mut next), ["class-create", "qdisc-create"]);
    assert_eq!([true; 3].map(&mut next), ["qdisc-create", "filter-create", "filter-create"]);
    assert_eq!(next(true), "filter-delete");
}

#[test]
fn workers_without_subscribers_have_nothing_to_do() {
    let mut scene = scene(requests_of(&typical("a", 2), &[1]), 3, Mix::default(), 1).unwrap();
    let busy: Vec<bool> = scene.sources.iter_mut().map(|source| source.next().is_some()).collect();
    assert_eq!(busy, [true, true, false]);
}

#[test]
fn a_change_is_one_that_htb_can_count() {
    // A byte a second has no half, and a burst takes 274 s at most.
    for class in ["rate 8bit burst 1 cburst 1", "rate 1kbit burst 30k"] {
        let text = format!(
            "qdisc add dev a root handle 1: htb\nclass add dev a parent 1: classid 1:1 htb {class}\n"
        );
        let counts = play(&text, 1, Mix::of_classes(0, 1, 0, 0), 1, 200);
        assert_eq!(counts[&OperationKind::ClassChange], 200);
    }
}

#[test]
fn what_stands_in_the_way_is_told() {
    let head = "qdisc add dev a root handle 1: htb\nclass add dev a parent 1: classid 1:1 htb rate 1mbit\n\
                class add dev a parent 1: classid 1:2 htb rate 1mbit\n";
    let filter = "filter add dev a parent 1: protocol ip prio";
    let filters = |count| format!("{filter} 1 u32 match u32 0 0 flowid 1:1\n").repeat(count);
    let of_prio = |prio| format!("{filter} {prio} u32 match u32 0 0 flowid 1:1\n");
    let prios: Vec<String> = (1..=2048).map(of_prio).collect();
    for (text, word) in [
        (
            format!(
                "{filter} 1 u32 match u32 0 0 flowid 1:1\nfilter add dev a parent 1:1 protocol ip prio 1 u32 match u32 0 0\n"
            ),
            "hangs on a leaf",
        ),
        (format!("{filter} 1 u32 match u32 0 0 flowid 1:1\n{filter} 1 flower classid 1:2\n"), "one kind"),
        (
            format!(
                "{filter} 1 u32 match u32 0 0 flowid 1:1\n{filter} 1 handle ::800 u32 match u32 1 1 at 0 flowid 1:1\n"
            ),
            "number 800",
        ),
        (
            format!("{filter} 1 matchall classid 1:1\n{filter} 1 matchall classid 1:2\n"),
            "deleted by their prio",
        ),
        (format!("{filter} 1 handle 801: u32 divisor 4\n{}", filters(1)), "handle from 1: to 7ff:"),
        (format!("{}{filter} 1 u32 divisor 4\n", filters(1)), "handle from 1: to 7ff:"),
        (
            format!("{filter} 1 handle 2: u32 divisor 4\n{filter} 1 u32 ht 2:1: match u32 0 0 flowid 1:1\n"),
            "hands packets on",
        ),
        (filters(4096), "4095"),
        (prios.concat(), "2047 prios"),
    ] {
        let unusable = match Tree::from_batch(&format!("{head}{text}"), Rounding::Exact) {
            Ok(tree) => requests(&tree, &[1]).and_then(Estate::of).expect_err(word).to_string(),
            Err(error) => panic!("{word}: {error}"),
        };
        assert!(unusable.contains(word) && !unusable.contains('\n'), "{word}: {unusable}");
    }
    Estate::of(requests_of(&format!("{head}{}", filters(4095)), &[1])).unwrap();
    // Where no filter comes and goes, nothing stands in its way.
    let elsewhere =
        "qdisc add dev a ingress\nfilter add dev a parent ffff: protocol ip prio 1 u32 divisor 4\n";
    Estate::of(requests_of(&format!("{head}{elsewhere}{}", filters(1)), &[1])).unwrap();
    Estate::of(requests_of(&format!("{head}{filter} 1 u32 divisor 4\n"), &[1])).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_request_makes_sense_for_what_stands(
        tree in 0_usize..4,
        weights in proptest::array::uniform8(0_u32..4),
        workers in 1_u32..5,
        seed: u64,
    ) {
        let names = ["create", "change", "read", "delete", "dump", "dump-cold", "filter-dump", "filter-dump-cold"];
        let mix = Mix::from_pairs(names.into_iter().zip(weights));
        prop_assume!(mix.is_ok());
        play(&trees()[tree], workers, mix.unwrap(), seed, 600);
    }
}
