//! Targets as data, and the verdict on a run. Pure: a run's figures and a budget go in, judgements come out.
//!
//! [`Metric`] and [`Quantity`] say what can be judged, [`Limit`] and [`Levels`] at which value, [`Target`] where. A budget is read
//! from TOML (`file`) or from the JSON of performance budgets (`services`), and [`judge`] holds a run against it.

mod about;
mod check;
mod file;
mod judge;
mod limit;
mod measure;
mod metric;
mod near;
mod notes;
mod quantity;
mod services;
mod strict;
mod target;
#[cfg(test)]
mod tests;

pub use about::About;
pub use check::{Check, CheckState, Checked, check};
pub use file::{At, Budget, FOREIGN_RTNL_PERCENT, Fault, INIT_JSON, INIT_TOML, ParseError};
pub use judge::{Judged, LATE_US, MOST_LOST, NOISY_STEAL_PERCENT, judge};
pub use limit::{Crossed, Direction, Factors, Levels, Limit};
pub use measure::Reading;
pub use metric::{Metric, Place};
pub(crate) use near::near;
pub use notes::notes;
pub use quantity::{Quantity, UnknownQuantity};
pub(crate) use services::known_as;
pub use target::{Action, Nonsense, Scope, Target};
