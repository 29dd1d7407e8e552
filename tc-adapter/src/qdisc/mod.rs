//! Queueing disciplines: one file a kind, each with its settings, their form in `TCA_OPTIONS` and their words in `tc`.

mod fifo;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::filter::put_kind;
use crate::htb::HtbQdisc;
use crate::link::Link;
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

pub use fifo::{Bfifo, Pfifo};

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
}

impl Qdisc {
    /// The kernel's name of the kind, such as `fq_codel`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Htb(_) => "htb",
            Self::Pfifo(_) => "pfifo",
            Self::Bfifo(_) => "bfifo",
        }
    }

    /// Whether its settings can be changed while it is in use; HTB, for one, cannot.
    pub const fn is_changeable(&self) -> bool {
        !matches!(self, Self::Htb(_))
    }

    /// Appends `TCA_KIND` and, where there is something to say, `TCA_OPTIONS`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        put_kind(self.kind(), buffer);
        match self {
            Self::Htb(htb) => htb.encode(buffer),
            Self::Pfifo(pfifo) => pfifo.encode(buffer),
            Self::Bfifo(bfifo) => bfifo.encode(buffer),
        }
    }

    /// Reads the value of `TCA_OPTIONS`, of which some kinds have none. `None`: a kind that this crate does not know, or no settings
    /// where there should be some, as in the notice that it was deleted.
    pub fn decode(kind: &str, options: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        Ok(match (kind, options) {
            ("htb", Some(options)) => Some(Self::Htb(HtbQdisc::decode(options)?)),
            ("pfifo", Some(options)) => Some(Self::Pfifo(Pfifo::decode(options)?)),
            ("bfifo", Some(options)) => Some(Self::Bfifo(Bfifo::decode(options)?)),
            _ => None,
        })
    }

    /// Reads the words that follow the kind in a `tc` command.
    pub(crate) fn parse(kind: &str, words: &mut Words) -> Result<Self, Syntax> {
        Ok(match kind {
            "htb" => Self::Htb(HtbQdisc::parse(words)?),
            "pfifo" => Self::Pfifo(Pfifo::parse(words)?),
            "bfifo" => Self::Bfifo(Bfifo::parse(words)?),
            other => return Err(Syntax::new(format!("qdiscs of kind {other:?} are not supported"))),
        })
    }

    /// What a change to `other` makes of it: what that does not say stays. `None`: of another kind.
    pub(crate) fn overlaid_by(&self, other: &Self) -> Option<Self> {
        // To `tc` and to the readers of its words, what comes later counts.
        let text = format!("{self} {other}");
        let words: Vec<String> =
            text.split_whitespace().skip(1).filter(|word| *word != other.kind()).map(str::to_owned).collect();
        (self.kind() == other.kind()).then(|| Self::parse(self.kind(), &mut Words::new(&words)).ok())?
    }

    /// What the kernel would take in silence, or refuse without a word.
    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        match self {
            Self::Htb(htb) => htb.validate(),
            Self::Pfifo(_) | Self::Bfifo(_) => Ok(()),
        }
    }

    /// Whether a qdisc that is to have these settings may stay as it is, `actual` being what the kernel reports. What is not said
    /// must have the kernel's default, where that is known.
    pub fn meets(&self, actual: &Self, link: Link) -> bool {
        match (self, actual) {
            (Self::Htb(wanted), Self::Htb(actual)) => wanted.meets(actual, link.transmit_queue_length),
            (Self::Pfifo(wanted), Self::Pfifo(actual)) => wanted.meets(*actual, link.transmit_queue_length),
            (Self::Bfifo(wanted), Self::Bfifo(actual)) => wanted.meets(*actual),
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
        _app: Option<&[u8]>,
    ) -> Result<Option<Self>, Malformed> {
        Ok(match (kind, options) {
            ("htb", Some(options)) => {
                Some(Self::Htb { direct_packets: HtbQdisc::decode_direct_packets(options)? })
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
        }
    }
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
mod tests {
    use super::*;
    use crate::attribute::each;
    use proptest::prelude::*;

    /// What it sends comes back, whatever of it is said; also through words and through JSON.
    pub(super) fn assert_round_trip(qdisc: &Qdisc) {
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
    pub(super) fn assert_words_round_trip(qdisc: &Qdisc) {
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

    const KINDS: [&str; 3] = ["htb", "pfifo", "bfifo"];

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
