//! `qdiscope schema`: the contracts of `result.json`, `scaling.json`, `profile.json` and of what `budget check`, `gate`, `compare` and `bisect` print, for validators.

use clap::{Args, ValueEnum};
use schemars::{Schema, schema_for};

use super::print;
use crate::bisect::model::Bisection;
use crate::budget::Checked;
use crate::compare::model::Comparison;
use crate::exit::{Exit, Failure};
use crate::gate::model::GateResult;
use crate::observe::profile::model::Profile;
use crate::report::model::RunResult;
use crate::scaling::model::Scaling;

/// Documents that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Document {
    /// What `bench` saves as result.json
    Result,
    /// What `scaling` saves as scaling.json
    Scaling,
    /// What `profile` saves as profile.json
    Profile,
    /// What `budget check --json` prints
    BudgetCheck,
    /// What `gate … --json` prints
    Gate,
    /// What `compare --json` writes
    Compare,
    /// What `bisect --json` prints
    Bisect,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// Of which document
    #[arg(value_enum, default_value_t = Document::Result)]
    document: Document,
}

impl Document {
    fn schema(self) -> Schema {
        match self {
            Self::Result => schema_for!(RunResult),
            Self::Scaling => schema_for!(Scaling),
            Self::Profile => schema_for!(Profile),
            Self::BudgetCheck => schema_for!(Checked),
            Self::Gate => schema_for!(GateResult),
            Self::Compare => schema_for!(Comparison),
            Self::Bisect => schema_for!(Bisection),
        }
    }
}

fn text(document: Document) -> Result<String, Failure> {
    serde_json::to_string_pretty(&document.schema())
        .map(|text| text + "\n")
        .map_err(|error| Failure::internal(format!("encode the schema: {error}")))
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    print(&text(arguments.document)?)?;
    Ok(Exit::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schemas_are_those_of_the_types() {
        let committed = [
            (Document::Result, include_str!("../../schema/result.schema.json")),
            (Document::Scaling, include_str!("../../schema/scaling.schema.json")),
            (Document::Profile, include_str!("../../schema/profile.schema.json")),
            (Document::BudgetCheck, include_str!("../../schema/budget-check.schema.json")),
            (Document::Gate, include_str!("../../schema/gate.schema.json")),
            (Document::Compare, include_str!("../../schema/compare.schema.json")),
            (Document::Bisect, include_str!("../../schema/bisect.schema.json")),
        ];
        for (document, committed) in committed {
            let name = document.to_possible_value().unwrap().get_name().to_owned();
            let hint = format!("cargo run -p qdiscope -- schema {name} > harness/schema/{name}.schema.json");
            assert_eq!(text(document).unwrap(), committed, "run: {hint}");
        }
    }
}
