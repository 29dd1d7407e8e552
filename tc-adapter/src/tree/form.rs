//! A device's tree as TOML and JSON have it: lists, in which a thing may wrongly come twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{DeviceTree, Hook, PlacedClass, PlacedFilter, PlacedQdisc};
use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::qdisc::Qdisc;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Device {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    clear: BTreeSet<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    qdisc: Vec<QdiscAt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class: Vec<ClassAt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filter: Vec<PlacedFilter>,
}

#[derive(Serialize, Deserialize)]
struct QdiscAt {
    parent: Handle,
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    handle: Handle,
    #[serde(flatten)]
    qdisc: Qdisc,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassAt {
    parent: Handle,
    classid: Handle,
    #[serde(flatten)]
    class: HtbClass,
}

impl TryFrom<Device> for DeviceTree {
    type Error = String;

    fn try_from(device: Device) -> Result<Self, Self::Error> {
        let mut tree = Self { cleared: device.clear, ..Self::default() };
        for QdiscAt { parent, handle, qdisc } in device.qdisc {
            if tree.qdiscs.insert(parent, PlacedQdisc { handle, qdisc }).is_some() {
                return Err(format!("two qdiscs with the parent {parent}"));
            }
        }
        for ClassAt { parent, classid, class } in device.class {
            if tree.classes.insert(classid, PlacedClass { parent, class }).is_some() {
                return Err(format!("two classes {classid}"));
            }
        }
        for PlacedFilter { parent, mut filter } in device.filter {
            if filter.prio == 0 {
                filter.prio = tree.next_prio(parent, filter.chain);
            }
            tree.filters.push(PlacedFilter { parent, filter });
        }
        Ok(tree)
    }
}

impl From<DeviceTree> for Device {
    fn from(tree: DeviceTree) -> Self {
        let DeviceTree { qdiscs, classes, filters, cleared } = tree;
        let qdisc = qdiscs.into_iter();
        let class = classes.into_iter();
        Self {
            clear: cleared,
            qdisc: qdisc
                .map(|(parent, PlacedQdisc { handle, qdisc })| QdiscAt { parent, handle, qdisc })
                .collect(),
            class: class
                .map(|(classid, PlacedClass { parent, class })| ClassAt { parent, classid, class })
                .collect(),
            filter: filters,
        }
    }
}

/// Of two entries of one name JSON would keep the last, in silence.
pub(super) fn each_device_once<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, DeviceTree>, D::Error> {
    struct Devices;
    impl<'de> Visitor<'de> for Devices {
        type Value = BTreeMap<String, DeviceTree>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of devices by their names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut devices = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if devices.contains_key(&name) {
                    return Err(A::Error::custom(format!("the device {name} comes twice")));
                }
                devices.insert(name, map.next_value()?);
            }
            Ok(devices)
        }
    }
    deserializer.deserialize_map(Devices)
}
