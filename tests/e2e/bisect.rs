//! `qdiscope bisect`: real repositories, of which one commit is slow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compare::{measured, wait_for};
use crate::qdiscope::{Finished, Running, qdiscope};
use crate::schema;

/// What is fast, and what is slow.
const FAST: &str = "sleep 0.02\n";
const SLOW: &str = "sleep 0.06\n";

/// A file's content, and when it was changed: seconds, and nanoseconds.
type File = (Vec<u8>, i64, i64);

/// A repository, and beside it a folder for temporary files that nobody else uses.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Result<Self, Failed> {
        let scene = Self { folder: TempDir::new()? };
        fs::create_dir(scene.repository())?;
        fs::create_dir(scene.temporary())?;
        scene.git("init -q -b trunk")?;
        Ok(scene)
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("temporary")
    }

    fn git(&self, line: &str) -> Result<String, Failed> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Jane Doe",
                "-c",
                "user.email=jane@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(line.split(' '))
            .current_dir(self.repository())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stderr(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(format!("git {line}: {}", output.status).into())
    }

    /// A commit with these files, and its hash.
    fn commit(&self, name: &str, files: &[(&str, &str)]) -> Result<String, Failed> {
        for (file, text) in files {
            fs::write(self.repository().join(file), text)?;
        }
        self.git("add -A")?;
        self.git(&format!("commit -q --allow-empty -m {name}"))?;
        self.git("rev-parse HEAD")
    }

    /// So many commits, of which one, and all later ones, are slow; the hashes.
    fn line(&self, commits: usize, slow: usize) -> Result<Vec<String>, Failed> {
        let commit = |at: usize| {
            let work = if at >= slow { SLOW } else { FAST };
            self.commit(&format!("commit-{at}"), &[("work.sh", work), ("number", &at.to_string())])
        };
        (0..commits).map(commit).collect()
    }

    fn bisect(&self, good: &str, bad: &str, options: &[&str]) -> Result<Command, Failed> {
        let mut command = qdiscope("bisect --good")?;
        command
            .args([good, "--bad", bad])
            .args(options)
            .current_dir(self.repository())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("TMPDIR", self.temporary());
        Ok(command)
    }

    /// The document of a search that ends with this code.
    fn document(&self, good: &str, bad: &str, options: &[&str], code: i32) -> Result<Value, Failed> {
        let finished = Finished::of(self.bisect(good, bad, options)?.arg("--json"))?.expect(code)?;
        let document: Value = serde_json::from_str(&finished.stdout)
            .map_err(|error| format!("no document: {error}\n{}", finished.said()))?;
        schema::check_bisect(&document)?;
        assert_eq!(fs::read_dir(self.temporary())?.count(), 0, "nothing is left behind");
        Ok(document)
    }

    /// Everything in the repository: contents, and when it was changed.
    fn state(&self) -> Result<BTreeMap<PathBuf, File>, Failed> {
        let mut state = BTreeMap::new();
        let mut folders = vec![self.repository()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let of = path.symlink_metadata()?;
                let content = if of.is_dir() { Vec::new() } else { fs::read(&path)? };
                if of.is_dir() {
                    folders.push(path.clone());
                }
                state.insert(path, (content, of.mtime(), of.mtime_nsec()));
            }
        }
        Ok(state)
    }
}

fn hashes(commits: &Value) -> Vec<&str> {
    commits.as_array().into_iter().flatten().filter_map(|commit| commit["hash"].as_str()).collect()
}

fn tried(document: &Value) -> Vec<(&str, &str)> {
    let steps = document["steps"].as_array().into_iter().flatten();
    steps.filter_map(|step| Some((step["commit"]["hash"].as_str()?, step["verdict"].as_str()?))).collect()
}

pub(crate) fn the_commit_that_is_slow_is_found_and_nothing_is_touched() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(8, 5)?;
    // What is not committed plays no part, and where a hook says that git is to look does not, either.
    fs::write(scene.repository().join("work.sh"), "exit 1\n")?;
    fs::write(scene.repository().join("untracked"), "")?;
    let before = scene.state()?;
    let mut command = scene.bisect(&commits[0], "HEAD", &["sh work.sh", "--json"])?;
    command.env("GIT_DIR", "/nowhere").env("GIT_INDEX_FILE", "/nowhere/index");
    let finished = Finished::of(&mut command)?.expect(0)?;
    let document: Value = serde_json::from_str(&finished.stdout)?;
    schema::check_bisect(&document)?;
    assert!(scene.state()? == before, "the repository has been changed");
    assert!(scene.git("bisect log").is_err() && scene.git("worktree list")?.lines().count() == 1);
    assert_eq!(fs::read_dir(scene.temporary())?.count(), 0, "nothing is left behind");

    assert_eq!((&document["outcome"], &document["reason"]), (&json!("found"), &Value::Null));
    let first = &document["first_bad"];
    assert_eq!((&first["hash"], &first["subject"]), (&json!(commits[5]), &json!("commit-5")));
    assert_eq!((&first["author"], &document["before"]["hash"]), (&json!("Jane Doe"), &json!(commits[4])));
    let change = &document["change"];
    assert!(
        change["change_percent"].as_f64() > Some(60.0) && change["change_percent"].as_f64() < Some(250.0)
    );
    assert!(
        change["interval_percent"][0].as_f64() > Some(0.0) && document["share_percent"].as_f64() > Some(50.0)
    );
    assert_eq!((&document["commits"], &document["candidates"]), (&json!(7), &json!([])));
    for (hash, verdict) in tried(&document) {
        let at = commits.iter().position(|commit| commit == hash).ok_or("a commit of its own")?;
        assert_eq!(verdict, if at >= 5 { "bad" } else { "good" }, "commit {at}");
    }
    let steps = document["steps"].as_array().map_or(0, Vec::len);
    assert!((2..=3).contains(&steps), "{steps} steps for 7 commits");
    assert_eq!(
        finished.stderr.lines().filter(|line| line.starts_with("step ")).count(),
        steps,
        "{}",
        finished.stderr
    );
    assert!(document["runs"].as_u64() >= Some(20 * (steps as u64 + 2)), "{}", document["runs"]);
    Ok(())
}

pub(crate) fn people_read_the_answer_first() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(2, 1)?;
    let kept = scene.folder.path().join("kept");
    let keep = kept.to_string_lossy();
    let options = ["sh work.sh; test $(git rev-parse HEAD) = $QDISCOPE_COMMIT", "--keep", &keep];
    let finished = Finished::of(&mut scene.bisect("trunk^", "trunk", &options)?)?.expect(0)?;
    let first = format!("first bad commit: {}\n    commit-1\n    Jane Doe, ", commits[1]);
    assert!(finished.stdout.trim_start().starts_with(&first), "{}", finished.said());
    for part in [
        "    against its parent ",
        "% of the whole change",
        "wall_time_us of command from good to bad: +",
        "confidence 95 %\n\nverdict: found\n",
    ] {
        assert!(finished.stdout.contains(part), "{part}: {}", finished.said());
    }
    assert!(!finished.stdout.contains('\x1b'), "no colour where there is no terminal");
    for folder in ["endpoints/a/1", "endpoints/b/10", "confirmation/a/1"] {
        assert!(kept.join(folder).join("execution.json").is_file(), "{folder}");
    }
    let mixed = Finished::of(&mut scene.bisect("trunk^", "trunk", &options)?)?.expect(2)?;
    assert!(mixed.one_line()?.contains("it has runs already"), "{}", mixed.stderr);
    Ok(())
}

pub(crate) fn what_was_merged_is_found_or_its_merge() -> Result<(), Failed> {
    let scene = Scene::new()?;
    scene.commit("begin", &[("work.sh", FAST)])?;
    scene.git("checkout -q -b side")?;
    scene.commit("aside", &[("side", "1")])?;
    let slow = scene.commit("slow", &[("work.sh", SLOW)])?;
    scene.commit("aside-again", &[("side", "2")])?;
    scene.git("checkout -q trunk")?;
    scene.commit("meanwhile", &[("main", "1")])?;
    scene.git("merge -q --no-ff -m merge side")?;
    let merge = scene.git("rev-parse HEAD")?;
    scene.commit("after", &[("main", "2")])?;
    let good = scene.git("rev-list --max-parents=0 HEAD")?;
    let all = scene.document(&good, "HEAD", &["sh work.sh"], 0)?;
    assert_eq!(all["first_bad"]["hash"], json!(slow), "{all:#}");
    let first_parent = scene.document(&good, "HEAD", &["sh work.sh", "--first-parent"], 0)?;
    assert_eq!(first_parent["first_bad"]["hash"], json!(merge), "{first_parent:#}");
    // Only one commit between touches the script.
    let path = scene.document(&good, "HEAD", &["sh work.sh", "--path", "work.sh"], 0)?;
    assert_eq!((&path["first_bad"]["hash"], &path["commits"]), (&json!(slow), &json!(1)));
    Ok(())
}

pub(crate) fn what_cannot_be_built_is_skipped() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let builds = ("build.sh", "echo >>built; echo sleep 0.02 >made.sh\n");
    let begin = scene.commit("begin", &[builds, (".gitignore", "built\nmade.sh\n")])?;
    scene.commit("next", &[("number", "1")])?;
    let broken =
        scene.commit("broken", &[("build.sh", "echo compiling >&2; echo no compiler >&2; exit 7\n")])?;
    scene.commit("mended", &[builds])?;
    let slow = scene.commit(
        "slow",
        &[("build.sh", "echo >>built; echo sleep 0.06 >made.sh; touch litter; echo >>number\n")],
    )?;
    let options = ["test ! -e litter || test $(wc -l <number) -gt 0; sh made.sh", "--build", "sh build.sh"];
    let document = scene.document(&begin, "HEAD", &options, 0)?;
    assert_eq!(document["first_bad"]["hash"], json!(slow), "{document:#}");
    let skipped =
        document["steps"].as_array().into_iter().flatten().find(|step| step["verdict"] == "skipped");
    let skipped = skipped.ok_or("none was skipped")?;
    assert_eq!(skipped["commit"]["hash"], json!(broken));
    assert_eq!(skipped["reason"], "`sh build.sh` ended with 7: no compiler");
    // The slow one lies behind two that cannot be built.
    scene.commit("breaks", &[("build.sh", "exit 1\n")])?;
    scene.commit("slow-in-there", &[("build.sh", "exit 1 # slower\n")])?;
    scene.commit("builds", &[("build.sh", "echo sleep 0.18 >made.sh\n")])?;
    let several = scene.document(&slow, "HEAD", &options, 6)?;
    assert_eq!((&several["outcome"], &several["first_bad"]), (&json!("several"), &Value::Null));
    let expected: Vec<String> = scene.git("rev-list -3 HEAD")?.lines().map(str::to_owned).collect();
    assert_eq!(hashes(&several["candidates"]), expected, "{several:#}");
    let text = Finished::of(&mut scene.bisect(&slow, "HEAD", &options)?)?.expect(6)?.stdout;
    assert!(text.contains("in question:\n") && text.contains(" slow-in-there\n"), "{text}");
    assert!(text.ends_with("verdict: one of several: 3 commits that could not be told apart\n"), "{text}");
    Ok(())
}

/// Files that a build has left and git ignores are there for the next; what it has changed is not.
pub(crate) fn a_build_finds_its_cache_and_nothing_else() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let build = "test ! -e litter && test \"$(cat tracked)\" = as-committed || exit 9\n\
                 touch litter cache; echo changed >tracked; echo >>cache; echo $QDISCOPE_COMMIT >>LOG\n";
    let build = build.replace("LOG", &scene.folder.path().join("builds").to_string_lossy());
    let ignored = (".gitignore", "cache\n");
    scene.commit(
        "begin",
        &[("build.sh", &build), ignored, ("tracked", "as-committed\n"), ("work.sh", FAST)],
    )?;
    for at in 1..4 {
        scene.commit(&format!("next-{at}"), &[("number", &at.to_string())])?;
    }
    scene.commit("slow", &[("work.sh", SLOW)])?;
    let work = "sh work.sh; test $(wc -l <cache) -ge 1";
    let document = scene.document("HEAD~4", "HEAD", &[work, "--build", "sh build.sh"], 0)?;
    assert_eq!(document["first_bad"]["hash"], json!(scene.git("rev-parse HEAD")?));
    assert!(tried(&document).iter().all(|(_, verdict)| *verdict == "good"), "{document:#}");
    // Good once, bad once and again to be confirmed, those between, and the parent.
    let builds = fs::read_to_string(scene.folder.path().join("builds"))?.lines().count();
    assert_eq!(builds, tried(&document).len() + 4, "{document:#}");
    Ok(())
}

pub(crate) fn where_there_is_nothing_to_find_nothing_is_found() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(3, 9)?;
    let same = scene.document(&commits[0], "HEAD", &["sh work.sh", "--threshold", "40"], 6)?;
    assert_eq!((&same["outcome"], &same["first_bad"]), (&json!("no-regression"), &Value::Null));
    assert!(same["reason"].as_str().is_some_and(|reason| reason.contains("nothing to look for")), "{same:#}");
    assert!(same["whole"]["interval_percent"][1].as_f64() < Some(40.0), "{same:#}");
    scene.commit("faster", &[("work.sh", "sleep 0.005\n")])?;
    let faster = scene.document(&commits[0], "HEAD", &["sh work.sh"], 6)?;
    assert_eq!(faster["outcome"], "improvement", "{faster:#}");
    // One run a side proves nothing, however far apart they are.
    scene.commit("slow", &[("work.sh", SLOW)])?;
    let one = scene.document("HEAD^", "HEAD", &["sh work.sh", "--runs", "1", "--max-runs", "1"], 6)?;
    assert_eq!((&one["outcome"], &one["whole"]["interval_percent"]), (&json!("inconclusive"), &Value::Null));
    // The time is up after the first block.
    let late = scene.document(&commits[0], "HEAD", &["sh work.sh", "--max-time", "1ms"], 6)?;
    assert_eq!((&late["outcome"], hashes(&late["candidates"]).len()), (&json!("time-up"), 4), "{late:#}");
    Ok(())
}

/// Where each commit is a little slower none is to blame.
pub(crate) fn a_ramp_is_nobodys() -> Result<(), Failed> {
    let scene = Scene::new()?;
    for at in 0..6 {
        let work = format!("sleep 0.0{}\n", 2 + at);
        scene.commit(&format!("commit-{at}"), &[("work.sh", &work)])?;
    }
    let document = scene.document("HEAD~5", "HEAD", &["sh work.sh", "--max-runs", "20"], 6)?;
    assert!(document["outcome"] == "gradual" || document["outcome"] == "several", "{document:#}");
    assert!(document["reason"].is_string(), "{document:#}");
    Ok(())
}

pub(crate) fn what_cannot_be_searched_is_told_in_one_line() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(3, 1)?;
    scene.git("checkout -q -b side HEAD~2")?;
    scene.commit("aside", &[("side", "1")])?;
    let elsewhere = scene.temporary().to_string_lossy().into_owned();
    let nowhere = scene.folder.path().join("none").to_string_lossy().into_owned();
    let work = "sh work.sh";
    for (good, bad, options, code, words) in [
        ("trunk", "side", &[work][..], 2, "is no ancestor of bad"),
        ("trunk", &commits[0], &[work], 2, "the other way round"),
        ("trunk", "trunk", &[work], 2, "are the same commit"),
        ("v1", "trunk", &[work], 2, "--good v1: no such commit"),
        ("--upload-pack=x", "trunk", &[work], 2, "no such commit"),
        ("trunk^", "trunk", &[work, "--repository", &elsewhere], 2, "not in a git repository"),
        ("trunk^", "trunk", &[work, "--repository", &nowhere], 2, "no such folder"),
        ("trunk^", "trunk", &[work, "--path", "nothing"], 2, "touches nothing"),
        ("trunk^", "trunk", &[work, "--metric", "latency_p95_ms"], 2, "did you mean `latency_p95_us`?"),
        ("trunk^", "trunk", &[work, "--metric", "latency_p95_us"], 2, "have no such metric"),
        ("trunk^", "trunk", &[work, "--workload", "lifecycle"], 2, "Name one by --workload: `command`"),
        ("trunk^", "trunk", &["echo what >&2; exit 5"], 3, "ended with 5: what"),
        ("trunk^", "trunk", &[work, "--build", "exit 4"], 3, "`exit 4` ended with 4"),
    ] {
        let finished = Finished::of(&mut scene.bisect(good, bad, options)?)?.expect(code)?;
        let line = finished.one_line()?;
        assert!(line.contains(words) && finished.stdout.is_empty(), "{words}: {}", finished.said());
    }
    let away = Finished::of(scene.bisect("trunk^", "trunk", &[work])?.env("TMPDIR", &nowhere))?.expect(3)?;
    assert!(away.one_line()?.contains("let TMPDIR name another folder"), "{}", away.stderr);
    let no_git =
        Finished::of(scene.bisect("trunk^", "trunk", &[work])?.env("PATH", &elsewhere))?.expect(3)?;
    assert!(no_git.one_line()?.contains("git cannot be started"), "{}", no_git.stderr);
    // A clone that does not reach as far says so.
    let url = format!("file://{}", scene.repository().display());
    scene.git(&format!("clone -q --depth 1 --branch trunk {url} {nowhere}"))?;
    let shallow = ["sh work.sh", "--repository", &nowhere];
    let finished = Finished::of(&mut scene.bisect(&commits[0], "HEAD", &shallow)?)?.expect(2)?;
    assert!(finished.one_line()?.contains("this clone is shallow"), "{}", finished.stderr);
    Ok(())
}

pub(crate) fn interrupting_says_what_remains() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(6, 4)?;
    let before = scene.state()?;
    // The first commit between takes long.
    let work = format!(
        "sh work.sh; case $QDISCOPE_COMMIT in {}|{}) ;; *) sleep 86543 ;; esac",
        commits[0], commits[5]
    );
    let mut running = Running::start(scene.bisect(&commits[0], &commits[5], &[&work])?.arg("--json"))?;
    running.hear("good ")?;
    wait_for("86543", true)?;
    running.signal(Signal::SIGINT)?;
    let finished = running.finish()?.expect(130)?;
    let document: Value = serde_json::from_str(&finished.stdout)?;
    schema::check_bisect(&document)?;
    assert_eq!(
        (&document["outcome"], &document["reason"]),
        (&json!("interrupted"), &json!("5 commits remain in question"))
    );
    assert_eq!(hashes(&document["candidates"]).len(), 5);
    assert!(
        document["whole"]["change_percent"].as_f64() > Some(30.0),
        "what was measured is told: {document:#}"
    );
    wait_for("86543", false)?;
    assert!(scene.state()? == before && fs::read_dir(scene.temporary())?.count() == 0);
    Ok(())
}

/// Of a build, too.
pub(crate) fn killing_it_leaves_a_folder_that_the_next_removes() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let commits = scene.line(2, 1)?;
    let before = scene.state()?;
    let build = ["true", "--build", "sh -c 'sleep 76543; true' & sleep 76543; true"];
    let running = Running::start(&mut scene.bisect(&commits[0], "HEAD", &build)?)?;
    wait_for("76543", true)?;
    running.signal(Signal::SIGKILL)?;
    assert_eq!(running.finish()?.code, 137);
    wait_for("76543", false)?;
    assert!(scene.state()? == before, "the repository has been changed");
    let left: Vec<_> = fs::read_dir(scene.temporary())?.collect::<Result<_, _>>()?;
    assert!(
        left.len() == 1 && left[0].file_name().to_string_lossy().starts_with("qdiscope-bisect-"),
        "{left:?}"
    );
    // Another that is at work keeps its own.
    let waits = ["true", "--build", "sleep 65432"];
    let other = Running::start(&mut scene.bisect(&commits[0], "HEAD", &waits)?)?;
    wait_for("65432", true)?;
    let left = |scene: &Scene| Ok::<_, Failed>(fs::read_dir(scene.temporary())?.count());
    assert_eq!(left(&scene)?, 1, "what was left is gone, and the other's is there");
    Finished::of(&mut scene.bisect(&commits[0], "HEAD", &["true", "--build", "exit 4"])?)?.expect(3)?;
    assert_eq!(left(&scene)?, 1, "the other's is there");
    other.signal(Signal::SIGTERM)?;
    other.finish()?.expect(130)?;
    assert_eq!(left(&scene)?, 0);
    Ok(())
}

/// A run of qdiscope as it was measured once, with other figures.
pub(crate) fn runs_of_qdiscope_are_judged_by_their_latency() -> Result<(), Failed> {
    let scene = Scene::new()?;
    let mut run = measured()?.clone();
    run["run_id"] = json!("RUN");
    run["workloads"][0]["latency_all_us"]["p95"] = json!(777_777);
    run["workloads"][0]["throughput_ops_per_s"]["mean"] = json!(666_666);
    let save = "mkdir -p $QDISCOPE_TARGET_DIR/qdiscope/x\nn=$(od -An -N1 -tu1 /dev/urandom)\n\
                sed \"s/777777/$((LATENCY + n))/; s/666666/$((9000000 / LATENCY + n))/; s/\\\"RUN\\\"/\\\"$$-$n\\\"/\" run.json >$QDISCOPE_TARGET_DIR/qdiscope/x/result.json\n";
    let script = |latency: &str| save.replace("LATENCY", latency);
    let good = scene.commit("begin", &[("run.json", &run.to_string()), ("work.sh", &script("9000"))])?;
    scene.commit("next", &[("number", "1")])?;
    let slow = scene.commit("slow", &[("work.sh", &script("12000"))])?;
    scene.commit("last", &[("number", "2")])?;
    let document = scene.document(&good, "HEAD", &["sh work.sh"], 0)?;
    assert_eq!(document["first_bad"]["hash"], json!(slow), "{document:#}");
    assert_eq!(document["metric"]["name"], "latency_p95_us");
    assert!(document["change"]["change_percent"].as_f64() > Some(20.0), "{document:#}");
    // One that is better when it is higher. Of other settings there is no verdict.
    let throughput = ["sh work.sh", "--metric", "throughput_mean_ops_per_s"];
    let document = scene.document(&good, "HEAD", &throughput, 0)?;
    assert_eq!(document["first_bad"]["hash"], json!(slow), "{document:#}");
    assert!(document["change"]["change_percent"].as_f64() < Some(-10.0), "{document:#}");
    run["settings"]["devices"] = json!(3);
    scene.commit("other", &[("run.json", &run.to_string())])?;
    let other = Finished::of(&mut scene.bisect(&good, "HEAD", &["sh work.sh"])?)?.expect(2)?;
    assert!(other.one_line()?.contains("the environments differ: devices: 2 and 3"), "{}", other.stderr);
    Ok(())
}

/// As a user whom the repository does not belong to git refuses, and says what to do; a folder below it is as good as its top.
pub(crate) fn whose_repository_it_is_matters_and_where_in_it_does_not() -> Result<(), Failed> {
    let scene = Scene::new()?;
    scene.line(2, 1)?;
    let below = scene.repository().join("below");
    fs::create_dir(&below)?;
    let found =
        Finished::of(scene.bisect("HEAD^", "HEAD", &["sh work.sh"])?.current_dir(&below))?.expect(0)?;
    assert!(found.stdout.contains("verdict: found"), "{}", found.said());
    let linked = scene.folder.path().join("linked");
    scene.git(&format!("worktree add -q --detach {}", linked.display()))?;
    let found =
        Finished::of(scene.bisect("HEAD^", "HEAD", &["sh work.sh"])?.current_dir(&linked))?.expect(0)?;
    assert!(found.stdout.contains("verdict: found"), "{}", found.said());
    chown(&scene.repository())?;
    let refused = Finished::of(&mut scene.bisect("HEAD^", "HEAD", &["sh work.sh"])?)?.expect(3)?;
    let line = refused.one_line()?;
    assert!(line.contains("dubious ownership") && line.contains("safe.directory"), "{line}");
    Ok(())
}

/// Gives a folder to somebody else.
fn chown(folder: &Path) -> Result<(), Failed> {
    let status = Command::new("chown").args(["-R", "65534"]).arg(folder).status()?;
    if status.success() { Ok(()) } else { Err(format!("chown: {status}").into()) }
}
