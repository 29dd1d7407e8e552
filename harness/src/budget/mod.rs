//! Targets as data, and the verdict on a run. Pure: a run's figures and a budget go in, judgements come out.

mod file;
mod judge;
mod metric;

pub use file::{Budget, Limit, ParseError, Target};
pub use judge::{Judged, judge};
pub use metric::{Metric, Quantity};
