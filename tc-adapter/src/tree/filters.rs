//! Which filters stay, change, come and go.
//!
//! Filters have no names that their users give: the kernel numbers them. So they are compared by what they say and, where the
//! kernel asks them one after the other (`u32`, within a bucket of a hash table), by their order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::PlacedFilter;
use super::plan::Reason;
use crate::filter::{Filter, FilterEntry, FilterName};
use crate::handle::Handle;
use crate::request::Request;

type Steps = Vec<(Request, Reason)>;

/// What to do, by when.
pub(super) struct FilterSteps {
    /// What obstructs.
    pub(super) before: Steps,
    /// Changes and additions, in the order of the tree.
    pub(super) changes: Steps,
    /// What is surplus.
    pub(super) after: Steps,
    /// Additions that must wait until classes have gone.
    pub(super) late: Steps,
}

/// Filters that the kernel keeps together: all of one classifier and one protocol.
type Place = (Handle, u32, u16);

#[derive(Default)]
struct Group<'a> {
    /// With their indices in the tree.
    wanted: Vec<(usize, &'a Filter)>,
    present: Vec<&'a FilterEntry>,
    /// What the kernel lists first of the prio, even if it has no filters.
    whole: Option<&'a FilterEntry>,
    /// All of it is removed first.
    rebuilt: bool,
}

/// What becomes of a filter of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Stay,
    Add {
        handle: u32,
    },
    /// In place, under the handle that it has.
    Replace {
        handle: u32,
    },
    /// Its predecessor must go first.
    Renew {
        old: FilterName,
        handle: u32,
    },
}

impl FilterSteps {
    /// `said` are the parents of `wanted` as they were written. `going` are classes that go although filters are to lead to them.
    /// No present filter leads there any more; a new one must not come before they have gone, for it would hold them.
    pub(super) fn new(
        device: u32,
        wanted: &[PlacedFilter],
        said: &[Handle],
        present: &BTreeMap<Handle, Vec<FilterEntry>>,
        going: &BTreeSet<Handle>,
    ) -> Self {
        let mut groups: BTreeMap<Place, Group> = BTreeMap::new();
        for (index, PlacedFilter { parent, filter }) in wanted.iter().enumerate() {
            groups.entry((*parent, filter.chain, filter.prio)).or_default().wanted.push((index, filter));
        }
        for (parent, entries) in present {
            for entry in entries {
                let group = groups.entry((*parent, entry.chain, entry.prio)).or_default();
                group.whole = group.whole.or(Some(entry));
                if !entry.is_only_a_place() {
                    group.present.push(entry);
                }
            }
        }
        // Tables are known by their names in the whole qdisc: before one comes at another place it must have gone at this one.
        let tables: HashMap<(u16, u32), Place> = wanted
            .iter()
            .filter(|placed| placed.filter.is_table())
            .map(|PlacedFilter { parent, filter }| {
                ((parent.major(), filter.handle), (*parent, filter.chain, filter.prio))
            })
            .collect();
        let mut steps = Self { before: Vec::new(), changes: Vec::new(), after: Vec::new(), late: Vec::new() };
        let mut fates: Vec<Fate> = vec![Fate::Stay; wanted.len()];
        for ((parent, chain, prio), mut group) in groups {
            let delete = |name: FilterName| Request::DeleteFilter { device, parent, name: Box::new(name) };
            let moves = group.present.iter().any(|entry| {
                let place = tables.get(&(parent.major(), entry.handle));
                place.is_some_and(|place| *place != (parent, chain, prio))
                    && entry.filter.as_ref().is_some_and(Filter::is_table)
            });
            if group.wanted.is_empty() && !moves {
                let requests = delete_prio(device, parent, (chain, prio), &group.present);
                steps.after.extend(requests.into_iter().map(|request| (request, Reason::Surplus)));
                continue;
            }
            if moves || !group.can_be_edited() {
                let requests = delete_prio(device, parent, (chain, prio), &group.present);
                steps.before.extend(requests.into_iter().map(|request| (request, Reason::Rebuilt)));
                group.present.clear();
                group.rebuilt = true;
            }
            let (present, ours) = (group.present.clone(), group.wanted.clone());
            let mut obstacles = Vec::new();
            let surplus = group.decide(&mut fates, going, &mut obstacles);
            // With its last filter the kernel removes a prio with all its tables (`u32_delete`).
            let keeps_one = ours.iter().any(|(index, filter)| {
                !filter.is_table() && matches!(fates[*index], Fate::Stay | Fate::Replace { .. })
            });
            if !present.is_empty() && !keeps_one && ours.iter().any(|(_, filter)| filter.is_table()) {
                for (index, filter) in &ours {
                    fates[*index] = Fate::Add { handle: filter.handle };
                }
                let requests = delete_prio(device, parent, (chain, prio), &present);
                steps.before.extend(requests.into_iter().map(|request| (request, Reason::Rebuilt)));
                continue;
            }
            steps.before.extend(obstacles.into_iter().map(|entry| (delete(entry.name()), Reason::Rebuilt)));
            steps.after.extend(surplus.into_iter().map(|entry| (delete(entry.name()), Reason::Surplus)));
        }
        let mut waiting: HashSet<Place> = HashSet::new();
        for ((PlacedFilter { parent, filter }, &said), fate) in wanted.iter().zip(said).zip(fates) {
            let parent = *parent;
            let numbered = |handle| {
                let mut filter = Filter { handle, ..filter.clone() };
                filter.forget_root_table();
                Box::new(filter)
            };
            // Nor may others overtake it where that would change their order.
            let place = (parent, filter.chain, filter.prio);
            let must_wait = going.contains(&filter.classid) || waiting.contains(&place);
            if must_wait && filter.is_stacked() {
                waiting.insert(place);
            }
            let fate = match fate {
                // Until then the one that is there must not hold another class.
                Fate::Replace { handle } if must_wait => {
                    Fate::Renew { old: FilterName { handle, ..filter.name() }, handle }
                }
                fate => fate,
            };
            let (request, reason) = match fate {
                Fate::Stay => continue,
                Fate::Add { handle } => {
                    (Request::AddFilter { device, parent: said, filter: numbered(handle) }, Reason::Missing)
                }
                Fate::Replace { handle } => {
                    // One that is there is known by its whole name.
                    let filter = Box::new(Filter { handle, ..*numbered(handle) });
                    (Request::ReplaceFilter { device, parent: said, filter }, Reason::Different)
                }
                Fate::Renew { old, handle } => {
                    let request = Request::DeleteFilter { device, parent, name: Box::new(old) };
                    steps.changes.push((request, Reason::Rebuilt));
                    (Request::AddFilter { device, parent: said, filter: numbered(handle) }, Reason::Different)
                }
            };
            if must_wait {
                steps.late.push((request, reason));
            } else {
                steps.changes.push((request, reason));
            }
        }
        steps
    }
}

/// Removes all filters of a prio. The hash tables of `u32` that were made by name go one by one: with the prio the kernel forgets
/// them, but their names stay taken for as long as the qdisc has other `u32` filters (`u32_destroy`).
pub(super) fn delete_prio(
    device: u32,
    parent: Handle,
    (chain, prio): (u32, u16),
    present: &[&FilterEntry],
) -> Vec<Request> {
    let delete = |name: FilterName| Request::DeleteFilter { device, parent, name: Box::new(name) };
    let filters =
        |is: fn(&Filter) -> bool| present.iter().filter(move |entry| entry.filter.as_ref().is_some_and(is));
    let mut requests = Vec::new();
    if filters(Filter::is_table).next().is_some() {
        // A table cannot go while a filter leads to it.
        requests.extend(filters(Filter::leads_to_a_table).map(|entry| delete(entry.name())));
        requests.extend(filters(Filter::is_table).map(|entry| delete(entry.name())));
    }
    requests.push(delete(FilterName { chain, prio, ..FilterName::default() }));
    requests
}

impl<'a> Group<'a> {
    /// A prio has one classifier and one protocol, and a hash table its number of buckets, for as long as it is there. Some classifiers
    /// are stricter still.
    fn can_be_edited(&self) -> bool {
        let Some((_, first)) = self.wanted.first() else { return true };
        let same_prio = self
            .whole
            .is_none_or(|prio| prio.kind == first.classifier.kind() && prio.protocol == first.protocol)
            && self.present.iter().all(|entry| entry.filter.is_some());
        let tables: HashMap<u32, &Filter> = self
            .wanted
            .iter()
            .filter(|(_, filter)| filter.is_table())
            .map(|(_, filter)| (filter.handle, *filter))
            .collect();
        let same_tables = self.present.iter().filter_map(|entry| entry.filter.as_ref()).all(|filter| {
            !filter.is_table() || tables.get(&filter.handle).is_none_or(|wanted| wanted.meets(filter))
        });
        // What keeps one out is the same in all that are there.
        let present = self.present.first().and_then(|entry| entry.filter.as_ref());
        let kept_out = present
            .is_some_and(|present| self.wanted.iter().any(|(_, filter)| filter.is_kept_out_by(present)));
        same_prio && same_tables && !kept_out
    }

    /// Decides about each wanted filter, and gives those that are surplus, hash tables last.
    fn decide(
        mut self,
        fates: &mut [Fate],
        going: &BTreeSet<Handle>,
        obstacles: &mut Vec<&'a FilterEntry>,
    ) -> Vec<&'a FilterEntry> {
        let address = |filter: &Filter| (filter.is_table(), filter.bucket(), filter.number());
        let mut by_address: HashMap<_, &FilterEntry> =
            self.present.iter().filter_map(|entry| Some((address(entry.filter.as_ref()?), *entry))).collect();
        // Those that only make the prio.
        let whole = self.whole.filter(|_| !self.rebuilt);
        self.wanted.retain(|(index, filter)| {
            if filter.says_nothing() {
                fates[*index] = if whole.is_some() { Fate::Stay } else { Fate::Add { handle: 0 } };
            }
            !filter.says_nothing()
        });
        // Those with a handle of their own.
        self.wanted.retain(|(index, filter)| {
            if filter.handle == 0 {
                return true;
            }
            fates[*index] = match by_address.remove(&address(filter)) {
                None => Fate::Add { handle: filter.handle },
                Some(entry) => in_place_of(entry, filter),
            };
            false
        });
        let rest: HashSet<u32> = by_address.values().map(|entry| entry.handle).collect();
        self.present.retain(|entry| rest.contains(&entry.handle));
        let mut surplus = Vec::new();
        let mut buckets: BTreeMap<u32, Group<'a>> = BTreeMap::new();
        for wanted in self.wanted {
            buckets.entry(wanted.1.bucket()).or_default().wanted.push(wanted);
        }
        for entry in self.present {
            if entry.filter.as_ref().is_some_and(Filter::is_table) {
                surplus.push(entry);
                continue;
            }
            let bucket = entry.filter.as_ref().map_or(0, Filter::bucket);
            buckets.entry(bucket).or_default().present.push(entry);
        }
        for bucket in buckets.into_values() {
            surplus.extend(bucket.align(fates, going, obstacles));
        }
        surplus.sort_by_key(|entry| entry.filter.as_ref().is_some_and(Filter::is_table));
        surplus
    }

    /// Finds for each wanted filter the one that is to be it, so that as many as can be stay and the order is that of the tree.
    fn align(
        self,
        fates: &mut [Fate],
        going: &BTreeSet<Handle>,
        obstacles: &mut Vec<&'a FilterEntry>,
    ) -> Vec<&'a FilterEntry> {
        let Self { mut wanted, present, .. } = self;
        if wanted.iter().any(|(_, filter)| filter.is_stacked()) {
            return stack(&wanted, present, fates, going);
        }
        if !wanted.iter().any(|(_, filter)| filter.is_ordered()) {
            return pair(&wanted, present, fates);
        }
        // When the upper numbers are used up the kernel takes those from 1 on, which are asked before all others.
        let beyond = wanted.len().saturating_sub(UPPER_NUMBERS);
        wanted.rotate_right(beyond);
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut name = |filter: Option<&Filter>| {
            let next = names.len();
            filter.map_or(usize::MAX, |filter| *names.entry(filter.content()).or_insert(next))
        };
        let ours: Vec<usize> = wanted.iter().map(|(_, filter)| name(Some(filter))).collect();
        let theirs: Vec<usize> = present.iter().map(|entry| name(entry.filter.as_ref())).collect();
        let mut surplus = Vec::new();
        // The numbers that newcomers may take: between those of their neighbours.
        let mut numbered = Vec::new();
        for operation in capture_diff_slices(Algorithm::Myers, &theirs, &ours) {
            match operation {
                DiffOp::Equal { old_index, new_index, len } => {
                    for offset in 0..len {
                        fates[wanted[new_index + offset].0] = Fate::Stay;
                        numbered.push(Some(present[old_index + offset].handle));
                    }
                }
                DiffOp::Delete { old_index, old_len, .. } => {
                    surplus.extend_from_slice(&present[old_index..old_index + old_len]);
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    for (index, _) in &wanted[new_index..new_index + new_len] {
                        fates[*index] = Fate::Add { handle: 0 };
                        numbered.push(None);
                    }
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    let (old, new) =
                        (&present[old_index..old_index + old_len], &wanted[new_index..new_index + new_len]);
                    for (place, (index, filter)) in new.iter().enumerate() {
                        let predecessor = old.get(place);
                        fates[*index] =
                            predecessor.map_or(Fate::Add { handle: 0 }, |entry| in_place_of(entry, filter));
                        numbered.push(predecessor.map(|entry| entry.handle));
                    }
                    surplus.extend_from_slice(old.get(new_len..).unwrap_or_default());
                }
            }
        }
        if present.is_empty() {
            // The kernel numbers them in the order in which they come, unless some must wait.
            if wanted.iter().any(|(_, filter)| going.contains(&filter.classid)) {
                let lower = (1..).take(beyond);
                for (handle, (index, _)) in lower.chain(FIRST_NUMBER..).zip(&wanted) {
                    fates[*index] = Fate::Add { handle };
                }
            }
            return surplus;
        }
        if let Some(handles) = number(&numbered) {
            for ((index, _), handle) in wanted.iter().zip(handles) {
                if let Fate::Add { handle: chosen } = &mut fates[*index] {
                    *chosen = handle;
                }
            }
            return surplus;
        }
        // No room between two that stay: all are made anew, and what is there goes first.
        for (index, _) in &wanted {
            fates[*index] = Fate::Add { handle: 0 };
        }
        obstacles.extend(present);
        Vec::new()
    }
}

/// The wanted filter is to have the place and the handle of the one that is there.
fn in_place_of(entry: &FilterEntry, wanted: &Filter) -> Fate {
    let handle = entry.handle;
    match &entry.filter {
        Some(filter) if wanted.meets(filter) => Fate::Stay,
        Some(filter) if wanted.takes_same_packets(filter) => Fate::Replace { handle },
        _ => Fate::Renew { old: entry.name(), handle },
    }
}

/// Where the last that came is asked first: what differs from some point on is made anew.
fn stack<'a>(
    wanted: &[(usize, &Filter)],
    present: Vec<&'a FilterEntry>,
    fates: &mut [Fate],
    going: &BTreeSet<Handle>,
) -> Vec<&'a FilterEntry> {
    let mut oldest_first = present.into_iter().rev().peekable();
    let mut differs = false;
    for (index, filter) in wanted {
        let in_place =
            oldest_first.peek().map(|entry| in_place_of(entry, filter)).filter(|fate| match fate {
                Fate::Stay => true,
                Fate::Replace { .. } => !going.contains(&filter.classid),
                Fate::Add { .. } | Fate::Renew { .. } => false,
            });
        differs |= in_place.is_none();
        fates[*index] = in_place.filter(|_| !differs).unwrap_or(Fate::Add { handle: 0 });
        if !differs {
            oldest_first.next();
        }
    }
    oldest_first.collect()
}

/// Where the order does not count: first those that are the same, then those that take the same packets and do something else with
/// them.
fn pair<'a>(
    wanted: &[(usize, &Filter)],
    mut present: Vec<&'a FilterEntry>,
    fates: &mut [Fate],
) -> Vec<&'a FilterEntry> {
    let mut rest = Vec::new();
    let mut by_content: HashMap<String, Vec<&FilterEntry>> = HashMap::new();
    for entry in &present {
        by_content
            .entry(entry.filter.as_ref().map(Filter::content).unwrap_or_default())
            .or_default()
            .push(entry);
    }
    let mut taken = HashSet::new();
    for (index, filter) in wanted {
        match by_content.get_mut(&filter.content()).and_then(Vec::pop) {
            Some(entry) => {
                fates[*index] = Fate::Stay;
                taken.insert(entry.handle);
            }
            None => rest.push((*index, *filter)),
        }
    }
    present.retain(|entry| !taken.contains(&entry.handle));
    for (index, filter) in rest {
        let same = |entry: &&FilterEntry| {
            entry
                .filter
                .as_ref()
                .is_some_and(|present| filter.meets(present) || filter.takes_same_packets(present))
        };
        fates[index] = match present.iter().position(same) {
            Some(position) => in_place_of(present.remove(position), filter),
            None => Fate::Add { handle: 0 },
        };
    }
    present
}

/// The number that the kernel gives the first filter of a bucket (`gen_new_kid`), and how many there are from there on.
const FIRST_NUMBER: u32 = 0x800;
const UPPER_NUMBERS: usize = 0x800;

/// Numbers for those that have none, so that all ascend; `None`: there is no room. The last twelve bits count.
fn number(handles: &[Option<u32>]) -> Option<Vec<u32>> {
    const LAST: u32 = 0xFFF;
    let bucket = handles.iter().flatten().next()? & !LAST;
    let mut numbers = Vec::with_capacity(handles.len());
    let mut next = 1;
    for (index, handle) in handles.iter().enumerate() {
        let handle = match handle {
            Some(handle) => handle & LAST,
            // Before the first that stays there is room from 1 on; behind it one after the other.
            None if numbers.is_empty() => {
                let newcomers = handles.iter().take_while(|handle| handle.is_none()).count();
                let first =
                    handles.get(newcomers).copied().flatten().map_or(FIRST_NUMBER, |handle| handle & LAST);
                first.checked_sub(u32::try_from(newcomers).ok()?)?
            }
            None => next,
        };
        if handle < next || handle > LAST {
            return None;
        }
        let limit = handles[index + 1..].iter().flatten().next().map_or(LAST + 1, |handle| handle & LAST);
        if handles[index].is_none() && handle >= limit {
            return None;
        }
        numbers.push(bucket | handle);
        next = handle + 1;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_get_numbers_between_their_neighbours() {
        let some = |handle| Some(0x8000_0000_u32 | handle);
        assert_eq!(number(&[some(0x800), None, None]).unwrap(), [0x8000_0800, 0x8000_0801, 0x8000_0802]);
        assert_eq!(
            number(&[some(0x800), None, some(0x805)]).unwrap(),
            [0x8000_0800, 0x8000_0801, 0x8000_0805]
        );
        assert_eq!(number(&[None, some(0x800)]).unwrap(), [0x8000_07FF, 0x8000_0800]);
        assert_eq!(number(&[some(0x800), None, some(0x801)]), None);
        assert_eq!(number(&[some(0xFFF), None]), None);
        assert_eq!(number(&[None, some(1)]), None);
    }
}
