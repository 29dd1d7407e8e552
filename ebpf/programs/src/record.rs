//! Reading a tracepoint's record.

use aya_ebpf::{EbpfContext, programs::TracePointContext};
use ebpf_common::tracepoint::Field;

/// Reads an 8-byte field straight from the record: one instruction, where `TracePointContext::read_at` calls a helper.
#[inline(always)]
pub(crate) fn read_u64(ctx: &TracePointContext, field: &Field) -> u64 {
    // SAFETY: the record is at least as long as the fields that the loader found in the format file, and the verifier
    // checks offset and size again.
    unsafe { ctx.as_ptr().cast::<u8>().add(field.offset).cast::<u64>().read_volatile() }
}

/// As [`read_u64`], for a field of 4 bytes.
#[inline(always)]
pub(crate) fn read_u32(ctx: &TracePointContext, field: &Field) -> u32 {
    // SAFETY: see `read_u64`.
    unsafe { ctx.as_ptr().cast::<u8>().add(field.offset).cast::<u32>().read_volatile() }
}

/// As [`read_u64`], for a field of 2 bytes.
#[inline(always)]
pub(crate) fn read_u16(ctx: &TracePointContext, field: &Field) -> u16 {
    // SAFETY: see `read_u64`.
    unsafe { ctx.as_ptr().cast::<u8>().add(field.offset).cast::<u16>().read_volatile() }
}
