//! `cargo xtask vm … test`: the privileged tests under other kernels, and which probes those kernels must give.

use std::{collections::BTreeMap, fs, panic::resume_unwind, path::Path, process::ExitCode, thread};

use super::{
    accel::Accel,
    bench,
    error::{Error, file},
    host::{self, Host, QDISCOPE},
    image::Image,
    initramfs::{self, PATH},
    job::Task,
    junit,
    kernels::Kernel,
    machine::Outcome,
    python,
    selection::{self, PROBES},
};
use crate::{
    error::Error as TaskError,
    test::{
        self as native,
        libtest::{Reader, Report},
        tally::{Row, Tally},
    },
};

/// Run the privileged tests in the guest, the probes' twice: with the kind that the kernel must give, and by kprobe. Of several
/// guests only one runs the slowest, and the oldest and the newest run by kprobe.
///
/// Then a short bench must have chosen that kind, too. The sum is that of `cargo xtask test`; for each kernel a `JUnit` file is
/// written below the target folder, vm/SERIES/test/junit.xml, with the output of each test executable beside it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Only tests whose names contain this.
    filter: Option<String>,
    /// A test that does not run must have been forced to by the guest's kernel, and say why.
    ///
    /// Implied by CI=1 or CI=true; sets `QDISCOPE_NO_SKIP=1` for the tests.
    #[arg(long)]
    no_skip: bool,
    /// All end-to-end tests of the binary, not only the few that are about the kernel. They take many minutes under TCG.
    #[arg(long)]
    e2e: bool,
}

/// The kind that is forced in the second run of the probes' tests.
const FORCED: &str = "kprobe";
/// A test that leaves the kernel locked down, so that it runs by itself after everything else, and the variable that lets it.
const LOCK_DOWN: &str = "probes::under_lockdown_the_reason_is_told";
const MAY_LOCK_DOWN: &str = "QDISCOPE_TEST_LOCKDOWN";
/// The name of the check of what `qdiscope bench` chose.
const CHOICE: &str = "bench::the_probe_kind_is_chosen";
/// By how much less of the processor guests want that have less to do: a third of the others' weight (`sched_prio_to_weight`).
const LESS: i32 = 5;
/// How long one executable may take.
const MOST: u64 = 900;

/// A run of one executable.
#[derive(Clone)]
pub(super) struct Leg {
    /// Its row in the sum.
    pub(super) name: String,
    pub(super) task: Task,
    /// The tests that it lists.
    pub(super) tests: Vec<String>,
    pub(super) guests: Guests,
}

/// Which of several guests run a leg.
#[derive(Clone, Copy)]
pub(super) enum Guests {
    All,
    /// Counted from the newest kernel, and around.
    One(usize),
    /// The oldest and the newest kernel.
    Outermost,
}

impl Guests {
    fn have(self, nth: usize, count: usize) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => nth == count - 1 - one % count,
            Self::Outermost => nth == 0 || nth == count - 1,
        }
    }
}

pub(super) fn run(options: &host::Settings, kernels: &[Kernel], test: &Options) -> Result<ExitCode, Error> {
    let mut host = Host::prepare(options)?;
    let legs = legs(&mut host, test)?;
    if legs.is_empty() {
        return Err(TaskError::NoTest(test.filter.clone().unwrap_or_default()).into());
    }
    let mut guests = Vec::new();
    let mut not_run = Vec::new();
    for kernel in kernels {
        match host.image(kernel) {
            Ok(image) => guests.push((kernel, image)),
            Err(error @ Error::LeftTheArchive { .. }) if kernels.len() > 1 => not_run.push(error),
            Err(error) => return Err(error),
        }
    }
    // All at once: under TCG a guest keeps one thread busy, whatever the number of its processors.
    let (host, legs, count) = (&host, legs.as_slice(), guests.len());
    let legs_of = |nth| legs.iter().filter(|leg| leg.guests.have(nth, count)).cloned().collect::<Vec<_>>();
    let tests_of = |nth: &usize| legs_of(*nth).iter().map(|leg| leg.tests.len()).sum::<usize>();
    let longest = (0..count).max_by_key(tests_of);
    let done: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = guests
            .iter()
            .enumerate()
            .map(|(nth, (kernel, (image, accel)))| {
                let legs = legs_of(nth);
                scope.spawn(move || {
                    if Some(nth) != longest {
                        give_way();
                    }
                    one(host, kernel, (image, *accel), &legs)
                })
            })
            .collect();
        started.into_iter().map(|guest| guest.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut rows = Vec::new();
    for of_one in done {
        rows.extend(of_one?);
    }
    let tally = Tally { rows, no_skip: no_skip(test) };
    print!("\n{}", tally.render());
    for error in &not_run {
        println!("\nNOT RUN: {error}");
    }
    let passed = tally.passed() && not_run.len() < kernels.len();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Has this thread, and the guest that it starts, leave the processor to others that want it: the guest that has most to do would be alone at
/// the end, with processors that nobody uses.
fn give_way() {
    // SAFETY: nice(2) has no pointers; of this thread alone, as Linux has it. Where it is refused, nothing is lost but time.
    let _ = unsafe { libc::nice(LESS) };
}

fn no_skip(test: &Options) -> bool {
    test.no_skip || native::skips_are_forbidden()
}

/// All runs of executables that a guest is to do, which have a test that the filter lets through.
fn legs(host: &mut Host, test: &Options) -> Result<Vec<Leg>, Error> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
        ("QDISCOPE_BIN".to_owned(), QDISCOPE.to_owned()),
        ("QDISCOPE_TARGET_DIR".to_owned(), "/tmp/target".to_owned()),
        ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        // Nobody else's.
        ("QDISCOPE_TEST_CLOCK".to_owned(), "1".to_owned()),
        // Under TCG each takes seconds, and 150 are walked through natively.
        ("QDISCOPE_TREES".to_owned(), "8".to_owned()),
    ]);
    if no_skip(test) {
        env.insert("QDISCOPE_NO_SKIP".to_owned(), "1".to_owned());
    }
    let filter = test.filter.as_deref();
    let mut legs = Vec::new();
    let mut last = None;
    host.executables.tests.sort_by(|one, other| one.target.cmp(&other.target));
    for (nth, executable) in host.executables.tests.iter().enumerate() {
        let listed = native::list(executable, None)?;
        if let Some(name) = selection::stale(&executable.target, &listed) {
            return Err(Error::Stale(name));
        }
        let chosen = selection::select(&executable.target, &listed, filter, test.e2e);
        if chosen.waiting > 0 {
            eprintln!("cargo xtask: {} tests of {} wait for --e2e", chosen.waiting, executable.target);
        }
        if chosen.run.is_empty() && chosen.once.is_empty() {
            continue;
        }
        let program = format!("/tests/{}", executable.target);
        host.tree.copy(&executable.path, &program, 0o755)?;
        initramfs::add_libraries(&mut host.tree, &executable.path)?;
        let leg = |task: &str, name: String, tests: Vec<String>| Leg {
            name: format!("tests/{name}"),
            task: Task {
                name: task.to_owned(),
                program: program.clone(),
                args: selection::arguments(&listed, &tests),
                env: env.clone(),
                seconds: MOST,
                keep: None,
            },
            tests,
            guests: Guests::All,
        };
        let target = &executable.target;
        let mut of_this = vec![leg(target, target.clone(), chosen.run.clone())];
        of_this.push(Leg {
            guests: Guests::One(nth),
            ..leg(&format!("{target}-once"), format!("{target} in one guest"), chosen.once)
        });
        if target == PROBES {
            let tests = selection::by_kind(&chosen.run);
            let mut forced = leg(&format!("{PROBES}-{FORCED}"), format!("{target} by {FORCED}"), tests);
            forced.guests = Guests::Outermost;
            forced.task.env.insert("QDISCOPE_TEST_PROBES".to_owned(), FORCED.to_owned());
            of_this.push(forced);
            if chosen.run.iter().any(|test| test == LOCK_DOWN) {
                let tests = vec![LOCK_DOWN.to_owned()];
                let mut locked = leg("lockdown", format!("{target} under lockdown"), tests);
                locked.task.env.insert(MAY_LOCK_DOWN.to_owned(), "1".to_owned());
                last = Some(locked);
            }
        }
        legs.extend(of_this.into_iter().filter(|leg| !leg.tests.is_empty()));
    }
    if filter.is_none_or(|filter| CHOICE.contains(filter)) {
        let words = ["--quick", "--workload", "lifecycle", "--duration", "1s", "--probes", "auto"];
        let mut task = bench::task(words.iter().map(|word| (*word).to_owned()).collect());
        task.name = "choice".into();
        legs.push(Leg {
            name: "qdiscope bench".into(),
            task,
            tests: vec![CHOICE.into()],
            guests: Guests::All,
        });
    }
    legs.extend(last);
    if legs.iter().any(|leg| leg.tests.iter().any(|test| test.contains("pyroute2"))) && python::is_there() {
        python::add(&mut host.tree)?;
    }
    Ok(legs)
}

/// The rows of one kernel, and its `JUnit` file.
fn one(host: &Host, kernel: &Kernel, image: (&Image, Accel), legs: &[Leg]) -> Result<Vec<Row>, Error> {
    if legs.is_empty() {
        return Ok(Vec::new());
    }
    let dir = host.folder(&kernel.series, "test")?;
    let tasks = legs.iter().map(|leg| expecting(&leg.task, kernel)).collect();
    let outcome = host.run(kernel, image, &dir, tasks)?;
    let mut rows: Vec<_> = legs.iter().map(|leg| row(kernel, leg, &outcome, &dir)).collect();
    let path = dir.join("junit.xml");
    fs::write(&path, junit::render(&kernel.series, &rows, legs, &dir)).map_err(file(&path))?;
    if let Some(fault) = outcome.fault {
        let fault = format!("{fault}; its console is in {}", outcome.console.display());
        let name = format!("{}: the guest", kernel.series);
        rows.push(Row { name, report: Report::default(), fault: Some(fault), unseen: Vec::new() });
    }
    Ok(rows)
}

/// The same task, told which kind this kernel must give.
fn expecting(task: &Task, kernel: &Kernel) -> Task {
    let mut task = task.clone();
    if task.name == PROBES {
        task.env.insert("QDISCOPE_EXPECT_PROBES".to_owned(), kernel.probes.clone());
    }
    task
}

fn row(kernel: &Kernel, leg: &Leg, outcome: &Outcome, dir: &Path) -> Row {
    let name = format!("{}: {}", kernel.series, leg.name);
    let Some(ending) = outcome.results.endings.get(&leg.task.name) else {
        let died = Some("the guest ended before it did".to_owned());
        return Row::judge(name, leg.tests.len() as u64, Report::default(), died).blaming(leg.tests.clone());
    };
    let folder = dir.join(&leg.task.name);
    if leg.tests == [CHOICE] {
        return chosen(name, kernel, &folder);
    }
    let mut reader = Reader::default();
    // What is not there is judged as an executable that said nothing.
    reader.push(&fs::read(folder.join("stdout")).unwrap_or_default());
    let died = (ending.how != super::job::How::Exit(0)).then(|| ending.how.to_string());
    Row::judge(name, leg.tests.len() as u64, reader.finish(), died).blaming(leg.tests.clone())
}

/// Whether `qdiscope bench`, left to choose, chose what the kernel must give: a silent fallback is a failure.
fn chosen(name: String, kernel: &Kernel, folder: &Path) -> Row {
    let complaint = match bench::results(folder).first().map(|path| bench::probes(path)) {
        Some(Ok((kind, _))) if kind == kernel.probes => None,
        Some(Ok((kind, reason))) => Some(format!("{kind} instead of {}: {reason}", kernel.probes)),
        Some(Err(error)) => Some(error.to_string()),
        None => Some(format!("no result.json; what it said is in {}", folder.display())),
    };
    let mut report =
        Report { announced: 1, summaries: 1, seen: vec![CHOICE.to_owned()], ..Report::default() };
    match complaint {
        None => report.passed = 1,
        Some(complaint) => {
            report.failed = 1;
            report.failures.push(format!("{CHOICE}: {complaint}"));
        }
    }
    Row { name, report, fault: None, unseen: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leg_has_a_guest() {
        let run =
            |guests: Guests, count| (0..count).filter(|&nth| guests.have(nth, count)).collect::<Vec<_>>();
        assert_eq!(run(Guests::All, 3), [0, 1, 2]);
        assert_eq!(run(Guests::One(0), 3), [2]);
        assert_eq!(run(Guests::One(4), 3), [1]);
        assert_eq!(run(Guests::Outermost, 3), [0, 2]);
        for guests in [Guests::All, Guests::One(7), Guests::Outermost] {
            assert_eq!(run(guests, 1), [0]);
        }
    }
}
