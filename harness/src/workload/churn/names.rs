//! The names by which filters are deleted one by one.
//!
//! A file seldom numbers its filters: the kernel does, and tells nobody. So each filter that comes and goes is numbered here, as the
//! kernel would number it when the tree is built: filters are then asked in the file's order, and one that comes back has its old place.
//! (But `bpf` asks what came last first.)

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, HashSet};

use tc_adapter::filter::U32;
use tc_adapter::{Classifier, Filter, FilterName, Handle, Protocol};

/// Bits of a `u32` handle that tell the nodes of a bucket apart (`TC_U32_NODE`). 0 is the bucket.
const NODE: u32 = 0xFFF;
/// The first number that the kernel gives to a node (`gen_new_kid` in `net/sched/cls_u32.c`), before it goes on from 1.
const FIRST_NODE: u32 = 0x800;
/// The first name that the kernel gives to a hash table: of the first prio's root (`u32_init`).
const FIRST_TABLE: u32 = 0x800;
/// So many root tables have names of their own in a qdisc: 800, and 801 to ffe (`gen_new_htid`).
const MOST_TABLES: u32 = 0x7FF;
/// Bits of a handle below a table's name.
const TABLE_SHIFT: u32 = 20;

/// Why a filter could not come and go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It hangs on a class that comes and goes.
    #[error(
        "the filter of prio {prio} on {parent} hangs on a leaf, where HTB never asks it (htb_classify): leave it out, or hang it on {qdisc}",
        qdisc = .parent.of_qdisc()
    )]
    OnLeaf {
        /// The class.
        parent: Handle,
        /// Its priority.
        prio: u16,
    },
    /// The kernel takes one kind and one protocol in a prio.
    #[error(
        "the filters of prio {prio} on {parent} are not all of one kind and one protocol, as the kernel wants it: give each a prio of its own"
    )]
    Mixed {
        /// What they hang on.
        parent: Handle,
        /// Their priority.
        prio: u16,
    },
    /// Two filters with one number.
    #[error(
        "two filters of prio {prio} on {parent} have, or get, the number {number:x}: give one of them another handle"
    )]
    Twice {
        /// What they hang on.
        parent: Handle,
        /// Their priority.
        prio: u16,
        /// The number in their bucket, or their handle.
        number: u32,
    },
    /// The numbers of a bucket are 12 bits.
    #[error(
        "more than 4095 u32 filters of prio {prio} on {parent} are in one bucket, which has no more numbers: spread them over prios, or over \
         the buckets of a hash table (ht)"
    )]
    Full {
        /// What they hang on.
        parent: Handle,
        /// Their priority.
        prio: u16,
    },
    /// The names of root tables are 11 bits.
    #[error(
        "{qdisc} has more than {MOST_TABLES} prios of u32 filters, whose tables then have no names: put more of them in one prio"
    )]
    Tables {
        /// The qdisc.
        qdisc: Handle,
    },
    /// A hash table in the range in which the kernel names them.
    #[error(
        "the u32 hash table of prio {prio} on {parent} has a name that the kernel may give to another: say a handle from 1: to 7ff:, and \
         the same after ht"
    )]
    TableName {
        /// What it hangs on.
        parent: Handle,
        /// Its priority.
        prio: u16,
    },
    /// With its last filter the kernel removes a prio with all its tables (`u32_delete`).
    #[error(
        "all filters of prio {prio} on {parent} lead to subscribers, and when none of them stands the kernel removes its hash tables: add the \
         filter that hands packets on to these (link)"
    )]
    LonelyTables {
        /// What they hang on.
        parent: Handle,
        /// Their priority.
        prio: u16,
    },
    /// Only the whole prio could be deleted.
    #[error(
        "{kind} filters can only be deleted by their prio, and that of prio {prio} on {parent} is not alone in it: give each a prio of its own"
    )]
    Shared {
        /// What they hang on.
        parent: Handle,
        /// Their priority.
        prio: u16,
        /// The classifier.
        kind: &'static str,
    },
}

/// Where the kernel keeps filters together (`struct tcf_proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    parent: Handle,
    chain: u32,
    prio: u16,
}

/// The filters of a place so far.
#[derive(Debug)]
struct Prio {
    kind: &'static str,
    protocol: Protocol,
    filters: usize,
    /// Of `u32`: the name of the root table.
    root: u32,
    has_tables: bool,
    /// Nodes of `u32` that come and go, and those that stay.
    going: usize,
    staying: usize,
    /// Numbers that are in use, by bucket; 0: that of the prio, and of other classifiers.
    numbers: BTreeMap<u32, Numbers>,
    /// A filter that only goes with the whole prio.
    whole: bool,
}

/// The filters of one device's qdiscs that stay, in the order in which they are added.
#[derive(Debug, Default)]
pub(super) struct Names {
    prios: BTreeMap<Place, Prio>,
    /// Root tables of `u32` so far, by the major of their qdisc: the kernel keeps one list for it (`tc_u_common`).
    tables: BTreeMap<u16, u32>,
    /// The qdiscs with filters that come and go, by their majors.
    led: BTreeSet<u16>,
    /// What would stand in the way of such filters, where there may be none.
    obstacles: BTreeMap<u16, Obstacle>,
}

impl Names {
    /// Takes the next filter, and numbers it if it `leads` to a subscriber: then its name is what it is deleted by.
    pub(super) fn take(
        &mut self,
        parent: Handle,
        filter: &mut Filter,
        leads: bool,
    ) -> Result<Option<FilterName>, Obstacle> {
        if leads {
            self.led.insert(parent.major());
        }
        match self.number(parent, filter, leads) {
            Err(obstacle) if !leads => {
                self.obstacles.entry(parent.major()).or_insert(obstacle);
                Ok(None)
            }
            name => name,
        }
    }

    fn number(
        &mut self,
        parent: Handle,
        filter: &mut Filter,
        leads: bool,
    ) -> Result<Option<FilterName>, Obstacle> {
        let place = Place { parent, chain: filter.chain, prio: filter.prio };
        let (prio, kind) = (filter.prio, filter.classifier.kind());
        let known = match self.prios.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let mut root = 0;
                if kind == "u32" {
                    let tables = self.tables.entry(parent.major()).or_default();
                    if *tables >= MOST_TABLES {
                        return Err(Obstacle::Tables { qdisc: parent.of_qdisc() });
                    }
                    root = FIRST_TABLE + *tables;
                    *tables += 1;
                }
                new.insert(Prio {
                    kind,
                    protocol: filter.protocol,
                    filters: 0,
                    root,
                    has_tables: false,
                    going: 0,
                    staying: 0,
                    numbers: BTreeMap::new(),
                    whole: false,
                })
            }
        };
        if (known.kind, known.protocol) != (kind, filter.protocol) {
            return Err(Obstacle::Mixed { parent, prio });
        }
        known.filters += 1;
        let handle = match &filter.classifier {
            Classifier::U32(u32) if u32.is_table() => {
                known.has_tables = true;
                let named = (1..FIRST_TABLE).contains(&(filter.handle >> TABLE_SHIFT));
                return if named { Ok(None) } else { Err(Obstacle::TableName { parent, prio }) };
            }
            // A line that only makes the prio: `tc filter add … u32`.
            Classifier::U32(u32) if *u32 == U32::default() && !leads => return Ok(None),
            Classifier::U32(u32) => {
                *(if leads { &mut known.going } else { &mut known.staying }) += 1;
                let bucket = u32.ht.map_or(0, |ht| ht & !NODE);
                if bucket >> TABLE_SHIFT >= FIRST_TABLE {
                    return Err(Obstacle::TableName { parent, prio });
                }
                let node = known.node(bucket, filter.handle & NODE, place)?;
                let bucket_handle = if bucket == 0 { known.root << TABLE_SHIFT } else { bucket };
                if leads {
                    // In the root table, whose name is not known before it is there, the number alone.
                    filter.handle = bucket | node;
                }
                bucket_handle | node
            }
            Classifier::Flower(_) | Classifier::Bpf(_) => {
                let handle = known.number(filter.handle, place)?;
                if leads {
                    filter.handle = handle;
                }
                handle
            }
            // The mark.
            Classifier::Fw(_) if filter.handle != 0 => known.number(filter.handle, place)?,
            // `matchall`, which has no other way (`mall_delete`).
            _ => {
                known.whole |= leads;
                0
            }
        };
        if known.whole && known.filters > 1 {
            return Err(Obstacle::Shared { parent, prio, kind });
        }
        Ok(leads.then(|| FilterName { handle, ..filter.name() }))
    }

    /// What can only be told when all filters are there.
    pub(super) fn check(&self) -> Result<(), Obstacle> {
        if let Some(obstacle) = self.led.iter().find_map(|major| self.obstacles.get(major)) {
            return Err(obstacle.clone());
        }
        for (Place { parent, prio, .. }, known) in &self.prios {
            let all_go = known.going > 0 && known.staying == 0;
            // With another prio of u32 in the qdisc, none of them goes by itself.
            if known.has_tables && all_go && self.tables.get(&parent.major()) == Some(&1) {
                return Err(Obstacle::LonelyTables { parent: *parent, prio: *prio });
            }
        }
        Ok(())
    }
}

impl Prio {
    /// The number of a node of `u32`: the one that is asked for, or (0) the one that the kernel would give it (`gen_new_kid`).
    fn node(&mut self, bucket: u32, asked: u32, place: Place) -> Result<u32, Obstacle> {
        let numbers = self.numbers.entry(bucket).or_default();
        let number = if asked == 0 { numbers.free_node(NODE + 1) } else { Some(asked) };
        numbers.take(number, place)
    }

    /// The handle of a filter whose classifier numbers from 1 on (`fl_change`, `cls_bpf_change`): the one that is asked for, or (0) the
    /// lowest that is free.
    fn number(&mut self, asked: u32, place: Place) -> Result<u32, Obstacle> {
        let numbers = self.numbers.entry(0).or_default();
        let number = if asked == 0 { numbers.free() } else { Some(asked) };
        numbers.take(number, place)
    }
}

/// Numbers that are in use, none of which is ever given back here.
#[derive(Debug, Default)]
struct Numbers {
    used: HashSet<u32>,
    /// Where the search for a free one begins: no lower one is, from `FIRST_NODE` on and from 1 on.
    upper: u32,
    lower: u32,
}

impl Numbers {
    /// The lowest that is free from `FIRST_NODE` on, or if there is none below `end`, from 1 on.
    fn free_node(&mut self, end: u32) -> Option<u32> {
        self.upper = self.free_from(self.upper.max(FIRST_NODE))?;
        if self.upper < end { Some(self.upper) } else { self.free().filter(|number| *number < end) }
    }

    /// The lowest that is free from 1 on.
    fn free(&mut self) -> Option<u32> {
        self.lower = self.free_from(self.lower.max(1))?;
        Some(self.lower)
    }

    fn take(&mut self, number: Option<u32>, Place { parent, prio, .. }: Place) -> Result<u32, Obstacle> {
        let number = number.ok_or(Obstacle::Full { parent, prio })?;
        if self.used.insert(number) { Ok(number) } else { Err(Obstacle::Twice { parent, prio, number }) }
    }

    fn free_from(&self, least: u32) -> Option<u32> {
        (least..=u32::MAX).find(|number| !self.used.contains(number))
    }
}
