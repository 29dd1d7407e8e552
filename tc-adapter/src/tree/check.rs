//! Whether a tree can be: before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::batch::{Kind, ObjectId};
use super::{DeviceTree, Hook, PlacedClass, Tree, is_hook};
use crate::handle::Handle;
use crate::qdisc::Qdisc;

/// Classes below each other in HTB (`TC_HTB_MAXDEPTH`).
const LEVELS: usize = 8;

/// What makes a tree impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {problem}")]
pub struct TreeError {
    /// The device's name.
    pub device: String,
    pub(super) object: ObjectId,
    pub(super) problem: String,
}

impl Tree {
    /// Checks that everything hangs on something that is in the tree, and each object's settings.
    pub fn check(&self) -> Result<(), TreeError> {
        for (name, device) in &self.devices {
            if !is_device_name(name) {
                let problem =
                    "this is no name of a device: 1 to 15 bytes, without blanks and slashes".to_owned();
                return Err(TreeError { device: name.clone(), object: (Kind::Qdisc, Handle::ROOT), problem });
            }
            device.check().map_err(|(object, problem)| TreeError {
                device: name.clone(),
                object,
                problem,
            })?;
        }
        Ok(())
    }
}

/// As the kernel has it (`dev_valid_name`).
fn is_device_name(name: &str) -> bool {
    (1..=15).contains(&name.len()) && !name.contains(|c: char| c.is_whitespace() || c == '/')
}

/// Qdiscs by their handles.
type Kinds<'a> = BTreeMap<Handle, &'a Qdisc>;

type Problem = (ObjectId, String);

impl DeviceTree {
    fn check(&self) -> Result<(), Problem> {
        let kinds = self.qdiscs.values().map(|placed| (placed.handle, &placed.qdisc)).collect();
        self.check_qdiscs(&kinds)?;
        self.check_classes(&kinds)?;
        self.check_filters(&kinds)
    }

    fn check_qdiscs(&self, kinds: &Kinds) -> Result<(), Problem> {
        let mut handles = BTreeMap::new();
        let inner: BTreeSet<Handle> = self.classes.values().filter_map(PlacedClass::parent_class).collect();
        for (&parent, placed) in &self.qdiscs {
            let wrong = |problem: String| {
                Err(((Kind::Qdisc, parent), format!("qdisc {}: {problem}", placed.qdisc.kind())))
            };
            if placed.handle.minor() != 0 {
                return wrong(format!(
                    "{} cannot name a qdisc: it must be like 1:, without a minor",
                    placed.handle
                ));
            }
            if let Err(invalid) = placed.qdisc.validate() {
                return wrong(invalid.to_string());
            }
            if placed.handle != Handle::UNSPEC
                && let Some(other) = handles.insert(placed.handle, parent)
            {
                return wrong(format!(
                    "the handle {} is taken by the one with the parent {other}",
                    placed.handle
                ));
            }
            if is_hook(parent) {
                continue;
            }
            match kinds.get(&parent.of_qdisc()) {
                Some(Qdisc::Htb(_)) if !self.classes.contains_key(&parent) => {
                    return wrong(format!("its parent, class {parent}, is not in the tree"));
                }
                Some(Qdisc::Htb(_)) if inner.contains(&parent) => {
                    return wrong(format!(
                        "its parent, class {parent}, has child classes, and only a leaf has a qdisc"
                    ));
                }
                // The classes of other kinds come with the qdisc.
                Some(_) if parent.minor() != 0 => {}
                _ => return wrong(format!("its parent {parent} is not in the tree")),
            }
        }
        let reached = self.qdiscs_from_the_top().len();
        match self.qdiscs.iter().find(|_| reached != self.qdiscs.len()) {
            Some((&parent, _)) => {
                Err(((Kind::Qdisc, parent), "qdiscs and classes hang on each other in a circle".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn check_classes(&self, kinds: &Kinds) -> Result<(), Problem> {
        for (&classid, placed) in &self.classes {
            let wrong =
                |problem: String| Err(((Kind::Class, classid), format!("class {classid}: {problem}")));
            if let Err(invalid) = crate::validate::check_class_at(classid, placed.parent, &placed.class) {
                return wrong(invalid.to_string());
            }
            let qdisc = classid.of_qdisc();
            if !matches!(kinds.get(&qdisc), Some(Qdisc::Htb(_))) {
                return wrong(format!("its qdisc {qdisc} is not in the tree, or is not htb"));
            }
            if placed.parent != Handle::ROOT && placed.parent.of_qdisc() != qdisc {
                return wrong(format!("its parent {} is of another qdisc", placed.parent));
            }
            // As many steps up as there may be levels: also the end of a circle.
            let mut above = placed.parent_class();
            for level in 0.. {
                let Some(parent) = above else { break };
                let Some(next) = self.classes.get(&parent) else {
                    return wrong(format!("its parent {parent} is not in the tree"));
                };
                if level + 2 > LEVELS {
                    return wrong(format!("it is deeper than {LEVELS} levels, or hangs on itself"));
                }
                above = next.parent_class();
            }
        }
        Ok(())
    }

    fn check_filters(&self, kinds: &Kinds) -> Result<(), Problem> {
        for placed in &self.filters {
            let (parent, filter) = (placed.parent, &placed.filter);
            let wrong = |problem: String| {
                Err(((Kind::Filter, parent), format!("filter on {parent} prio {}: {problem}", filter.prio)))
            };
            // The devices that actions name are looked up later.
            let mut resolved = filter.clone();
            let Ok(()) = resolved.resolve(|_| Ok::<_, Infallible>(1));
            if let Err(invalid) = resolved.validate() {
                return wrong(invalid.to_string());
            }
            let there = match Hook::of(parent) {
                Hook::Ingress => self.qdiscs.contains_key(&Handle::INGRESS),
                Hook::Root => match kinds.get(&parent.of_qdisc()) {
                    Some(Qdisc::Htb(_)) => parent.minor() == 0 || self.classes.contains_key(&parent),
                    other => other.is_some(),
                },
            };
            if !there {
                return wrong(format!("{parent} is not in the tree"));
            }
        }
        Ok(())
    }
}
