//! `qdiscope baseline` and `qdiscope incidents`, with both databases.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::history::{Store, Suite, as_lines, lines};
use crate::qdiscope::Finished;

/// What both databases do alike.
pub(crate) const BOTH: Suite = &[
    ("a_baseline_is_what_became_of_it", a_baseline_is_what_became_of_it),
    ("what_is_stable_renews_a_baseline", what_is_stable_renews_a_baseline),
    ("what_became_worse_is_not_taken_in", what_became_worse_is_not_taken_in),
    (
        "two_who_change_a_baseline_at_once_do_not_undo_each_other",
        two_who_change_a_baseline_at_once_do_not_undo_each_other,
    ),
    ("incidents_open_and_close", incidents_open_and_close),
];

/// A run that was measured, as a record.
fn measured() -> Result<Value, Failed> {
    let source = Store::sqlite()?;
    source.bench("")?;
    Ok(source.records()?.remove(0))
}

/// Runs of as many commits, four a day up to an hour ago, whose p95 is so many microseconds; judged as good.
fn daily(of: &Value, values: &[f64]) -> Result<String, Failed> {
    let last = Timestamp::now() - SignedDuration::from_hours(1);
    let run = |(nth, value): (usize, &f64)| -> Result<String, Failed> {
        let mut record = of.clone();
        let before = SignedDuration::from_hours(6 * i64::try_from(values.len() - 1 - nth)?);
        let id = format!("run-{nth:03}");
        record["id"] = json!(id);
        record["started_at"] = json!((last - before).to_string());
        record["verdict"] = json!("pass");
        record["result"]["run_id"] = json!(id);
        record["commit"] =
            json!({ "hash": format!("{nth:040x}"), "subject": format!("Change {nth}"), "dirty": false });
        for figure in record["figures"].as_array_mut().into_iter().flatten() {
            // Of a run that takes less than a second nothing else is known either.
            if figure["metric"] == "latency_p95_us" && figure["operation"] == "" {
                figure["value"] = json!(value);
            }
        }
        Ok(record.to_string())
    };
    let lines = values.iter().enumerate().map(run).collect::<Result<Vec<_>, _>>()?;
    Ok(as_lines(lines.into_iter()))
}

/// About a level, as a saw of 2 %.
fn around(level: f64, count: usize) -> Vec<f64> {
    (0..count).map(|nth| level * (1.0 + [0.0, 0.01, 0.02, 0.005, 0.015][nth % 5])).collect()
}

fn import(store: &Store, text: &str) -> Result<Finished, Failed> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Finished::of(store.command("history import")?.arg(file.path()))?.expect(0)
}

/// A command with words that have spaces.
fn with(store: &Store, line: &str, reason: &str) -> Result<Command, Failed> {
    let mut command = store.command(line)?;
    command.args(["--reason", reason]);
    Ok(command)
}

fn shown(store: &Store, name: &str) -> Result<Value, Failed> {
    Ok(lines(&store.does(&format!("baseline show {name} --json"))?.stdout)?.remove(0))
}

/// As if a baseline had been made some days earlier.
fn age(store: &Store, days: i64) -> Result<(), Failed> {
    store.sql(&format!("UPDATE baseline_change SET at_us = at_us - {}", days * 86_400_000_000))
}

fn a_baseline_is_what_became_of_it(store: &mut Store) -> Result<(), Failed> {
    // A server's database is there before anybody asks for a history.
    let none = if store.is_postgres() { 0 } else { 2 };
    Finished::of(&mut store.command("baseline list")?)?.expect(none)?;
    import(store, &daily(&measured()?, &around(100.0, 12))?)?;
    assert_eq!(store.does("baseline list")?.stdout, "no baselines\n");
    let refused =
        Finished::of(&mut with(store, "baseline create main run-000 run-001", "first")?)?.expect(6)?;
    assert!(
        refused.one_line()?.contains("2 of 2 runs count, and a baseline is 5 at least"),
        "{}",
        refused.said()
    );
    let runs: Vec<String> = (0..6).map(|nth| format!("run-{nth:03}")).collect();
    for run in &runs {
        store.does(&format!("history label {run} good"))?;
    }
    let created = Finished::of(&mut with(store, "baseline create main good --author jane", "release 1.4")?)?;
    assert!(created.expect(0)?.stdout.starts_with("baseline main: 6 runs of environment "));
    let again = Finished::of(&mut with(store, "baseline create main good", "again")?)?.expect(2)?;
    assert!(again.one_line()?.contains("`promote` makes it of other runs"), "{}", again.said());
    let unsaid = Finished::of(&mut store.command("baseline create other good")?)?.expect(2)?;
    assert!(unsaid.stderr.contains("--reason"), "every change has a reason: {}", unsaid.said());

    let main = shown(store, "main")?;
    assert_eq!((&main["runs"], &main["named_runs"]), (&json!(runs), &json!(runs)));
    assert_eq!(
        (&main["changes"][0]["author"], &main["changes"][0]["reason"]),
        (&json!("jane"), &json!("release 1.4"))
    );
    assert_eq!(main["renewal"]["state"], "not-before");
    let p95 =
        main["figures"].as_array().ok_or("no figures")?.iter().find(|of| of["metric"] == "latency_p95_us");
    assert_eq!(p95.map(|of| &of["median"]), Some(&json!(100.75)));

    // What comes later is held against it, by its name.
    let sides = Finished::of(&mut store.command("compare baseline:main run-011 --metric latency_p95_us")?)?
        .expect(0)?;
    assert!(sides.stdout.contains("baseline:main"), "{}", sides.said());
    for (line, words) in [
        ("compare baseline:mian run-011", "baseline:mian: no such run"),
        ("baseline show mian", "did you mean \"main\"?"),
        ("history label run-000 baseline:main", "a label is a word"),
    ] {
        let refused = Finished::of(&mut store.command(line)?)?.expect(2)?;
        assert!(refused.stderr.contains(words), "{}", refused.said());
    }

    Finished::of(&mut with(store, "baseline pin main", "frozen for the release")?)?.expect(0)?;
    let twice = Finished::of(&mut with(store, "baseline pin main", "frozen")?)?.expect(2)?;
    assert!(twice.one_line()?.contains("pinned already"), "{}", twice.said());
    assert!(store.does("baseline list")?.stdout.contains("it is pinned"));
    Finished::of(&mut with(store, "baseline unpin main", "released")?)?.expect(0)?;
    let newer: Vec<String> = (6..12).map(|nth| format!("run-{nth:03}")).collect();
    let promote = format!("baseline promote main {}", newer.join(" "));
    Finished::of(&mut with(store, &promote, "a faster kernel path")?)?.expect(0)?;
    let main = shown(store, "main")?;
    assert_eq!(main["runs"], json!(newer));
    let kinds: Vec<&Value> =
        main["changes"].as_array().ok_or("no changes")?.iter().map(|of| &of["kind"]).collect();
    assert_eq!(kinds, ["create", "pin", "unpin", "promote"]);
    let words = store.does("baseline show main")?.stdout;
    assert!(words.contains("promote by ") && words.contains(", 6 runs: a faster kernel path"), "{words}");

    // What it consists of is not pruned.
    let pruned = store.does("history prune --before 2099-01-01")?;
    assert_eq!(pruned.stdout, "taken out: 6 runs; 6 runs of baselines stay\n");
    assert_eq!(store.records()?.len(), 6);
    Ok(())
}

fn baseline_of_first_eight(store: &Store) -> Result<(), Failed> {
    let runs: Vec<String> = (0..8).map(|nth| format!("run-{nth:03}")).collect();
    Finished::of(&mut with(store, &format!("baseline create main {}", runs.join(" ")), "begin")?)?
        .expect(0)?;
    Ok(())
}

fn what_is_stable_renews_a_baseline(store: &mut Store) -> Result<(), Failed> {
    let record = measured()?;
    let values = around(100.0, 48);
    let all = daily(&record, &values)?;
    let but_the_last: String = as_lines(all.lines().take(47).map(str::to_owned));
    import(store, &but_the_last)?;
    baseline_of_first_eight(store)?;
    assert_eq!(shown(store, "main")?["renewal"]["state"], "not-before");
    age(store, 8)?;
    assert_eq!(shown(store, "main")?["renewal"]["state"], "due");
    let imported = import(store, &all)?;
    assert!(imported.stdout.contains("renewed: baseline main, of "), "{}", imported.said());
    let main = shown(store, "main")?;
    assert_eq!(main["changes"][1]["kind"], "renew");
    assert!(
        main["changes"][1]["author"].as_str().is_some_and(|author| author.starts_with("qdiscope ")),
        "{main}"
    );
    let runs: BTreeSet<&str> =
        main["runs"].as_array().ok_or("no runs")?.iter().filter_map(Value::as_str).collect();
    assert!(runs.contains("run-047") && !runs.contains("run-010") && runs.len() >= 20, "{runs:?}");
    assert_eq!(main["named_runs"].as_array().map(Vec::len), Some(8));
    // It has just been.
    assert_eq!(main["renewal"]["state"], "not-before");
    // A run of another environment, measured now, is kept and changes nothing.
    let kept = store.bench("")?;
    assert!(!kept.stdout.contains("renewed"), "{}", kept.said());
    Ok(())
}

fn what_became_worse_is_not_taken_in(store: &mut Store) -> Result<(), Failed> {
    let record = measured()?;
    let values = [around(100.0, 20), around(120.0, 28)].concat();
    import(store, &daily(&record, &values)?)?;
    baseline_of_first_eight(store)?;
    age(store, 8)?;
    let held = |store: &Store| -> Result<String, Failed> {
        let main = shown(store, "main")?;
        assert_eq!(
            (&main["renewal"]["state"], main["runs"].as_array().map(Vec::len)),
            (&json!("held"), Some(8))
        );
        Ok(main["renewal"]["reasons"].to_string())
    };
    let reasons = held(store)?;
    assert!(reasons.contains("an open regression, with 000000000 \\\"Change 20\\\""), "{reasons}");
    // A drift of which no week shows more than a little.
    let drifting: Vec<f64> = around(100.0, 48)
        .iter()
        .zip(0_u32..)
        .map(|(value, nth)| value * (1.0 + 0.003 * f64::from(nth)))
        .collect();
    let mut other = if store.is_postgres() { Store::postgres()? } else { Store::sqlite()? };
    let other = &mut other;
    import(other, &daily(&record, &drifting)?)?;
    baseline_of_first_eight(other)?;
    age(other, 8)?;
    let reasons = held(other)?;
    assert!(
        reasons.contains("drift") || reasons.contains("worse than the runs that a person named"),
        "{reasons}"
    );
    // Runs that are inconclusive say nothing.
    let mut silent = Store::sqlite()?;
    let text = daily(&record, &around(100.0, 48))?;
    let lines = text.lines().enumerate().map(|(nth, line)| match nth {
        0..8 => line.to_owned(),
        _ => line.replace("\"verdict\":\"pass\"", "\"verdict\":\"inconclusive\""),
    });
    let silent = &mut silent;
    import(silent, &as_lines(lines))?;
    baseline_of_first_eight(silent)?;
    age(silent, 8)?;
    let reasons = held(silent)?;
    assert!(reasons.contains("0 runs of the last 7 days count"), "{reasons}");
    Ok(())
}

fn two_who_change_a_baseline_at_once_do_not_undo_each_other(store: &mut Store) -> Result<(), Failed> {
    import(store, &daily(&measured()?, &around(100.0, 12))?)?;
    baseline_of_first_eight(store)?;
    let mut running = Vec::new();
    for person in 0..6 {
        let mut command =
            with(store, "baseline promote main run-004 run-005 run-006 run-007 run-008", "at once")?;
        command.args(["--author", &format!("person {person}")]);
        running.push(crate::qdiscope::Running::start(&mut command)?);
    }
    let mut done = 0;
    for one in running {
        let finished = one.finish()?;
        match finished.code {
            0 => done += 1,
            2 => assert!(
                finished.one_line()?.contains("somebody else has changed it just now"),
                "{}",
                finished.said()
            ),
            _ => return Err(finished.said().into()),
        }
    }
    let changes = shown(store, "main")?["changes"].as_array().map_or(0, Vec::len);
    assert!(done >= 1 && changes == 1 + done, "{done} done, {changes} changes");
    Ok(())
}

fn incidents_open_and_close(store: &mut Store) -> Result<(), Failed> {
    let values = [around(100.0, 20), around(130.0, 16), around(100.0, 20), around(140.0, 16)].concat();
    import(store, &daily(&measured()?, &values)?)?;
    let document = lines(&store.does("incidents --json")?.stdout)?.remove(0);
    let incidents = document["incidents"].as_array().ok_or("no incidents")?;
    assert_eq!(incidents.len(), 2, "{document}");
    let of = |nth: usize, path: &str| incidents[nth].pointer(path).cloned().unwrap_or_default();
    assert_eq!(
        (of(0, "/opened/subject"), of(0, "/over"), of(0, "/fixed/subject")),
        (json!("Change 20"), json!(true), json!("Change 36"))
    );
    assert_eq!(
        (of(1, "/opened/subject"), of(1, "/over"), of(1, "/fixed")),
        (json!("Change 56"), json!(false), Value::Null)
    );
    // Four runs a day, and some runs until it is told.
    let seconds = of(0, "/detected_after_s").as_i64().ok_or("not detected")?;
    assert!((2 * 6 * 3_600..=10 * 6 * 3_600).contains(&seconds), "{seconds}");
    assert!(of(0, "/resolved_after_s").as_i64().is_some_and(|seconds| seconds > 0));
    assert_eq!((&document["process"]["incidents"], &document["process"]["open"]), (&json!(2), &json!(1)));
    assert_eq!(document["process"]["changes"], json!(71));
    let words = store.does("incidents")?.stdout;
    for part in [
        "Change 20",
        "over",
        "open",
        "regression rate:  2.8 % (2 of 71 changes)",
        "detection time:   ",
        "resolution time:  ",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    Ok(())
}
