//! Any TOML or JSON: a tree or an error; a tree that can be is printed as a file that is read as the same tree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tc_adapter::tree::{Rounding, Tree};

fuzz_target!(|text: &str| {
    let trees = [toml::from_str::<Tree>(text).ok(), serde_json::from_str::<Tree>(text).ok()];
    for tree in trees.into_iter().flatten().filter(|tree| tree.check().is_ok()) {
        let printed = tree.to_batch();
        // Names of devices and of others that have blanks or begin a comment cannot be said in such a file.
        if let Ok(again) = Tree::from_batch(&printed, Rounding::Exact) {
            assert_eq!(again.to_batch(), printed);
        }
        let toml = toml::to_string(&tree).expect("a tree is TOML");
        assert_eq!(toml::from_str::<Tree>(&toml).expect("and is read again"), tree, "{toml}");
    }
});
