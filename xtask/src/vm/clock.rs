//! How fast a guest's clock runs. Under TCG its time stamp counter is the host's, and only the host can tell its frequency:
//! a guest times it against an emulated timer, and where the host does something else just then, it believes in a
//! third of the frequency. Its seconds are a third of a second then, and so are all of its time limits.

use std::time::Duration;

/// What tells a guest's kernel the frequency; nothing where the host has no such counter.
pub(super) fn argument() -> Option<String> {
    kilohertz().map(|frequency| format!("tsc_early_khz={frequency}"))
}

/// Long enough that being interrupted between the two readings of a moment is no matter.
const MEASURED: Duration = Duration::from_millis(200);

#[cfg(target_arch = "x86_64")]
fn kilohertz() -> Option<u64> {
    use std::{arch::x86_64::_rdtsc, thread, time::Instant};

    let now = || {
        // SAFETY: every x86-64 processor has this instruction, and it only reads.
        (Instant::now(), unsafe { _rdtsc() })
    };
    let (start, first) = now();
    thread::sleep(MEASURED);
    let (end, last) = now();
    frequency(last.wrapping_sub(first), end - start)
}

#[cfg(not(target_arch = "x86_64"))]
fn kilohertz() -> Option<u64> {
    None
}

/// In kHz; `None` for what no counter does.
fn frequency(ticks: u64, elapsed: Duration) -> Option<u64> {
    let kilohertz = u128::from(ticks) * 1_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(kilohertz).ok().filter(|kilohertz| (100_000..20_000_000).contains(kilohertz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_a_frequency() {
        assert_eq!(frequency(519_224_400, MEASURED), Some(2_596_122));
        assert_eq!(frequency(0, MEASURED), None, "a counter that stands still");
        assert_eq!(frequency(u64::MAX, MEASURED), None, "one that went backwards");
        assert_eq!(frequency(1_000, Duration::ZERO), None);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_kernel_is_told() {
        assert!(argument().is_some_and(|argument| argument.starts_with("tsc_early_khz=")));
    }
}
