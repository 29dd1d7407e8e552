//! Bad networks: delay, loss and more on purpose (tc-netem(8), `net/sched/sch_netem.c`).

mod parts;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::parts::{correlation, number, said};
use super::share::Percent;
use super::{TCA_OPTIONS, require, write_said};
use crate::attribute::{each, nest, put, u32_at, u64_at};
use crate::reply::Malformed;
use crate::size::Size;
use crate::time::Time;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

pub use self::parts::{NetemChance, NetemLoss, NetemRate, NetemSlot};

const CORR: u16 = 1;
const REORDER: u16 = 3;
const CORRUPT: u16 = 4;
const LOSS: u16 = 5;
const RATE: u16 = 6;
const ECN: u16 = 7;
const RATE64: u16 = 8;
const LATENCY64: u16 = 10;
const JITTER64: u16 = 11;
const SLOT: u16 = 12;

/// `TCA_OPTIONS` starts with a `struct tc_netem_qopt`.
const HEADER_SIZE: usize = 24;
const LIMIT: u32 = 1000;
/// Nanoseconds of a tick (`PSCHED_SHIFT`), in which delays are sent.
const TICK: u64 = 64;
/// The kernel caps the jitter at so many nanoseconds (`netem_change`).
const LONGEST_JITTER: u64 = i32::MAX as u64;

/// Emulates the properties of a bad network: `tc qdisc … netem [limit <packets>] [delay <time> [<jitter> [<correlation>]]]
/// [loss …] [duplicate <percent> …] [corrupt <percent> …] [reorder <percent> … [gap <packets>]] [rate <rate> …] [slot …] [ecn]`.
///
/// The tables of `distribution` are not supported: the kernel does not report them, so nobody could tell which is in use. The
/// jitter is uniform without one.
///
/// A change leaves corruption, reordering, correlations, rate, slots and `ecn` as they are when it does not say them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Netem {
    /// Packets that may wait. `None`: 1,000, which goes to the kernel as `tc` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long every packet waits: up to 274 s, in units of 64 ns. `None`: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Time>,
    /// The delay varies by as much in both directions; up to 2.147 s; needs `delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Time>,
    /// How much a packet's delay depends on that of the one before; needs `jitter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_correlation: Option<Percent>,
    /// Packets that are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<NetemLoss>,
    /// Packets that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<NetemChance>,
    /// Packets of which a bit is flipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<NetemChance>,
    /// Packets that do not wait; needs `delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<NetemChance>,
    /// Only every such packet may be one that does not wait; needs `reorder`. `None`: 1, each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<u32>,
    /// How fast packets go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NetemRate>,
    /// When packets may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<NetemSlot>,
    /// Mark packets that know ECN instead of losing them; needs `loss`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ecn: bool,
}

fn ticks(time: Option<Time>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.nanoseconds() / TICK).unwrap_or(u32::MAX))
}

fn random(loss: Option<NetemLoss>) -> Option<NetemChance> {
    match loss {
        Some(NetemLoss::Random(chance)) => Some(chance),
        _ => None,
    }
}

impl Netem {
    /// As in `tc`, reordering without a gap is one of 1: with 0 there would be none.
    fn effective_gap(&self) -> u32 {
        let reordered = self.reorder.is_some_and(|chance| chance.percent.raw() != 0);
        self.gap.filter(|gap| *gap != 0).unwrap_or(u32::from(reordered))
    }

    /// Whether anything has a correlation; otherwise a change leaves those that there are.
    fn sends_correlations(&self) -> bool {
        let chances = [random(self.loss), self.duplicate, self.corrupt, self.reorder];
        let correlated = |chance: &Option<NetemChance>| chance.is_some_and(|one| one.correlation.is_some());
        self.delay_correlation.is_some() || chances.iter().any(correlated)
    }

    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            let (loss, loss_correlation) = NetemChance::wire(random(self.loss));
            let (duplicate, duplicate_correlation) = NetemChance::wire(self.duplicate);
            // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
            let header = [
                ticks(self.delay),
                self.limit.unwrap_or(LIMIT),
                loss,
                self.effective_gap(),
                duplicate,
                ticks(self.jitter),
            ];
            buffer.extend_from_slice(header.map(u32::to_ne_bytes).as_flattened());
            // `tc` sends it also for those of corruption and reordering, which are sent elsewhere; and (6.1) not for a duplicate's
            // alone, which is then lost.
            if self.sends_correlations() {
                let delay_correlation = correlation(self.delay_correlation);
                let all = [delay_correlation, loss_correlation, duplicate_correlation].map(u32::to_ne_bytes);
                put(buffer, CORR, all.as_flattened());
            }
            let put_chance = |buffer: &mut Vec<u8>, kind, chance: Option<NetemChance>| {
                if chance.is_some() {
                    let (percent, correlation) = NetemChance::wire(chance);
                    put(buffer, kind, [percent, correlation].map(u32::to_ne_bytes).as_flattened());
                }
            };
            put_chance(buffer, REORDER, self.reorder);
            if self.ecn {
                put(buffer, ECN, &1_u32.to_ne_bytes());
            }
            put_chance(buffer, CORRUPT, self.corrupt);
            if let Some(slot) = self.slot {
                slot.encode(buffer);
            }
            if let Some(loss) = self.loss {
                loss.encode(buffer);
            }
            if let Some(rate) = self.rate {
                rate.encode(buffer);
            }
        });
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("the options of netem are too short");
        let header = |index: usize| u32_at(options, index * 4).ok_or(SHORT);
        let time = |ticks: u32| Time::from_nanoseconds(u64::from(ticks) * TICK);
        let (mut delay, mut jitter) = (time(header(0)?), time(header(5)?));
        let mut netem = Self { limit: Some(header(1)?), ..Self::default() };
        netem.gap = Some(header(3)?).filter(|gap| *gap != 0);
        let (mut correlations, mut model, mut rate, mut rate64) = ([0; 3], None, None, None);
        for attribute in each(options.get(HEADER_SIZE..).unwrap_or_default()) {
            let (kind, value) = attribute?;
            let word = |index: usize| u32_at(value, index * 4).ok_or(SHORT);
            let double = || u64_at(value, 0).ok_or(SHORT);
            match kind {
                CORR => correlations = [word(0)?, word(1)?, word(2)?],
                REORDER => netem.reorder = NetemChance::from_wire(word(0)?, word(1)?),
                CORRUPT => netem.corrupt = NetemChance::from_wire(word(0)?, word(1)?),
                LOSS => model = NetemLoss::decode(value)?,
                RATE => rate = Some(value),
                RATE64 => rate64 = Some(double()?),
                ECN => netem.ecn = word(0)? != 0,
                LATENCY64 => delay = Time::from_nanoseconds(double()?),
                JITTER64 => jitter = Time::from_nanoseconds(double()?),
                SLOT => netem.slot = Some(NetemSlot::decode(value)?),
                _ => {}
            }
        }
        let there = |time: Time| Some(time).filter(|time| time.nanoseconds() != 0);
        (netem.delay, netem.jitter) = (there(delay), there(jitter));
        netem.delay_correlation = said(correlations[0]);
        netem.loss = model.or(NetemChance::from_wire(header(2)?, correlations[1]).map(NetemLoss::Random));
        netem.duplicate = NetemChance::from_wire(header(4)?, correlations[2]);
        netem.rate = rate.map_or(Ok(None), |value| NetemRate::decode(value, rate64))?;
        Ok(netem)
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut netem = Self::default();
        while let Some(word) = words.next() {
            match word {
                // tc reads a size here, so that 10k are 10,240 packets.
                _ if abbreviates(word, "limit") => {
                    netem.limit = Some(words.parse::<Size>(word)?.bytes());
                }
                _ if abbreviates(word, "latency") || abbreviates(word, "delay") => {
                    netem.delay = Some(words.parse(word)?);
                    netem.jitter = number(words, word)?;
                    netem.delay_correlation =
                        if netem.jitter.is_some() { number(words, word)? } else { None };
                }
                _ if abbreviates(word, "loss") || abbreviates(word, "drop") => {
                    if netem.loss.is_some() {
                        return Err(Syntax::new("netem: loss is given twice"));
                    }
                    netem.loss = Some(NetemLoss::parse(words)?);
                }
                _ if abbreviates(word, "ecn") => netem.ecn = true,
                _ if abbreviates(word, "reorder") => netem.reorder = Some(NetemChance::parse(word, words)?),
                _ if abbreviates(word, "corrupt") => netem.corrupt = Some(NetemChance::parse(word, words)?),
                _ if abbreviates(word, "gap") => netem.gap = Some(words.number(word)?),
                _ if abbreviates(word, "duplicate") => {
                    netem.duplicate = Some(NetemChance::parse(word, words)?);
                }
                _ if abbreviates(word, "distribution") => {
                    return Err(Syntax::new("netem: the tables of distribution are not supported"));
                }
                _ if abbreviates(word, "rate") => netem.rate = Some(NetemRate::parse(word, words)?),
                _ if abbreviates(word, "slot") => netem.slot = Some(NetemSlot::parse(word, words)?),
                other => return Err(Syntax::unknown("netem", other)),
            }
        }
        Ok(netem)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let held = |holds, setting, allowed| require(holds, "netem", setting, allowed);
        let delays = ticks(self.delay) != 0;
        let nanoseconds = |time: Option<Time>| time.map_or(0, Time::nanoseconds);
        held(u32::try_from(nanoseconds(self.delay) / TICK).is_ok(), "delay", "at most 274s")?;
        held(nanoseconds(self.jitter) <= LONGEST_JITTER, "jitter", "at most 2147483647ns")?;
        held(self.jitter.is_none() || delays, "jitter", "said along with delay only")?;
        let correlated = self.delay_correlation.is_none() || self.jitter.is_some();
        held(correlated, "delay correlation", "said along with jitter only")?;
        held(self.reorder.is_none() || delays, "reorder", "said along with delay only")?;
        held(self.gap.is_none() || self.reorder.is_some(), "gap", "said along with reorder only")?;
        held(!self.ecn || self.loss.is_some(), "ecn", "said along with loss only")?;
        let Some(slot) = self.slot else { return Ok(()) };
        held(
            slot.max >= slot.min && nanoseconds(Some(slot.max)) > 0,
            "slot",
            "of a max that is not below min, above 0",
        )?;
        let signed = |number: u32| i32::try_from(number).is_ok();
        held(i64::try_from(slot.max.nanoseconds()).is_ok(), "slot", "below 2^63 ns")?;
        held(signed(slot.packets) && signed(slot.bytes), "slot", "of at most 2147483647 packets and bytes")
    }

    /// What a change to `other` makes of it (`netem_change`).
    pub(super) fn overlaid_by(&self, other: &Self) -> Self {
        let mut changed = other.clone();
        changed.corrupt = other.corrupt.or(self.corrupt);
        // A gap makes reordering certain unless its chance is said along.
        let certain = NetemChance::from_wire(u32::MAX, 0);
        changed.reorder = other.reorder.or(if other.effective_gap() == 0 { self.reorder } else { certain });
        changed.gap = Some(other.effective_gap());
        changed.rate = other.rate.or(self.rate);
        changed.slot = other.slot.or(self.slot);
        changed.ecn |= self.ecn;
        if !other.sends_correlations() {
            let kept = |chance: Option<NetemChance>| chance.and_then(|present| present.correlation);
            changed.delay_correlation = self.delay_correlation;
            if let Some(duplicate) = &mut changed.duplicate {
                duplicate.correlation = kept(self.duplicate);
            }
            if let Some(NetemLoss::Random(loss)) = &mut changed.loss {
                loss.correlation = kept(random(self.loss));
            }
        }
        changed
    }

    /// What is not said is nothing, but for the limit.
    pub(super) fn meets(&self, actual: &Self) -> bool {
        let chances = |netem: &Self| {
            [netem.duplicate, netem.corrupt, netem.reorder, random(netem.loss)].map(NetemChance::wire)
        };
        let model = |netem: &Self| netem.loss.filter(|loss| !matches!(loss, NetemLoss::Random(_)));
        let plain = |netem: &Self| {
            let delay = (ticks(netem.delay), ticks(netem.jitter), correlation(netem.delay_correlation));
            (delay, netem.limit.unwrap_or(LIMIT), netem.effective_gap(), netem.rate, netem.slot, netem.ecn)
        };
        plain(self) == plain(actual) && chances(self) == chances(actual) && model(self) == model(actual)
    }
}

/// As words of a `tc` command. Jitter without a delay has no words and is refused elsewhere.
impl fmt::Display for Netem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_said(f, "limit", self.limit)?;
        let delay = self.delay.or(self.jitter.map(|_| Time::default()));
        write_said(f, "delay", delay)?;
        let jitter =
            self.jitter.or(self.delay_correlation.map(|_| Time::default())).filter(|_| delay.is_some());
        if let Some(jitter) = jitter {
            write!(f, " {jitter}")?;
            self.delay_correlation.map_or(Ok(()), |correlation| write!(f, " {correlation}"))?;
        }
        write_said(f, "loss", self.loss)?;
        write_said(f, "duplicate", self.duplicate)?;
        write_said(f, "corrupt", self.corrupt)?;
        write_said(f, "reorder", self.reorder)?;
        write_said(f, "gap", self.gap)?;
        write_said(f, "rate", self.rate)?;
        write_said(f, "slot", self.slot)?;
        if self.ecn { f.write_str(" ecn") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::assert_round_trip;
    use crate::rate::Rate;
    use proptest::prelude::*;

    fn read(text: &str) -> Netem {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Netem::parse(&mut Words::new(&words)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_not_said_is_nothing() {
        assert!(Netem::default().meets(&read("limit 1000")));
        assert!(read("delay 10us").meets(&read("limit 1000 delay 9984ns"))); // 156 ticks
        assert!(read("delay 10ms reorder 25%").meets(&read("limit 1000 delay 10ms reorder 25% gap 1")));
        for text in
            ["delay 1ms", "loss 1%", "duplicate 1%", "corrupt 1%", "rate 1mbit", "slot 1ms", "loss state 1%"]
        {
            assert!(!Netem::default().meets(&read(text)), "{text}");
            assert!(!read(text).meets(&Netem::default()), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "reorder 25%",
            "gap 5",
            "ecn",
            "delay 275s",
            "delay 10s 3s",
            "slot 5ms 1ms",
            "slot 0",
            "slot 1ms packets 2147483648",
        ] {
            assert!(read(text).validate().is_err(), "{text}");
        }
        for text in [
            "delay 1ms 1ms distribution normal",
            "slot distribution normal 1ms 1ms",
            "loss 1% loss 2%",
            "loss often",
        ] {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert!(Netem::parse(&mut Words::new(&words)).is_err(), "{text}");
        }
    }

    fn percent() -> impl Strategy<Value = Percent> {
        (1_u32..).prop_map(Percent::from_raw)
    }

    fn chance() -> impl Strategy<Value = NetemChance> {
        (percent(), prop::option::of(percent()))
            .prop_map(|(percent, correlation)| NetemChance { percent, correlation })
    }

    fn loss() -> impl Strategy<Value = NetemLoss> {
        prop_oneof![
            chance().prop_map(NetemLoss::Random),
            any::<[u32; 5]>().prop_map(|raw| {
                let [p13, p31, p32, p23, p14] = raw.map(Percent::from_raw);
                NetemLoss::State { p13, p31, p32, p23, p14 }
            }),
            any::<[u32; 4]>().prop_map(|raw| {
                let [p, r, one_minus_h, one_minus_k] = raw.map(Percent::from_raw);
                NetemLoss::Gemodel { p, r, one_minus_h, one_minus_k }
            }),
        ]
    }

    fn rate() -> impl Strategy<Value = NetemRate> {
        (1_u64..=u64::MAX / 8, any::<(i32, u32, i32)>()).prop_map(
            |(rate, (packet_overhead, cell_size, cell_overhead))| {
                let rate = Rate::from_bytes_per_second(rate).unwrap();
                NetemRate { rate, packet_overhead, cell_size, cell_overhead }
            },
        )
    }

    prop_compose! {
        fn settings()(
            limit: u32, delay in prop::option::of((1_u32.., prop::option::of((1_u32.., prop::option::of(percent()))))),
            loss in prop::option::of(loss()), chances in [prop::option::of(chance()), prop::option::of(chance()), prop::option::of(chance())],
            gap in prop::option::of(1_u32..), rate in prop::option::of(rate()), slot: Option<(u64, u64, u32, u32)>, ecn: bool,
        ) -> Netem {
            let time = |ticks: u32| Time::from_nanoseconds(u64::from(ticks) * TICK);
            let jitter = delay.and_then(|(_, jitter)| jitter);
            let [duplicate, corrupt, reorder] = chances;
            Netem {
                limit: Some(limit),
                delay: delay.map(|(delay, _)| time(delay)),
                jitter: jitter.map(|(jitter, _)| time(jitter)),
                delay_correlation: jitter.and_then(|(_, correlation)| correlation),
                loss, duplicate, corrupt, reorder,
                gap: gap.or(reorder.map(|_| 1)),
                rate,
                slot: slot.map(|(min, max, packets, bytes)| {
                    let (min, max) = (Time::from_nanoseconds(min), Time::from_nanoseconds(max));
                    NetemSlot { min, max, packets, bytes }
                }),
                ecn,
            }
        }
    }

    proptest! {
        #[test]
        fn settings_come_back(netem in settings()) {
            let _ = netem.validate();
            prop_assert!(netem.meets(&netem));
            assert_round_trip(&Qdisc::Netem(Box::new(netem)));
        }
    }
}
