//! The rate tables that the kernel wants with a police action, though it reads no times from them since 3.8.

use crate::htb::LinkLayer;

/// Cells of a table.
pub(super) const CELLS: usize = 256;
/// The largest packet that `tc` assumes where no MTU is said.
const MTU: u32 = 2047;

/// How many bits of a packet's size say nothing about its cell, so that 256 cells hold the MTU.
pub(super) const fn cell_log(mtu: u32) -> u8 {
    let mtu = if mtu == 0 { MTU } else { mtu };
    let mut log = 0;
    while mtu >> log > 255 {
        log += 1;
    }
    log
}

/// How long the packets of each cell take, in ticks: in `tc`'s own floating point (`tc_calc_rtable_64`, `tc_calc_xmittime` of
/// iproute2 before 6.15), so that both send the same table.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as C converts them")]
pub(super) fn table(bytes_per_second: u64, mtu: u32, mpu: u16, layer: LinkLayer) -> Vec<u8> {
    const TICKS_IN_A_MICROSECOND: f64 = 15.625;
    let log = cell_log(mtu);
    let cells = (1..=CELLS as u64).map(|cell| {
        let size = (cell << log).max(mpu.into());
        let size = match layer {
            LinkLayer::Ethernet => size,
            LinkLayer::Atm => size.div_ceil(48) * 53,
        };
        let microseconds = (1_000_000.0 * (size as f64 / bytes_per_second as f64)) as u64 as u32;
        (f64::from(microseconds) * TICKS_IN_A_MICROSECOND) as u64 as u32
    });
    cells.flat_map(u32::to_ne_bytes).collect()
}
