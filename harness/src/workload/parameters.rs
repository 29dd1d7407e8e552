//! Random parameters that the kernel accepts.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tc_adapter::{HtbClass, Rate, Size};

/// The range of rates, bits per second: from a narrow-band line to a data centre's port.
const RATE_BITS: std::ops::Range<f64> = 8e3..1e10;

/// A class as a shaper would ask for it: rates spread evenly over orders of magnitude, ceil at or above rate.
/// The quantum is given, for HTB's own (rate / r2q) is out of its bounds at both ends of that range and
/// the kernel warns of it.
pub(crate) fn random_class(rng: &mut ChaCha8Rng) -> HtbClass {
    let bits = rng.random_range(RATE_BITS.start.ln()..RATE_BITS.end.ln()).exp();
    let rate = rate(bits);
    let ceil = rate_at_least(rate, bits * rng.random_range(1.0..4.0));
    let mut class = HtbClass::new(rate);
    class.ceil = ceil;
    class.burst = Some(Size::from_bytes(rng.random_range(1_600..256 * 1024)));
    class.cburst = Some(Size::from_bytes(rng.random_range(1_600..256 * 1024)));
    class.prio = rng.random_range(0..8);
    class.quantum = Some(rng.random_range(1_514..60_000));
    class
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 8e3 and 4e10")]
fn rate(bits: f64) -> Rate {
    Rate::from_bits_per_second(bits as u64).expect("at least 8 bit/s")
}

fn rate_at_least(floor: Rate, bits: f64) -> Rate {
    let rate = rate(bits);
    if rate.bytes_per_second() < floor.bytes_per_second() { floor } else { rate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::worker_rng;

    #[test]
    fn parameters_are_valid_and_follow_the_seed() {
        let mut rng = worker_rng(1, 0);
        let classes: Vec<_> = (0..10_000).map(|_| random_class(&mut rng)).collect();
        for class in &classes {
            assert!(class.ceil.bytes_per_second() >= class.rate.bytes_per_second());
            assert!(class.prio <= 7 && class.quantum.unwrap() >= 1_514);
        }
        assert_eq!(classes[0], random_class(&mut worker_rng(1, 0)));
        assert_ne!(classes[0], random_class(&mut worker_rng(1, 1)), "workers draw from streams of their own");
        assert_ne!(classes[0], random_class(&mut worker_rng(2, 0)));
    }
}
