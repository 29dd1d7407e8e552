//! `qdiscope budget`: what a budget says, and whether a saved run keeps it.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::faults::Nobodys;
use crate::figures::{at, number};
use crate::investigate::folder;
use crate::qdiscope::{Finished, Saved, qdiscope};
use crate::{runs, schema};

const AUTH: &str = include_str!("../../harness/src/budget/testdata/auth-service.json");
const POLICY: &str = include_str!("../../harness/src/budget/testdata/policy-service.json");
const INFRASTRUCTURE: &str = include_str!("../../harness/src/budget/testdata/infrastructure.json");

fn budget(arguments: &str) -> Result<Finished, Failed> {
    Finished::of(&mut qdiscope(&format!("budget {arguments}"))?)
}

fn merged() -> Result<String, Failed> {
    let mut all = serde_json::Map::new();
    for text in [AUTH, POLICY, INFRASTRUCTURE] {
        all.extend(serde_json::from_str::<serde_json::Map<String, Value>>(text)?);
    }
    Ok(serde_json::to_string(&all)?)
}

/// All of it without root.
pub(crate) fn init_writes_and_never_overwrites() -> Result<(), Failed> {
    let nobodys = Nobodys::new()?;
    for (format, file) in [("toml", "budget.toml"), ("json", "budget.json")] {
        let init = format!("budget init --format {format}");
        let printed = Finished::of(&mut nobodys.command(&init))?.expect(0)?.stdout;
        let silent = Finished::of(&mut nobodys.command(&format!("{init} --out {file}")))?.expect(0)?;
        assert_eq!((silent.stdout.as_str(), silent.stderr.as_str()), ("", ""));
        let path = nobodys.own().join(file);
        assert_eq!(fs::read_to_string(&path)?, printed);
        fs::write(&path, "mine")?;
        let refused = Finished::of(&mut nobodys.command(&format!("{init} --out {file}")))?.expect(2)?;
        assert!(refused.one_line()?.contains("there already"), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(&path)?, "mine");
        fs::write(&path, printed)?;
        let explained = Finished::of(&mut nobodys.command(&format!("budget validate {file}")))?.expect(0)?;
        for word in ["alert \"p95 above 12 ms\": block", "below 900", "above 10 ", "MB/h", "higher is better"]
        {
            assert!(explained.stdout.contains(word), "{word}\n{}", explained.stdout);
        }
    }
    let missing = Finished::of(&mut nobodys.command("budget init --out no/such/folder"))?.expect(2)?;
    missing.one_line()?;
    Finished::of(&mut nobodys.command("budget init --out /budget.toml"))?.expect(3).map(drop)
}

pub(crate) fn the_printed_budgets_are_explained() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let merged = merged()?;
    for (name, text, words) in [
        (
            "auth.json",
            AUTH,
            &[
                "above 160000",
                "below 900",
                "below 800",
                "from 900 to 1000 ops/s",
                "80 % of its limit already",
                "20 % worse",
            ][..],
        ),
        // By its content, whatever its name.
        ("policy.budget", POLICY, &["below 4500", "nothing like it"]),
        ("infrastructure.json", INFRASTRUCTURE, &["machine_cpu_percent", "above 72", "below 98.01"]),
        (
            "merged.json",
            &merged,
            &["auth-service.response_time.p50", "policy-service.throughput", "infrastructure.cluster_cpu"],
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        let explained = budget(&format!("validate {}", path.display()))?.expect(0)?.stdout;
        for word in words {
            assert!(explained.contains(word), "{name}: no {word}\n{explained}");
        }
    }
    let auth = folder.path().join("auth.json");
    let explained =
        budget(&format!("explain response_time.p99 --budget {}", auth.display()))?.expect(0)?.stdout;
    for word in ["latency_p99_us", "lower is better", "fewer than 1000 values", "above 400000", "20 % worse"]
    {
        assert!(explained.contains(word), "{word}\n{explained}");
    }
    let list = budget("explain")?.expect(0)?.stdout;
    assert!(
        list.contains("memory_growth_mb_per_hour") && list.contains("node_availability_percent"),
        "{list}"
    );
    let unknown = budget("explain latency_p95_ms")?.expect(2)?;
    assert!(unknown.one_line()?.contains("did you mean `latency_p95_us`?"), "{}", unknown.stderr);
    Ok(())
}

fn check(run: &Path, text: &str, code: i32) -> Result<(Value, String), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    let arguments = format!("check {} --budget {}", run.display(), file.path().display());
    let said = budget(&arguments)?.expect(code)?.stdout;
    let document = budget(&format!("{arguments} --json"))?.expect(code)?.stdout;
    let document: Value = serde_json::from_str(&document)?;
    schema::check_budget(&document)?;
    Ok((document, said))
}

pub(crate) fn a_saved_run_is_judged_again() -> Result<(), Failed> {
    let saved = runs::open()?;
    let (original, run) = (folder(saved)?, folder(saved)?);
    // As on a quiet machine: whether noise excuses a violation is another question.
    let mut quiet = saved.result.clone();
    quiet["environment"]["steal_percent"] = json!(0.0);
    let workload = quiet["workloads"][0].as_object_mut().ok_or("no workload")?;
    workload.remove("rtnl_waits");
    let lag = workload.get_mut("schedule_lag_us").and_then(|lag| lag.get_mut("p99")).ok_or("no lag")?;
    *lag = json!(100.0);
    fs::write(run.path().join("result.json"), quiet.to_string())?;
    let p95 = number(&saved.result, "/workloads/0/latency_all_us/p95")?;
    let target = |limit: f64, more: &str| {
        format!("schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nat_most = {limit}\n{more}")
    };
    // Around what was measured, so that each state comes of the same run.
    for (text, state, code) in [
        (target(p95 * 2.0, "warning = 0.8"), "pass", 0),
        (target(p95 * 1.1, "warning = 0.8"), "warning", 0),
        (target(p95 * 0.9, "warning = 0.8"), "critical", 4),
        (target(p95 * 1.1, "critical = 0.8"), "critical", 4),
        (target(p95 * 2.0, "workload = \"htb-class\""), "inconclusive", 6),
        (POLICY.replace("policy-service", "lifecycle"), "inconclusive", 6),
    ] {
        let (document, said) = check(run.path(), &text, code)?;
        assert_eq!(document["verdict"], state, "{text}");
        assert!(said.contains(&format!("verdict: {state}")), "{said}");
        assert!(
            state == "pass" || said.lines().any(|line| line.starts_with(&format!("{state}: "))),
            "{said}"
        );
    }
    let (document, said) =
        check(run.path(), &target(p95 * 1.1, "warning = 0.8\noperation = \"class-read\""), 0).or_else(
            |_| check(run.path(), &target(p95 * 1.1, "warning = 0.8\noperation = \"class-read\""), 4),
        )?;
    assert_eq!(document["checks"][0]["operation"], "class-read");
    assert_eq!(
        at(&document, "/checks/0/value")?,
        at(&saved.result, "/workloads/0/latency_us/class-read/p95")?
    );
    assert!(said.contains("lifecycle (open), class-read"), "{said}");
    let alert =
        "schema_version = 1\n[[alert]]\nmetric = \"latency_max_us\"\nwhen_above = 0.001\naction = \"notify\"";
    let (document, said) = check(run.path(), alert, 0)?;
    assert_eq!(
        (&document["checks"][0]["action"], &document["verdict"]),
        (&json!("notify"), &json!("warning"))
    );
    assert!(said.contains("alert \"latency_max_us above 0.001\": notify"), "{said}");
    // The built-in budget says what the run itself said.
    let again =
        budget(&format!("check {} --json", original.path().display()))?.expect(saved.finished.code)?;
    let again: Value = serde_json::from_str(&again.stdout)?;
    schema::check_budget(&again)?;
    let states = |list: &Value, word: &str| -> Vec<Value> {
        let list = list[word].as_array().into_iter().flatten();
        list.map(|one| if one["state"] == "fail" { json!("critical") } else { one["state"].clone() })
            .collect()
    };
    assert_eq!(states(&again, "checks"), states(&saved.result, "budget"));
    budget(&format!("check {}/nosuch", run.path().display()))?.expect(2)?.one_line().map(drop)
}

/// The printed budgets, held against a fresh run: what traffic control has not is open, and what it has is measured.
pub(crate) fn a_run_is_held_against_the_printed_budgets() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("budget.json");
    fs::write(&path, merged()?)?;
    let saved = Saved::by(&format!("bench --workload lifecycle --duration 2s --budget {}", path.display()))?;
    let judged = at(&saved.result, "/budget")?.as_array().ok_or("no list")?;
    let of = |rule: &str| {
        judged.iter().find(|one| one["rule"] == rule).ok_or_else(|| format!("no {rule} in {judged:?}"))
    };
    let cpu = of("infrastructure.cluster_cpu")?;
    assert_eq!(cpu["value"], saved.result["resources"]["machine_cpu_percent"]);
    assert!((1.0..=100.0).contains(&number(cpu, "/value")?), "{cpu}");
    assert!((1.0..=100.0).contains(&number(of("infrastructure.cluster_memory")?, "/value")?));
    for missing in ["infrastructure.node_availability", "policy-service.cache_hit_rate"] {
        let missing = of(missing)?;
        assert_eq!((&missing["state"], &missing["value"]), (&json!("inconclusive"), &Value::Null));
    }
    assert_eq!(of("auth-service.throughput")?["warning_at"], 900.0);
    assert!(["inconclusive", "fail"].contains(&saved.result["verdict"].as_str().unwrap_or_default()));
    Ok(())
}

pub(crate) fn bad_budgets_are_refused_in_one_line() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    for (name, text, word) in [
        (
            "p101.json",
            AUTH.replace("p50", "p101"),
            "auth-service.response_time.p101: there is no percentile 101",
        ),
        ("nan.json", AUTH.replace(": 100,", ": NaN,"), "line 5"),
        ("negative.json", AUTH.replace(": 100,", ": -100,"), "auth-service.response_time.p50: "),
        ("factor.json", AUTH.replace("0.8", "80"), "factor"),
        ("unknown.json", AUTH.replace("throughput", "thruput"), "did you mean `throughput`?"),
        ("list.json", "[]".to_owned(), "object"),
        ("empty.json", "{}".to_owned(), "no [[target]]"),
        (
            "nan.toml",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = nan".to_owned(),
            "line 2",
        ),
        (
            "p101.toml",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p101_us\"\nbelow = 1".to_owned(),
            "line 3",
        ),
        ("empty.toml", String::new(), "schema_version"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        let path = path.display();
        for arguments in [
            format!("validate {path}"),
            format!("explain --budget {path}"),
            format!("check x --budget {path}"),
        ] {
            let finished = budget(&arguments)?.expect(2)?;
            let line = finished.one_line()?;
            assert!(line.contains(word) && line.contains(name), "{arguments}: {line}");
            assert!(finished.stdout.is_empty(), "{}", finished.stdout);
        }
        let bench = format!("bench --budget {path} --out {}", run.display());
        assert!(Finished::of(&mut qdiscope(&bench)?)?.expect(2)?.one_line()?.contains(word));
        assert!(!run.exists());
    }
    let missing = budget(&format!("validate {}/missing.toml", folder.path().display()))?.expect(2)?;
    assert!(missing.one_line()?.contains("No such file"), "{}", missing.stderr);
    Ok(())
}
