//! What of a tree stands, and who comes and goes on it.

use std::collections::{HashMap, HashSet};

use tc_adapter::{FilterName, Handle, HtbClass, Rate, Request};

use super::Unusable;
use super::names::{Names, Obstacle};
use crate::workload::{Ask, Operation, OperationKind};

/// A tree, as the requests that build it, and those on it who come and go.
#[derive(Debug)]
pub struct Estate {
    /// All that builds it, subscribers included.
    pub setup: Vec<Request>,
    /// In the order of the devices, then of the file; at least one.
    pub subscribers: Vec<Subscriber>,
    /// HTB classes when everybody is there.
    pub population: u64,
}

/// An HTB leaf class with what hangs on it, and the filters that lead to it.
#[derive(Debug)]
pub struct Subscriber {
    /// Interface index.
    pub(super) device: u32,
    /// Its class.
    pub(super) classid: Handle,
    /// What the file says of it.
    pub(super) class: HtbClass,
    /// The ceil of the class that it is under, if it is under one.
    pub(super) most: Option<Rate>,
    /// What its filters hang on; without any, its qdisc.
    pub(super) filtered_at: Handle,
    /// What brings it: its class, and what goes with it.
    pub(super) belongings: Vec<Operation>,
    /// Its filters: how each comes and goes.
    pub(super) filters: Vec<(Operation, Operation)>,
}

/// A class or a qdisc of a device, by its device and handle.
type Key = (u32, Handle);

impl Estate {
    /// Tells those who come and go from what stands, in `requests` that build a tree where there is nothing.
    ///
    /// # Errors
    ///
    /// [`Unusable`], where nobody could come and go.
    pub fn of(mut requests: Vec<Request>) -> Result<Self, Unusable> {
        let mut inner: HashSet<Key> = HashSet::new();
        let mut ceils: HashMap<Key, Rate> = HashMap::new();
        for request in &requests {
            if let Request::AddClass { device, parent, classid, class } = request {
                inner.insert((*device, *parent));
                ceils.insert((*device, *classid), class.ceil);
            }
        }
        let population = ceils.len() as u64;
        let mut subscribers: Vec<Subscriber> = Vec::new();
        // Whose a class is that comes and goes, and whose the qdiscs are that hang on it.
        let mut classes: HashMap<Key, usize> = HashMap::new();
        let mut qdiscs: HashMap<Key, usize> = HashMap::new();
        let mut names: HashMap<u32, Names> = HashMap::new();
        for request in &mut requests {
            let at = |device: &u32, obstacle| Unusable::At { device: *device, obstacle };
            match request {
                Request::AddQdisc { device, parent, handle, .. } => {
                    let owner =
                        classes.get(&(*device, *parent)).or(qdiscs.get(&(*device, parent.of_qdisc())));
                    if let Some(&owner) = owner {
                        // One without a name has nothing below it.
                        if *handle != Handle::UNSPEC {
                            qdiscs.insert((*device, *handle), owner);
                        }
                        subscribers[owner].bring(OperationKind::QdiscCreate, request);
                    }
                }
                Request::AddClass { device, parent, classid, class } => {
                    let key = (*device, *classid);
                    if let Some(&owner) = qdiscs.get(&(*device, classid.of_qdisc())) {
                        subscribers[owner].bring(OperationKind::ClassCreate, request);
                    } else if !inner.contains(&key) {
                        classes.insert(key, subscribers.len());
                        subscribers.push(Subscriber {
                            device: *device,
                            classid: *classid,
                            class: class.clone(),
                            most: ceils.get(&(*device, *parent)).copied(),
                            filtered_at: classid.of_qdisc(),
                            belongings: vec![create(OperationKind::ClassCreate, request)],
                            filters: Vec::new(),
                        });
                    }
                }
                Request::AddFilter { device, parent, filter } => {
                    if let Some(&owner) = qdiscs.get(&(*device, parent.of_qdisc())) {
                        subscribers[owner].bring(OperationKind::FilterCreate, request);
                        continue;
                    }
                    if classes.contains_key(&(*device, *parent)) {
                        return Err(at(device, Obstacle::OnLeaf { parent: *parent, prio: filter.prio }));
                    }
                    // A filter of another qdisc does not hold a class (`htb_find` looks in its own).
                    let owner = classes
                        .get(&(*device, filter.classid))
                        .filter(|_| filter.classid.major() == parent.major());
                    let names = names.entry(*device).or_default();
                    let name = names
                        .take(*parent, filter, owner.is_some())
                        .map_err(|obstacle| at(device, obstacle))?;
                    if let Some((&owner, name)) = owner.zip(name) {
                        let leave = leave(*device, *parent, name);
                        subscribers[owner].filtered_at = *parent;
                        let join = create(OperationKind::FilterCreate, request);
                        subscribers[owner].filters.push((join, leave));
                    }
                }
                // A tree on new devices is made of these.
                _ => {}
            }
        }
        for (device, names) in &names {
            names.check().map_err(|obstacle| Unusable::At { device: *device, obstacle })?;
        }
        if subscribers.is_empty() {
            return Err(Unusable::NoSubscriber);
        }
        Ok(Self { setup: requests, subscribers, population })
    }
}

impl Subscriber {
    fn bring(&mut self, kind: OperationKind, request: &Request) {
        self.belongings.push(create(kind, request));
    }

    /// How many requests bring it.
    pub(super) fn whole(&self) -> usize {
        self.belongings.len() + self.filters.len()
    }

    /// What comes next when so many of the requests that bring it have been carried out; `None`: it is whole.
    pub(super) fn join(&self, standing: usize) -> Option<&Operation> {
        self.belongings.get(standing).or_else(|| {
            let filter = standing.checked_sub(self.belongings.len())?;
            self.filters.get(filter).map(|(join, _)| join)
        })
    }

    /// What goes next, and how many of the requests that bring it that undoes; `None`: nothing of it stands.
    pub(super) fn leave(&self, standing: usize) -> Option<(Operation, usize)> {
        let filter = standing.checked_sub(self.belongings.len() + 1);
        match filter.and_then(|filter| self.filters.get(filter)) {
            Some((_, leave)) => Some((leave.clone(), 1)),
            None if standing == 0 => None,
            None => {
                let (device, classid) = (self.device, self.classid);
                let delete = Request::DeleteClass { device, classid };
                Some((Operation::of(OperationKind::ClassDelete, delete), standing))
            }
        }
    }
}

fn create(kind: OperationKind, request: &Request) -> Operation {
    // The adapter would ask for the parent of a class before each. The parent stands: it is an inner class, or came just before.
    let ask = match request {
        Request::AddClass { .. } => Ask::Unchecked(request.clone()),
        _ => Ask::One(request.clone()),
    };
    Operation { kind, ask, expects: None }
}

fn leave(device: u32, parent: Handle, name: FilterName) -> Operation {
    let request = Request::DeleteFilter { device, parent, name: Box::new(name) };
    Operation::of(OperationKind::FilterDelete, request)
}
