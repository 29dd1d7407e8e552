//! `cargo xtask vm … faults`: guests that come to a bad end on purpose. Each must be noticed, or no other verdict is worth anything.

use std::{process::ExitCode, time::Duration};

use super::{
    error::Error,
    host::{self, Host},
    initramfs::PATH,
    job::{How, Task},
    kernels::Kernel,
    machine::Outcome,
};

/// A way to end badly, and what must be said about it.
struct Fault {
    name: &'static str,
    script: &'static str,
    noticed: fn(&Outcome) -> bool,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "a panic",
        script: "echo c > /proc/sysrq-trigger",
        noticed: |outcome| says(outcome, "panicked: sysrq triggered crash"),
    },
    Fault {
        name: "an end without results",
        script: "echo b > /proc/sysrq-trigger",
        noticed: |outcome| says(outcome, "without all of its results"),
    },
    Fault {
        name: "a guest that stands still",
        script: "echo freeze > /sys/power/state",
        noticed: |outcome| says(outcome, "no sign of life"),
    },
    Fault {
        name: "a task that does not end",
        script: "trap '' TERM INT; sleep 1000",
        noticed: |outcome| {
            let ending = outcome.results.endings.get(NAME);
            outcome.fault.is_none() && ending.is_some_and(|ending| matches!(ending.how, How::TimedOut(_)))
        },
    },
];

const NAME: &str = "fault";
/// What a task may take, and how long a guest may be silent.
const PATIENCE: Duration = Duration::from_secs(15);

/// Ends guests badly, one after the other.
pub(super) fn run(settings: &host::Settings, kernel: &Kernel) -> Result<ExitCode, Error> {
    let mut host = Host::prepare(settings)?;
    host.stall = 2 * PATIENCE;
    let (image, accel) = host.image(kernel)?;
    let mut missed = 0;
    for fault in &FAULTS {
        eprintln!("\ncargo xtask: {}, on purpose", fault.name);
        let task = Task {
            name: NAME.into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), fault.script.into()],
            env: [("PATH".to_owned(), PATH.to_owned())].into(),
            seconds: PATIENCE.as_secs(),
            ..Task::default()
        };
        let dir = host.folder(&kernel.series, "faults")?;
        let outcome = host.run(kernel, (&image, accel), &dir, vec![task])?;
        let noticed = (fault.noticed)(&outcome);
        println!("{}: {}", fault.name, if noticed { "noticed" } else { "NOT NOTICED" });
        missed += usize::from(!noticed);
    }
    println!("\n{} passed, {missed} failed", FAULTS.len() - missed);
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn says(outcome: &Outcome, words: &str) -> bool {
    outcome.fault.as_ref().is_some_and(|fault| fault.contains(words))
}
