//! A delay that is put in on purpose, so that what looks for slowdowns can be tried on one that is known. Only with the feature `fault-injection`, which
//! nothing that is released has.

use std::env;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// The variable with the nanoseconds that each packet (one `sendmsg(2)` of one request or many) is held up, from 0 to 1,000,000,000. Read when a connection
/// is opened.
pub const DELAY_VARIABLE: &str = "QDISCOPE_FAULT_DELAY_NS";

/// More is a slip of the keys: a second for each packet.
const MOST_NS: u64 = 1_000_000_000;

/// [`DELAY_VARIABLE`] is no delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{DELAY_VARIABLE}={value}: give whole nanoseconds from 0 to {MOST_NS}")]
pub struct InvalidDelay {
    /// What it is.
    pub value: String,
}

/// The delay that [`DELAY_VARIABLE`] asks for; `None` where it is not set, or 0.
pub fn delay() -> Result<Option<Duration>, InvalidDelay> {
    env::var_os(DELAY_VARIABLE).map_or(Ok(None), |value| parse(&value.to_string_lossy()))
}

fn parse(value: &str) -> Result<Option<Duration>, InvalidDelay> {
    match value.parse() {
        Ok(0) => Ok(None),
        Ok(nanoseconds) if nanoseconds <= MOST_NS => Ok(Some(Duration::from_nanos(nanoseconds))),
        _ => Err(InvalidDelay { value: value.to_owned() }),
    }
}

/// Keeps the processor busy for so long. A sleep would take as long as the scheduler likes.
pub(crate) fn spin(delay: Option<Duration>) {
    let Some(delay) = delay else { return };
    let began = Instant::now();
    while began.elapsed() < delay {
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_number_of_nanoseconds() {
        assert_eq!(parse("0"), Ok(None));
        assert_eq!(parse("1500"), Ok(Some(Duration::from_nanos(1_500))));
        assert_eq!(parse("1000000000"), Ok(Some(Duration::from_secs(1))));
        for value in ["", "fast", "-1", "1.5", " 1", "1000000001", "99999999999999999999999"] {
            let error = parse(value).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("QDISCOPE_FAULT_DELAY_NS={value}: give whole nanoseconds from 0 to 1000000000")
            );
        }
    }

    #[test]
    fn it_takes_no_less_than_was_asked() {
        let began = Instant::now();
        spin(Some(Duration::from_millis(3)));
        assert!(began.elapsed() >= Duration::from_millis(3));
    }
}
