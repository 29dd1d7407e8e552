//! Statistics. Pure: figures in, figures out, each method with where it comes from.
//!
//! [`order`] summarises a sample by its order statistics; [`growth`] fits how a figure grows with a size; [`choice`] chooses
//! among the laws of growth by how well they foretell what they have not seen; [`judgement`] says how sure that is; [`enough`] how many
//! observations a figure needs. [`rank_sum`] and [`rates`] tell two samples, and two counts, apart.
//! [`slope`] is how fast a figure grows with time. [`two_samples`] says whether a candidate is slower than a baseline, [`holm`] which of
//! several such tests hold together, and [`change_points`] where the history of a figure changes its level; [`course`] tells such steps from
//! a gradual drift.

pub mod change_points;
pub mod choice;
pub mod course;
pub mod enough;
pub mod growth;
pub mod holm;
pub mod judgement;
mod least_squares;
pub mod order;
mod pieces;
pub mod rank_sum;
pub mod rates;
pub mod runs;
mod scores;
pub mod slope;
pub mod two_samples;
mod unbounded;

/// The standard deviation of values, as the median absolute deviation tells it, so that few wild ones do not (Hampel, 1974). `None` of fewer than
/// two values.
pub fn robust_deviation(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| scores::deviations(values).1)
}
