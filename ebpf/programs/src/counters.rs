//! Counting, on each CPU by itself.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use ebpf_common::Counters;

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Adds one to the counter that `field` picks and returns what it was before, on this CPU.
///
/// The programs of one kind cannot interrupt each other on a CPU, and no two kinds use the same counter, so this
/// needs no atomic instruction.
#[inline(always)]
pub(crate) fn count(field: impl FnOnce(&mut Counters) -> &mut u64) -> u64 {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return u64::MAX };
    // SAFETY: this CPU's own value; the reference does not outlive the program's run.
    let value = field(unsafe { &mut *counters });
    let before = *value;
    *value = before.wrapping_add(1);
    before
}
