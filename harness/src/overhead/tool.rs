//! Other programs that watch system calls and locks: how each is started, and by what it shows that it works.

use std::fs;
use std::path::Path;

/// One way to call one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// bpftrace with two empty programs.
    BpftraceEmpty,
    /// bpftrace with histograms of the duration.
    Bpftrace,
    /// perf trace of sends and of lock contention.
    PerfTrace,
    /// perf trace of all system calls.
    PerfTraceAll,
    /// perf record with kernel and user stacks.
    PerfRecord,
    /// strace's summary.
    Strace,
}

/// How a tool shows that it is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It prints something that contains this, some time after the load has begun.
    Prints(&'static str),
    /// It prints a line that is this and nothing else: it quotes its program when it refuses it.
    PrintsLine(&'static str),
    /// The kernel names it as the tracer of the load's threads.
    Traces,
    /// It holds perf events, and a moment has passed.
    HoldsPerfEvents,
}

impl Tool {
    pub(super) const ALL: [Self; 6] = [
        Self::BpftraceEmpty,
        Self::Bpftrace,
        Self::PerfTrace,
        Self::PerfTraceAll,
        Self::PerfRecord,
        Self::Strace,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BpftraceEmpty => "bpftrace-empty",
            Self::Bpftrace => "bpftrace",
            Self::PerfTrace => "perf-trace",
            Self::PerfTraceAll => "perf-trace-all",
            Self::PerfRecord => "perf-record",
            Self::Strace => "strace",
        }
    }

    pub(super) fn does(self) -> &'static str {
        match self {
            Self::BpftraceEmpty => "bpftrace: empty programs on sendto",
            Self::Bpftrace => "bpftrace: histograms of sends",
            Self::PerfTrace => "perf trace: sends, lock contention",
            Self::PerfTraceAll => "perf trace: all system calls",
            Self::PerfRecord => "perf record: stacks, 999 Hz",
            Self::Strace => "strace -c -f",
        }
    }

    /// The command line that watches `process`. What it writes to a file goes to `folder`.
    pub(super) fn command(self, process: u32, folder: &Path) -> Vec<String> {
        let pid = process.to_string();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match self {
            // The interval only shows that the rest, which is attached within milliseconds of it, is attached.
            Self::BpftraceEmpty => vec![
                "bpftrace".into(),
                "-e".into(),
                "tracepoint:syscalls:sys_enter_sendto {} tracepoint:syscalls:sys_exit_sendto {} \
                 interval:ms:500 { printf(\"ready\\n\"); }"
                    .into(),
            ],
            Self::Bpftrace => vec![
                "bpftrace".into(),
                "-e".into(),
                format!(
                    "tracepoint:syscalls:sys_enter_sendto, tracepoint:syscalls:sys_enter_sendmsg /pid == {pid}/ \
                     {{ @start[tid] = nsecs; }} \
                     tracepoint:syscalls:sys_exit_sendto, tracepoint:syscalls:sys_exit_sendmsg /@start[tid]/ \
                     {{ @duration = hist(nsecs - @start[tid]); delete(@start[tid]); }} \
                     interval:ms:200 {{ print(@duration); }}"
                ),
            ],
            Self::PerfTrace => words(&[
                "perf",
                "trace",
                "-p",
                &pid,
                "-e",
                "sendto",
                "-e",
                "lock:contention_begin,lock:contention_end",
            ]),
            Self::PerfTraceAll => words(&["perf", "trace", "-p", &pid]),
            Self::PerfRecord => {
                let file = folder.join("perf.data");
                words(&[
                    "perf",
                    "record",
                    "-e",
                    "cpu-clock",
                    "-F",
                    "999",
                    "-g",
                    "-p",
                    &pid,
                    "-o",
                    &file.to_string_lossy(),
                ])
            }
            Self::Strace => words(&["strace", "-c", "-f", "-p", &pid]),
        }
    }

    /// How it shows that it is attached.
    pub(super) fn sign(self) -> Sign {
        match self {
            Self::BpftraceEmpty => Sign::PrintsLine("ready"),
            Self::Bpftrace => Sign::PrintsLine("@duration:"),
            Self::PerfTrace | Self::PerfTraceAll => Sign::Prints("sendto"),
            Self::PerfRecord => Sign::HoldsPerfEvents,
            Self::Strace => Sign::Traces,
        }
    }

    /// What its last words contain if it saw anything; `None`: it has none.
    pub(super) fn result(self) -> Option<&'static str> {
        match self {
            Self::PerfRecord => Some(" samples)"),
            Self::Strace => Some("sendto"),
            _ => None,
        }
    }
}

/// Whether `tracer` traces every thread of `process`.
pub(super) fn traces(tracer: u32, process: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    let expected = format!("TracerPid:\t{tracer}");
    tasks.flatten().all(|task| {
        fs::read_to_string(task.path().join("status"))
            .is_ok_and(|status| status.lines().any(|line| line == expected))
    })
}

/// Whether a process has perf events open.
pub(super) fn holds_perf_events(process: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| target.to_string_lossy().contains("[perf_event]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_watches_the_process_or_says_that_it_watches_all() {
        for tool in Tool::ALL {
            let line = tool.command(4711, Path::new("/folder")).join(" ");
            assert_eq!(line.contains("4711"), tool != Tool::BpftraceEmpty, "{line}");
        }
    }
}
