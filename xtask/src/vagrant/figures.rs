//! What the run in the machine must have measured.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::error::{Error, at};

/// What the guest's kernel gives (6.1, as Debian builds it for clouds): anything else is a silent step down.
const PROBES: &str = "fexit";

/// Reads a `result.json`: measured to its end, with these probes, with operations and the kernel's share in them. Gives the kind.
pub(super) fn check(path: &Path) -> Result<&'static str, Error> {
    let wrong = |reason: String| Error::Result { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(at(path))?;
    let result: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let kind = &result["environment"]["probes"]["kind"];
    if kind != PROBES {
        return Err(Error::Probes { expected: PROBES, found: kind.to_string(), path: path.to_owned() });
    }
    fault(&result).map_or(Ok(PROBES), |reason| Err(wrong(reason)))
}

fn fault(result: &Value) -> Option<String> {
    if result["interrupted"] != json!(false) {
        return Some("the run was interrupted".into());
    }
    let workloads = result["workloads"].as_array().map(Vec::as_slice).unwrap_or_default();
    if workloads.is_empty() {
        return Some("it has no workloads".into());
    }
    workloads.iter().find_map(|workload| {
        let name = &workload["name"];
        let kernel = workload["kernel_us"].as_object().is_some_and(|messages| !messages.is_empty());
        if workload["operations"].as_u64().is_none_or(|count| count == 0) {
            Some(format!("workload {name} has no operations"))
        } else if !kernel {
            Some(format!("workload {name} has no times of the kernel"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_saw_nothing_is_no_proof() {
        let mut result = json!({
            "interrupted": false,
            "workloads": [{"name": "lifecycle", "operations": 7, "kernel_us": {"RTM_NEWTCLASS": {}}}],
        });
        assert_eq!(fault(&result), None);
        result["workloads"][0]["kernel_us"] = json!({});
        assert_eq!(fault(&result).as_deref(), Some("workload \"lifecycle\" has no times of the kernel"));
        result["workloads"][0]["operations"] = json!(0);
        assert_eq!(fault(&result).as_deref(), Some("workload \"lifecycle\" has no operations"));
        result["workloads"] = json!([]);
        assert_eq!(fault(&result).as_deref(), Some("it has no workloads"));
        result["interrupted"] = json!(true);
        assert_eq!(fault(&result).as_deref(), Some("the run was interrupted"));
    }
}
