//! Trees put on the canary's devices. Pure.

use std::collections::BTreeSet;

use tc_adapter::Handle;
use tc_adapter::tree::{DeviceTree, Hook, PlacedClass, Tree};

/// The tree of one device, put on another. An error says why it is none for a canary.
pub fn put_on(tree: &Tree, device: &str) -> Result<Tree, String> {
    let mut trees = tree.devices.values();
    match (trees.next(), trees.next()) {
        (Some(only), None) => {
            let mut only = only.clone();
            // Both hooks are ours here; what one tree says nothing of is empty.
            only.cleared.extend([Hook::Root, Hook::Ingress]);
            Ok(Tree { devices: [(device.to_owned(), only)].into() })
        }
        (None, _) => Err("it names no device".to_owned()),
        _ => {
            let names: Vec<_> = tree.devices.keys().map(String::as_str).collect();
            Err(format!("it describes {} devices ({}), and a canary is one", names.len(), names.join(", ")))
        }
    }
}

/// Nothing on that device.
pub(super) fn nothing_on(device: &str) -> Tree {
    let cleared = [Hook::Root, Hook::Ingress].into();
    Tree { devices: [(device.to_owned(), DeviceTree { cleared, ..DeviceTree::default() })].into() }
}

/// The HTB classes of a tree of one device.
pub(super) fn classes(tree: &Tree) -> Vec<(Handle, &PlacedClass)> {
    tree.devices
        .values()
        .flat_map(|device| &device.classes)
        .map(|(classid, class)| (*classid, class))
        .collect()
}

/// Classes without children: packets wait in them. HTB sends those that ask for an inner class where its filters or the default lead.
pub(super) fn leaves(tree: &Tree) -> Vec<Handle> {
    let classes = classes(tree);
    let inner: BTreeSet<Handle> = classes.iter().map(|(_, class)| class.parent).collect();
    classes.iter().map(|(classid, _)| *classid).filter(|classid| !inner.contains(classid)).collect()
}

/// At most so many classes for packets, spread evenly: those that both trees have as leaves, so that both are asked the same; where there are
/// none, the tree's own; without HTB whatever the device's default is.
pub(super) fn streams(own: &Tree, other: &Tree, most: usize) -> Vec<Handle> {
    let others: BTreeSet<Handle> = leaves(other).into_iter().collect();
    let mut both = leaves(own);
    if both.iter().any(|classid| others.contains(classid)) {
        both.retain(|classid| others.contains(classid));
    }
    if both.is_empty() {
        return vec![Handle::UNSPEC];
    }
    let step = both.len().div_ceil(most.max(1));
    both.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tc_adapter::tree::Rounding;

    use super::*;

    fn tree(classes: &str) -> Tree {
        let mut text = "qdisc add dev eth0 root handle 1: htb\n".to_owned();
        for class in classes.split_whitespace() {
            let (parent, minor) = class.split_once('/').unwrap();
            let _ = writeln!(text, "class add dev eth0 parent 1:{parent} classid 1:{minor} htb rate 1mbit");
        }
        Tree::from_batch(&text, Rounding::Exact).unwrap()
    }

    #[test]
    fn packets_go_through_leaves_that_both_have() {
        let (old, new) = (tree("/1 1/2 1/3 /4"), tree("/1 1/3 /4 4/5"));
        let names = |handles: Vec<Handle>| handles.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(leaves(&old)), ["1:2", "1:3", "1:4"]);
        assert_eq!(names(streams(&old, &new, 100)), ["1:3"]);
        assert_eq!(names(streams(&old, &tree("/9"), 2)), ["1:2", "1:4"]);
        assert_eq!(streams(&tree(""), &old, 2), [Handle::UNSPEC]);
    }

    #[test]
    fn a_tree_is_put_on_the_device_that_is_ours() {
        let placed = put_on(&tree("/1"), "qd2").unwrap();
        assert_eq!(placed.devices.keys().collect::<Vec<_>>(), ["qd2"]);
        assert_eq!(placed.to_batch().lines().filter(|line| line.contains("dev qd2")).count(), 3);
        let mut two = tree("/1");
        two.devices.insert("eth1".into(), DeviceTree::default());
        assert!(put_on(&two, "qd2").unwrap_err().contains("eth0, eth1"));
        put_on(&Tree::default(), "qd2").unwrap_err();
    }
}
