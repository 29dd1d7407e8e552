//! Figures that may be infinite, read from JSON, which has no infinity: null.

use serde::{Deserialize, Deserializer};

/// A figure. Its sign is lost where it is infinite.
pub(super) fn figure<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// An interval: without a bound it is infinite on that side.
pub(super) fn interval<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 2], D::Error> {
    let [least, most] = <[Option<f64>; 2]>::deserialize(from)?;
    Ok([least.unwrap_or(f64::NEG_INFINITY), most.unwrap_or(f64::INFINITY)])
}
