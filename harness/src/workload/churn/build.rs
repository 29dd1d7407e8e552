//! The requests that build a tree on a run's own devices.

use std::collections::BTreeMap;

use tc_adapter::tree::{State, Tree};
use tc_adapter::{Classifier, Error, Request};

use super::Unusable;
use crate::isolation::device_name;

/// What builds `tree` on new devices, in this order. The first device of the tree, by name, is the first of `devices` (interface
/// indices), and so on. Where an action or a filter names a device of the tree, the one is meant that it has become.
///
/// # Errors
///
/// [`Unusable::Stranger`] where one names another device; [`Unusable::Unplanned`] where there are fewer devices than the tree has.
pub fn requests(tree: &Tree, devices: &[u32]) -> Result<Vec<Request>, Unusable> {
    if devices.len() < tree.devices.len() {
        return Err(Unusable::Unplanned(format!(
            "it describes {} devices, and there are {}",
            tree.devices.len(),
            devices.len()
        )));
    }
    let numbers: BTreeMap<&str, usize> = tree.devices.keys().map(String::as_str).zip(0..).collect();
    let mut renamed = tree.clone();
    for filter in renamed.devices.values_mut().flat_map(|device| &mut device.filters) {
        // The kernel looks this one up by its name itself (tcf_change_indev).
        let came_in_by = match &mut filter.filter.classifier {
            Classifier::U32(u32) => u32.indev.as_mut(),
            Classifier::Flower(flower) => flower.indev.as_mut(),
            _ => None,
        };
        if let Some(name) = came_in_by {
            let number = numbers.get(name.as_str()).ok_or_else(|| Unusable::Stranger(name.clone()))?;
            *name = device_name(*number);
        }
    }
    let index_of = |name: &str| {
        let known = numbers.get(name).and_then(|number| devices.get(*number));
        known.copied().ok_or_else(|| Error::NoSuchDevice { device: name.to_owned() })
    };
    let new = State::of_new_devices(tree.devices.keys().cloned().zip(devices.iter().copied()));
    let plan = renamed.plan(&new, index_of).map_err(|error| match error {
        Error::NoSuchDevice { device } => Unusable::Stranger(device),
        error => Unusable::Unplanned(error.to_string()),
    })?;
    Ok(plan.steps.into_iter().map(|step| step.request).collect())
}
