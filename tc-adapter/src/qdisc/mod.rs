//! Queueing disciplines: one file a kind, each with its settings, their form in `TCA_OPTIONS` and their words in `tc`.

mod bare;
mod cake;
mod cake_stats;
mod fifo;
mod fq_codel;
mod netem;
mod prio;
mod red;
mod sfq;
mod share;
mod tbf;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::put;
use crate::filter::put_kind;
use crate::htb::HtbQdisc;
use crate::link::Link;
use crate::reply::Malformed;
use crate::time::Time;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

pub use bare::{Clsact, Ingress, Mq};
pub use cake::{Cake, CakeAckFilter, CakeBandwidth, CakeCells, CakeDiffserv, CakeFlowMode, CakeOverhead};
pub use cake_stats::{CakeTin, CakeXstats};
pub use fifo::{Bfifo, Pfifo};
pub use fq_codel::{CeThresholdSelector, FqCodel, FqCodelXstats};
pub use netem::{Netem, NetemChance, NetemLoss, NetemRate, NetemSlot};
pub use prio::Prio;
pub use sfq::{Sfq, SfqRed, SfqXstats};
pub use share::{ParseShareError, Percent, Probability};
pub use tbf::Tbf;

const TCA_OPTIONS: u16 = 2;

/// A qdisc's kind and settings; its handle and its place are not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Qdisc {
    /// Hierarchy token bucket: classes with a guaranteed and a greatest rate.
    Htb(HtbQdisc),
    /// A queue bounded by packets.
    Pfifo(Pfifo),
    /// A queue bounded by bytes.
    Bfifo(Bfifo),
    /// Token bucket filter: one rate for all.
    Tbf(Tbf),
    /// Bands that are served one after the other.
    Prio(Prio),
    /// A place for filters on what is received.
    Ingress(Ingress),
    /// Places for filters on what is received and on what is sent.
    Clsact(Clsact),
    /// A class for each transmit queue of the device.
    Mq(Mq),
    /// Fair queues, each watched by `CoDel`.
    FqCodel(Box<FqCodel>),
    /// Stochastic fairness queueing.
    Sfq(Box<Sfq>),
    /// Bad networks: delay, loss and more on purpose.
    Netem(Box<Netem>),
    /// CAKE, shaper and fair queues in one.
    Cake(Box<Cake>),
}

/// What a qdisc of one kind counts beyond [`Stats`](crate::Stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QdiscXstats {
    /// `direct_packets_stat` of `tc -s qdisc show`.
    Htb {
        /// Packets that no class took and that went out unshaped, since the qdisc was created.
        direct_packets: u32,
    },
    /// Of `fq_codel`.
    FqCodel(FqCodelXstats),
    /// Of the random early detection of `sfq`.
    Sfq(SfqXstats),
    /// Of CAKE.
    Cake(Box<CakeXstats>),
}

impl Qdisc {
    /// The kernel's name of the kind, such as `fq_codel`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Htb(_) => "htb",
            Self::Pfifo(_) => "pfifo",
            Self::Bfifo(_) => "bfifo",
            Self::Tbf(_) => "tbf",
            Self::Prio(_) => "prio",
            Self::Ingress(_) => "ingress",
            Self::Clsact(_) => "clsact",
            Self::Mq(_) => "mq",
            Self::FqCodel(_) => "fq_codel",
            Self::Sfq(_) => "sfq",
            Self::Netem(_) => "netem",
            Self::Cake(_) => "cake",
        }
    }

    /// Whether a qdisc in use can be given these settings; HTB, for one, cannot. A change leaves alone what is not said, whatever
    /// it was before.
    pub const fn is_changeable(&self) -> bool {
        match self {
            Self::Htb(_) | Self::Ingress(_) | Self::Clsact(_) | Self::Mq(_) | Self::Sfq(_) => false,
            // The kernel refuses to be told the number of queues again.
            Self::FqCodel(fq_codel) => fq_codel.flows.is_none(),
            Self::Pfifo(_)
            | Self::Bfifo(_)
            | Self::Tbf(_)
            | Self::Prio(_)
            | Self::Netem(_)
            | Self::Cake(_) => true,
        }
    }

    /// With the buckets that `tc` before iproute2 6.15 makes of these.
    #[must_use]
    #[allow(dead_code, reason = "for those who compare with the `tc` of today's distributions")]
    pub(crate) fn with_whole_microseconds(self) -> Self {
        match self {
            Self::Tbf(tbf) => Self::Tbf(tbf.with_whole_microseconds()),
            other => other,
        }
    }

    /// Appends `TCA_KIND` and, where there is something to say, `TCA_OPTIONS`.
    // Never inlined: what classes go through, which are many, would get their stack frame.
    #[inline(never)]
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        put_kind(self.kind(), buffer);
        match self {
            Self::Htb(htb) => htb.encode(buffer),
            Self::Pfifo(pfifo) => pfifo.encode(buffer),
            Self::Bfifo(bfifo) => bfifo.encode(buffer),
            Self::Tbf(tbf) => tbf.encode(buffer),
            Self::Prio(prio) => prio.encode(buffer),
            Self::FqCodel(fq_codel) => fq_codel.encode(buffer),
            Self::Sfq(sfq) => sfq.encode(buffer),
            Self::Netem(netem) => netem.encode(buffer),
            Self::Cake(cake) => cake.encode(buffer),
            Self::Ingress(_) | Self::Clsact(_) | Self::Mq(_) => {}
        }
    }

    /// Reads the value of `TCA_OPTIONS`, of which some kinds have none. `None`: a kind that this crate does not know, or no settings
    /// where there should be some, as in the notice that it was deleted.
    pub fn decode(kind: &str, options: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        Ok(match (kind, options) {
            ("htb", Some(options)) => Some(Self::Htb(HtbQdisc::decode(options)?)),
            ("pfifo", Some(options)) => Some(Self::Pfifo(Pfifo::decode(options)?)),
            ("bfifo", Some(options)) => Some(Self::Bfifo(Bfifo::decode(options)?)),
            ("tbf", Some(options)) => Some(Self::Tbf(Tbf::decode(options)?)),
            ("prio", Some(options)) => Some(Self::Prio(Prio::decode(options)?)),
            ("fq_codel", Some(options)) => Some(Self::FqCodel(Box::new(FqCodel::decode(options)?))),
            ("sfq", Some(options)) => Some(Self::Sfq(Box::new(Sfq::decode(options)?))),
            ("netem", Some(options)) => Some(Self::Netem(Box::new(Netem::decode(options)?))),
            ("cake", Some(options)) => Some(Self::Cake(Box::new(Cake::decode(options)?))),
            ("ingress", _) => Some(Self::Ingress(Ingress {})),
            ("clsact", _) => Some(Self::Clsact(Clsact {})),
            ("mq", _) => Some(Self::Mq(Mq {})),
            _ => None,
        })
    }

    /// Reads the words that follow the kind in a `tc` command.
    pub(crate) fn parse(kind: &str, words: &mut Words) -> Result<Self, Syntax> {
        Ok(match kind {
            "htb" => Self::Htb(HtbQdisc::parse(words)?),
            "pfifo" => Self::Pfifo(Pfifo::parse(words)?),
            "bfifo" => Self::Bfifo(Bfifo::parse(words)?),
            "tbf" => Self::Tbf(Tbf::parse(words)?),
            "prio" => Self::Prio(Prio::parse(words)?),
            "ingress" => Self::Ingress(Ingress::parse(words)?),
            "clsact" => Self::Clsact(Clsact::parse(words)?),
            "mq" => Self::Mq(Mq::parse(words)?),
            "fq_codel" => Self::FqCodel(Box::new(FqCodel::parse(words)?)),
            "sfq" => Self::Sfq(Box::new(Sfq::parse(words)?)),
            "netem" => Self::Netem(Box::new(Netem::parse(words)?)),
            "cake" => Self::Cake(Box::new(Cake::parse(words)?)),
            other => return Err(Syntax::new(format!("qdiscs of kind {other:?} are not supported"))),
        })
    }

    /// What a change of `present` must say so that it has these settings: all but what is for good, and the same already.
    pub(crate) fn as_change_of(&self, present: &Self) -> Self {
        match (self, present) {
            (Self::FqCodel(wanted), Self::FqCodel(present)) if wanted.flows == present.flows => {
                Self::FqCodel(Box::new(FqCodel { flows: None, ..**wanted }))
            }
            _ => self.clone(),
        }
    }

    /// What a change to `other` makes of it: what that does not say stays. `None`: of another kind.
    pub(crate) fn overlaid_by(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            // All that these have goes to the kernel, said or not.
            (Self::Prio(_), Self::Prio(_)) | (Self::Tbf(_), Self::Tbf(_)) => return Some(other.clone()),
            (Self::Netem(present), Self::Netem(netem)) => {
                return Some(Self::Netem(Box::new(present.overlaid_by(netem))));
            }
            _ => {}
        }
        // To `tc` and to the readers of its words, what comes later counts.
        let text = format!("{self} {other}");
        let words: Vec<String> =
            text.split_whitespace().skip(1).filter(|word| *word != other.kind()).map(str::to_owned).collect();
        (self.kind() == other.kind()).then(|| Self::parse(self.kind(), &mut Words::new(&words)).ok())?
    }

    /// What the kernel would take in silence, or refuse without a word.
    #[inline(never)]
    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        match self {
            Self::Htb(htb) => htb.validate(),
            Self::Tbf(tbf) => tbf.validate(),
            Self::Prio(prio) => prio.validate(),
            Self::FqCodel(fq_codel) => fq_codel.validate(),
            Self::Sfq(sfq) => sfq.validate(),
            Self::Netem(netem) => netem.validate(),
            Self::Cake(cake) => cake.validate(),
            Self::Pfifo(_) | Self::Bfifo(_) | Self::Ingress(_) | Self::Clsact(_) | Self::Mq(_) => Ok(()),
        }
    }

    /// Whether a qdisc that is to have these settings may stay as it is, `actual` being what the kernel reports. What is not said
    /// must have the kernel's default, where that is known.
    pub fn meets(&self, actual: &Self, link: Link) -> bool {
        match (self, actual) {
            (Self::Htb(wanted), Self::Htb(actual)) => wanted.meets(actual, link.transmit_queue_length),
            (Self::Pfifo(wanted), Self::Pfifo(actual)) => wanted.meets(*actual, link.transmit_queue_length),
            (Self::Bfifo(wanted), Self::Bfifo(actual)) => wanted.meets(*actual, link),
            (Self::Tbf(wanted), Self::Tbf(actual)) => wanted.meets(actual),
            (Self::Prio(wanted), Self::Prio(actual)) => wanted == actual,
            (Self::FqCodel(wanted), Self::FqCodel(actual)) => wanted.meets(actual, link),
            (Self::Sfq(wanted), Self::Sfq(actual)) => wanted.meets(actual, link),
            (Self::Netem(wanted), Self::Netem(actual)) => wanted.meets(actual),
            (Self::Cake(wanted), Self::Cake(actual)) => wanted.meets(actual),
            (Self::Ingress(_), Self::Ingress(_))
            | (Self::Clsact(_), Self::Clsact(_))
            | (Self::Mq(_), Self::Mq(_)) => true,
            _ => false,
        }
    }
}

impl From<HtbQdisc> for Qdisc {
    fn from(htb: HtbQdisc) -> Self {
        Self::Htb(htb)
    }
}

impl QdiscXstats {
    /// Reads what belongs to `kind` in a qdisc's `TCA_OPTIONS` and in its `TCA_STATS_APP`.
    pub(crate) fn decode(
        kind: &str,
        options: Option<&[u8]>,
        app: Option<&[u8]>,
    ) -> Result<Option<Self>, Malformed> {
        Ok(match (kind, options, app) {
            ("htb", Some(options), _) => {
                Some(Self::Htb { direct_packets: HtbQdisc::decode_direct_packets(options)? })
            }
            ("fq_codel", _, Some(app)) => FqCodelXstats::decode(app)?.map(Self::FqCodel),
            ("cake", _, Some(app)) => Some(Self::Cake(Box::new(CakeXstats::decode(app)?))),
            ("sfq", Some(options), _) if options.len() >= sfq::OPTIONS_SIZE => {
                Some(Self::Sfq(SfqXstats::decode(options)?))
            }
            _ => None,
        })
    }
}

/// As in a `tc` command: the kind, then the settings that are said.
impl fmt::Display for Qdisc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Htb(htb) => htb.fmt(f),
            Self::Pfifo(pfifo) => pfifo.fmt(f),
            Self::Bfifo(bfifo) => bfifo.fmt(f),
            Self::Tbf(tbf) => tbf.fmt(f),
            Self::Prio(prio) => prio.fmt(f),
            Self::FqCodel(fq_codel) => fq_codel.fmt(f),
            Self::Sfq(sfq) => sfq.fmt(f),
            Self::Netem(netem) => netem.fmt(f),
            Self::Cake(cake) => cake.fmt(f),
            Self::Ingress(_) | Self::Clsact(_) | Self::Mq(_) => Ok(()),
        }
    }
}

/// Writes ` <word> <value>` when there is a value.
fn write_said<T: fmt::Display>(f: &mut fmt::Formatter<'_>, word: &str, value: Option<T>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {word} {value}"))
}

/// Appends an attribute of 32 bits when there is a value.
fn put_said(buffer: &mut Vec<u8>, kind: u16, value: Option<u32>) {
    if let Some(value) = value {
        put(buffer, kind, &value.to_ne_bytes());
    }
}

/// Holds a setting to what it may be.
fn require(
    holds: bool,
    kind: &'static str,
    setting: &'static str,
    allowed: &'static str,
) -> Result<(), InvalidRequest> {
    if holds { Ok(()) } else { Err(InvalidRequest::Setting { kind, setting, allowed }) }
}

/// A time in whole microseconds, as far as 32 bits go.
fn micros(time: Time) -> u32 {
    u32::try_from(time.microseconds()).unwrap_or(u32::MAX)
}

/// The longest link-layer header of a device (`LL_MAX_HEADER` of `include/linux/netdevice.h`, at most).
const LONGEST_LINK_HEADER: u32 = 128;

/// Whether so many bytes may be the MTU with the link-layer header, which is not known here but short.
fn is_longest_packet(bytes: u32, link: Link) -> bool {
    (link.mtu..=link.mtu.saturating_add(LONGEST_LINK_HEADER)).contains(&bytes)
}

/// Whether a quantum may be the default that several kinds have: the longest packet.
fn is_default_quantum(quantum: u32, link: Link) -> bool {
    // Newer kernels make at least 256 of it.
    is_longest_packet(quantum, link) || (link.mtu < 256 && quantum == 256)
}

/// The kinds that lists consist of for the most part: a list of 60,000 classes needs no 60,000 strings.
const FREQUENT_KINDS: [&str; 4] = ["htb", "noqueue", "pfifo", "fq_codel"];

/// The kind in a value of `TCA_KIND`.
pub(crate) fn kind_of(value: &[u8]) -> Cow<'static, str> {
    FREQUENT_KINDS
        .into_iter()
        .find(|known| value.strip_suffix(b"\0") == Some(known.as_bytes()))
        .map_or_else(|| Cow::Owned(crate::attribute::text(value)), Cow::Borrowed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::attribute::each;
    use proptest::prelude::*;

    /// What it sends comes back, whatever of it is said; also through words and through JSON.
    pub(crate) fn assert_round_trip(qdisc: &Qdisc) {
        let mut bytes = Vec::new();
        qdisc.encode(&mut bytes);
        let attributes: Vec<_> = each(&bytes).map(Result::unwrap).collect();
        assert_eq!(kind_of(attributes[0].1), qdisc.kind());
        if let Some((_, options)) = attributes.get(1) {
            assert_eq!(Qdisc::decode(qdisc.kind(), Some(options)), Ok(Some(qdisc.clone())));
        }
        assert_words_round_trip(qdisc);
    }

    /// For kinds of which the wire does not keep all that the words can say.
    pub(crate) fn assert_words_round_trip(qdisc: &Qdisc) {
        let text = qdisc.to_string();
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let parsed = Qdisc::parse(&words[0], &mut Words::new(&words[1..]));
        assert_eq!(parsed.as_ref(), Ok(qdisc), "{text}");
        let json = serde_json::to_string(qdisc).unwrap();
        assert_eq!(serde_json::from_str::<Qdisc>(&json).unwrap(), *qdisc, "{json}");
    }

    #[test]
    fn unknown_settings_are_refused() {
        for json in [r#"{"kind":"pfifo","limt":5}"#, r#"{"kind":"teapot"}"#, r#"{"limit":5}"#] {
            assert!(serde_json::from_str::<Qdisc>(json).is_err(), "{json}");
        }
    }

    const KINDS: [&str; 12] = [
        "htb", "pfifo", "bfifo", "tbf", "prio", "ingress", "clsact", "mq", "fq_codel", "sfq", "netem", "cake",
    ];

    #[test]
    fn kinds_without_settings_come_back() {
        for (qdisc, options) in [
            (Qdisc::Ingress(Ingress {}), Some([].as_slice())), // an empty nest
            (Qdisc::Clsact(Clsact {}), Some([].as_slice())),
            (Qdisc::Mq(Mq {}), None),
        ] {
            assert_round_trip(&qdisc);
            assert_eq!(Qdisc::decode(qdisc.kind(), options), Ok(Some(qdisc.clone())));
            assert!(
                serde_json::from_str::<Qdisc>(&format!(r#"{{"kind":"{}","limit":5}}"#, qdisc.kind()))
                    .is_err()
            );
        }
    }

    #[test]
    fn settings_are_read_from_json() {
        let read = |json: &str| serde_json::from_str::<Qdisc>(json).unwrap().to_string();
        for (json, words) in [
            (
                r#"{"kind":"tbf","rate":"1mbit","burst":"5k","limit":"10k"}"#,
                "tbf rate 1mbit burst 5120b limit 10240b",
            ),
            (r#"{"kind":"prio","bands":4}"#, "prio bands 4"),
            (r#"{"kind":"fq_codel","target":"4ms","ecn":false}"#, "fq_codel target 4ms noecn"),
            (r#"{"kind":"sfq","perturb":10}"#, "sfq perturb 10"),
            (
                r#"{"kind":"netem","delay":"10ms","loss":{"random":{"percent":"1%"}}}"#,
                "netem delay 10ms loss random 1%",
            ),
            (r#"{"kind":"cake","bandwidth":"5mbit","overhead":-4}"#, "cake bandwidth 5mbit overhead -4"),
            (r#"{"kind":"cake","overhead":"raw","diffserv":"besteffort"}"#, "cake besteffort raw"),
            (r#"{"kind":"clsact"}"#, "clsact"),
        ] {
            assert_eq!(read(json), words);
        }
    }

    #[test]
    fn some_settings_are_for_good() {
        let changeable = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Qdisc::parse(&words[0], &mut Words::new(&words[1..])).unwrap().is_changeable()
        };
        for text in ["htb", "sfq", "ingress", "clsact", "mq", "fq_codel flows 64"] {
            assert!(!changeable(text), "{text}");
        }
        for text in [
            "pfifo",
            "bfifo",
            "prio",
            "fq_codel limit 5",
            "netem",
            "cake",
            "tbf rate 1mbit burst 5k limit 5k",
        ] {
            assert!(changeable(text), "{text}");
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_say() {
        let read = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Qdisc::parse(&words[0], &mut Words::new(&words[1..])).unwrap()
        };
        let link = Link { mtu: 1500, transmit_queue_length: 1000 };
        for (before, change, after) in [
            ("pfifo limit 5", "pfifo", "pfifo limit 5"),
            ("prio bands 4 priomap 0 3", "prio", "prio"),
            (
                "tbf rate 1mbit burst 5k limit 9k mpu 64",
                "tbf rate 1mbit burst 5k limit 5k",
                "tbf rate 1mbit burst 5k limit 5k",
            ),
            ("netem limit 5 delay 1ms loss 1%", "netem loss 2%", "netem limit 1000 loss 2%"),
            ("netem loss state 1%", "netem duplicate 1%", "netem duplicate 1%"),
            (
                "netem loss 1% 5% rate 1mbit ecn slot 1ms",
                "netem loss 2%",
                "netem loss 2% 5% rate 1mbit ecn slot 1ms",
            ),
            ("netem delay 1ms 1ms 5%", "netem delay 2ms 1ms", "netem delay 2ms 1ms 5%"),
            ("netem loss 1% 5%", "netem loss 1% corrupt 2% 3%", "netem loss 1% corrupt 2% 3%"),
        ] {
            let changed = read(before).overlaid_by(&read(change)).unwrap();
            assert!(read(after).meets(&changed, link), "{before}: {change}: {changed}");
        }
        assert_eq!(read("pfifo").overlaid_by(&read("bfifo")), None);
        assert_eq!(
            read("fq_codel flows 5 limit 7").as_change_of(&read("fq_codel flows 5")),
            read("fq_codel limit 7")
        );
        assert_eq!(
            read("fq_codel flows 5").as_change_of(&read("fq_codel flows 6")),
            read("fq_codel flows 5")
        );
    }

    /// Requests are moved from queue to queue; large kinds are boxed.
    #[test]
    fn a_qdisc_is_small() {
        assert!(size_of::<Qdisc>() <= 56, "{}", size_of::<Qdisc>());
    }

    proptest! {
        #[test]
        fn fifos_come_back(limit: Option<u32>) {
            assert_round_trip(&Qdisc::Pfifo(Pfifo { limit }));
            assert_round_trip(&Qdisc::Bfifo(Bfifo { limit: limit.map(crate::size::Size::from_bytes) }));
        }

        #[test]
        fn decoders_never_panic(kind in prop::sample::select(&KINDS), options: Vec<u8>, app: Vec<u8>) {
            let _ = Qdisc::decode(kind, Some(&options));
            let _ = QdiscXstats::decode(kind, Some(&options), Some(&app));
        }

        #[test]
        fn any_words_parse_or_err(kind in prop::sample::select(&KINDS), text in "[ -~]{0,40}") {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let _ = Qdisc::parse(kind, &mut Words::new(&words));
        }
    }
}
