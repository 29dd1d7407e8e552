//! A profile's `[traffic]`: packets that flow while the load goes on.

use serde::Deserialize;
use tc_adapter::Rate;

use crate::traffic::Traffic;

/// More need a minor each, which the load's classes are to have.
const MOST_STREAMS: u16 = 1_000;

/// Wider than any traffic that one thread sends.
const WIDE: &str = "1gbit";

/// Packets through classes of their own on the first device, over all stages and what lies between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficPlan {
    /// Packets a second, of each stream.
    pub packets_per_second: f64,
    /// Streams, each of which has a class.
    pub streams: u16,
    /// None of these classes is ever narrower.
    pub rate: Rate,
}

/// As a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTraffic {
    packets_per_second: f64,
    #[serde(default = "eight")]
    streams: u32,
    #[serde(default = "wide")]
    rate: String,
}

fn eight() -> u32 {
    8
}

fn wide() -> String {
    WIDE.into()
}

impl RawTraffic {
    /// What it asks for, or why that cannot be.
    pub(super) fn plan(&self) -> Result<TrafficPlan, String> {
        let Self { packets_per_second, streams, ref rate } = *self;
        let some = u16::try_from(streams).ok().filter(|streams| (1..=MOST_STREAMS).contains(streams));
        let Some(streams) = some else {
            return Err(format!("traffic: streams = {streams}: give 1 to {MOST_STREAMS}"));
        };
        Traffic::check(packets_per_second, usize::from(streams))
            .map_err(|error| format!("traffic: {error}"))?;
        let rate = rate.parse().map_err(|error| format!("traffic: rate = {rate:?}: {error}"))?;
        Ok(TrafficPlan { packets_per_second, streams, rate })
    }
}
