//! Gates: whether a deployment may go on. Before it ([`pre`]), after it ([`post`]), and for a tree on trial ([`canary`]).
//!
//! Each gives a [`model::GateResult`]: checks with a verdict each. What could not be told is inconclusive, never a pass.

pub mod canary;
pub mod change;
pub mod compare;
pub mod model;
pub mod post;
pub mod pre;
pub mod seconds;
