//! The first process of a guest: mounts what the kernel offers, runs what the job description says, sends the results to the
//! host, and powers off.
//!
//! It depends on nothing else in the guest but busybox's `modprobe`, and it never ends by itself: the kernel panics when its
//! first process does.

#[path = "../job.rs"]
mod job;
mod mounts;
mod port;
mod process;
mod results;
mod say;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use job::{How, Job};
use results::Results;
use say::say;

fn main() {
    let began = Instant::now();
    mounts::mount_all();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    say(&format!("up, kernel {kernel}"));
    say::every(Duration::from_secs(30));
    if let Err(reason) = work(began, kernel) {
        say(&format!("cannot go on: {reason}"));
    }
    power_off();
}

fn work(began: Instant, kernel: String) -> Result<(), String> {
    let text = fs::read_to_string(job::JOB_FILE).map_err(|error| format!("{}: {error}", job::JOB_FILE))?;
    let job: Job = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", job::JOB_FILE))?;
    network();
    let mut results = Results::new(port::open()?);
    let deadline = began + Duration::from_secs(job.seconds);
    for task in &job.tasks {
        say(&format!("{} begins", task.name));
        let ran = process::run(task, deadline);
        say(&format!("{} ended: {} after {} ms", task.name, ran.ending.how, ran.ending.milliseconds));
        results.task(task, &ran).map_err(|error| format!("results of {}: {error}", task.name))?;
    }
    if job.shell {
        shell();
    }
    results.end(kernel).map_err(|error| format!("results: {error}"))?;
    say("all sent");
    Ok(())
}

/// The loopback device is down in a new machine, as it is nowhere else.
fn network() {
    if let Err(error) = Command::new("/usr/bin/ip").args(["link", "set", "lo", "up"]).status() {
        say(&format!("ip: {error}"));
    }
}

fn shell() {
    say("a shell; `exit` powers off");
    // Without a controlling terminal there is no Ctrl-C.
    let status = Command::new("/bin/busybox").args(["setsid", "-c", "sh", "-l"]).status();
    if let Err(error) = status {
        say(&format!("{}", How::Failed(error.to_string())));
    }
}

fn power_off() -> ! {
    say("power off");
    // SAFETY: takes no memory; all that matters was handed to the host, whose port does not buffer.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
