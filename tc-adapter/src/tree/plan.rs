//! From what there is to what is to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::filters::{FilterSteps, delete_prio};
use super::state::{ClassState, DeviceState};
use super::{DeviceTree, Hook, PlacedClass, PlacedFilter, PlacedQdisc, State, Tree, is_hook, majors_below};
use crate::command::{Command, Object};
use crate::entry::QdiscEntry;
use crate::error::Error;
use crate::filter::{Filter, FilterEntry};
use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::link::Link;
use crate::qdisc::Qdisc;
use crate::request::Request;

/// What to do, in this order, to bring a tree about. Empty: it is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One request after the other.
    pub steps: Vec<Step>,
    /// The devices that actions name, by their indices.
    names: BTreeMap<u32, String>,
}

/// One request, and why it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The device's name.
    pub device: String,
    /// What is sent.
    pub request: Request,
    /// Why.
    pub reason: Reason,
}

/// Why a step is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is in the tree and not in the kernel.
    Missing,
    /// It is there with other settings.
    Different,
    /// It is there and not in the tree.
    Surplus,
    /// It is to be at another place, or of another kind, which takes removing it first. What hangs on it goes along, and is
    /// added again.
    Rebuilt,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Surplus => "surplus",
            Self::Rebuilt => "rebuilt",
        })
    }
}

impl Plan {
    /// The `tc` command that does what the step does.
    pub fn command(&self, step: &Step) -> Option<Command> {
        let mut command = Command::of(&step.request, &step.device)?;
        if let Object::Filter { filter: Some(filter), .. } = &mut command.object {
            filter.name_devices(|index| self.names.get(&index).cloned());
        }
        Some(command)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// A `tc` command a line, as `tc -batch` reads them.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            if let Some(command) = self.command(step) {
                writeln!(f, "{command}")?;
            }
        }
        Ok(())
    }
}

impl Tree {
    /// What to do so that the kernel, which has `state`, gets what this tree says. `lookup` gives the index of a device by its
    /// name, for actions that name one.
    ///
    /// What obstructs is removed first; then comes what changes and what is added, parents first; what is surplus goes last, so that
    /// no class that stays is without its filters or its parent in between.
    pub fn plan(
        &self,
        state: &State,
        mut lookup: impl FnMut(&str) -> Result<u32, Error>,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for (name, wanted) in &self.devices {
            let mut wanted = wanted.clone();
            let has_one_place = matches!(
                wanted.qdiscs.get(&Handle::INGRESS),
                Some(PlacedQdisc { qdisc: Qdisc::Ingress(_), .. })
            );
            let said: Vec<Handle> = wanted.filters.iter().map(|placed| placed.parent).collect();
            for placed in &mut wanted.filters {
                // Under `ingress` there is one place, whatever minor is asked for. (But the kernel shows the one that was said last.)
                if has_one_place && placed.parent.major() == 0xFFFF {
                    placed.parent = placed.parent.of_qdisc();
                }
                placed.filter.resolve(|name| {
                    let index = lookup(name)?;
                    plan.names.insert(index, name.to_owned());
                    Ok::<_, Error>(index)
                })?;
                placed.filter.forget_root_table();
            }
            let present =
                state.devices.get(name).ok_or_else(|| Error::NoSuchDevice { device: name.clone() })?;
            let steps = DevicePlan::make(&wanted, &said, present);
            plan.steps.extend(steps.into_iter().map(|(request, reason)| Step {
                device: name.clone(),
                request,
                reason,
            }));
        }
        Ok(plan)
    }
}

type Steps = Vec<(Request, Reason)>;

struct DevicePlan<'a> {
    device: u32,
    wanted: &'a DeviceTree,
    /// Where each qdisc that has a name is to be.
    places: BTreeMap<Handle, Handle>,
    /// As far as it still stands at this point of the plan.
    present: DeviceState,
    /// Places of qdiscs that are to be replaced by others, which the kernel does without a moment in between.
    replaced: BTreeSet<Handle>,
    /// Places and prios that are to have filters.
    filtered: BTreeSet<(Handle, u32, u16)>,
    /// Classes that are to have children.
    inner: BTreeSet<Handle>,
    /// Changes of classes that are leaves only when what is surplus has gone.
    turned_leaves: Steps,
    steps: Steps,
}

impl<'a> DevicePlan<'a> {
    fn make(wanted: &'a DeviceTree, said: &[Handle], present: &DeviceState) -> Steps {
        let hooks = wanted.hooks();
        let mut present = present.clone();
        // What belongs to other hooks is nobody's business here.
        present.qdiscs.retain(|parent, _| hooks.contains(&Hook::of(*parent)));
        present.filters.retain(|parent, _| hooks.contains(&Hook::of(*parent)));
        if !hooks.contains(&Hook::Root) {
            present.classes.clear();
        }
        let named = wanted.qdiscs.iter().filter(|(_, placed)| placed.handle != Handle::UNSPEC);
        let places = named.map(|(parent, placed)| (placed.handle, *parent)).collect();
        let mut plan = Self {
            device: present.index,
            wanted,
            places,
            present,
            replaced: BTreeSet::new(),
            filtered: wanted
                .filters
                .iter()
                .map(|PlacedFilter { parent, filter }| (*parent, filter.chain, filter.prio))
                .collect(),
            inner: wanted.classes.values().filter_map(PlacedClass::parent_class).collect(),
            turned_leaves: Vec::new(),
            steps: Vec::new(),
        };
        for hook in hooks {
            plan.hook(hook);
        }
        plan.tbf_children();
        plan.obstructions();
        plan.forget_what_goes_along();
        let going = plan.led_to_and_surplus();
        plan.unbind(&going);
        let mut filters =
            FilterSteps::new(plan.device, &plan.wanted.filters, said, &plan.present.filters, &going);
        plan.steps.append(&mut filters.before);
        plan.classes();
        plan.qdiscs();
        plan.steps.append(&mut filters.changes);
        plan.steps.append(&mut filters.after);
        plan.surplus();
        plan.steps.append(&mut plan.turned_leaves);
        plan.steps.append(&mut filters.late);
        plan.steps
    }

    fn push(&mut self, request: Request, reason: Reason) {
        self.steps.push((request, reason));
    }

    /// The qdisc at a hook. Where it cannot stay, nothing below it does.
    fn hook(&mut self, hook: Hook) {
        let (device, parent) = (self.device, hook.parent());
        let present = self.present.qdiscs.get(&parent);
        let wanted = self.wanted.qdiscs.get(&parent);
        match (wanted, present) {
            // Where there is none, `qdiscs` adds it.
            (_, None) => {}
            (None, Some(present)) => {
                let handle = present.handle;
                self.push(Request::DeleteQdisc { device, parent, handle }, Reason::Surplus);
                self.forget_below(parent);
            }
            (Some(placed), Some(entry)) => {
                if fate(placed, entry, self.present.link) == Fate::Rebuild {
                    self.remove(parent);
                }
            }
        }
    }

    /// Makes room at a place for another qdisc, where the kernel does not replace one by the other.
    fn remove(&mut self, parent: Handle) {
        let Some(entry) = self.present.qdiscs.get(&parent) else { return };
        let replaceable = self.wanted.qdiscs.get(&parent).is_some_and(|placed| {
            let other_name = placed.handle != Handle::UNSPEC && placed.handle != entry.handle;
            let other_kind = placed.handle == Handle::UNSPEC && placed.qdisc.kind() != entry.kind;
            // Its name must not be in use elsewhere: then that one would be moved here.
            let free = self.present.qdiscs.values().all(|other| other.handle != placed.handle);
            // Nor may the present one's be needed elsewhere before it is replaced.
            let given_up = !self.places.contains_key(&entry.handle);
            given_up && ((other_name && free) || other_kind)
        });
        if replaceable && parent != Handle::INGRESS {
            self.replaced.insert(parent);
        } else {
            let (device, handle) = (self.device, entry.handle);
            self.push(Request::DeleteQdisc { device, parent, handle }, Reason::Rebuilt);
        }
        self.forget_below(parent);
    }

    /// Removes from what is present the qdisc with this parent and all that goes with it.
    fn forget_below(&mut self, parent: Handle) {
        let Some(gone) = self.present.qdiscs.remove(&parent) else { return };
        let DeviceState { qdiscs, classes, filters, .. } = &mut self.present;
        let majors = majors_below(gone.handle, &qdiscs.iter().map(|(parent, entry)| (*parent, entry.handle)));
        classes.retain(|classid, _| !majors.contains(&classid.major()));
        filters.retain(|parent, _| !majors.contains(&parent.major()));
        qdiscs.retain(|parent, _| is_hook(*parent) || !majors.contains(&parent.major()));
    }

    /// A change of TBF gives its limit to a child that is a fifo, too (`tbf_change`), which must then be changed back.
    fn tbf_children(&mut self) {
        let mut limits = BTreeMap::new();
        for (parent, entry) in &self.present.qdiscs {
            let Some(placed) = self.wanted.qdiscs.get(parent) else { continue };
            if let Qdisc::Tbf(tbf) = &placed.qdisc
                && fate(placed, entry, self.present.link) == Fate::Change
            {
                limits.insert(entry.handle.major(), tbf.limit);
            }
        }
        for (_, entry) in self.present.qdiscs.iter_mut().filter(|(parent, _)| !is_hook(**parent)) {
            let Some(&limit) = limits.get(&entry.parent.major()) else { continue };
            match &mut entry.options {
                Some(Qdisc::Pfifo(pfifo)) => pfifo.limit = Some(limit.bytes()),
                Some(Qdisc::Bfifo(bfifo)) => bfifo.limit = Some(limit),
                _ => {}
            }
        }
    }

    /// What must go before anything else can come: classes that are to be elsewhere with all below them, leaf qdiscs whose handle is
    /// to be elsewhere, children of a class that is to be a leaf.
    fn obstructions(&mut self) {
        let device = self.device;
        let mut children: BTreeMap<Handle, Vec<Handle>> = BTreeMap::new();
        for (&classid, class) in &self.present.classes {
            if let Some(parent) = class.parent {
                children.entry(parent).or_default().push(classid);
            }
        }
        let misplaced = |classid: &Handle, class: &ClassState| {
            let elsewhere =
                self.wanted.classes.get(classid).is_some_and(|placed| placed.parent_class() != class.parent);
            let under_a_leaf = class.parent.is_some_and(|parent| self.wanted.qdiscs.contains_key(&parent));
            elsewhere || under_a_leaf
        };
        let mut going: Vec<Handle> = self
            .present
            .classes
            .iter()
            .filter(|(classid, class)| misplaced(classid, class))
            .map(|(classid, _)| *classid)
            .collect();
        // With all below them; children come after their parents, so that the reverse order removes them.
        let mut known: BTreeSet<Handle> = BTreeSet::new();
        let mut next = 0;
        while let Some(classid) = going.get(next).copied() {
            going.extend(children.get(&classid).into_iter().flatten());
            next += 1;
        }
        let mut order = Vec::new();
        for classid in going.into_iter().rev() {
            if known.insert(classid) {
                order.push(classid);
            }
        }
        // A class cannot go while a filter leads to it.
        self.unbind(&known);
        for classid in order {
            // It may have gone with the qdisc of another one.
            if self.present.classes.remove(&classid).is_none() {
                continue;
            }
            self.push(Request::DeleteClass { device, classid }, Reason::Rebuilt);
            self.present.filters.remove(&classid);
            self.forget_below(classid);
        }
        let moving: Vec<Handle> = self
            .present
            .qdiscs
            .iter()
            .filter(|(parent, entry)| !is_hook(**parent) && self.is_in_the_way(**parent, entry))
            .map(|(parent, _)| *parent)
            .collect();
        for parent in moving {
            // It may have gone with one above it; then nothing is done.
            self.remove(parent);
        }
    }

    /// Classes that are not wanted, but wanted filters lead to: those that are there are to go all the same.
    fn led_to_and_surplus(&self) -> BTreeSet<Handle> {
        let led_to = self.wanted.filters.iter().map(|placed| placed.filter.classid);
        led_to
            .filter(|classid| {
                self.present.classes.contains_key(classid) && !self.wanted.classes.contains_key(classid)
            })
            .collect()
    }

    /// With a class that is not wanted goes its qdisc, and all below that, without being told.
    fn forget_what_goes_along(&mut self) {
        let surplus: Vec<Handle> = self
            .present
            .classes
            .keys()
            .filter(|classid| !self.wanted.classes.contains_key(*classid))
            .copied()
            .collect();
        for classid in surplus {
            self.forget_below(classid);
        }
    }

    /// Whether the qdisc at `parent` must go before what is wanted can come.
    fn is_in_the_way(&self, parent: Handle, entry: &QdiscEntry) -> bool {
        let here = self.wanted.qdiscs.get(&parent);
        let handle_is_wanted_elsewhere = self.places.get(&entry.handle).is_some_and(|place| *place != parent);
        handle_is_wanted_elsewhere
            || here.is_some_and(|placed| fate(placed, entry, self.present.link) == Fate::Rebuild)
    }

    /// Removes the filters that lead to these classes, whatever is wanted of them; they are added again if they are.
    fn unbind(&mut self, classes: &BTreeSet<Handle>) {
        let device = self.device;
        let mut steps = Vec::new();
        for (&parent, filters) in &mut self.present.filters {
            let is_going = classes.contains(&parent);
            let mut prios: BTreeMap<(u32, u16), Vec<&FilterEntry>> = BTreeMap::new();
            for entry in filters.iter().filter(|entry| !entry.is_only_a_place()) {
                prios.entry((entry.chain, entry.prio)).or_default().push(entry);
            }
            let mut gone = BTreeSet::new();
            for (prio, entries) in prios {
                let is_bound = |entry: &&FilterEntry| {
                    entry.filter.as_ref().is_some_and(|filter| classes.contains(&filter.classid))
                };
                let is_table = |entry: &&FilterEntry| entry.filter.as_ref().is_some_and(Filter::is_table);
                if is_going {
                    // They go with the class; but those below it, to which they may lead, go before, and tables stay behind.
                    if entries.iter().any(|entry| is_bound(entry) || is_table(entry)) {
                        steps.extend(delete_prio(device, parent, prio, &entries));
                    }
                } else if !self.filtered.contains(&(parent, prio.0, prio.1))
                    || entries.iter().any(|entry| entry.filter.as_ref().is_some_and(Filter::is_single))
                {
                    // Nobody wants the others of it either, nor an empty prio; or there are no others.
                    if entries.iter().any(is_bound) {
                        steps.extend(delete_prio(device, parent, prio, &entries));
                        gone.insert((prio, None));
                    }
                } else {
                    for entry in entries.into_iter().filter(is_bound) {
                        steps.push(Request::DeleteFilter { device, parent, name: Box::new(entry.name()) });
                        gone.insert((prio, Some(entry.handle)));
                    }
                }
            }
            filters.retain(|entry| {
                let prio = (entry.chain, entry.prio);
                !gone.contains(&(prio, None)) && !gone.contains(&(prio, Some(entry.handle)))
            });
        }
        self.steps.extend(steps.into_iter().map(|request| (request, Reason::Rebuilt)));
    }

    /// Changes of classes that stay. Those of classes that lose their last child only now are put off (`turned_leaves`).
    fn classes(&mut self) {
        let device = self.device;
        let present_inner: BTreeSet<Handle> =
            self.present.classes.values().filter_map(|class| class.parent).collect();
        for (&classid, placed) in &self.wanted.classes {
            let Some(present) = self.present.classes.get(&classid) else { continue };
            let is_leaf = !self.inner.contains(&classid);
            if self.as_kept(classid, &placed.class, &present.class, is_leaf).meets(&present.class) {
                continue;
            }
            let class = placed.class.clone();
            let change = Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class };
            if is_leaf && present_inner.contains(&classid) {
                self.turned_leaves.push((change, Reason::Different));
            } else {
                self.steps.push((change, Reason::Different));
            }
        }
    }

    /// What the kernel would keep of the settings (`htb_change_class`): priority and quantum in a leaf only, and there a quantum
    /// that is not given is made of the rate.
    fn as_kept(&self, classid: Handle, wanted: &HtbClass, present: &HtbClass, is_leaf: bool) -> HtbClass {
        let (mut prio, mut quantum) = (present.prio, present.quantum);
        if is_leaf {
            prio = wanted.prio;
            quantum = wanted.quantum.or_else(|| {
                let place = self.places.get(&classid.of_qdisc())?;
                match &self.wanted.qdiscs[place].qdisc {
                    Qdisc::Htb(htb) => Some(wanted.default_quantum(htb.r2q)),
                    _ => None,
                }
            });
        }
        HtbClass { prio, quantum, ..wanted.clone() }
    }

    /// Qdiscs from the top, each with its classes.
    fn qdiscs(&mut self) {
        let device = self.device;
        let mut missing: BTreeMap<u16, Vec<Handle>> = BTreeMap::new();
        for classid in self.wanted.classes_from_the_top() {
            if !self.present.classes.contains_key(&classid) {
                missing.entry(classid.major()).or_default().push(classid);
            }
        }
        for parent in self.wanted.qdiscs_from_the_top() {
            let PlacedQdisc { handle, qdisc } = self.wanted.qdiscs[&parent].clone();
            let major = handle.major();
            match self.present.qdiscs.get(&parent) {
                None if self.replaced.contains(&parent) => {
                    self.push(Request::ReplaceQdisc { device, parent, handle, qdisc }, Reason::Rebuilt);
                }
                None => self.push(Request::AddQdisc { device, parent, handle, qdisc }, Reason::Missing),
                Some(entry) => match fate(&self.wanted.qdiscs[&parent], entry, self.present.link) {
                    // `obstructions` has removed those that are to be rebuilt.
                    Fate::Stay | Fate::Rebuild => {}
                    Fate::Change => {
                        let handle = entry.handle;
                        let qdisc = entry
                            .options
                            .as_ref()
                            .map_or(qdisc.clone(), |present| qdisc.as_change_of(present));
                        self.push(Request::ChangeQdisc { device, parent, handle, qdisc }, Reason::Different);
                    }
                },
            }
            for classid in missing.remove(&major).unwrap_or_default() {
                let placed = &self.wanted.classes[&classid];
                // A first child destroys the leaf qdisc of its parent, and all below that.
                if let Some(above) = placed.parent_class() {
                    self.forget_below(above);
                }
                let (parent, class) = (placed.parent, placed.class.clone());
                self.push(Request::AddClass { device, parent, classid, class }, Reason::Missing);
            }
        }
    }

    /// What is there and not wanted, from the bottom.
    fn surplus(&mut self) {
        let device = self.device;
        let wanted = |classid: &Handle| self.wanted.classes.contains_key(classid);
        let mut going: Vec<(usize, Handle)> = self
            .present
            .classes
            .keys()
            .filter(|classid| !wanted(classid))
            .map(|classid| (self.present.depth(*classid), *classid))
            .collect();
        going.sort_unstable_by_key(|(depth, classid)| (std::cmp::Reverse(*depth), *classid));
        let qdiscs: Vec<(Handle, Handle)> = self
            .present
            .qdiscs
            .iter()
            .filter(|(parent, _)| !self.wanted.qdiscs.contains_key(*parent))
            .map(|(parent, entry)| (*parent, entry.handle))
            .collect();
        for (parent, handle) in qdiscs {
            if self.present.qdiscs.contains_key(&parent)
                && (wanted(&parent) || !self.present.classes.contains_key(&parent))
            {
                self.push(Request::DeleteQdisc { device, parent, handle }, Reason::Surplus);
                self.forget_below(parent);
            }
        }
        for (_, classid) in going {
            if self.present.classes.remove(&classid).is_some() {
                self.push(Request::DeleteClass { device, classid }, Reason::Surplus);
                self.forget_below(classid);
            }
        }
    }
}

impl DeviceState {
    /// How many classes are above this one.
    fn depth(&self, classid: Handle) -> usize {
        let mut above = self.classes.get(&classid).and_then(|class| class.parent);
        let mut depth = 0;
        while let Some(parent) = above.filter(|_| depth <= self.classes.len()) {
            above = self.classes.get(&parent).and_then(|class| class.parent);
            depth += 1;
        }
        depth
    }
}

/// What becomes of a qdisc that is at the right place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stay,
    Change,
    Rebuild,
}

fn fate(wanted: &PlacedQdisc, present: &QdiscEntry, link: Link) -> Fate {
    let named = wanted.handle == Handle::UNSPEC || wanted.handle == present.handle;
    match &present.options {
        Some(options) if named && wanted.qdisc.meets(options, link) => Fate::Stay,
        Some(options) if named => {
            let change = wanted.qdisc.as_change_of(options);
            // A change leaves as it is what it does not say.
            let changed = options.overlaid_by(&change).filter(|_| change.is_changeable());
            if changed.is_some_and(|changed| wanted.qdisc.meets(&changed, link)) {
                Fate::Change
            } else {
                Fate::Rebuild
            }
        }
        _ => Fate::Rebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;
    use crate::tree::Rounding;

    fn read(text: &str) -> DeviceTree {
        let text: String = text.lines().map(|line| line.replace(" add ", " add dev eth0 ") + "\n").collect();
        let mut tree = Tree::from_batch(&text, Rounding::Exact).unwrap_or_else(|error| panic!("{error}"));
        tree.devices.remove("eth0").unwrap()
    }

    /// As the kernel would report a tree that says everything.
    fn present(text: &str) -> DeviceState {
        let DeviceTree { qdiscs, classes, filters, .. } = read(text);
        let qdisc = |(parent, PlacedQdisc { handle, qdisc }): (Handle, PlacedQdisc)| {
            let kind = qdisc.kind().into();
            let stats = Stats::default();
            (
                parent,
                QdiscEntry { device: 7, handle, parent, kind, options: Some(qdisc), stats, xstats: None },
            )
        };
        let class = |(classid, placed): (Handle, PlacedClass)| {
            (classid, ClassState { parent: placed.parent_class(), class: placed.class })
        };
        let mut state = DeviceState {
            index: 7,
            link: Link { mtu: 1500, transmit_queue_length: 1000 },
            qdiscs: qdiscs.into_iter().map(qdisc).collect(),
            classes: classes.into_iter().map(class).collect(),
            filters: BTreeMap::new(),
        };
        for PlacedFilter { parent, filter } in filters {
            state.filters.entry(parent).or_default().push(FilterEntry {
                device: 7,
                parent,
                chain: filter.chain,
                prio: filter.prio,
                protocol: filter.protocol,
                handle: filter.handle,
                kind: filter.classifier.kind().to_owned(),
                filter: Some(filter),
                action_stats: Vec::new(),
                hits: None,
            });
        }
        state
    }

    /// The commands without the device, and the reasons.
    fn steps(from: &str, to: &str) -> Vec<String> {
        let wanted = read(to);
        let said: Vec<Handle> = wanted.filters.iter().map(|placed| placed.parent).collect();
        let steps = DevicePlan::make(&wanted, &said, &present(from));
        let line = |(request, reason): &(Request, Reason)| {
            let command = Command::of(request, "eth0").unwrap().to_string();
            format!("{}: {reason}", command.replace(" dev eth0", ""))
        };
        steps.iter().map(line).collect()
    }

    #[test]
    fn a_qdisc_is_changed_where_the_kernel_lets_it() {
        let fq_codel = |text: &str| {
            format!(
                "qdisc add root handle 5: fq_codel flows 512 target 5ms interval 100ms ecn quantum 1514{text}"
            )
        };
        assert_eq!(
            steps(&fq_codel(" limit 10240"), "qdisc add root fq_codel flows 512 limit 7"),
            ["qdisc change root handle 5: fq_codel limit 7: different"]
        );
        // The defaults that come back with a new one only.
        assert_eq!(
            steps(&fq_codel(" limit 7"), "qdisc add root handle 5: fq_codel flows 512"),
            ["qdisc del root handle 5:: rebuilt", "qdisc add root handle 5: fq_codel flows 512: missing"]
        );
        assert_eq!(
            steps("qdisc add root handle 5: prio bands 4 priomap 0 3", "qdisc add root handle 5: prio"),
            ["qdisc change root handle 5: prio: different"]
        );
    }

    #[test]
    fn the_fifo_below_a_tbf_gets_its_limit_back() {
        let tree = |limit: &str, child: &str| {
            format!(
                "qdisc add root handle 1: tbf rate 1mbit burst 5k limit {limit}\n\
                 qdisc add parent 1:1 handle 2: {child}"
            )
        };
        assert_eq!(
            steps(&tree("9k", "pfifo limit 5"), &tree("10k", "pfifo limit 5")),
            [
                "qdisc change root handle 1: tbf rate 1mbit burst 5120b limit 10240b: different",
                "qdisc change parent 1:1 handle 2: pfifo limit 5: different"
            ]
        );
        assert_eq!(
            steps(&tree("9k", "pfifo limit 1000"), &tree("10k", "pfifo")),
            [
                "qdisc del parent 1:1 handle 2:: rebuilt",
                "qdisc change root handle 1: tbf rate 1mbit burst 5120b limit 10240b: different",
                "qdisc add parent 1:1 handle 2: pfifo: missing"
            ]
        );
    }

    #[test]
    fn some_filters_go_with_their_prio() {
        let tree = |filter: &str| format!("qdisc add root handle 1: prio\nfilter add parent 1: {filter}");
        for (from, to, added) in [
            ("handle 0x1 matchall action pass", "matchall action drop", "matchall action drop"),
            ("handle 0x1 matchall", "handle 0x2 matchall", "handle 0x2 matchall"),
            ("handle 0x7 fw classid 1:1", "handle 7/0xff fw classid 1:1", "handle 0x7/0xff fw classid 1:1"),
        ] {
            let [from, to] = [from, to].map(|filter| format!("protocol all prio 3 {filter}"));
            assert_eq!(
                steps(&tree(&from), &tree(&to)),
                [
                    "filter del parent 1: prio 3: rebuilt".to_owned(),
                    format!("filter add parent 1: protocol all prio 3 {added}: missing")
                ]
            );
        }
        let same = [
            ("handle 0x1 matchall action pass", "matchall action pass"),
            ("handle 0x7 fw classid 1:1", "handle 0x7/0xffffffff fw classid 1:1"),
        ];
        for (from, to) in same {
            let [from, to] = [from, to].map(|filter| tree(&format!("protocol all prio 3 {filter}")));
            assert_eq!(steps(&from, &to), [""; 0]);
        }
    }
}
