//! Bad input and poor environments: a documented exit code and one clear line, before any work.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::figures::at;
use crate::mounts::{self, Tmpfs};
use crate::qdiscope::{Finished, QUICK, Saved, binary, plain, qdiscope};

/// The user `nobody`, nearly everywhere.
const NOBODY: u32 = 65_534;

pub(crate) fn bad_arguments_are_refused() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("run");
    for (arguments, named) in [
        ("bench --workers 0", "--workers"),
        ("bench --workers many", "--workers"),
        ("bench --rate abc", "--rate"),
        ("bench --rate 0", "--rate"),
        ("bench --rate nan", "--rate"),
        ("bench --rate=-5", "--rate"),
        ("bench --workload nosuch", "nosuch"),
        ("bench --duration 0", "--duration"),
        ("bench --duration 5x", "--duration"),
        ("bench --devices 0", "--devices"),
        ("bench --classes 0", "--classes"),
        ("bench --population 0", "--population"),
        ("bench --devices 1 --classes 70000", "--devices"),
        ("bench --weights create=0,change=0,read=0,delete=0", "--weights"),
        ("bench --workload lifecycle --rate 0.4 --duration 1s", "0.4"),
        ("bench --duration 1e-12", "--duration"),
        ("bench --workload htb-class --classes 18446744073709551615", "--classes"),
        ("bench --workload lifecycle --population 17568327689247192110", "--population"),
        ("bench --warmup 18446744073709551615", "--warmup"),
        ("bench --weights create=1,create=2", "--weights"),
        ("bench --seed x", "--seed"),
        ("bench --probes maybe", "--probes"),
        ("bench --nosuch", "--nosuch"),
    ] {
        let finished = Finished::of(qdiscope(arguments)?.arg("--out").arg(&out))?;
        let said = finished.expect(2).map_err(|failed| format!("{arguments}: {:?}", failed.message()))?;
        // One line says what is wrong; those after it, if any, how to get help.
        let line = said.stderr.lines().next().ok_or_else(|| format!("{arguments}: silence"))?;
        let first = line.starts_with("error: ") || line.starts_with("qdiscope: ");
        assert!(first && line.contains(named), "{arguments}: {line}");
        assert!(said.stdout.is_empty() && !out.exists(), "{arguments}\n{}", said.said());
    }
    Finished::of(&mut qdiscope("")?)?.expect(2)?;
    Finished::of(&mut qdiscope("nosuch")?)?.expect(2).map(drop)
}

/// The binary in a folder that anybody may enter, and a folder that belongs to nobody.
pub(crate) struct Nobodys {
    folder: TempDir,
    binary: PathBuf,
}

impl Nobodys {
    pub(crate) fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let copy = folder.path().join("qdiscope");
        fs::copy(binary()?, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        let own = folder.path().join("own");
        fs::create_dir(&own)?;
        chown(&own, Some(NOBODY), Some(NOBODY))?;
        Ok(Self { folder, binary: copy })
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    /// The binary, run by a user without any privilege.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.binary);
        plain(&mut command)
            .args(arguments.split_whitespace())
            .current_dir(self.own())
            .uid(NOBODY)
            .gid(NOBODY);
        command
    }
}

pub(crate) fn without_root_it_says_sudo() -> Result<(), Failed> {
    let nobodys = Nobodys::new()?;
    for arguments in [QUICK, "bench --probes off", "overhead", "trace"] {
        let finished = Finished::of(&mut nobodys.command(arguments))?.expect(3)?;
        let line = finished.one_line()?;
        // The command to use: the same one, after sudo.
        let command = format!("sudo {} {arguments}", nobodys.binary.display());
        assert!(line.contains(&command), "{line}");
        assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    }
    let left: Vec<_> = fs::read_dir(nobodys.own())?.collect();
    assert!(left.is_empty(), "it began to save: {left:?}");
    Finished::of(&mut nobodys.command("bench --workers 0"))?.expect(2).map(drop)
}

/// Each check has one of the three states, and what does not work has advice or says why.
fn checks(finished: &Finished) -> Result<Vec<(String, String)>, Failed> {
    let checks: Value = serde_json::from_str(&finished.stdout)
        .map_err(|error| format!("doctor --json: {error}\n{}", finished.said()))?;
    let mut states = Vec::new();
    for check in checks.as_array().ok_or("no list of checks")? {
        let word = |name: &str| check[name].as_str().ok_or_else(|| format!("no {name} in {check}"));
        let (name, state) = (word("name")?, word("state")?);
        assert!(["supported", "unsupported", "could not tell"].contains(&state), "{check}");
        assert!(!word("detail")?.is_empty(), "{check}");
        if at(check, "/required")? == true && state != "supported" {
            assert!(!word("advice")?.is_empty(), "{check}");
        }
        states.push((name.to_owned(), state.to_owned()));
    }
    Ok(states)
}

pub(crate) fn the_doctor_knows_this_machine() -> Result<(), Failed> {
    let finished = Finished::of(&mut qdiscope("doctor --json")?)?.expect(0)?;
    let states = checks(&finished)?;
    for (name, state) in &states {
        if ["network namespace of its own", "veth devices", "HTB"].contains(&name.as_str()) {
            assert_eq!(state, "supported", "{name}: {}", finished.stdout);
        }
    }
    assert!(states.len() >= 10, "{states:?}");
    let text = Finished::of(&mut qdiscope("doctor")?)?.expect(0)?.stdout;
    for (name, _) in &states {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(text.contains("`qdiscope bench` can run here"), "{text}");
    Ok(())
}

pub(crate) fn the_doctor_speaks_to_everybody() -> Result<(), Failed> {
    let nobodys = Nobodys::new()?;
    let finished = Finished::of(&mut nobodys.command("doctor --json"))?.expect(3)?;
    let states = checks(&finished)?;
    let isolation = states.iter().find(|(name, _)| name == "network namespace of its own");
    assert_eq!(isolation.ok_or("the check is missing")?.1, "unsupported");
    let roots = checks(&Finished::of(&mut qdiscope("doctor --json")?)?)?;
    let names = |states: &[(String, String)]| -> Vec<String> {
        states.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&states), names(&roots), "a check that cannot be made is one that could not tell");
    let text = Finished::of(&mut nobodys.command("doctor"))?.expect(3)?.stdout;
    assert!(text.contains("cannot run here") && text.contains("sudo"), "{text}");
    Ok(())
}

pub(crate) fn out_must_be_a_folder() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("notes.txt");
    fs::write(&file, "mine")?;
    let finished = Finished::of(qdiscope(QUICK)?.arg("--out").arg(&file))?.expect(2)?;
    let line = finished.one_line()?;
    assert!(line.contains("--out") && line.contains("notes.txt"), "{line}");
    assert_eq!(fs::read_to_string(&file)?, "mine");
    // Below a file, and where nobody can write.
    for out in [file.join("run"), Path::new("/proc/nosuch/run").to_owned()] {
        let finished = Finished::of(qdiscope(QUICK)?.arg("--out").arg(&out))?;
        assert!([2, 3].contains(&finished.code), "exit code {}\n{}", finished.code, finished.said());
        let line = finished.one_line()?;
        assert!(line.contains(&out.display().to_string()), "{line}");
    }
    Ok(())
}

/// tracefs is mounted for the run, and nobody else sees it.
pub(crate) fn tracefs_is_mounted_privately() -> Result<(), Failed> {
    mounts::enter()?;
    mounts::without_tracefs()?;
    let table = || fs::read_to_string("/proc/thread-self/mountinfo");
    let before = table()?;
    let run = Saved::by(QUICK)?;
    assert_eq!(table()?, before);
    assert_ne!(run.result["environment"]["probes"]["kind"], "off", "{}", run.result["environment"]["probes"]);
    assert!(!Path::new(mounts::TRACEFS).join("events").exists());
    Ok(())
}

/// Where the kernel shows neither tracefs nor BTF: the run goes on and says that it saw nothing of the kernel.
pub(crate) fn probes_that_cannot_load_are_told() -> Result<(), Failed> {
    mounts::enter()?;
    let _hidden = Tmpfs::mount(Path::new("/sys/kernel"), "size=64k,mode=755")?;
    // By which kprobes are opened.
    let _too = Tmpfs::mount(Path::new("/sys/bus/event_source"), "size=64k,mode=755")?;
    let run = Saved::by(QUICK)?;
    let probes = at(&run.result, "/environment/probes")?;
    assert_eq!(probes["kind"], "off", "{probes}");
    assert!(probes["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{probes}");
    let workload = &run.workloads()?[0];
    assert_eq!((workload.get("kernel_us"), &workload["lost_events"]), (None, &Value::Null));
    assert!(run.finished.stdout.contains("No kernel figures: "), "{}", run.finished.stdout);
    assert!(!run.files.contains_key("kernel.svg"));
    assert!([0, 6].contains(&run.finished.code), "exit code {}\n{}", run.finished.code, run.finished.said());

    let out = tempfile::tempdir()?;
    let insisted = format!("{QUICK} --probes tracepoint");
    let finished = Finished::of(qdiscope(&insisted)?.arg("--out").arg(out.path()))?.expect(3)?;
    let last = finished.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("qdiscope: --probes tracepoint: "), "{}", finished.said());
    assert!(!out.path().join("result.json").exists());
    Ok(())
}

/// BTF alone is missing, as on kernels without `CONFIG_DEBUG_INFO_BTF`.
pub(crate) fn no_btf_is_no_panic() -> Result<(), Failed> {
    let btf = Path::new("/sys/kernel/btf");
    if !btf.is_dir() {
        // Then every run of these tests is one without.
        return Ok(());
    }
    mounts::enter()?;
    let _hidden = Tmpfs::mount(btf, "size=64k,mode=755")?;
    let run = Saved::by(QUICK)?;
    assert!([0, 6].contains(&run.finished.code), "exit code {}\n{}", run.finished.code, run.finished.said());
    let off = run.result["environment"]["probes"]["kind"] == "off";
    assert_eq!(run.workloads()?[0].get("kernel_us").is_none(), off);
    Ok(())
}

/// What sees system calls only would take the messages of a packet for one operation.
pub(crate) fn packets_want_probes_that_tell_messages_apart() -> Result<(), Failed> {
    let insisted = format!("{QUICK} --messages-per-packet 64 --probes tracepoint");
    let finished = Finished::of(&mut qdiscope(&insisted)?)?.expect(2)?;
    let last = finished.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("cannot tell the messages of a packet apart"), "{}", finished.said());
    let run = Saved::by(&format!("{QUICK} --messages-per-packet 64"))?;
    assert_eq!(run.result["settings"]["messages_per_packet"], 64);
    let probes = at(&run.result, "/environment/probes")?;
    let workload = &run.workloads()?[0];
    if probes["kind"] == "off" {
        assert!(probes["reason"].as_str().is_some_and(|reason| reason.contains("apart")), "{probes}");
        assert_eq!(workload.get("kernel_us"), None);
    } else {
        assert!(["fexit", "kprobe"].iter().any(|kind| probes["kind"] == *kind), "{probes}");
        assert_eq!(workload["lost_events"], 0, "{probes}");
    }
    Ok(())
}
