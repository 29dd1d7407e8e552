//! The highest rate that holds the budget: `qdiscope capacity`.

mod search;

use serde::Serialize;

pub use search::{Answer, Search};

use crate::report::model::{Percentiles, State};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// The highest rate that held the budget each time it was tried, operations per second; null where none did.
    pub rate: Option<f64>,
    /// The lowest rate that did not; null where the highest that was allowed still held.
    pub broke_at: Option<f64>,
    /// What ended the search.
    pub limit: Limit,
    /// Each try, in order.
    pub trials: Vec<Trial>,
}

/// What lies beyond the rate that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A target of the budget is violated there.
    Budget,
    /// This machine cannot offer more: whether the budget would hold is not known.
    Offer,
    /// More was not asked for (`--most`).
    Asked,
    /// A signal ended the search.
    Interrupted,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Operations per second that were offered.
    pub rate: f64,
    /// Operations per second that succeeded.
    pub achieved: Option<f64>,
    /// Over all operations, µs, from the intended start.
    pub latency_us: Option<Percentiles>,
    /// The harness's own lag, µs.
    pub schedule_lag_us: Option<Percentiles>,
    /// By the budget.
    pub state: State,
    /// The first target that was violated or could not be judged, where one was.
    pub reason: Option<String>,
}
