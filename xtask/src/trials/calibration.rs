//! Which delay of a packet makes an operation so many per cent slower: an operation may be several packets, and a delay costs the clock's reading, too.

use super::{Error, comparison::Comparison, instrument::Instrument};

/// The delay by which it is found out: some tens of per cent of an operation, far above how much runs differ.
const PROBE_NS: u64 = 10_000;
/// What an operation takes is the median of its latency, which what disturbs a machine from time to time disturbs least.
pub(super) const LATENCY: &str = "latency_p50_us";
/// What is looked at beside it.
pub(super) const THROUGHPUT: &str = "throughput_mean_ops_per_s";

/// How an operation answers to a delay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration {
    /// What it takes without, in µs: the median over runs of the median in a run.
    pub(super) operation_us: f64,
    /// By how many ns it takes longer for each ns that a packet is held up: about the number of its packets.
    pub(super) packets: f64,
}

impl Calibration {
    /// From what an operation takes without and with a delay.
    fn of(delay_ns: u64, without_us: f64, with_us: f64) -> Result<Self, Error> {
        let packets = (with_us - without_us) * 1e3 / delay_ns as f64;
        if without_us > 0.0 && packets.is_finite() && packets > 0.0 {
            Ok(Self { operation_us: without_us, packets })
        } else {
            Err(Error::Calibration { delay_ns, without_us, with_us })
        }
    }

    /// The delay of a packet, in ns, that makes an operation slower by so many per cent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and above u64 only where an operation takes years: it is what it can be at most then"
    )]
    pub(super) fn delay_ns(&self, percent: f64) -> u64 {
        (self.operation_us * 1e3 * percent / 100.0 / self.packets).round() as u64
    }
}

/// Measures it, with so many runs a side, in turns.
pub(super) fn calibrate(instrument: &Instrument, load: &str, runs: u32) -> Result<Calibration, Error> {
    let lines = [instrument.line(load, 0), instrument.line(load, PROBE_NS)];
    let (comparison, _) = compare(instrument, &lines, runs)?;
    let [without, with] = medians(&comparison);
    Calibration::of(PROBE_NS, without, with)
}

/// Compares what an operation takes with two command lines, and how many there are in a second.
pub(super) fn compare(
    instrument: &Instrument,
    [a, b]: &[String; 2],
    runs: u32,
) -> Result<(Comparison, Vec<u8>), Error> {
    instrument.compare([
        "--interleave",
        a,
        b,
        "--runs",
        &runs.to_string(),
        "--metric",
        LATENCY,
        "--metric",
        THROUGHPUT,
    ])
}

/// What an operation takes on both sides; what was not measured is no number.
fn medians(comparison: &Comparison) -> [f64; 2] {
    let row = comparison.row(LATENCY);
    [row.and_then(|row| row.baseline), row.and_then(|row| row.candidate)]
        .map(|middle| middle.map_or(f64::NAN, |middle| middle.median))
}

#[cfg(test)]
mod tests {
    use super::{
        super::comparison::{
            Verdict,
            fixtures::{comparison, row},
        },
        *,
    };

    #[test]
    fn a_delay_is_shared_among_the_packets_of_an_operation() {
        // Two packets: 10 µs each make 20 µs more.
        let calibration = Calibration::of(10_000, 50.0, 70.0).unwrap();
        assert_eq!(calibration, Calibration { operation_us: 50.0, packets: 2.0 });
        // 5 % of 50 µs are 2,500 ns.
        assert_eq!(calibration.delay_ns(5.0), 1_250);
        assert_eq!(calibration.delay_ns(0.0), 0);
    }

    #[test]
    fn without_an_effect_there_is_nothing_to_calibrate_by() {
        for (without, with) in [(50.0, 50.0), (50.0, 49.0), (0.0, 20.0), (f64::NAN, 1.0), (1.0, f64::NAN)] {
            assert!(Calibration::of(10_000, without, with).is_err(), "{without} {with}");
        }
    }

    #[test]
    fn an_operation_takes_the_median_of_its_latency() {
        let mut of = comparison(Verdict::Regression, true);
        assert!(medians(&of).iter().all(|median| median.is_nan()));
        of.rows = vec![row(THROUGHPUT, [9.0, 8.0]), row(LATENCY, [50.0, 70.0])];
        assert_eq!(medians(&of).map(f64::to_bits), [50.0_f64, 70.0].map(f64::to_bits));
    }
}
