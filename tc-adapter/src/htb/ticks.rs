//! Bursts on the wire: the time that the burst takes at the rate, in ticks of the packet scheduler's clock.

use crate::rate::Rate;
use crate::size::Size;

/// A tick is 64 ns on every kernel since 2.6.31 (`PSCHED_SHIFT` 6, `include/net/pkt_sched.h`; the first two numbers
/// of `/proc/net/psched`, 0x3e8 and 0x40, say 1000 ns = 15.625 ticks).
const TICKS_PER_SECOND: u64 = 15_625_000;

/// 15.625, rounded up.
pub(crate) const TICKS_IN_A_MICROSECOND: u32 = 16;

/// How long `size` bytes take at `rate`, in ticks, rounded up so that no burst becomes smaller than asked.
/// `None` from 2^32 ticks (274.9 s) on.
///
/// `tc` from iproute2 6.15 on computes the same in floating point; older ones round down to whole microseconds first
/// and so send up to 16 ticks less (nothing at all for 1600 bytes at 40 Gbit/s).
pub(crate) fn transmit_ticks(size: Size, rate: Rate) -> Option<u32> {
    let ticks = (u64::from(size.bytes()) * TICKS_PER_SECOND).div_ceil(rate.bytes_per_second());
    u32::try_from(ticks).ok()
}

/// How many whole bytes go out in `ticks` at `rate`; at most `u32::MAX`. Undoes [`transmit_ticks`] up to the bytes
/// of one tick, and gives the same ticks when transmitted again.
pub(crate) fn transmit_size(ticks: u32, rate: Rate) -> Size {
    let bytes = u128::from(ticks) * u128::from(rate.bytes_per_second()) / u128::from(TICKS_PER_SECOND);
    Size::from_bytes(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// The bytes that the kernel was given when it reports `ticks` at `rate`, rounded down, as it does where it is given bytes; at most
/// `u32::MAX`. Up to 15.6 MB/s (125 Mbit/s), where a tick is no more than a byte, exactly these; above, the middle of those that it
/// may have been, so that the kernel makes the same ticks of them again.
pub(crate) fn reported_size(ticks: u32, rate: Rate) -> Size {
    let half_ticks = u128::from(ticks) * 2;
    let (rate, per_second) = (u128::from(rate.bytes_per_second()), u128::from(TICKS_PER_SECOND) * 2);
    let bytes = (half_ticks * rate).div_ceil(per_second).max((half_ticks + 1) * rate / per_second);
    Size::from_bytes(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// How the time of a burst is told to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the tick, upwards, so that no burst is smaller than asked; as `tc` from iproute2 6.15 on.
    #[default]
    Exact,
    /// As older ones: down to whole microseconds (`tc_calc_xmittime`), so that the kernel gets up to a microsecond's bytes less;
    /// at 40 Gbit/s nothing is left of 1600 bytes.
    Microseconds,
}

impl Rounding {
    /// How long `size` bytes take at `rate`, in ticks. `None`: too long.
    pub(crate) fn ticks(self, size: Size, rate: Rate) -> Option<u32> {
        match self {
            Self::Exact => transmit_ticks(size, rate),
            Self::Microseconds => whole_microsecond_ticks(size, rate),
        }
    }
}

fn whole_microsecond_ticks(size: Size, rate: Rate) -> Option<u32> {
    let microseconds = u64::from(size.bytes()) * 1_000_000 / rate.bytes_per_second();
    u32::try_from(u128::from(microseconds) * u128::from(TICKS_PER_SECOND) / 1_000_000).ok()
}

/// The bytes of the whole microseconds that `size` takes at `rate`: what `tc` before iproute2 6.15 makes of it
/// (`tc_calc_xmittime`, `tc_core_time2tick`).
pub(crate) fn whole_microseconds(size: Size, rate: Rate) -> Size {
    transmit_size(whole_microsecond_ticks(size, rate).unwrap_or(u32::MAX), rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let ticks = |size, rate: &str| transmit_ticks(Size::from_bytes(size), rate.parse().unwrap());
        assert_eq!(ticks(1600, "10mbit"), Some(20_000)); // 1.28 ms
        assert_eq!(ticks(15_360, "7mbit"), Some(274_286)); // 17.554285… ms
        assert_eq!(ticks(1600, "40gbit"), Some(5)); // 320 ns, exactly
        assert_eq!(ticks(1, "100gbit"), Some(1)); // 80 ps become one tick, not none
        assert_eq!(ticks(1600, "8bit"), None); // 1600 s
        assert_eq!(ticks(u32::MAX, "40gbit"), Some(13_421_773)); // below a second
        assert_eq!(ticks(0, "8bit"), Some(0));
        let older =
            |size, rate: &str| Rounding::Microseconds.ticks(Size::from_bytes(size), rate.parse().unwrap());
        assert_eq!(older(1600, "1gbit"), Some(187)); // 12.8 µs become 12
        assert_eq!(older(1600, "90kbit"), Some(2_222_218));
        assert_eq!(older(1600, "40gbit"), Some(0));
    }

    proptest! {
        #[test]
        fn the_kernel_rounds_down_and_the_bytes_come_back(size in 0_u32..1 << 24, rate in 1_u64..=TICKS_PER_SECOND) {
            let ticks = u64::from(size) * TICKS_PER_SECOND / rate;
            if let Ok(ticks) = u32::try_from(ticks) {
                let rate = Rate::from_bytes_per_second(rate).unwrap();
                prop_assert_eq!(reported_size(ticks, rate), Size::from_bytes(size));
            }
        }

        #[test]
        fn size_survives_up_to_a_tick(size: u32, rate in 1_u64..=1 << 40) {
            let (size, rate) = (Size::from_bytes(size), Rate::from_bytes_per_second(rate).unwrap());
            if let Some(ticks) = transmit_ticks(size, rate) {
                let back = transmit_size(ticks, rate);
                let tick = rate.bytes_per_second() / TICKS_PER_SECOND + 1;
                prop_assert!(back >= size && u64::from(back.bytes() - size.bytes()) <= tick);
                if back.bytes() < u32::MAX {
                    prop_assert_eq!(transmit_ticks(back, rate), Some(ticks));
                }
            }
        }
    }
}
