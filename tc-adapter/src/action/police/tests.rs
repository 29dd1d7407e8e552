//! Any police action, and what makes no sense to it.

use super::*;
use crate::action::{control, options};
use proptest::prelude::*;

/// At rates at which no byte is lost within a tick.
pub(crate) fn anything() -> impl Strategy<Value = Police> {
    let rate = || (1_u64..15_000_000).prop_map(|rate| Rate::from_bytes_per_second(rate).unwrap());
    let size = |most: u32| (1..most).prop_map(Size::from_bytes);
    let rates = (prop::option::of((rate(), size(200))), prop::option::of(rate()), prop::option::of(rate()));
    let numbers = (any::<u32>(), any::<u16>(), any::<u16>(), any::<bool>());
    let packets = prop::option::of((1_u64..1_000_000, 1_u32..200));
    let controls = (control::tests::anything(), control::tests::anything());
    (rates, numbers, packets, controls, options::tests::anything()).prop_map(
        |((rate, peakrate, avrate), (mtu, mpu, overhead, atm), packets, (exceed, conform), options)| {
            let limited = rate.is_some();
            Police {
                rate: rate.map(|(rate, _)| rate),
                burst: rate.map(|(_, burst)| burst),
                mtu: Size::from_bytes(mtu),
                mpu: if limited { mpu } else { 0 },
                overhead: if limited { overhead } else { 0 },
                link_layer: if atm && limited { LinkLayer::Atm } else { LinkLayer::Ethernet },
                peakrate,
                avrate,
                pkts_rate: packets.map_or(0, |(rate, _)| rate),
                pkts_burst: packets.map_or(0, |(_, burst)| burst),
                exceed,
                conform,
                options,
            }
        },
    )
}

#[test]
fn what_the_kernel_fills_in_is_not_compared() {
    let wanted = Police::new("1mbit".parse().unwrap(), Size::from_bytes(10_000), Control::Drop);
    let mut actual = Police { mtu: Size::from_bytes(2040), ..wanted.clone() };
    actual.options.index = 5;
    assert!(wanted.meets(&actual) && wanted.meets(&wanted.clone().with_whole_microseconds()));
    assert!(!wanted.meets(&Police { burst: Some(Size::from_bytes(10_100)), ..actual.clone() }));
    assert!(!wanted.meets(&Police { exceed: Control::Pass, ..actual.clone() }));
    assert!(!Police { mtu: Size::from_bytes(1500), ..wanted }.meets(&actual));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let limit = Police::new("1mbit".parse().unwrap(), Size::from_bytes(10_000), Control::Drop);
    assert_eq!(limit.validate(), Ok(()));
    for police in [
        Police::default(),
        Police { burst: None, ..limit.clone() },
        Police { peakrate: limit.rate, ..limit.clone() },
        Police { avrate: limit.rate, ..limit.clone() },
        Police { pkts_rate: 5, ..limit.clone() },
        Police { pkts_rate: 5, ..Police::default() },
        Police::new("8bit".parse().unwrap(), Size::from_bytes(1000), Control::Drop),
    ] {
        assert!(police.validate().is_err(), "{police}");
    }
}
