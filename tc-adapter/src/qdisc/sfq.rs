//! Stochastic fairness queueing (tc-sfq(8), `net/sched/sch_sfq.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::red;
use super::share::Probability;
use super::{TCA_OPTIONS, is_default_quantum, require, write_said};
use crate::attribute::{put, u32_at};
use crate::link::Link;
use crate::reply::Malformed;
use crate::size::Size;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

/// Bytes of a `struct tc_sfq_qopt_v1`, and where its statistics start.
pub(super) const OPTIONS_SIZE: usize = 72;
const STATS: usize = 48;

/// `TC_RED_ECN` and `TC_RED_HARDDROP`
const ECN: u8 = 1;
const HARDDROP: u8 = 2;

/// Queues by hash of the flow, served in turn: `tc qdisc … sfq [limit <packets>] [perturb <seconds>] [quantum <size>]
/// [divisor <buckets>] [flows <number>] [depth <packets>] [headdrop] [redflowlimit <bytes> …]`. It cannot be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sfq {
    /// Packets that may wait in all queues together; at least 2, at most `depth` times `flows`, to which the kernel reduces it.
    /// `None`: 127.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Seconds after which flows are hashed anew; 0 to 2,147,483. `None`: never, as 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perturb: Option<u32>,
    /// Bytes that a queue may send in its turn; 1 to 2^31 - 1, of which newer kernels (also 6.1.192) make at least 256 and refuse
    /// large ones. `None`: the device's MTU with the link-layer header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantum: Option<Size>,
    /// Buckets of the hash: a power of two up to 65,536. `None`: 1,024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<u32>,
    /// Queues; at least 1; the kernel reduces it to 65,408, to `divisor` and to `limit`. `None`: 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u32>,
    /// Packets that may wait in one queue; at least 1; the kernel reduces it to 127. `None`: 127.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Drop the first packet of a queue that is full instead of the last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub headdrop: bool,
    /// Random early detection in each queue. `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub red: Option<SfqRed>,
}

/// Random early detection in each queue of an SFQ: `tc qdisc … sfq … redflowlimit <bytes> [min <bytes>] [max <bytes>]
/// [burst <packets>] [avpkt <size>] [probability <share>] [ecn] [harddrop]`.
///
/// `tc` turns `burst` and `avpkt` into the weight of the average; so does this crate when it reads words, and keeps the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SfqRed {
    /// Bytes that may wait in one queue; at least `max`. The kernel (6.x) neither heeds nor reports it; as reported it is `max`.
    pub redflowlimit: u32,
    /// Average bytes from which on packets may be marked or dropped; at least 1. In words, unless said, a third of `max`.
    pub min: u32,
    /// Average bytes at which the probability is reached; above `min`. In words, unless said, a quarter of
    /// `redflowlimit`.
    pub max: u32,
    /// The new length's part in the average is 2^-ewma; 1 to 31. `tc` shows it, but takes `burst` and `avpkt`.
    pub ewma: u8,
    /// The greatest probability of marking or dropping; below 1, 0.02 in `tc` unless said.
    #[serde(default)]
    pub probability: Probability,
    /// Mark packets that know ECN instead of dropping them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ecn: bool,
    /// With `ecn`: drop above `max` all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub harddrop: bool,
}

/// What the random early detection of an SFQ counts; `tc -s qdisc show` (`struct tc_sfqred_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SfqXstats {
    /// Packets dropped by chance, between `min` and `max`.
    pub prob_drop: u32,
    /// Packets dropped above `max`.
    pub forced_drop: u32,
    /// Packets marked by chance.
    pub prob_mark: u32,
    /// Packets marked above `max`.
    pub forced_mark: u32,
    /// First packets of a queue marked by chance, with `headdrop`.
    pub prob_mark_head: u32,
    /// First packets of a queue marked above `max`, with `headdrop`.
    pub forced_mark_head: u32,
}

impl SfqXstats {
    /// The kernel reports them among the settings.
    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        let field = |index: usize| {
            u32_at(options, STATS + index * 4).ok_or(Malformed("the statistics of sfq are too short"))
        };
        Ok(Self {
            prob_drop: field(0)?,
            forced_drop: field(1)?,
            prob_mark: field(2)?,
            forced_mark: field(3)?,
            prob_mark_head: field(4)?,
            forced_mark_head: field(5)?,
        })
    }
}

impl Sfq {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        if *self == Self::default() {
            return; // as tc does
        }
        // struct tc_sfq_qopt_v1: quantum, perturb_period, limit, divisor, flows; depth, headdrop; limit, qth_min, qth_max, Wlog,
        // Plog, Scell_log, flags, max_P, statistics
        let mut options = [0; OPTIONS_SIZE];
        let plain = [
            self.quantum.map_or(0, Size::bytes),
            self.perturb.unwrap_or(0),
            self.limit.unwrap_or(0),
            self.divisor.unwrap_or(0),
            self.flows.unwrap_or(0),
            self.depth.unwrap_or(0),
            u32::from(self.headdrop),
        ]
        .map(u32::to_ne_bytes);
        options[..28].copy_from_slice(plain.as_flattened());
        if let Some(red) = self.red {
            let bounds = [red.redflowlimit, red.min, red.max].map(u32::to_ne_bytes);
            options[28..40].copy_from_slice(bounds.as_flattened());
            options[40] = red.ewma;
            options[41] = red.probability_log();
            options[43] = if red.ecn { ECN } else { 0 } | if red.harddrop { HARDDROP } else { 0 };
            options[44..48].copy_from_slice(&red.probability.raw().to_ne_bytes());
        }
        put(buffer, TCA_OPTIONS, &options);
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        let word =
            |index: usize| u32_at(options, index * 4).ok_or(Malformed("the options of sfq are too short"));
        let said = |index: usize| word(index).map(|number| Some(number).filter(|number| *number != 0));
        let plain = Self {
            quantum: said(0)?.map(Size::from_bytes),
            perturb: said(1)?,
            limit: said(2)?,
            divisor: said(3)?,
            flows: said(4)?,
            ..Self::default()
        };
        // Kernels before 3.3 tell no more.
        let Some([ewma, _, _, flags]) = options.get(40..).and_then(|rest| rest.first_chunk().copied()) else {
            return Ok(plain);
        };
        let red = said(8)?
            .map(|min| -> Result<_, Malformed> {
                let max = word(9)?;
                Ok(SfqRed {
                    redflowlimit: said(7)?.unwrap_or(max),
                    min,
                    max,
                    ewma,
                    probability: Probability::from_raw(word(11)?),
                    ecn: flags & ECN != 0,
                    harddrop: flags & HARDDROP != 0,
                })
            })
            .transpose()?;
        Ok(Self { depth: said(5)?, headdrop: word(6)? != 0, red, ..plain })
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let (mut sfq, mut red) = (Self::default(), RedWords::default());
        while let Some(word) = words.next() {
            match word {
                "limit" => sfq.limit = Some(words.number(word)?),
                "perturb" => sfq.perturb = Some(words.number(word)?),
                "quantum" => sfq.quantum = Some(words.parse(word)?),
                "divisor" => sfq.divisor = Some(words.number(word)?),
                "flows" => sfq.flows = Some(words.number(word)?),
                "depth" => sfq.depth = Some(words.number(word)?),
                "headdrop" => sfq.headdrop = true,
                other => {
                    if !red.take(other, words)? {
                        return Err(Syntax::unknown("sfq", other));
                    }
                }
            }
        }
        sfq.red = red.finish()?;
        Ok(sfq)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let held = |holds, setting, allowed| require(holds, "sfq", setting, allowed);
        held(self.limit.is_none_or(|limit| limit >= 2), "limit", "at least 2")?;
        held(self.perturb.is_none_or(|seconds| seconds <= 2_147_483), "perturb", "0 to 2147483 seconds")?;
        let quantum = self.quantum.map(Size::bytes);
        held(quantum.is_none_or(|bytes| (1..1 << 31).contains(&bytes)), "quantum", "1 to 2147483647 bytes")?;
        let power = |divisor: u32| divisor.is_power_of_two() && divisor <= 65_536;
        held(self.divisor.is_none_or(power), "divisor", "a power of two up to 65536")?;
        held(self.flows != Some(0), "flows", "at least 1")?;
        held(self.depth != Some(0), "depth", "at least 1")?;
        let Some(red) = self.red else { return Ok(()) };
        held(red.min > 0, "min", "at least 1")?;
        held(red.min < red.max, "max", "above min")?;
        held(red.max <= red.redflowlimit, "redflowlimit", "at least max")?;
        // red_check_params: the thresholds are kept shifted by it.
        let fits = (1..32).contains(&red.ewma) && red.max.leading_zeros() > u32::from(red.ewma);
        held(fits, "ewma", "1 to 31, and max times 2^ewma below 2^31")?;
        held(red.probability.raw() > 0, "probability", "above 0")
    }

    /// As the kernel settles what is said and what is not (`sfq_init`, `sfq_change`); without the quantum.
    fn settled(&self) -> (u32, u32, u32, u32, u32, bool) {
        let mut flows = self.flows.unwrap_or(128).min(65_408);
        let divisor = self.divisor.unwrap_or(1024);
        if self.divisor.is_some() {
            flows = flows.min(divisor);
        }
        let depth = self.depth.unwrap_or(127).min(127);
        let mut limit = 127;
        if let Some(said) = self.limit {
            limit = said.min(depth * flows);
            flows = flows.min(limit);
        }
        (limit, self.perturb.unwrap_or(0), divisor, flows, depth, self.headdrop)
    }

    pub(super) fn meets(&self, actual: &Self, link: Link) -> bool {
        let reported = (
            actual.limit.unwrap_or(0),
            actual.perturb.unwrap_or(0),
            actual.divisor.unwrap_or(0),
            actual.flows.unwrap_or(0),
            actual.depth.unwrap_or(127),
            actual.headdrop,
        );
        let quantum = actual.quantum.map_or(0, Size::bytes);
        let red = |sfq: &Self| sfq.red.map(|red| SfqRed { redflowlimit: 0, ..red });
        let same_quantum = match self.quantum.map(Size::bytes) {
            Some(wanted) => quantum == wanted || quantum == wanted.clamp(256, 1 << 20),
            None => is_default_quantum(quantum, link),
        };
        self.settled() == reported && red(self) == red(actual) && same_quantum
    }
}

impl SfqRed {
    /// `Plog`, the logarithm of the slope of the probability.
    fn probability_log(&self) -> u8 {
        red::probability_log(self.min, self.max, self.probability.fraction()).unwrap_or(0)
    }
}

/// What is read of a [`SfqRed`].
#[derive(Default)]
struct RedWords {
    any: bool,
    limit: Option<u32>,
    min: Option<u32>,
    max: Option<u32>,
    burst: Option<u32>,
    avpkt: Option<Size>,
    ewma: Option<u8>,
    probability: Option<Probability>,
    ecn: bool,
    harddrop: bool,
}

impl RedWords {
    /// Whether the word is one of these. `tc` shows `ewma` and does not take it; here it may stand for `burst` and `avpkt`.
    fn take(&mut self, word: &str, words: &mut Words) -> Result<bool, Syntax> {
        match word {
            "redflowlimit" => self.limit = Some(words.number(word)?),
            "min" => self.min = Some(words.number(word)?),
            "max" => self.max = Some(words.number(word)?),
            "burst" => self.burst = Some(words.number(word)?),
            "avpkt" => self.avpkt = Some(words.parse(word)?),
            "ewma" => self.ewma = Some(words.number(word)?),
            "probability" => self.probability = Some(words.parse(word)?),
            "ecn" => self.ecn = true,
            "harddrop" => self.harddrop = true,
            _ => return Ok(false),
        }
        self.any = true;
        Ok(true)
    }

    /// With `tc`'s defaults.
    fn finish(self) -> Result<Option<SfqRed>, Syntax> {
        if !self.any {
            return Ok(None);
        }
        let limit = self.limit.ok_or_else(|| Syntax::new("sfq: redflowlimit is missing"))?;
        let max = self.max.filter(|max| *max != 0).unwrap_or(limit / 4);
        let min = self.min.filter(|min| *min != 0).unwrap_or(max / 3);
        let average = self.avpkt.map_or(1000, Size::bytes);
        let ewma = if let Some(ewma) = self.ewma {
            ewma
        } else {
            let burst = self.burst.filter(|burst| *burst != 0);
            red::default_burst(min, max, average)
                .map(|default| burst.unwrap_or(default))
                .and_then(|burst| red::weight_log(min, burst, average))
                .ok_or_else(|| Syntax::new("sfq: no average goes with this burst, avpkt and min"))?
        };
        let probability = self.probability.unwrap_or(Probability::TWO_PERCENT);
        let (ecn, harddrop) = (self.ecn, self.harddrop);
        Ok(Some(SfqRed { redflowlimit: limit, min, max, ewma, probability, ecn, harddrop }))
    }
}

/// As words of a `tc` command.
impl fmt::Display for Sfq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_said(f, "limit", self.limit)?;
        write_said(f, "perturb", self.perturb)?;
        write_said(f, "quantum", self.quantum.map(Size::exact))?;
        write_said(f, "divisor", self.divisor)?;
        write_said(f, "flows", self.flows)?;
        write_said(f, "depth", self.depth)?;
        if self.headdrop {
            f.write_str(" headdrop")?;
        }
        self.red.map_or(Ok(()), |red| red.fmt(f))
    }
}

/// With a `burst` and an `avpkt` of which `tc` makes the weight; where there are none, with `ewma`, which only this crate takes.
impl fmt::Display for SfqRed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " redflowlimit {} min {} max {}", self.redflowlimit, self.min, self.max)?;
        match red::burst_and_average(self.min, self.ewma).filter(|_| self.min != 0 && self.max != 0) {
            Some((burst, average)) => write!(f, " burst {burst} avpkt {average}")?,
            None => write!(f, " ewma {}", self.ewma)?,
        }
        write!(f, " probability {}", self.probability)?;
        f.write_str(if self.ecn { " ecn" } else { "" })?;
        f.write_str(if self.harddrop { " harddrop" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::{assert_round_trip, assert_words_round_trip};
    use proptest::prelude::*;

    const LINK: Link = Link { mtu: 1500, transmit_queue_length: 1000 };

    fn read(text: &str) -> Sfq {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Sfq::parse(&mut Words::new(&words)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_kernel_settles_what_is_not_said() {
        let meets = |wanted, actual| read(wanted).meets(&read(actual), LINK);
        assert!(meets("", "limit 127 quantum 1514 divisor 1024 flows 128 depth 127"));
        assert!(meets("perturb 10", "limit 127 perturb 10 quantum 1514 divisor 1024 flows 128 depth 127"));
        assert!(meets("limit 50", "limit 50 quantum 1514 divisor 1024 flows 50 depth 127"));
        assert!(meets("divisor 64 depth 500", "limit 127 quantum 1514 divisor 64 flows 64 depth 127"));
        assert!(meets("quantum 200", "limit 127 quantum 256 divisor 1024 flows 128 depth 127"));
        assert!(!meets("", "limit 127 perturb 10 quantum 1514 divisor 1024 flows 128 depth 127"));
        assert!(!meets("", "limit 127 quantum 300 divisor 1024 flows 128 depth 127"));
        assert!(!meets("headdrop", "limit 127 quantum 1514 divisor 1024 flows 128 depth 127"));
    }

    #[test]
    fn a_weight_is_printed_as_what_gives_it() {
        let sfq = read("redflowlimit 100000 min 8000 max 60000 burst 20 avpkt 1000 probability 0.1 ecn");
        let red = sfq.red.unwrap();
        assert_eq!((red.ewma, red.probability.to_string()), (5, "0.09999999986030161".to_owned()));
        assert!(sfq.to_string().contains(" burst "), "{sfq}");
        assert_words_round_trip(&Qdisc::Sfq(Box::new(sfq)));
        for text in
            ["ecn", "redflowlimit 1000 burst 1", "redflowlimit 100000 avpkt 0", "redflowlimit 3 avpkt 1"]
        {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert!(Sfq::parse(&mut Words::new(&words)).is_err(), "{text}");
        }
    }

    prop_compose! {
        fn early()(numbers: [u32; 3], ewma: u8, probability: u32, ecn: bool, harddrop: bool) -> SfqRed {
            let [redflowlimit, min, max] = numbers.map(|number| number.max(1));
            SfqRed { redflowlimit, min, max, ewma, probability: Probability::from_raw(probability), ecn, harddrop }
        }
    }

    proptest! {
        #[test]
        fn settings_come_back(numbers: [Option<u32>; 6], headdrop: bool, red in prop::option::of(early())) {
            let [limit, perturb, quantum, divisor, flows, depth] =
                numbers.map(|number| number.filter(|number| *number != 0));
            let quantum = quantum.map(Size::from_bytes);
            let sfq = Sfq { limit, perturb, quantum, divisor, flows, depth, headdrop, red };
            assert_round_trip(&Qdisc::Sfq(Box::new(sfq)));
            let _ = sfq.validate();
            let _ = sfq.meets(&sfq, LINK);
        }

        #[test]
        fn weights_come_back(min in 1_u32..1 << 20, ewma: u8) {
            let red = SfqRed {
                redflowlimit: u32::MAX, min, max: u32::MAX, ewma, probability: Probability::from_raw(1 << 30),
                ecn: false, harddrop: false,
            };
            assert_words_round_trip(&Qdisc::Sfq(Box::new(Sfq { red: Some(red), ..Sfq::default() })));
        }
    }
}
