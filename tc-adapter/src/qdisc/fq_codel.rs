//! Fair queues, each watched by `CoDel` (tc-fq_codel(8), `net/sched/sch_fq_codel.c`, `include/net/codel.h`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{TCA_OPTIONS, is_default_quantum, micros, put_said, require, write_said};
use crate::attribute::{each, nest, put, u32_at};
use crate::link::Link;
use crate::reply::Malformed;
use crate::size::Size;
use crate::text::serde_as_text;
use crate::time::Time;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, number};

const TARGET: u16 = 1;
const LIMIT: u16 = 2;
const INTERVAL: u16 = 3;
const ECN: u16 = 4;
const FLOWS: u16 = 5;
const QUANTUM: u16 = 6;
const CE_THRESHOLD: u16 = 7;
const DROP_BATCH_SIZE: u16 = 8;
const MEMORY_LIMIT: u16 = 9;
const CE_THRESHOLD_SELECTOR: u16 = 10;
const CE_THRESHOLD_MASK: u16 = 11;

/// Queues by hash of the flow, served in turn, of which each drops or marks what waited too long: `tc qdisc … fq_codel
/// [limit <packets>] [flows <number>] [target <time>] [interval <time>] [quantum <bytes>] [ecn|noecn] [ce_threshold <time>]
/// [ce_threshold_selector <value>/<mask>] [memory_limit <size>] [drop_batch <packets>]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FqCodel {
    /// Packets that may wait in all queues together; at least 1. `None`: 10,240.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Queues; 1 to 65,536. `None`: 1,024. Only at creation: a change that says it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u32>,
    /// Waiting time that is acceptable; 1 µs to 4,294 s, which the kernel rounds down to units of 1.024 µs. `None`: 5 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Time>,
    /// How long the target may be missed before packets are dropped or marked, rounded and limited as that. `None`: 100 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Time>,
    /// Bytes that a queue may send in its turn; 1 to 1,048,576, of which less than 256 count as 256. `None`: the device's MTU
    /// with the link-layer header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantum: Option<u32>,
    /// Mark packets of connections that know ECN instead of dropping them (`ecn`, `noecn`). `None`: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecn: Option<bool>,
    /// Mark all such packets that waited longer, as DCTCP wants it; below 4,294.967295 s, rounded as the target. `None`: do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_threshold: Option<Time>,
    /// Apply `ce_threshold` only to packets with such bits in the DS field. `None`: to all. From Linux 5.16 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_threshold_selector: Option<CeThresholdSelector>,
    /// Memory that waiting packets may take; at least 1 byte; the kernel caps it at 2 GiB. `None`: 32 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Size>,
    /// Packets to drop at once, from the longest queue, when a limit is exceeded; at least 1. `None`: 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_batch: Option<u32>,
}

/// Which packets `ce_threshold` applies to: those whose DS field (TOS byte, with the two ECN bits) has `value` in the bits of
/// `mask`. As text `<value>/<mask>`, such as `0x1/0x3` for ECT(1), the packets of L4S.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CeThresholdSelector {
    /// 0 to 254: `tc` keeps 255 for "not said".
    pub value: u8,
    /// The bits that are compared.
    pub mask: u8,
}

impl fmt::Display for CeThresholdSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl FromStr for CeThresholdSelector {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        let (value, mask) = text
            .split_once('/')
            .ok_or_else(|| Syntax::new(format!("{text:?} has no mask: expected <value>/<mask>")))?;
        Ok(Self { value: number(value)?, mask: number(mask)? })
    }
}

serde_as_text!(CeThresholdSelector, CeThresholdSelector::to_string);

/// What `fq_codel` counts; `tc -s qdisc show` (`struct tc_fq_codel_qd_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FqCodelXstats {
    /// Bytes of the largest packet seen.
    pub maxpacket: u32,
    /// Packets dropped because a limit was exceeded.
    pub drop_overlimit: u32,
    /// Packets marked instead of dropped.
    pub ecn_mark: u32,
    /// Times that a packet made a queue a new one.
    pub new_flow_count: u32,
    /// New queues now, which are served first.
    pub new_flows_len: u32,
    /// Other queues with packets now.
    pub old_flows_len: u32,
    /// Packets marked because of `ce_threshold`.
    pub ce_mark: u32,
    /// Bytes of memory that packets take now.
    pub memory_used: u32,
    /// Packets dropped because of `memory_limit`.
    pub drop_overmemory: u32,
}

impl FqCodelXstats {
    /// Reads the value of `TCA_STATS_APP`; `None`: it is about a class. Old kernels tell less: what is missing is 0.
    pub(super) fn decode(value: &[u8]) -> Result<Option<Self>, Malformed> {
        let kind = u32_at(value, 0).ok_or(Malformed("fq_codel statistics are too short"))?;
        let field = |index: usize| u32_at(value, 4 + index * 4).unwrap_or(0);
        // TCA_FQ_CODEL_XSTATS_QDISC
        Ok((kind == 0).then(|| Self {
            maxpacket: field(0),
            drop_overlimit: field(1),
            ecn_mark: field(2),
            new_flow_count: field(3),
            new_flows_len: field(4),
            old_flows_len: field(5),
            ce_mark: field(6),
            memory_used: field(7),
            drop_overmemory: field(8),
        }))
    }
}

/// Nanoseconds of the unit in which `CoDel` keeps times (`CODEL_SHIFT`).
const UNIT: u64 = 1 << 10;

/// A time as it is kept, in units.
fn units(time: Time) -> u64 {
    u64::from(micros(time)) * 1_000 / UNIT
}

/// The time of which the kernel made what it reports: it rounds down to units, and these down to microseconds. So 5 ms are
/// reported as 4,999 µs, and 4,999 µs would become 4,998.
fn asked(microseconds: u32) -> Time {
    let units = (u64::from(microseconds) * 1_000).div_ceil(UNIT);
    Time::from_nanoseconds((units * UNIT).div_ceil(1_000) * 1_000)
}

impl FqCodel {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            put_said(buffer, LIMIT, self.limit);
            put_said(buffer, FLOWS, self.flows);
            put_said(buffer, QUANTUM, self.quantum);
            put_said(buffer, INTERVAL, self.interval.map(micros));
            put_said(buffer, TARGET, self.target.map(micros));
            put_said(buffer, ECN, self.ecn.map(u32::from));
            put_said(buffer, CE_THRESHOLD, self.ce_threshold.map(micros));
            if let Some(CeThresholdSelector { value, mask }) = self.ce_threshold_selector {
                put(buffer, CE_THRESHOLD_MASK, &[mask]);
                put(buffer, CE_THRESHOLD_SELECTOR, &[value]);
            }
            put_said(buffer, MEMORY_LIMIT, self.memory_limit.map(Size::bytes));
            put_said(buffer, DROP_BATCH_SIZE, self.drop_batch);
        });
    }

    /// Reads the value of `TCA_OPTIONS` as the kernel reports it; times are those that were asked for.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("an attribute of fq_codel is too short");
        let mut found = Self::default();
        let (mut value, mut mask) = (0, 0);
        for attribute in each(bytes) {
            let (kind, bytes) = attribute?;
            let word = || u32_at(bytes, 0).ok_or(SHORT);
            let time = || word().map(asked);
            // Of less than a unit nothing is left; but `tc` cannot say 0.
            let long = || Ok(time()?.max(Time::from_microseconds(1)));
            match kind {
                LIMIT => found.limit = Some(word()?),
                FLOWS => found.flows = Some(word()?),
                QUANTUM => found.quantum = Some(word()?),
                INTERVAL => found.interval = Some(long()?),
                TARGET => found.target = Some(long()?),
                ECN => found.ecn = Some(word()? != 0),
                CE_THRESHOLD => found.ce_threshold = Some(time()?),
                CE_THRESHOLD_SELECTOR => value = *bytes.first().ok_or(SHORT)?,
                CE_THRESHOLD_MASK => mask = *bytes.first().ok_or(SHORT)?,
                MEMORY_LIMIT => found.memory_limit = Some(Size::from_bytes(word()?)),
                DROP_BATCH_SIZE => found.drop_batch = Some(word()?),
                _ => {}
            }
        }
        // The kernel tells 0/0, which selects all, where none was given.
        found.ce_threshold_selector =
            Some(CeThresholdSelector { value, mask }).filter(|_| value != 0 || mask != 0);
        Ok(found)
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut said = Self::default();
        while let Some(word) = words.next() {
            match word {
                "limit" => said.limit = Some(words.number(word)?),
                "flows" => said.flows = Some(words.number(word)?),
                "quantum" => said.quantum = Some(words.number(word)?),
                "interval" => said.interval = Some(words.parse(word)?),
                "target" => said.target = Some(words.parse(word)?),
                "ecn" => said.ecn = Some(true),
                "noecn" => said.ecn = Some(false),
                "ce_threshold" => said.ce_threshold = Some(words.parse(word)?),
                "ce_threshold_selector" => said.ce_threshold_selector = Some(words.parse(word)?),
                "memory_limit" => said.memory_limit = Some(words.parse(word)?),
                "drop_batch" => said.drop_batch = Some(words.number(word)?),
                other => return Err(Syntax::unknown("fq_codel", other)),
            }
        }
        Ok(said)
    }

    /// Numbers of 0 are refused: `tc` takes them for "not said", so that they would mean the default there.
    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let held = |holds, setting, allowed| require(holds, "fq_codel", setting, allowed);
        let some = |number: Option<u32>| number != Some(0);
        held(some(self.limit), "limit", "at least 1")?;
        held(self.flows.is_none_or(|flows| (1..=65_536).contains(&flows)), "flows", "1 to 65536")?;
        held(self.quantum.is_none_or(|bytes| (1..=1 << 20).contains(&bytes)), "quantum", "1 to 1048576")?;
        held(some(self.drop_batch), "drop_batch", "at least 1")?;
        held(some(self.memory_limit.map(Size::bytes)), "memory_limit", "at least 1 byte")?;
        for (setting, time) in [("target", self.target), ("interval", self.interval)] {
            let fits = |time: Time| (1..=u64::from(u32::MAX)).contains(&time.microseconds());
            held(time.is_none_or(fits), setting, "1us to 4294967295us")?;
        }
        let below = |time: Time| time.microseconds() < u64::from(u32::MAX);
        held(self.ce_threshold.is_none_or(below), "ce_threshold", "less than 4294967295us")?;
        if let Some(selector) = self.ce_threshold_selector {
            held(selector.value < u8::MAX, "ce_threshold_selector", "0 to 254, with a mask")?;
            held(self.ce_threshold.is_some(), "ce_threshold_selector", "said along with ce_threshold only")?;
        }
        Ok(())
    }

    pub(super) fn meets(&self, actual: &Self, link: Link) -> bool {
        let number = |wanted: Option<u32>, default: u32, actual: Option<u32>| {
            actual.is_none_or(|actual| actual == wanted.unwrap_or(default))
        };
        let time = |wanted: Option<Time>, default: Time, actual: Option<Time>| {
            actual.is_none_or(|actual| units(actual) == units(wanted.unwrap_or(default)))
        };
        let memory = |size: Size| size.bytes().min(1 << 31);
        let selector =
            self.ce_threshold_selector.filter(|selector| (selector.value, selector.mask) != (0, 0));
        number(self.limit, 10_240, actual.limit)
            && number(self.flows, 1_024, actual.flows)
            && number(self.drop_batch, 64, actual.drop_batch)
            && number(self.memory_limit.map(memory), 32 << 20, actual.memory_limit.map(Size::bytes))
            && number(self.ecn.map(u32::from), 1, actual.ecn.map(u32::from))
            && time(self.target, Time::from_milliseconds(5), actual.target)
            && time(self.interval, Time::from_milliseconds(100), actual.interval)
            && self.ce_threshold.map(units) == actual.ce_threshold.map(units)
            && selector == actual.ce_threshold_selector
            && actual.quantum.is_none_or(|actual| match self.quantum {
                Some(wanted) => actual == wanted.max(256),
                None => is_default_quantum(actual, link),
            })
    }
}

/// As words of a `tc` command.
impl fmt::Display for FqCodel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_said(f, "limit", self.limit)?;
        write_said(f, "flows", self.flows)?;
        write_said(f, "quantum", self.quantum)?;
        write_said(f, "target", self.target)?;
        write_said(f, "interval", self.interval)?;
        match self.ecn {
            Some(true) => f.write_str(" ecn")?,
            Some(false) => f.write_str(" noecn")?,
            None => {}
        }
        write_said(f, "ce_threshold", self.ce_threshold)?;
        write_said(f, "ce_threshold_selector", self.ce_threshold_selector)?;
        write_said(f, "memory_limit", self.memory_limit.map(Size::exact))?;
        write_said(f, "drop_batch", self.drop_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::{assert_round_trip, assert_words_round_trip};
    use proptest::prelude::*;

    /// What the kernel reports for an Ethernet device of which nothing was said.
    const DEFAULTS: &str = "limit 10240 flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32mb \
                            ecn drop_batch 64";
    const LINK: Link = Link { mtu: 1500, transmit_queue_length: 1000 };

    fn read(text: &str) -> FqCodel {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        FqCodel::parse(&mut Words::new(&words)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let defaults = read(DEFAULTS);
        assert!(FqCodel::default().meets(&defaults, LINK));
        for text in ["target 5ms", "interval 100ms", "ecn", "limit 10240 flows 1024", "quantum 1514"] {
            assert!(read(text).meets(&defaults, LINK), "{text}");
        }
        for text in ["target 6ms", "noecn", "limit 1024", "quantum 300", "ce_threshold 1ms", "drop_batch 1"] {
            assert!(!read(text).meets(&defaults, LINK), "{text}");
            let other = read(&format!("{DEFAULTS} {text}"));
            assert!(!FqCodel::default().meets(&other, LINK), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "limit 0",
            "flows 65537",
            "quantum 1048577",
            "target 0",
            "interval 5000s",
            "ce_threshold 4294967295us",
            "ce_threshold_selector 1/1",
            "memory_limit 0",
            "drop_batch 0",
        ] {
            assert!(read(text).validate().is_err(), "{text}");
        }
        assert_eq!(read("quantum 1 ce_threshold 0 ce_threshold_selector 0/1").validate(), Ok(()));
    }

    #[test]
    fn statistics_of_old_kernels_are_shorter() {
        let bytes = [0_u32, 1514, 2, 3, 4, 5, 6].map(u32::to_ne_bytes);
        let told = FqCodelXstats::decode(bytes.as_flattened()).unwrap().unwrap();
        assert_eq!((told.maxpacket, told.old_flows_len, told.ce_mark), (1514, 6, 0));
        assert_eq!(FqCodelXstats::decode(&1_u32.to_ne_bytes()), Ok(None));
    }

    #[test]
    fn times_are_reported_rounded_down() {
        let mut reported = Vec::new();
        for (kind, time) in [(TARGET, 4_999_u32), (INTERVAL, 99_999), (CE_THRESHOLD, 0)] {
            put(&mut reported, kind, &time.to_ne_bytes());
        }
        let found = FqCodel::decode(&reported).unwrap();
        assert_eq!(found.to_string(), " target 5ms interval 100ms ce_threshold 0ns");
        assert_eq!(
            FqCodel::decode(&[8, 0, 1, 0, 0, 0, 0, 0]).unwrap().target,
            Some(Time::from_microseconds(1))
        );
    }

    proptest! {
        #[test]
        fn a_reported_time_is_kept_as_the_same_units(microseconds: u32) {
            let kept = units(Time::from_microseconds(microseconds));
            let reported = u32::try_from(kept * UNIT / 1_000).unwrap();
            prop_assert_eq!(units(asked(reported)), kept);
            prop_assert!(asked(reported) <= Time::from_microseconds(microseconds));
        }

        #[test]
        fn any_report_has_a_time(microseconds: u32) {
            let _ = units(asked(microseconds));
        }

        #[test]
        fn settings_come_back(
            numbers: [Option<u32>; 4], times: [Option<u32>; 3], memory_limit: Option<u32>, ecn: Option<bool>,
            selector: Option<(u8, u8)>,
        ) {
            let [limit, flows, quantum, drop_batch] = numbers;
            let [target, interval, ce_threshold] = times.map(|time| time.map(Time::from_microseconds));
            // Requests have times as they are asked for, reports as they are kept; so only words keep them.
            let fq_codel = FqCodel { target, interval, ce_threshold, ..FqCodel::default() };
            assert_words_round_trip(&Qdisc::FqCodel(Box::new(fq_codel)));
            assert_round_trip(&Qdisc::FqCodel(Box::new(FqCodel {
                limit, flows, quantum, drop_batch, ecn,
                target: None, interval: None, ce_threshold: None,
                memory_limit: memory_limit.map(Size::from_bytes),
                ce_threshold_selector: selector
                    .filter(|selector| *selector != (0, 0))
                    .map(|(value, mask)| CeThresholdSelector { value, mask }),
            })));
        }
    }
}
