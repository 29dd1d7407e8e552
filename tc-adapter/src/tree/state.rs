//! What the kernel has on some devices.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{DeviceTree, Hook, PlacedClass, PlacedFilter, PlacedQdisc, Tree, parent_class};
use crate::connection::Connection;
use crate::device::Device;
use crate::entry::QdiscEntry;
use crate::error::Error;
use crate::filter::{Classifier, Filter, FilterEntry, U32};
use crate::handle::Handle;
use crate::htb::{self, HtbClass};
use crate::link::Link;

/// What the kernel has on those devices that a tree names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By the device's name.
    pub(super) devices: BTreeMap<String, DeviceState>,
}

/// What the kernel has on one device. Qdiscs that it made by itself (handle 0) are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceState {
    pub(super) index: u32,
    pub(super) link: Link,
    /// By what they hang on.
    pub(super) qdiscs: BTreeMap<Handle, QdiscEntry>,
    pub(super) classes: BTreeMap<Handle, ClassState>,
    /// By what they hang on, in the kernel's order.
    pub(super) filters: BTreeMap<Handle, Vec<FilterEntry>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClassState {
    /// `None`: directly under its qdisc.
    pub(super) parent: Option<Handle>,
    pub(super) class: HtbClass,
}

/// Kinds whose packets no filter is asked about.
const WITHOUT_FILTERS: [&str; 8] =
    ["pfifo", "bfifo", "pfifo_head_drop", "pfifo_fast", "tbf", "netem", "mq", "noqueue"];

impl State {
    /// New devices, by name and index, which have nothing but what the kernel makes by itself: what [`Tree::plan`] makes of these
    /// are the requests that build a tree, in their order. Pure.
    pub fn of_new_devices(devices: impl IntoIterator<Item = (String, u32)>) -> Self {
        // A link gives the defaults of qdiscs that are there, of which there are none.
        let link = Link { mtu: 0, transmit_queue_length: 0 };
        let new = |index| DeviceState {
            index,
            link,
            qdiscs: BTreeMap::new(),
            classes: BTreeMap::new(),
            filters: BTreeMap::new(),
        };
        Self { devices: devices.into_iter().map(|(name, index)| (name, new(index))).collect() }
    }

    /// Asks the kernel for all of the devices that `tree` names.
    pub fn read(connection: &mut Connection, tree: &Tree) -> Result<Self, Error> {
        let mut state = Self::default();
        // One list holds those of all devices.
        let mut qdiscs: HashMap<u32, Vec<QdiscEntry>> = HashMap::new();
        for qdisc in connection.qdiscs(None)? {
            qdiscs.entry(qdisc.device).or_default().push(qdisc);
        }
        for (name, wanted) in &tree.devices {
            let index = Device::by_name(name)?.index;
            let qdiscs = qdiscs.remove(&index).unwrap_or_default();
            state.devices.insert(name.clone(), DeviceState::read(connection, index, qdiscs, wanted)?);
        }
        Ok(state)
    }

    /// As a tree that brings it about again. What this crate has no type for is left out, and named in the list.
    pub fn to_tree(&self, like: &Tree) -> (Tree, Vec<String>) {
        let (mut tree, mut unknown) = (Tree::default(), Vec::new());
        for (name, state) in &self.devices {
            let hooks = like.devices.get(name).map(DeviceTree::hooks).unwrap_or_default();
            let mut device = DeviceTree { cleared: hooks.clone(), ..DeviceTree::default() };
            for (&parent, qdisc) in
                state.qdiscs.iter().filter(|(parent, _)| hooks.contains(&Hook::of(**parent)))
            {
                match &qdisc.options {
                    Some(options) => {
                        let placed = PlacedQdisc { handle: qdisc.handle, qdisc: options.clone() };
                        device.qdiscs.insert(parent, placed);
                    }
                    None => unknown.push(format!("{name}: the qdisc {} {}", qdisc.kind, qdisc.handle)),
                }
            }
            for (&classid, class) in state.classes.iter().filter(|_| hooks.contains(&Hook::Root)) {
                let parent = class.parent.unwrap_or(classid.of_qdisc());
                device.classes.insert(classid, PlacedClass { parent, class: class.class.clone() });
            }
            for (&parent, filters) in
                state.filters.iter().filter(|(parent, _)| hooks.contains(&Hook::of(**parent)))
            {
                let empty = |entry: &&FilterEntry| {
                    entry.handle == 0
                        && entry.kind == "u32"
                        && !filters.iter().any(|other| other.prio == entry.prio && !other.is_only_a_place())
                };
                for entry in filters.iter().filter(empty) {
                    let (chain, prio, nothing) = (entry.chain, entry.prio, Classifier::U32(U32::default()));
                    let filter = Filter { chain, prio, ..Filter::new(entry.protocol, nothing) };
                    device.filters.push(PlacedFilter { parent, filter });
                }
                for entry in filters.iter().filter(|entry| !entry.is_only_a_place()) {
                    match &entry.filter {
                        Some(filter) => {
                            let mut filter = filter.clone();
                            filter.forget_root_table();
                            device.filters.push(PlacedFilter { parent, filter });
                        }
                        None => unknown.push(format!(
                            "{name}: a filter {} of prio {} on {parent}",
                            entry.kind, entry.prio
                        )),
                    }
                }
            }
            tree.devices.insert(name.clone(), device);
        }
        (tree, unknown)
    }
}

impl DeviceState {
    fn read(
        connection: &mut Connection,
        index: u32,
        qdiscs: Vec<QdiscEntry>,
        wanted: &DeviceTree,
    ) -> Result<Self, Error> {
        let link = connection.link(index)?;
        let mut classes = BTreeMap::new();
        connection.for_each_class(index, |entry| {
            if let Some(class) = entry.htb.filter(|_| entry.kind == htb::KIND) {
                classes.insert(entry.classid, ClassState { parent: parent_class(entry.parent), class });
            }
        })?;
        let qdiscs: BTreeMap<Handle, QdiscEntry> = qdiscs
            .into_iter()
            .filter(|qdisc| qdisc.handle != Handle::UNSPEC)
            .map(|qdisc| (qdisc.parent, qdisc))
            .collect();
        let inner: HashSet<Handle> = classes.values().filter_map(|class: &ClassState| class.parent).collect();
        let mut parents: Vec<Handle> = inner.into_iter().collect();
        for qdisc in qdiscs.values().filter(|qdisc| !WITHOUT_FILTERS.contains(&&*qdisc.kind)) {
            if qdisc.kind == "clsact" {
                parents.extend([Handle::new(0xFFFF, 0xFFF2), Handle::new(0xFFFF, 0xFFF3)]);
            } else {
                parents.push(qdisc.handle);
            }
        }
        let mut filters = BTreeMap::new();
        for parent in parents {
            let list = connection.filters(index, parent)?;
            if !list.is_empty() {
                filters.insert(parent, list);
            }
        }
        let mut state = Self { index, link, qdiscs, classes, filters };
        state.tell_tables_apart(connection, wanted)?;
        Ok(state)
    }

    /// Of `u32` filters of one prio at several places of a qdisc, the kernel lists all at each place. Leaves those at a place that are
    /// in its own root table; tables that were made by name, to which no place belongs, at the place where they are wanted.
    fn tell_tables_apart(&mut self, connection: &mut Connection, wanted: &DeviceTree) -> Result<(), Error> {
        let mut places: BTreeMap<(u16, u32, u16), Vec<FilterEntry>> = BTreeMap::new();
        for entry in self.filters.values().flatten().filter(|entry| entry.handle == 0 && entry.kind == "u32")
        {
            places.entry((entry.parent.major(), entry.chain, entry.prio)).or_default().push(entry.clone());
        }
        let wanted_tables: HashSet<(Handle, u32, u16, u32)> = wanted
            .filters
            .iter()
            .filter(|placed| placed.filter.is_table())
            .map(|placed| (placed.parent, placed.filter.chain, placed.filter.prio, placed.filter.handle))
            .collect();
        for ((_, chain, prio), entries) in places.into_iter().filter(|(_, entries)| entries.len() > 1) {
            for place in &entries {
                let parent = place.parent;
                let root = connection.root_table(self.index, parent, place)?;
                let belongs = |entry: &FilterEntry| {
                    let table = entry.table();
                    let is_owner =
                        |place: &FilterEntry| wanted_tables.contains(&(place.parent, chain, prio, table));
                    if entry.is_in_a_root_table() {
                        table == root
                    } else {
                        entries.iter().find(|place| is_owner(place)).unwrap_or(&entries[0]).parent == parent
                    }
                };
                if let Some(list) = self.filters.get_mut(&parent) {
                    list.retain(|entry| {
                        (entry.chain, entry.prio) != (chain, prio) || entry.handle == 0 || belongs(entry)
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Rounding;

    #[test]
    fn on_new_devices_a_tree_is_built_as_its_batch_file_would() {
        let text = "qdisc add dev a root handle 1: htb\n\
                    class add dev a parent 1:1 classid 1:2 htb rate 1mbit\n\
                    filter add dev a parent 1: prio 1 protocol ip u32 match u32 0 0 flowid 1:2\n\
                    qdisc add dev a parent 1:2 handle 2: pfifo limit 5\n\
                    qdisc add dev b root handle 1: pfifo limit 9\n\
                    class add dev a parent 1: classid 1:1 htb rate 1mbit\n";
        let tree = Tree::from_batch(text, Rounding::Exact).unwrap();
        let new = State::of_new_devices([("a".to_owned(), 3), ("b".to_owned(), 4)]);
        let plan = tree.plan(&new, |_| panic!("no action names a device")).unwrap();
        assert_eq!(plan.to_string(), tree.to_batch());
        assert_eq!(
            plan.steps.iter().map(|step| step.request.device()).collect::<Vec<_>>(),
            [3, 3, 3, 3, 3, 4]
        );
        let unknown = State::of_new_devices([("a".to_owned(), 3)]);
        tree.plan(&unknown, |_| Ok(1)).unwrap_err();
    }
}
