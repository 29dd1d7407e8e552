//! Traffic control as it is to be: whole trees of qdiscs, classes and filters, brought about by as few changes as it takes.
//!
//! A [`Tree`] is read from a `tc -batch` file ([`Tree::from_batch`]), from TOML or JSON (it implements serde's traits), or made by
//! hand. [`Tree::plan`] compares it with what the kernel has ([`State`]) and says what to do; [`apply`] does it.
//!
//! ```no_run
//! use tc_adapter::Connection;
//! use tc_adapter::tree::{Rounding, Tree, apply};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tree = Tree::from_batch(&std::fs::read_to_string("shaper.tc")?, Rounding::Exact)?;
//! let done = apply(&mut Connection::connect()?, &tree)?;
//! println!("{} changes", done.steps);
//! # Ok(()) }
//! ```
//!
//! In TOML, a table a device:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tree: tc_adapter::tree::Tree = toml::from_str(
//!     r#"
//!     [[eth0.qdisc]]
//!     parent = "root"
//!     handle = "1:"
//!     kind = "htb"
//!     default = "10"
//!
//!     [[eth0.class]]
//!     parent = "1:"
//!     classid = "1:10"
//!     rate = "10mbit"
//!     ceil = "20mbit"
//!
//!     [[eth0.qdisc]]
//!     parent = "1:10"
//!     kind = "pfifo"
//!     limit = 100
//!
//!     [[eth0.filter]]
//!     parent = "1:"
//!     prio = 1
//!     handle = 6
//!     kind = "fw"
//!     classid = "1:10"
//!     "#,
//! )?;
//! tree.check()?;
//! assert_eq!(tree.to_batch().lines().count(), 4);
//! # Ok(()) }
//! ```
//!
//! # What a tree is the whole of
//!
//! A device has two places for qdiscs, its *hooks*: the root, and `ingress` (which `clsact` shares). Where the tree says something
//! about a hook, it says all: what else is found there is removed. A hook of which it says nothing is left as it is, and so is
//! every other device. To empty a hook, say so: `qdisc del dev eth0 root` in a `tc -batch` file, `clear = ["root"]` in TOML.

mod apply;
mod batch;
mod check;
mod filters;
mod form;
mod plan;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{self, Write as _};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::command::{Command, Object, Verb};
use crate::filter::Filter;
use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::qdisc::Qdisc;

pub use crate::htb::Rounding;
pub use apply::{Applied, ApplyError, Standing, Warning, apply, apply_unless};
pub use batch::BatchError;
pub use check::TreeError;
pub use plan::{Plan, Reason, Step};
pub use state::State;

/// What each of some devices is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tree {
    /// By the device's name.
    #[serde(deserialize_with = "form::each_device_once")]
    pub devices: BTreeMap<String, DeviceTree>,
}

/// What one device is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "form::Device", into = "form::Device")]
pub struct DeviceTree {
    /// The qdiscs, by what they hang on: [`Handle::ROOT`], [`Handle::INGRESS`] or a class. They are added in this order, but each
    /// after what it hangs on.
    pub qdiscs: IndexMap<Handle, PlacedQdisc>,
    /// The HTB classes, by their names. They are added in this order, but parents first.
    pub classes: IndexMap<Handle, PlacedClass>,
    /// The filters; of those that hang on one qdisc and have one prio, earlier ones are asked first.
    pub filters: Vec<PlacedFilter>,
    /// Hooks that are to be empty if no qdisc is given for them.
    pub cleared: BTreeSet<Hook>,
}

/// A qdisc at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedQdisc {
    /// Its name; [`Handle::UNSPEC`]: whichever the kernel gives it.
    pub handle: Handle,
    /// Kind and settings.
    pub qdisc: Qdisc,
}

/// A class at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedClass {
    /// A class, or the qdisc.
    pub parent: Handle,
    /// Its settings.
    pub class: HtbClass,
}

/// A filter at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFilter {
    /// The qdisc or class that it hangs on.
    pub parent: Handle,
    /// The filter. Its prio is never 0.
    #[serde(flatten)]
    pub filter: Filter,
}

/// Where qdiscs begin on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Packets on their way out, through the root qdisc.
    Root,
    /// Packets on their way in, through `ingress`; with `clsact` also some on their way out.
    Ingress,
}

impl Hook {
    /// The parent of the qdisc at this hook.
    pub const fn parent(self) -> Handle {
        match self {
            Self::Root => Handle::ROOT,
            Self::Ingress => Handle::INGRESS,
        }
    }

    /// The hook that an object of this major belongs to.
    const fn of(handle: Handle) -> Self {
        if handle.major() == 0xFFFF && handle.raw() != Handle::ROOT.raw() {
            Self::Ingress
        } else {
            Self::Root
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Ingress => "ingress",
        })
    }
}

impl PlacedClass {
    /// The class that it hangs under; `None`: directly under its qdisc.
    fn parent_class(&self) -> Option<Handle> {
        parent_class(self.parent)
    }
}

/// The kernel reports a class directly under its qdisc as a child of `root`.
fn parent_class(parent: Handle) -> Option<Handle> {
    Some(parent).filter(|parent| parent.minor() != 0 && *parent != Handle::ROOT)
}

/// Whether a qdisc with this parent is at a hook, and not below another one.
fn is_hook(parent: Handle) -> bool {
    parent == Handle::ROOT || parent == Handle::INGRESS
}

/// The majors of a qdisc's classes and of those of all qdiscs below it, out of the parents and handles of `qdiscs`. One without a
/// name has no classes of its own.
fn majors_below(qdisc: Handle, qdiscs: &(impl Iterator<Item = (Handle, Handle)> + Clone)) -> BTreeSet<u16> {
    let mut majors = BTreeSet::new();
    let mut next = vec![qdisc.major()];
    while let Some(major) = next.pop() {
        if major != 0 && majors.insert(major) {
            let below = qdiscs.clone().filter(|(parent, _)| parent.major() == major && !is_hook(*parent));
            next.extend(below.map(|(_, handle)| handle.major()));
        }
    }
    majors
}

impl DeviceTree {
    /// The hooks that it is the whole of.
    pub fn hooks(&self) -> BTreeSet<Hook> {
        let described =
            [Hook::Root, Hook::Ingress].into_iter().filter(|hook| self.qdiscs.contains_key(&hook.parent()));
        described.chain(self.cleared.iter().copied()).collect()
    }

    /// The classes in their order, but each after the one that it hangs under.
    fn classes_from_the_top(&self) -> Vec<Handle> {
        let mut order = Vec::with_capacity(self.classes.len());
        let mut done = HashSet::new();
        for &classid in self.classes.keys() {
            let mut above = vec![classid];
            // Up to one that has its place already. In a circle, which `check` refuses, there is none.
            while let Some(parent) = above.last().and_then(|last| self.classes.get(last)?.parent_class()) {
                if done.contains(&parent) || !self.classes.contains_key(&parent) || above.contains(&parent) {
                    break;
                }
                above.push(parent);
            }
            order.extend(above.into_iter().rev().filter(|classid| done.insert(*classid)));
        }
        order
    }

    /// The qdiscs, each after the one whose class it hangs on.
    fn qdiscs_from_the_top(&self) -> Vec<Handle> {
        let mut order: Vec<Handle> = [Handle::ROOT, Handle::INGRESS]
            .into_iter()
            .filter(|parent| self.qdiscs.contains_key(parent))
            .collect();
        let mut below: BTreeMap<u16, Vec<Handle>> = BTreeMap::new();
        let hooks = order.len();
        for parent in self.qdiscs.keys().filter(|parent| !order[..hooks].contains(parent)) {
            below.entry(parent.major()).or_default().push(*parent);
        }
        let mut next = 0;
        while let Some(parent) = order.get(next).copied() {
            order.extend(below.remove(&self.qdiscs[&parent].handle.major()).unwrap_or_default());
            next += 1;
        }
        order
    }
}

impl Tree {
    /// The commands that build it where there is nothing, as `tc -batch` reads them.
    pub fn to_batch(&self) -> String {
        let mut text = String::new();
        for (name, device) in &self.devices {
            for hook in device.cleared.iter().filter(|hook| !device.qdiscs.contains_key(&hook.parent())) {
                let _ = writeln!(text, "qdisc del dev {name} {hook}");
            }
            for object in device.objects() {
                let _ = writeln!(text, "{}", Command { verb: Verb::Add, device: name.clone(), object });
            }
        }
        text
    }
}

impl DeviceTree {
    /// Everything, in an order in which it can be added: a qdisc, its classes, what hangs on these; filters last.
    fn objects(&self) -> Vec<Object> {
        let mut classes: BTreeMap<u16, Vec<Handle>> = BTreeMap::new();
        for classid in self.classes_from_the_top() {
            classes.entry(classid.major()).or_default().push(classid);
        }
        let mut objects = Vec::new();
        for parent in self.qdiscs_from_the_top() {
            let PlacedQdisc { handle, qdisc } = &self.qdiscs[&parent];
            objects.push(Object::Qdisc { parent, handle: *handle, qdisc: Some(qdisc.clone()) });
            for classid in classes.remove(&handle.major()).unwrap_or_default() {
                let PlacedClass { parent, class } = &self.classes[&classid];
                objects.push(Object::Class { parent: *parent, classid, class: Some(class.clone()) });
            }
        }
        objects.extend(self.filters.iter().map(|PlacedFilter { parent, filter }| Object::Filter {
            parent: *parent,
            name: filter.name(),
            filter: Some(Box::new(filter.clone())),
        }));
        objects
    }
}
