//! `qdiscope history`, and what `bench` keeps there. What holds for one database holds for both: each test of [`BOTH`] is run with a file and with a
//! server of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mounts::{self, Tmpfs};
use crate::postgres::Server;
use crate::qdiscope::{Finished, QUICK, Running, qdiscope};

/// A history that nobody else uses, and a home of its own beside it.
pub(crate) struct Store {
    home: TempDir,
    server: Option<Server>,
}

pub(crate) type Suite = &'static [(&'static str, fn(&mut Store) -> Result<(), Failed>)];

/// What both databases do alike.
pub(crate) const BOTH: Suite = &[
    ("a_run_is_kept_and_found_by_all_its_names", a_run_is_kept_and_found_by_all_its_names),
    ("what_is_exported_comes_back_the_same", what_is_exported_comes_back_the_same),
    ("many_write_at_once", many_write_at_once),
    ("what_is_pruned_is_gone", what_is_pruned_is_gone),
    (
        "a_step_is_named_by_its_commits_and_a_drift_is_told",
        a_step_is_named_by_its_commits_and_a_drift_is_told,
    ),
    ("a_newer_one_is_refused", a_newer_one_is_refused),
];

impl Store {
    pub(crate) fn sqlite() -> Result<Self, Failed> {
        Ok(Self { home: tempfile::tempdir()?, server: None })
    }

    pub(crate) fn postgres() -> Result<Self, Failed> {
        Ok(Self { home: tempfile::tempdir()?, server: Some(Server::start()?) })
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.server.is_some()
    }

    fn name(&self) -> String {
        match &self.server {
            None => self.file().display().to_string(),
            Some(server) => server.url(),
        }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("qdiscope/history.db")
    }

    /// A command that works with it.
    pub(crate) fn command(&self, line: &str) -> Result<Command, Failed> {
        let mut command = qdiscope(line)?;
        command.env("QDISCOPE_STORE", self.name()).env("XDG_STATE_HOME", self.home.path());
        Ok(command)
    }

    pub(crate) fn does(&self, line: &str) -> Result<Finished, Failed> {
        Finished::of(&mut self.command(line)?)?.expect(0)
    }

    /// A statement, past qdiscope.
    pub(crate) fn sql(&self, statement: &str) -> Result<(), Failed> {
        if let Some(server) = &self.server {
            return server.sql("perf", statement).map(drop);
        }
        let script =
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
        let status = Command::new("python3").args(["-c", script]).arg(self.file()).arg(statement).status()?;
        if status.success() { Ok(()) } else { Err(format!("{statement}: {status}").into()) }
    }

    /// A run that was measured, and is in it.
    pub(crate) fn bench(&self, more: &str) -> Result<Finished, Failed> {
        let out = tempfile::tempdir()?;
        let finished = Finished::of(self.command(&format!("{QUICK} {more}"))?.arg("--out").arg(out.path()))?;
        // A run of less than a second is inconclusive.
        finished.expect(6)
    }

    pub(crate) fn records(&self) -> Result<Vec<Value>, Failed> {
        lines(&self.does("history export")?.stdout)
    }
}

pub(crate) fn lines(text: &str) -> Result<Vec<Value>, Failed> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// So many runs, made of a measured one.
fn copies(of: &Value, numbers: std::ops::Range<u32>) -> String {
    let copy = |number| {
        let mut record = of.clone();
        record["id"] = json!(format!("copy-{number}"));
        record["started_at"] = json!(format!("2026-01-{:02}T00:00:00Z", 1 + number % 28));
        record.to_string()
    };
    as_lines(numbers.map(copy))
}

/// A line each.
pub(crate) fn as_lines(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

fn import(store: &Store, text: &str) -> Result<Finished, Failed> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Finished::of(store.command("history import")?.arg(file.path()))
}

fn a_run_is_kept_and_found_by_all_its_names(store: &mut Store) -> Result<(), Failed> {
    let kept = store.bench("--label nightly")?;
    assert!(kept.stdout.contains("\nkept:  "), "{}", kept.said());
    assert!(!kept.stderr.contains("history"), "nothing went wrong: {}", kept.said());
    let [record] = &store.records()?[..] else { return Err("not one run".into()) };
    let id = record["id"].as_str().ok_or("no id")?;
    assert_eq!(record["labels"], json!(["nightly"]));
    assert!(record["environment"]["facts"].as_array().is_some_and(|facts| facts.len() > 10), "{record}");
    assert_eq!(record["result"]["run_id"], id);
    // The operations of the whole run, as often as they were done.
    let operations: BTreeSet<_> = record["histograms"]
        .as_array()
        .ok_or("no histograms")?
        .iter()
        .filter_map(|of| of["operation"].as_str())
        .collect();
    assert!(operations.contains("class-change") && operations.contains("class-read"), "{operations:?}");
    let commit = record["commit"]["hash"].as_str().unwrap_or("none");
    for name in [id, "nightly", "latest"]
        .into_iter()
        .chain((commit != "none").then_some(&commit[..10.min(commit.len())]))
    {
        let shown = store.does(&format!("history show {name}"))?;
        assert!(
            shown.stdout.contains(&format!("run {id}")) && shown.stdout.contains("verdict"),
            "{}",
            shown.said()
        );
    }
    store.does(&format!("history label {id} release"))?;
    let listed = lines(&store.does("history list --json --label release")?.stdout)?;
    assert_eq!((listed.len(), &listed[0]["labels"]), (1, &json!(["nightly", "release"])));
    let table = store.does("history list")?.stdout;
    assert!(table.contains(id) && table.contains("nightly, release"), "{table}");
    assert!(store.does("history list --since 2h")?.stdout.contains(id));
    assert_eq!(store.does("history list --label other")?.stdout, "no such runs\n");
    assert!(store.does("history check")?.stdout.contains("whole: 1 runs"));
    let missing = Finished::of(&mut store.command("history show release-2")?)?.expect(2)?;
    assert!(missing.one_line()?.contains("no run, label or commit"), "{}", missing.said());
    Ok(())
}

fn what_is_exported_comes_back_the_same(store: &mut Store) -> Result<(), Failed> {
    store.bench("--label first")?;
    let one = store.does("history export")?.stdout;
    let again = import(store, &one)?.expect(0)?;
    assert!(again.stdout.contains("imported: 0 runs; 1 were there already"), "{}", again.said());
    let other = Store::sqlite()?;
    assert!(import(&other, &one)?.expect(0)?.stdout.contains("imported: 1 run\n"));
    assert_eq!(other.does("history export")?.stdout, one, "byte for byte");
    // What is damaged adds nothing, not even its whole lines.
    let half = format!("{}{}", copies(&lines(&one)?[0], 0..1), &one[..one.len() / 2]);
    let refused = import(store, &half)?.expect(2)?;
    assert!(refused.one_line()?.contains("line 2"), "{}", refused.said());
    assert_eq!(store.records()?.len(), 1);

    let csv = store.does("history export --format csv")?.stdout;
    let p95 =
        csv.lines().find(|line| line.contains(",latency_p95_us,") && line.contains(",,")).ok_or("no p95")?;
    let value: f64 = p95.rsplit(',').next().unwrap_or_default().parse()?;
    let record = &lines(&one)?[0];
    let kept = record["result"]["workloads"][0]["latency_all_us"]["p95"].as_f64();
    assert_eq!(kept, Some(value), "{p95}");
    let text = store.does("history export --format prometheus")?.stdout;
    let line = text
        .lines()
        .find(|line| line.starts_with("qdiscope_latency_p95_us{") && !line.contains("operation="))
        .ok_or_else(|| format!("no gauge: {text}"))?;
    assert_eq!(line.rsplit(' ').next().and_then(|value| value.parse().ok()), kept, "{line}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("runs.jsonl");
    Finished::of(store.command("history export --out")?.arg(&file))?.expect(0)?;
    assert_eq!(fs::read_to_string(&file)?, one);
    Ok(())
}

/// The first of them begins the history, too.
fn many_write_at_once(store: &mut Store) -> Result<(), Failed> {
    const WRITERS: u32 = 6;
    const EACH: u32 = 5;
    let source = Store::sqlite()?;
    source.bench("")?;
    let [record] = &source.records()?[..] else { return Err("not one run".into()) };
    let mut files = Vec::new();
    for writer in 0..WRITERS {
        let mut file = tempfile::NamedTempFile::new()?;
        // All of them have the first run, too.
        let mine = writer * EACH + 1..(writer + 1) * EACH + 1;
        file.write_all((copies(record, 0..1) + &copies(record, mine)).as_bytes())?;
        files.push(file);
    }
    let mut running = Vec::new();
    for file in &files {
        running.push(Running::start(store.command("history import")?.arg(file.path()))?);
    }
    let mut new = 0;
    for writer in running {
        let finished = writer.finish()?.expect(0)?;
        let imported = finished.stdout.strip_prefix("imported: ").and_then(|rest| rest.split(' ').next());
        new += imported.ok_or_else(|| finished.said())?.parse::<u32>()?;
    }
    let all = WRITERS * EACH + 1;
    assert_eq!(new, all, "the run that all have is new once");
    let records = store.records()?;
    assert_eq!(records.len(), all as usize);
    assert!(records.iter().all(|of| of["figures"] == record["figures"]), "each is whole");
    store.does("history check")?;
    Ok(())
}

fn what_is_pruned_is_gone(store: &mut Store) -> Result<(), Failed> {
    store.bench("")?;
    let record = store.records()?.remove(0);
    import(store, &copies(&record, 0..4))?.expect(0)?;
    store.does("history label copy-0 keep")?;
    let would = store.does("history prune --before 2026-02-01 --keep-labelled --dry-run")?;
    assert!(would.stdout.ends_with("would be taken out: 3 runs\n"), "{}", would.said());
    assert_eq!(store.records()?.len(), 5);
    store.does("history prune --before 2026-02-01 --keep-labelled")?;
    let left: BTreeSet<String> =
        store.records()?.iter().filter_map(|of| of["id"].as_str().map(str::to_owned)).collect();
    let id = record["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(left, BTreeSet::from(["copy-0".to_owned(), id.clone()]));
    store.does(&format!("history prune copy-0 {id}"))?;
    assert!(store.records()?.is_empty());
    assert_eq!(store.does("history list")?.stdout, "no such runs\n");
    for table in ["figure", "label", "histogram", "document", "series", "environment"] {
        // A row that was left would be found twice: by a constraint that there be none.
        store.sql(&format!("CREATE TABLE empty_{table} (x BIGINT CHECK (x < 0))"))?;
        store.sql(&format!("INSERT INTO empty_{table} SELECT 1 FROM {table}"))?;
    }
    Ok(())
}

/// Forty runs of forty commits, whose p95 is so many times that of a measured run.
fn forty(of: &Value, happens: impl Fn(u32) -> f64) -> String {
    let run = |nth: u32| {
        let mut record = of.clone();
        record["id"] = json!(format!("run-{nth}"));
        record["started_at"] = json!(format!("2026-{:02}-{:02}T00:00:00Z", 1 + nth / 28, 1 + nth % 28));
        record["commit"] =
            json!({ "hash": format!("{nth:040x}"), "subject": format!("Change {nth}"), "dirty": false });
        // A saw, so that values vary.
        let factor = happens(nth) * (1.0 + f64::from(nth * 7 % 5) / 100.0);
        for figure in record["figures"].as_array_mut().into_iter().flatten() {
            if figure["metric"] == "latency_p95_us" && figure["operation"] == "" {
                figure["value"] = json!(100.0 * factor);
            }
        }
        record.to_string()
    };
    as_lines((0..40).map(run))
}

fn a_step_is_named_by_its_commits_and_a_drift_is_told(store: &mut Store) -> Result<(), Failed> {
    let source = Store::sqlite()?;
    source.bench("")?;
    let record = source.records()?.remove(0);
    let step = |nth| if nth < 25 { 1.0 } else { 1.2 };
    import(store, &forty(&record, step))?.expect(0)?;
    let trend = &lines(&store.does("history list --json -n 1")?.stdout)?[0];
    assert_eq!(trend["id"], "run-39");
    let trend = &lines(&store.does("trend latency_p95_us --json")?.stdout)?[0];
    assert_eq!(trend["values"].as_array().map(Vec::len), Some(40));
    assert_eq!(trend["steps"].as_array().map(Vec::len), Some(1), "{trend}");
    let found = &trend["steps"][0];
    assert_eq!((&found["at"], &found["worse"], &found["over"]), (&json!(25), &json!(true), &json!(false)));
    assert_eq!(
        (&found["last_before"]["subject"], &found["first_after"]["subject"]),
        (&json!("Change 24"), &json!("Change 25"))
    );
    assert_eq!(trend["drift"], Value::Null);
    let told = store.does("regressions")?.stdout;
    let line = told.lines().find(|line| line.contains("Change 25")).ok_or_else(|| told.clone())?;
    assert!(line.contains("latency_p95_us") && line.contains("open") && line.contains("+20.0 %"), "{line}");
    let failing = Finished::of(&mut store.command("regressions --fail-on-regression")?)?.expect(5)?;
    assert_eq!(failing.stdout, told);
    // A part of the history, in which nothing happens.
    assert!(
        store
            .does("regressions --since 2026-01-28 --fail-on-regression")?
            .stdout
            .starts_with("no regression in ")
    );

    let svg = store.home.path().join("trend.svg");
    let shown = Finished::of(store.command("trend latency_p95_us --svg")?.arg(&svg))?.expect(0)?;
    assert!(shown.stdout.contains("worse: +") && shown.stdout.contains("z-score"), "{}", shown.said());
    let picture = fs::read_to_string(svg)?;
    assert!(picture.matches("<circle").count() == 40 && picture.contains("Change 25"), "{picture}");
    for (line, words) in [
        ("trend latency_p95_ms", "did you mean \"latency_p95_us\"?"),
        ("trend latency_p95_us --workload none", "no workload of this history"),
        ("trend latency_p95_us --operation class-move", "no operation of this history"),
        ("regressions --metric latency_p95_ms", "no metric of this history"),
    ] {
        let refused = Finished::of(&mut store.command(line)?)?.expect(2)?;
        assert!(refused.one_line()?.contains(words), "{}", refused.said());
    }
    // Two sides by the names that the history knows.
    store.does("history label run-0 old")?;
    let sides = Finished::of(&mut store.command("compare old run-39 --metric latency_p95_us")?)?.expect(0)?;
    assert!(sides.stdout.contains("old") && sides.stdout.contains("run-39"), "{}", sides.said());
    let missing = Finished::of(&mut store.command("compare old older")?)?.expect(2)?;
    assert!(missing.one_line()?.contains("older: no such run"), "{}", missing.said());

    let ids: Vec<String> = (0..40).map(|nth| format!("run-{nth}")).collect();
    store.does(&format!("history prune {}", ids.join(" ")))?;
    let drift = |nth| 1.0 + f64::from(nth) / 39.0 * 0.4;
    import(store, &forty(&record, drift))?.expect(0)?;
    let trend = &lines(&store.does("trend latency_p95_us --json")?.stdout)?[0];
    let change = trend["drift"]["change"].as_f64().ok_or_else(|| format!("no drift: {trend}"))?;
    assert!((0.3..0.5).contains(&change) && trend["steps"].as_array().is_some_and(Vec::is_empty), "{trend}");
    assert!(store.does("regressions")?.stdout.contains("drifts over 40 runs"));
    Ok(())
}

fn a_newer_one_is_refused(store: &mut Store) -> Result<(), Failed> {
    store.bench("")?;
    let digest = if store.server.is_some() { "''::bytea" } else { "x''" };
    store.sql(&format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', true, {digest}, 0)"
    ))?;
    for line in ["history list", "history check"] {
        let refused = Finished::of(&mut store.command(line)?)?.expect(3)?;
        let said = refused.one_line()?;
        assert!(said.contains("version 99") && said.contains("newer qdiscope"), "{said}");
    }
    // The run counts, whatever becomes of the history.
    let out = tempfile::tempdir()?;
    let run = Finished::of(store.command(QUICK)?.arg("--out").arg(out.path()))?.expect(6)?;
    assert!(
        run.stderr.contains("not in the history") && run.stderr.contains("it waits in"),
        "{}",
        run.said()
    );
    Ok(())
}

/// The server ends while the run is measured. Nothing is lost, and nothing waits for longer than it must.
pub(crate) fn a_server_that_stops_gets_the_run_later() -> Result<(), Failed> {
    let mut store = Store::postgres()?;
    store.bench("--label before")?;
    let out = tempfile::tempdir()?;
    let mut run = Running::start(
        store
            .command("bench --workload lifecycle --population 100 --devices 2 --workers 2 --duration 2s --label during --out")?
            .arg(out.path()),
    )?;
    run.hear("lifecycle (closed)")?;
    store.server.as_mut().ok_or("no server")?.stop()?;
    let finished = run.finish()?.expect(0)?;
    assert!(finished.stderr.contains("it waits in"), "{}", finished.said());
    assert!(!finished.stderr.contains("secret") && !finished.stdout.contains("kept:"), "{}", finished.said());
    let refused = Finished::of(&mut store.command("history list")?)?.expect(3)?;
    assert!(refused.one_line()?.contains("cannot open it"), "{}", refused.said());
    store.server.as_mut().ok_or("no server")?.begin()?;
    assert_eq!(store.records()?.len(), 1);
    let next = store.bench("--label after")?;
    assert!(next.stdout.contains(", with 1 that had waited"), "{}", next.said());
    let labels: Vec<_> = store.records()?.iter().map(|record| record["labels"][0].clone()).collect();
    assert_eq!(
        labels,
        [json!("before"), json!("during"), json!("after")],
        "in the order of their beginnings"
    );
    assert_eq!(store.does("history send")?.stdout, "sent: 0 runs\n");
    Ok(())
}

/// A run's own network namespace has no way out, and is left for the server's answer all the same.
pub(crate) fn a_server_is_reached_from_where_the_run_was_started() -> Result<(), Failed> {
    support::run("ip link set lo up")?;
    let store = Store::postgres()?;
    let url = store.server.as_ref().ok_or("no server")?.tcp_url();
    let out = tempfile::tempdir()?;
    let run = Finished::of(store.command(QUICK)?.env("QDISCOPE_STORE", &url).arg("--out").arg(out.path()))?
        .expect(6)?;
    assert!(
        run.stdout.contains("kept:  postgres://127.0.0.1:") && !run.stdout.contains("secret"),
        "{}",
        run.said()
    );
    assert_eq!(store.records()?.len(), 1);
    // What is wrong with an address is told without the password in it.
    for (wrong, word) in [
        (url.replace("/perf", "/other"), "does not exist"),
        ("mysql://u:secret@h/d".into(), "no kind of history"),
    ] {
        let refused = Finished::of(store.command("history list")?.env("QDISCOPE_STORE", wrong))?;
        assert!(refused.code == 2 || refused.code == 3, "{}", refused.said());
        let line = refused.one_line()?;
        assert!(line.contains(word) && !line.contains("secret"), "{line}");
    }
    Ok(())
}

type Damage = fn(&Path) -> std::io::Result<()>;

pub(crate) fn damaged_files_are_told() -> Result<(), Failed> {
    let store = Store::sqlite()?;
    let missing = Finished::of(&mut store.command("history list")?)?.expect(2)?;
    assert!(missing.one_line()?.contains("no history yet"), "{}", missing.said());
    assert!(!store.file().exists(), "looking makes none");
    store.bench("")?;
    let whole = fs::read(store.file())?;
    let damage: [(&str, Damage); 3] = [
        ("no database", |path| fs::write(path, "no database, but long enough to be taken for one")),
        ("pages", |path| {
            let file = File::options().write(true).open(path)?;
            let length = file.metadata()?.len();
            // Everything behind the first page, which has the tables' names.
            file.write_all_at(&vec![0xA5; usize::try_from(length - 4096).unwrap_or(0)], 4096)
        }),
        ("half", |path| File::options().write(true).open(path)?.set_len(4096 * 2)),
    ];
    for (what, damage) in damage {
        for log in ["history.db-wal", "history.db-shm"] {
            let _ = fs::remove_file(store.file().with_file_name(log));
        }
        fs::write(store.file(), &whole)?;
        store.does("history check")?;
        damage(&store.file())?;
        let checked = Finished::of(&mut store.command("history check")?)?.expect(3)?;
        assert!(checked.one_line()?.contains("history.db: "), "{what}: {}", checked.said());
        let run = store.bench("")?;
        assert!(run.stderr.contains("it waits in"), "{what}: {}", run.said());
    }
    Ok(())
}

pub(crate) fn where_nothing_can_be_written_the_run_waits_or_is_named() -> Result<(), Failed> {
    mounts::enter()?;
    let store = Store::sqlite()?;
    store.bench("--label first")?;
    // The history's disk is full; the state folder is another's.
    let full = tempfile::tempdir()?;
    let state = tempfile::tempdir()?;
    let disk = Tmpfs::mount(full.path(), "size=400k")?;
    let named = full.path().join("history.db").display().to_string();
    let out = tempfile::tempdir()?;
    let on_full_disk = |label: &str| -> Result<Finished, Failed> {
        let mut command = store.command(&format!("{QUICK} --label {label} --out"))?;
        command.arg(out.path()).env("QDISCOPE_STORE", &named).env("XDG_STATE_HOME", state.path());
        Finished::of(&mut command)?.expect(6)
    };
    let mut said = String::new();
    for run in 0..20 {
        said = on_full_disk(&format!("run-{run}"))?.stderr;
        if said.contains("history") {
            break;
        }
    }
    assert!(said.contains("disk is full") && said.contains("it waits in"), "{said}");
    // What was there is whole; what waits is sent when there is room.
    let check = |line: &str| {
        Finished::of(store.command(line)?.env("QDISCOPE_STORE", &named).env("XDG_STATE_HOME", state.path()))?
            .expect(0)
    };
    check("history check")?;
    support::run(&format!("mount -o remount,size=64m {}", full.path().display()))?;
    assert_eq!(check("history send")?.stdout, "sent: 1 run\n");
    drop(disk);

    // Neither can be written: the run is in its folder, and the line says how it gets into a history.
    let folder = store.file().parent().ok_or("no folder")?.to_owned();
    support::run(&format!("mount --bind {0} {0}", folder.display()))?;
    support::run(&format!("mount -o remount,ro,bind {}", folder.display()))?;
    let shown = store.does("history list --json")?;
    assert_eq!(lines(&shown.stdout)?.len(), 1, "it can be read all the same");
    let out = tempfile::tempdir()?;
    let run = Finished::of(store.command(QUICK)?.arg("--out").arg(out.path()))?.expect(6)?;
    assert!(run.stderr.contains("in no history") && run.stderr.contains("history import"), "{}", run.said());
    support::run(&format!("umount {}", folder.display()))?;
    Finished::of(store.command("history import")?.arg(out.path()))?.expect(0)?;
    assert_eq!(store.records()?.len(), 2);
    Ok(())
}

pub(crate) fn nobody_has_to_keep_anything() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let out = tempfile::tempdir()?;
    let none = Finished::of(
        qdiscope(&format!("{QUICK} --store none --out"))?.arg(out.path()).env("XDG_STATE_HOME", home.path()),
    )?;
    assert!(!none.expect(6)?.stdout.contains("kept:") && fs::read_dir(home.path())?.next().is_none());
    // By default it is the user's.
    let mut command = qdiscope(&format!("{QUICK} --out"))?;
    let own = Finished::of(
        command.arg(out.path()).env_remove("QDISCOPE_STORE").env("XDG_STATE_HOME", home.path()),
    )?;
    own.expect(6)?;
    assert!(home.path().join("qdiscope/history.db").is_file());
    // Without a home there is none, and the run counts.
    let mut command = qdiscope(&format!("{QUICK} --out"))?;
    command.arg(out.path()).env_remove("QDISCOPE_STORE").env_remove("XDG_STATE_HOME").env_remove("HOME");
    let homeless = Finished::of(&mut command)?.expect(6)?;
    assert!(homeless.stderr.contains("no home directory"), "{}", homeless.said());
    Ok(())
}
