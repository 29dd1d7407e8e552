//! Any `tc -batch` file: a tree or an error with a line; and a tree that is printed is read as the same tree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tc_adapter::tree::{Rounding, Tree};

fuzz_target!(|text: &str| {
    let lines = text.lines().count().max(1);
    match Tree::from_batch(text, Rounding::Exact) {
        Ok(tree) => {
            let printed = tree.to_batch();
            let again = Tree::from_batch(&printed, Rounding::Exact)
                .unwrap_or_else(|error| panic!("{error}:\n{printed}"));
            assert_eq!(again.to_batch(), printed);
            let json = serde_json::to_string(&tree).expect("a tree is JSON");
            let again: Tree = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}:\n{json}"));
            assert_eq!(again.to_batch(), printed);
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
    }
    let _ = Tree::from_batch(text, Rounding::Microseconds);
});
