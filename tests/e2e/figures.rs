//! Reading a result: what is missing is an error with its path, never a zero.

use libtest_mimic::Failed;
use serde_json::{Map, Value};

/// The value at a JSON pointer.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value, Failed> {
    Ok(value.pointer(pointer).ok_or_else(|| format!("no {pointer} in {value}"))?)
}

/// A number.
pub(crate) fn number(value: &Value, pointer: &str) -> Result<f64, Failed> {
    let found = at(value, pointer)?;
    Ok(found.as_f64().ok_or_else(|| format!("{pointer} is {found}, no number"))?)
}

/// A count.
pub(crate) fn count(value: &Value, pointer: &str) -> Result<u64, Failed> {
    let found = at(value, pointer)?;
    Ok(found.as_u64().ok_or_else(|| format!("{pointer} is {found}, no count"))?)
}

/// An object.
pub(crate) fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>, Failed> {
    let found = at(value, pointer)?;
    Ok(found.as_object().ok_or_else(|| format!("{pointer} is {found}, no object"))?)
}

/// The sum of the counts in the values of an object.
pub(crate) fn sum_of_counts(value: &Value, pointer: &str, inner: &str) -> Result<u64, Failed> {
    object(value, pointer)?.values().map(|part| count(part, inner)).sum()
}

/// Errors of a workload, over all kinds.
pub(crate) fn errors(workload: &Value) -> Result<u64, Failed> {
    let kinds = at(workload, "/errors")?.as_array().ok_or("`errors` is no list")?;
    kinds.iter().map(|kind| count(kind, "/count")).sum()
}
