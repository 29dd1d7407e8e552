//! What is written for CI, and the workflow that reads it.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::qdiscope::{Finished, QUICK, qdiscope};

/// A saved run that violates its budget.
fn violating(folder: &Path) -> Result<Finished, Failed> {
    let budget = folder.join("budget.toml");
    // Whoever else uses RTNL meanwhile excuses nothing here.
    fs::write(
        &budget,
        "schema_version = 1\nforeign_rtnl_percent = 100\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = 0.5\n",
    )?;
    let line = format!("{QUICK} --budget {} --out {}", budget.display(), folder.join("run").display());
    Finished::of(&mut qdiscope(&line)?)?.expect(4)
}

/// The same report from the run and from what was saved of it, in each format.
pub(crate) fn a_saved_run_is_reported_again() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let bench = violating(folder.path())?;
    let at = |name: &str| folder.path().join(name);
    let report = Finished::of(
        qdiscope("report --github")?
            .arg(at("run"))
            .args(["--junit".as_ref(), at("run.xml").as_os_str()])
            .args(["--markdown".as_ref(), at("run.md").as_os_str()])
            .args(["--benchmark-json".as_ref(), at("run.json").as_os_str()])
            .env("GITHUB_STEP_SUMMARY", at("summary.md")),
    )?
    .expect(0)?;
    let line = |text: &str| text.lines().find(|line| line.starts_with("fail: ")).map(str::to_owned);
    assert_eq!(line(&report.stdout), line(&bench.stdout), "{}", report.said());
    assert!(
        report.stdout.contains("::error title=latency_p95_us in lifecycle (closed)::critical: "),
        "{}",
        report.said()
    );
    let xml = fs::read_to_string(at("run.xml"))?;
    assert!(xml.contains("failures=\"1\"") && xml.contains("<failure"), "{xml}");
    let markdown = fs::read_to_string(at("run.md"))?;
    assert!(markdown.starts_with("### qdiscope bench: critical\n"), "{markdown}");
    assert_eq!(fs::read_to_string(at("summary.md"))?, markdown);
    for (name, figure) in [
        ("run.json", "lifecycle (closed): latency p95"),
        ("run.bigger.json", "lifecycle (closed): throughput"),
    ] {
        let entries: Vec<Value> = serde_json::from_str(&fs::read_to_string(at(name))?)?;
        let entry = entries.iter().find(|entry| entry["name"] == figure).ok_or("a figure is missing")?;
        assert!(entry["value"].as_f64().is_some_and(|value| value > 0.0), "{entry}");
    }
    // Quiet, and without a summary's file, there is nothing but what was asked for.
    let quiet = Finished::of(qdiscope("report --quiet")?.arg(at("run")).env_remove("GITHUB_STEP_SUMMARY"))?
        .expect(0)?;
    assert_eq!(quiet.stdout, "");
    Ok(())
}

pub(crate) fn what_cannot_be_written_is_told() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    violating(folder.path())?;
    let run = folder.path().join("run");
    for arguments in
        ["--junit /nonexistent/x.xml", "--markdown /dev/full", "--benchmark-json /nonexistent/x.json"]
    {
        let finished =
            Finished::of(qdiscope("report -q")?.arg(&run).args(arguments.split(' ')))?.expect(3)?;
        finished.one_line()?;
    }
    let summary =
        Finished::of(qdiscope("report -q --github")?.arg(&run).env("GITHUB_STEP_SUMMARY", "/dev/full"))?
            .expect(3)?;
    assert!(summary.one_line()?.contains("/dev/full"), "{}", summary.said());
    Finished::of(qdiscope("report")?.arg(folder.path()))?.expect(2)?.one_line()?;
    // Before the work, and not after it.
    let bench = Finished::of(&mut qdiscope(&format!("{QUICK} --junit /nonexistent/x.xml"))?)?.expect(3)?;
    assert!(bench.one_line()?.contains("/nonexistent"), "{}", bench.said());
    Ok(())
}

pub(crate) fn a_workflow_is_written_once() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("qdiscope.yml");
    let write = |arguments: &str| {
        Finished::of(qdiscope(&format!("generate github-workflow {arguments}"))?.arg("--out").arg(&file))
    };
    let printed = Finished::of(&mut qdiscope("generate github-workflow")?)?.expect(0)?.stdout;
    write("")?.expect(0)?;
    assert_eq!(fs::read_to_string(&file)?, printed);
    assert!(write("--vm")?.expect(3)?.one_line()?.contains("--force"));
    assert_eq!(fs::read_to_string(&file)?, printed);
    write("--vm --force")?.expect(0)?;
    assert!(fs::read_to_string(&file)?.contains("cargo xtask vm"));
    write("--vm --privileged --force")?.expect(2)?;
    write("--budget $(reboot) --force")?.expect(2)?;
    Ok(())
}
