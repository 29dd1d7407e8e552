//! What watching costs: loads that a process of its own runs, alternately with nothing attached (A) and with one
//! *contestant* (B): a kind of our probes, or another tool that does the like.
//!
//! [`measure`] drives, [`serve`] is the process that runs the loads, `statistics` and `goal` are pure, `table`
//! renders a [`model::Overhead`], which can be saved and rendered again.
//!
//! **Architecture invariant:** while an A window runs nothing is attached: not even a disabled program.

mod attached;
mod contestant;
mod course;
mod goal;
mod load;
mod measure;
mod message;
pub mod model;
mod process;
mod running;
mod sender;
mod serve;
mod statistics;
mod table;
mod threads;
mod tool;
mod work;

pub use attached::Setup;
pub use contestant::{Contestant, contestants};
pub use load::Load;
pub use measure::{Plan, measure};
pub use serve::serve;
pub use statistics::median;
pub use table::render;
