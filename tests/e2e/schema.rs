//! The contract of `result.json`, to which every result that a test reads is held.

use std::sync::OnceLock;

use jsonschema::Validator;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::qdiscope::{Finished, qdiscope};
use crate::runs;

const COMMITTED: &str = include_str!("../../harness/schema/result.schema.json");
const SCALING: &str = include_str!("../../harness/schema/scaling.schema.json");
const PROFILE: &str = include_str!("../../harness/schema/profile.schema.json");
const BUDGET_CHECK: &str = include_str!("../../harness/schema/budget-check.schema.json");
const GATE: &str = include_str!("../../harness/schema/gate.schema.json");
const BISECT: &str = include_str!("../../harness/schema/bisect.schema.json");
const COMPARE: &str = include_str!("../../harness/schema/compare.schema.json");

fn validator(committed: &str) -> Result<Validator, String> {
    let schema = serde_json::from_str(committed).map_err(|error| error.to_string())?;
    jsonschema::validator_for(&schema).map_err(|error| error.to_string())
}

/// Fails, and says where, unless a result is as the schema says.
pub(crate) fn check(result: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(result, VALIDATOR.get_or_init(|| validator(COMMITTED)))
}

/// As [`check`], for a `scaling.json`.
pub(crate) fn check_scaling(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(SCALING)))
}

/// As [`check`], for a `profile.json`.
pub(crate) fn check_profile(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(PROFILE)))
}

/// As [`check`], for what `budget check --json` prints.
pub(crate) fn check_budget(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(BUDGET_CHECK)))
}

/// As [`check`], for what `gate --json` prints.
pub(crate) fn check_gate(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(GATE)))
}

/// As [`check`], for what `compare --json` writes.
pub(crate) fn check_compare(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(COMPARE)))
}

/// As [`check`], for what `bisect --json` prints.
pub(crate) fn check_bisect(document: &Value) -> Result<(), Failed> {
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    hold(document, VALIDATOR.get_or_init(|| validator(BISECT)))
}

fn hold(document: &Value, validator: &Result<Validator, String>) -> Result<(), Failed> {
    let validator = validator.as_ref().map_err(|error| format!("the committed schema: {error}"))?;
    let faults: Vec<String> =
        validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("not as the schema says: {faults:#?}").into()) }
}

pub(crate) fn the_committed_schema_is_the_binarys() -> Result<(), Failed> {
    for (document, committed) in [
        ("result", COMMITTED),
        ("scaling", SCALING),
        ("profile", PROFILE),
        ("budget-check", BUDGET_CHECK),
        ("gate", GATE),
        ("compare", COMPARE),
        ("bisect", BISECT),
    ] {
        let printed = Finished::of(&mut qdiscope(&format!("schema {document}"))?)?.expect(0)?.stdout;
        assert!(
            printed == committed,
            "they differ: qdiscope schema {document} > harness/schema/{document}.schema.json"
        );
    }
    let default = Finished::of(&mut qdiscope("schema")?)?.expect(0)?.stdout;
    assert!(default == COMMITTED, "without an argument it is that of result.json");
    Ok(())
}

/// A schema that takes anything would pass everything.
pub(crate) fn the_schema_refuses_what_is_wrong() -> Result<(), Failed> {
    let sound = &runs::open()?.result;
    check(sound)?;
    for field in ["verdict", "environment", "workloads", "resources", "budget"] {
        let mut result = sound.clone();
        result.as_object_mut().and_then(|fields| fields.remove(field)).ok_or("no such field")?;
        assert!(check(&result).is_err(), "without `{field}` it is valid");
    }
    for (pointer, wrong) in [
        ("/verdict", json!("perhaps")),
        ("/workloads/0/mode", json!("ajar")),
        ("/workloads/0/operations", json!(-1)),
        ("/workloads/0/latency_us/class-read/p95", json!("fast")),
        ("/budget/0/state", json!(null)),
    ] {
        let mut result = sound.clone();
        *result.pointer_mut(pointer).ok_or_else(|| format!("no {pointer}"))? = wrong.clone();
        assert!(check(&result).is_err(), "with {pointer} = {wrong} it is valid");
    }
    Ok(())
}
