//! What `tc` computes for random early detection (`tc/tc_red.c`; Sally Floyd, "RED: Discussions of Setting Parameters").

/// The least `log` for which `burst + 1 - min / average < (1 - (1 - W)^burst) / W`, W being 2^-log (`tc_red_eval_ewma`). `None`:
/// there is none up to 31.
pub(super) fn weight_log(min: u32, burst: u32, average: u32) -> Option<u8> {
    let distance = f64::from(burst) + 1.0 - f64::from(min) / f64::from(average);
    if average == 0 || distance < 1.0 {
        return None;
    }
    (1_u8..32).find(|log| {
        let weight = 0.5_f64.powi(i32::from(*log));
        distance <= (1.0 - (1.0 - weight).powf(f64::from(burst))) / weight
    })
}

/// The burst that `tc` assumes, in packets.
pub(super) fn default_burst(min: u32, max: u32, average: u32) -> Option<u32> {
    // In 32 bits, as tc.
    min.wrapping_mul(2).wrapping_add(max).checked_div(average.wrapping_mul(3))
}

/// A burst and an average packet of which [`weight_log`] makes `log`.
pub(super) fn burst_and_average(min: u32, log: u8) -> Option<(u32, u32)> {
    let average = (min / 2).max(1);
    // The larger the burst, the slower the average: the least burst that is slow enough, by bisection.
    let (mut low, mut high) = (1, 1 << 17);
    while low < high {
        let burst = u32::midpoint(low, high);
        // None: faster than any for a burst of one packet, else slower than any.
        let found = weight_log(min, burst, average).unwrap_or(if burst == 1 { 0 } else { u8::MAX });
        if found < log {
            low = burst + 1;
        } else {
            high = burst;
        }
    }
    (weight_log(min, low, average) == Some(log)).then_some((low, average))
}

/// The number of times that `probability / (max - min)` can be doubled before it exceeds 1 (`tc_red_eval_P`).
pub(super) fn probability_log(min: u32, max: u32, probability: f64) -> Option<u8> {
    let span = max.checked_sub(min).filter(|span| *span != 0)?;
    let slope = probability / f64::from(span);
    (0_u8..32).find(|log| slope * 2_f64.powi(i32::from(*log)) > 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_a_burst() {
        for log in 1..16 {
            let (burst, average) = burst_and_average(30_000, log).unwrap();
            assert_eq!(weight_log(30_000, burst, average), Some(log));
        }
        assert_eq!(burst_and_average(30_000, 0), None);
        assert_eq!(burst_and_average(30_000, 255), None);
    }
}
