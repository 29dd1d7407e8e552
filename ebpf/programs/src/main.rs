#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
//! The probes. One event model, and one small file for each group of attach points that feeds it:
//!
//! - [`request`] follows a request from its begin through its waits to its end and makes the event. It knows nothing of
//!   attach points.
//! - Begin and end of a request: [`message`] (fexit or kprobes: each message), or [`syscall`] (tracepoints: each system call).
//! - [`sections`]: the parts of a request (fexit or kprobes).
//! - [`contention`], [`scheduler`], [`extack`]: tracepoints that every kind uses.
//! - [`detail`]: what a request was about, for those who want to show it; [`family`]: following more than one process.
//! - [`sampling`]: kernel stacks of the traced process, counted; [`stacks`]: where threads are, kernel and user, when a timer finds
//!   them and when they wait, as samples that belong to requests.

mod contention;
mod control;
mod counters;
mod detail;
mod extack;
mod family;
mod kernel;
mod message;
mod record;
mod request;
mod sampling;
mod scheduler;
mod sections;
mod stacks;
mod syscall;

/// `bpf_ktime_get_ns`, the ring buffer and stack traces are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
