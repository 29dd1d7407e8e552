//! Budgets, and the exit codes that scripts act on.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::qdiscope::{Finished, QUICK, Saved, qdiscope};

/// A budget file with these targets, and the arguments that name it.
fn budget(targets: &str) -> Result<(TempDir, String), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("budget.toml");
    fs::write(&path, format!("schema_version = 1\n{targets}"))?;
    let arguments = format!("{QUICK} --budget {}", path.display());
    Ok((folder, arguments))
}

fn run(targets: &str) -> Result<Saved, Failed> {
    let (_folder, arguments) = budget(targets)?;
    Saved::by(&arguments)
}

pub(crate) fn a_violation_exits_with_4_and_says_what() -> Result<(), Failed> {
    let run = run("[[target]]\nmetric = \"latency_p95_us\"\nbelow = 0.5\n")?;
    assert_eq!(run.result["verdict"], "fail");
    let judged = &run.result["budget"][0];
    assert_eq!((&judged["metric"], &judged["state"]), (&json!("latency_p95_us"), &json!("fail")));
    assert_eq!(
        (judged["limit"].as_f64(), &judged["value"]),
        (Some(0.5), &run.workloads()?[0]["latency_all_us"]["p95"])
    );
    let finished = run.finished.expect(4)?;
    let line = finished
        .stdout
        .lines()
        .find(|line| line.starts_with("critical:"))
        .ok_or_else(|| format!("no line begins with `critical:`\n{}", finished.said()))?;
    assert!(line.contains("latency_p95_us") && line.contains("< 0.5"), "{line}");
    // The value, to the digits that it is printed with.
    let value = judged["value"].as_f64().ok_or("no value")?;
    let printed = line.split_once(" is ").and_then(|(_, rest)| rest.split_once(',')).ok_or(line)?.0;
    let printed: f64 = printed.parse().map_err(|error| format!("{printed}: {error}"))?;
    assert!((printed / value - 1.0).abs() < 0.01, "{line}, measured {value}");
    Ok(())
}

/// A class is added in the kernel, on a CPU; one phase may have a budget, too.
pub(crate) fn a_violation_names_the_guilty_phase() -> Result<(), Failed> {
    let (_folder, arguments) = budget(
        "[[target]]\nmetric = \"latency_p50_us\"\nbelow = 0.5\n[[target]]\nmetric = \"on_cpu_p50_us\"\nbelow = 0.5\n\
         [[target]]\nmetric = \"on_cpu_p95_us\"\nbelow = 10_000_000\n",
    )?;
    let run = Saved::by(
        &arguments.replace(QUICK, "bench --workload htb-class --workers 1 --classes 2000 --duration 1s"),
    )?;
    let judged = &run.result["budget"];
    let reason = judged[0]["reason"].as_str().ok_or("a violation without a reason")?;
    assert!(reason.starts_with("p50 class-create "), "{reason}");
    assert!(reason.ends_with(" on CPU in the kernel"), "{reason}");
    assert!(run.finished.stdout.contains(reason), "{}", run.finished.stdout);
    let states = [0, 1, 2].map(|index| judged[index]["state"].clone());
    assert_eq!(states, [json!("fail"), json!("fail"), json!("pass")], "{judged}");
    assert_eq!(judged[1]["value"], run.workloads()?[0]["phases_all_us"]["on_cpu"]["p50"]);
    run.finished.expect(4).map(drop)
}

pub(crate) fn a_budget_that_holds_exits_with_0() -> Result<(), Failed> {
    let run = run("[[target]]\nmetric = \"latency_p95_us\"\nmode = \"closed\"\nbelow = 10_000_000\n\
         [[target]]\nmetric = \"throughput_mean_ops_per_s\"\nabove = 1\n\
         [[target]]\nmetric = \"classes_left_after_teardown\"\nat_most = 0\n")?;
    assert_eq!(run.result["verdict"], "pass");
    assert_eq!(run.result["budget"].as_array().map(Vec::len), Some(3));
    let finished = run.finished.expect(0)?;
    assert!(finished.stdout.contains("verdict: pass"), "{}", finished.stdout);
    Ok(())
}

pub(crate) fn what_was_not_measured_exits_with_6() -> Result<(), Failed> {
    let run = run("[[target]]\nmetric = \"cpu_percent_of_one_core\"\nmode = \"open\"\nbelow = 1_000\n\
         [[target]]\nmetric = \"latency_p95_us\"\nbelow = 10_000_000\n")?;
    let judged = &run.result["budget"][0];
    assert_eq!((&judged["state"], &judged["value"]), (&json!("inconclusive"), &Value::Null));
    assert_eq!(run.result["verdict"], "inconclusive");
    let finished = run.finished.expect(6)?;
    assert!(finished.stdout.contains("no open-loop workload"), "{}", finished.stdout);
    Ok(())
}

pub(crate) fn a_bad_budget_exits_with_2() -> Result<(), Failed> {
    let latency = "[[target]]\nmetric = \"latency_p95_us\"\n";
    for (targets, word) in [
        ("[[target]]\nmetric = \"latency_p95_ms\"\nbelow = 1\n".to_owned(), "latency_p95_ms"),
        ("[[target]\n".to_owned(), "budget.toml"),
        (String::new(), "target"),
        (format!("{latency}below = \"fast\"\n"), "fast"),
        (format!("{latency}below = -1\n"), "negative"),
        (format!("{latency}belwo = 1\n"), "belwo"),
        (latency.to_owned(), "exactly one"),
        (format!("{latency}below = 1\nabove = 1\n"), "exactly one"),
    ] {
        let (folder, arguments) = budget(&targets)?;
        refused(&arguments, &folder, word)?;
    }
    let folder = tempfile::tempdir()?;
    refused(&format!("{QUICK} --budget {}/missing.toml", folder.path().display()), &folder, "missing.toml")?;
    refused(&format!("{QUICK} --budget {}", folder.path().display()), &folder, "directory")?;
    fs::write(folder.path().join("binary.toml"), [0xff, 0xfe, 0x00])?;
    refused(&format!("{QUICK} --budget {}/binary.toml", folder.path().display()), &folder, "binary.toml")
}

/// One line, and no work before it.
fn refused(arguments: &str, folder: &TempDir, word: &str) -> Result<(), Failed> {
    let out = folder.path().join("run");
    let finished = Finished::of(qdiscope(arguments)?.arg("--out").arg(&out))?.expect(2)?;
    let line = finished.one_line()?;
    assert!(line.starts_with("qdiscope: --budget") && line.contains(word), "{word}: {line}");
    assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    assert!(!out.exists(), "{arguments}: the folder was made");
    Ok(())
}
