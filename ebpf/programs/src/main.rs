#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
//! The probes. One event model, and one small file for each group of attach points that feeds it:
//!
//! - [`request`] follows a request from its begin through its waits to its end and makes the event. It knows nothing of
//!   tracepoints, so other attach points (fexit, kprobes) can feed it as well.
//! - [`sendto`], [`contention`], [`scheduler`]: tracepoints that call it.
//! - [`sampling`]: kernel stacks of the traced process.
//! - [`attach_kinds`]: empty programs with which the loader finds out what else the kernel could attach.

mod attach_kinds;
mod contention;
mod control;
mod counters;
mod record;
mod request;
mod sampling;
mod scheduler;
mod sendto;

/// `bpf_ktime_get_ns`, the ring buffer and stack traces are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
