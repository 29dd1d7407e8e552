//! `qdiscope schema`: the contract of `result.json`, for validators.

use schemars::{Schema, schema_for};

use super::print;
use crate::exit::{Exit, Failure};
use crate::report::model::RunResult;

fn schema() -> Schema {
    schema_for!(RunResult)
}

fn text() -> Result<String, Failure> {
    serde_json::to_string_pretty(&schema())
        .map(|text| text + "\n")
        .map_err(|error| Failure::internal(format!("encode the schema: {error}")))
}

pub(super) fn run() -> Result<Exit, Failure> {
    print(&text()?)?;
    Ok(Exit::Pass)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let committed = include_str!("../../schema/result.schema.json");
        let hint = "cargo run -p qdiscope -- schema > harness/schema/result.schema.json";
        assert_eq!(super::text().unwrap(), committed, "run: {hint}");
    }
}
