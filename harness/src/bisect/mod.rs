//! Which commit made it slower: what is decided of values, and what is said of it. Pure; git and runs are around it, in `cli/bisect`.
//!
//! Bad is held against good first, then each commit that git proposes, then the one that was found against its parent. A commit is bad where the
//! interval of its change lies above half of the whole change, and good where it lies below: of a single step both are as far from it as
//! can be. Values are looked at several times and many commits are asked; `plan.rs` shares the error out so that all intervals hold together.

mod decision;
pub mod model;
mod plan;
pub mod table;

pub use decision::{Confirmed, Endpoints, Unmeasured, Worse, confirmed, endpoints, share, step};
pub use plan::{Plan, Stage};

#[cfg(test)]
mod tests;
