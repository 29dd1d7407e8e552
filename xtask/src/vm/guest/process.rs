//! One task: a process, its output on the console and in memory, its time limit, and nothing left of it afterwards.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::job::{Ending, How, Task};

/// More than any test prints, and less than the memory of a small guest.
const MOST_OUTPUT: usize = 16 << 20;

/// What a task gave.
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a task until its end, its own time limit or the guest's.
pub(crate) fn run(task: &Task, deadline: Instant) -> Ran {
    let began = Instant::now();
    let limit = Duration::from_secs(task.seconds).min(deadline.saturating_duration_since(began));
    let failed = |reason: String| Ran {
        ending: Ending { how: How::Failed(reason), milliseconds: 0 },
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    if limit.is_zero() {
        return failed("not started: the guest's time was used up".to_owned());
    }
    let mut child = match start(task) {
        Ok(child) => child,
        Err(error) => return failed(format!("cannot run {}: {error}", task.program)),
    };
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let how = wait(&child, began, limit);
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    kill_all();
    let text = |reader: Option<JoinHandle<Vec<u8>>>| reader.map(finish).unwrap_or_default();
    Ran { ending: Ending { how, milliseconds }, stdout: text(stdout), stderr: text(stderr) }
}

fn start(task: &Task) -> io::Result<Child> {
    if let Some(folder) = &task.keep {
        fs::create_dir_all(folder)?;
    }
    Command::new(&task.program)
        .args(&task.args)
        .envs(&task.env)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Reads to the end, and shows on the console what comes as it comes: where the guest dies, that is all that is left.
fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let _ = io::stdout().lock().write_all(&buffer[..count]);
            let _ = io::stdout().lock().flush();
            kept.extend_from_slice(&buffer[..count.min(MOST_OUTPUT - kept.len())]);
        }
        kept
    })
}

/// What was read; not waiting for a process that even SIGKILL does not end.
fn finish(reader: JoinHandle<Vec<u8>>) -> Vec<u8> {
    let began = Instant::now();
    while !reader.is_finished() {
        if began.elapsed() > Duration::from_secs(5) {
            return b"(its output is lost: a process holds it and does not end)\n".to_vec();
        }
        thread::sleep(Duration::from_millis(5));
    }
    reader.join().unwrap_or_default()
}

/// Reaps whatever ends, since orphans become children of the first process, until the child itself does.
fn wait(child: &Child, began: Instant, limit: Duration) -> How {
    let wanted = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let mut killed = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the status.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid == wanted {
            return match killed {
                Some(_) => How::TimedOut(limit.as_secs()),
                None if libc::WIFEXITED(status) => How::Exit(libc::WEXITSTATUS(status)),
                None => How::Signal(libc::WTERMSIG(status)),
            };
        }
        if pid > 0 {
            continue;
        }
        match killed {
            None if began.elapsed() > limit => {
                // SAFETY: takes no memory; the group is the child's own, see `start`.
                unsafe { libc::kill(-wanted, libc::SIGKILL) };
                killed = Some(Instant::now());
            }
            Some(then) if then.elapsed() > Duration::from_secs(10) => {
                return How::Failed(format!("did not end after {} s, not even by SIGKILL", limit.as_secs()));
            }
            _ => {}
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends what a task left behind, so that the next finds the machine as the first did.
fn kill_all() {
    // SAFETY: takes no memory; -1 is everybody but the caller, as long as the caller is the first process.
    if unsafe { libc::getpid() } == 1 {
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}
