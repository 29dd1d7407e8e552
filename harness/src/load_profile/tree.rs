//! The tree that a profile works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tc_adapter::tree::Tree;

use super::LoadProfile;
use crate::workload::churn::{self, Estate, Unusable};
use crate::workload::{Mix, Scene};

/// More devices take the kernel minutes to make, and nobody's router has them.
pub(super) const MOST_DEVICES: u32 = 1_000;

/// A tree in a file of its own (`tree = "shaper.tc"`), as `qdiscope tc apply` reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileTree {
    /// The file; as the profile names it, until it was read.
    file: PathBuf,
    /// What it says.
    read: Option<Read>,
}

/// What a file says, known to be usable.
#[derive(Debug, Clone, PartialEq)]
struct Read {
    tree: Arc<Tree>,
    subscribers: usize,
}

impl ProfileTree {
    /// One that is still to be read.
    pub(super) const fn named(file: PathBuf) -> Self {
        Self { file, read: None }
    }

    /// Its file: as the profile names it, or once it was read, where it was found.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Those that come and go; 0 until it was read.
    pub fn subscribers(&self) -> usize {
        self.read.as_ref().map_or(0, |read| read.subscribers)
    }

    /// Whether so many users with this mix could work on it.
    pub(super) fn check(&self, users: u64, mix: Mix) -> Result<(), String> {
        let Some(read) = &self.read else { return Err(self.unread()) };
        if users > read.subscribers as u64 {
            return Err(format!(
                "{users} users: each has subscribers of its own, and the tree has {}: give `users` of that or less in each stage",
                read.subscribers
            ));
        }
        churn::check_mix(mix)
    }

    pub(super) fn scene(&self, devices: &[u32], users: u32, mix: Mix, seed: u64) -> Result<Scene, String> {
        let Some(read) = &self.read else { return Err(self.unread()) };
        let scene = churn::requests(&read.tree, devices)
            .and_then(|requests| churn::scene(requests, users, mix, seed));
        scene.map_err(|unusable| told(&unusable, &read.tree, devices))
    }

    fn unread(&self) -> String {
        format!("tree {}: it was not read", self.file.display())
    }
}

impl LoadProfile {
    /// With the tree that its [`LoadProfile::tree`] names, read from `file`: each device of it becomes one of the run's, and the
    /// population is its HTB classes.
    ///
    /// # Errors
    ///
    /// Why nobody can come and go on it ([`Unusable`]), or why this profile's users or mix cannot, in one line.
    pub fn with_tree(mut self, file: PathBuf, tree: Tree) -> Result<Self, String> {
        let refused = |reason: String| format!("tree {}: {reason}", file.display());
        let devices = u32::try_from(tree.devices.len()).ok().filter(|devices| *devices <= MOST_DEVICES);
        let devices = devices.ok_or_else(|| {
            refused(format!("it describes {} devices: {MOST_DEVICES} at most", tree.devices.len()))
        })?;
        // Whatever the indices will be.
        let indices: Vec<u32> = (1..=devices).collect();
        let estate = churn::requests(&tree, &indices).and_then(Estate::of);
        let estate = estate.map_err(|unusable| refused(told(&unusable, &tree, &indices)))?;
        self.devices = devices;
        self.population = estate.population;
        let read = Read { tree: Arc::new(tree), subscribers: estate.subscribers.len() };
        self.tree = Some(ProfileTree { file, read: Some(read) });
        self.check()?;
        Ok(self)
    }
}

/// With the device's name in the file.
fn told(unusable: &Unusable, tree: &Tree, devices: &[u32]) -> String {
    let name = match unusable {
        Unusable::At { device, .. } => {
            tree.devices.keys().zip(devices).find(|(_, index)| *index == device).map(|(name, _)| name)
        }
        _ => None,
    };
    name.map_or_else(|| unusable.to_string(), |name| format!("{name}: {unusable}"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tc_adapter::tree::Rounding;

    use super::*;

    fn profile(text: &str) -> LoadProfile {
        let head = "schema_version = 1\nname = \"x\"\ntree = \"shaper.tc\"\n";
        LoadProfile::parse(&format!("{head}{text}")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn stage(users: u32) -> String {
        format!("[[stage]]\nduration = \"1s\"\nexecutor = \"closed\"\nusers = {users}\n")
    }

    fn shaper(device: &str, leaves: u32) -> String {
        let mut text = format!(
            "qdisc add dev {device} root handle 1: htb\nclass add dev {device} parent 1: classid 1:1 htb rate 1gbit\n"
        );
        for minor in 2..leaves + 2 {
            let _ = writeln!(
                text,
                "class add dev {device} parent 1:1 classid 1:{minor:x} htb rate 1mbit\n\
                 filter add dev {device} parent 1: prio 1 protocol ip u32 match ip dst 10.0.0.{minor}/32 flowid 1:{minor:x}"
            );
        }
        text
    }

    fn with(profile: LoadProfile, text: &str) -> Result<LoadProfile, String> {
        let tree = Tree::from_batch(text, Rounding::Exact).unwrap_or_else(|error| panic!("{error}"));
        profile.with_tree("dir/shaper.tc".into(), tree)
    }

    #[test]
    fn devices_and_population_are_the_trees() {
        let unread = profile(&stage(5));
        assert_eq!((unread.devices, unread.population), (0, 0));
        assert!(unread.check().unwrap_err().contains("not read") && unread.scene(&[1]).is_err());
        assert_eq!(unread.tree.as_ref().map(ProfileTree::file), Some(Path::new("shaper.tc")));
        let read = with(unread, &(shaper("wan", 3) + &shaper("lan", 4))).unwrap();
        assert_eq!((read.devices, read.population), (2, 9));
        let tree = read.tree.as_ref().unwrap();
        assert_eq!((tree.file(), tree.subscribers()), (Path::new("dir/shaper.tc"), 7));
        let scene = read.scene(&[8, 9]).unwrap();
        assert_eq!((scene.sources.len(), scene.population_max), (5, 9));
        // In the order of names: `lan`, with its four leaves, comes first.
        let classes = |device| scene.setup.iter().filter(|request| request.device() == device).count();
        assert_eq!((classes(8), classes(9)), (10, 8));
    }

    #[test]
    fn users_and_mixes_that_do_not_go_with_a_tree_are_refused() {
        let three = shaper("wan", 3);
        with(profile(&stage(3)), &three).unwrap();
        let refusal = with(profile(&stage(4)), &three).unwrap_err();
        assert!(refusal.contains("4 users") && refusal.contains("has 3"), "{refusal}");
        for (mix, word) in [("filter-create", "come and go"), ("error-exists", "`error-exists`")] {
            let refusal = with(profile(&format!("[mix]\n{mix} = 1\n{}", stage(1))), &three).unwrap_err();
            assert!(refusal.contains(word) && !refusal.contains('\n'), "{refusal}");
        }
        with(profile(&format!("[mix]\nfilter-dump = 1\ndump = 1\n{}", stage(1))), &three).unwrap();
    }

    #[test]
    fn trees_that_nobody_can_use_are_refused_in_one_line() {
        let root =
            "qdisc add dev wan root handle 1: htb\nclass add dev wan parent 1: classid 1:1 htb rate 1mbit\n";
        let root_of = |number| format!("qdisc add dev d{number} root handle 1: htb\n");
        let many: Vec<String> = (0..=MOST_DEVICES).map(root_of).collect();
        for (text, word) in [
            ("qdisc add dev wan root handle 1: htb\n".to_owned(), "no HTB leaf class"),
            ("qdisc add dev wan root pfifo\n".to_owned(), "no HTB leaf class"),
            (many.concat(), "1001 devices"),
            (
                format!(
                    "{root}filter add dev wan parent 1: prio 1 protocol ip u32 match u32 0 0 action mirred egress redirect dev ifb0\n"
                ),
                "names the device ifb0",
            ),
            (
                format!(
                    "{root}filter add dev wan parent 1: prio 1 protocol ip u32 match u32 0 0 indev lan flowid 1:1\n"
                ),
                "names the device lan",
            ),
            (
                format!(
                    "{root}filter add dev wan parent 1:1 prio 7 protocol ip u32 match u32 0 0 flowid 1:1\n"
                ),
                "wan: the filter of prio 7 on 1:1",
            ),
        ] {
            let refusal = with(profile(&stage(1)), &text).unwrap_err();
            assert!(refusal.starts_with("tree dir/shaper.tc: "), "{refusal}");
            assert!(refusal.contains(word) && !refusal.contains('\n'), "{text:?} → {refusal:?}");
        }
    }

    #[test]
    fn a_file_says_either_a_tree_or_how_much() {
        for (text, word) in [
            ("devices = 2\n", "`devices`"),
            ("population = 2\n", "`population`"),
            ("tree = \"-\"\n", "give a file"),
            ("tree = \"\"\n", "give a file"),
        ] {
            let tree = if text.starts_with("tree") { "" } else { "tree = \"shaper.tc\"\n" };
            let text = format!("schema_version = 1\nname = \"x\"\n{tree}{text}{}", stage(1));
            let error = LoadProfile::parse(&text).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
    }
}
