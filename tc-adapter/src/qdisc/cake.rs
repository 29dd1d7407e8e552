//! CAKE, shaper and fair queues in one (tc-cake(8), `net/sched/sch_cake.c`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{TCA_OPTIONS, micros, put_said, require, write_said};
use crate::attribute::{each, nest, put, u32_at, u64_at};
use crate::rate::{Rate, RateError};
use crate::reply::Malformed;
use crate::size::Size;
use crate::text::serde_as_text;
use crate::time::Time;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

const BASE_RATE64: u16 = 2;
const DIFFSERV_MODE: u16 = 3;
const ATM: u16 = 4;
const FLOW_MODE: u16 = 5;
const OVERHEAD: u16 = 6;
const RTT: u16 = 7;
const TARGET: u16 = 8;
const AUTORATE: u16 = 9;
const MEMORY: u16 = 10;
const NAT: u16 = 11;
const RAW: u16 = 12;
const WASH: u16 = 13;
const MPU: u16 = 14;
const INGRESS: u16 = 15;
const ACK_FILTER: u16 = 16;
const SPLIT_GSO: u16 = 17;
const FWMARK: u16 = 18;

/// The times for which `tc` has words.
const PRESETS: [(&str, u32); 8] = [
    ("datacentre", 100),
    ("lan", 1_000),
    ("metro", 10_000),
    ("regional", 30_000),
    ("internet", 100_000),
    ("oceanic", 300_000),
    ("satellite", 1_000_000),
    ("interplanetary", 1_000_000_000),
];

/// The overheads for which `tc` has words, which add up: bytes, what becomes of cells, least size.
const OVERHEADS: [(&str, i16, Option<CakeCells>, Option<u16>); 13] = [
    ("ipoa-vcmux", 8, Some(CakeCells::Atm), None),
    ("ipoa-llcsnap", 16, Some(CakeCells::Atm), None),
    ("bridged-vcmux", 24, Some(CakeCells::Atm), None),
    ("bridged-llcsnap", 32, Some(CakeCells::Atm), None),
    ("pppoa-vcmux", 10, Some(CakeCells::Atm), None),
    ("pppoa-llc", 14, Some(CakeCells::Atm), None),
    ("pppoe-vcmux", 32, Some(CakeCells::Atm), None),
    ("pppoe-llcsnap", 40, Some(CakeCells::Atm), None),
    ("pppoe-ptm", 30, Some(CakeCells::Ptm), None),
    ("bridged-ptm", 22, Some(CakeCells::Ptm), None),
    ("ethernet", 38, None, Some(84)),
    ("ether-vlan", 4, None, None),
    ("docsis", 18, Some(CakeCells::None), Some(64)),
];

/// Common Applications Kept Enhanced: `tc qdisc … cake [bandwidth <rate>|unlimited] [autorate-ingress] [rtt <time>] …`.
///
/// In words also `tc`'s names of times (`internet`, 100 ms) and of overheads (`pppoe-ptm`, which is `ptm overhead 30`); only what
/// they stand for is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cake {
    /// The rate to shape to. `None`: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<CakeBandwidth>,
    /// Estimate the bandwidth from what arrives; the kernel then reports the estimate as the bandwidth.
    #[serde(rename = "autorate-ingress", skip_serializing_if = "std::ops::Not::not")]
    pub autorate_ingress: bool,
    /// The round-trip time to manage queues for, in microseconds; up to 4,294 s; packets may wait a twentieth of it. `None`: 100 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Time>,
    /// Tins of different priority by the DS field. `None`: `diffserv3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diffserv: Option<CakeDiffserv>,
    /// What the queues are for. `None`: `triple-isolate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flowmode: Option<CakeFlowMode>,
    /// Look up addresses behind NAT (`nat`, `nonat`). `None`: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat: Option<bool>,
    /// Clear the DS field (`wash`, `nowash`). `None`: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wash: Option<bool>,
    /// Split what the network stack put together (`split-gso`, `no-split-gso`). `None`: yes.
    #[serde(rename = "split-gso", skip_serializing_if = "Option::is_none")]
    pub split_gso: Option<bool>,
    /// Drop acknowledgements that later ones make superfluous. `None`: `no-ack-filter`.
    #[serde(rename = "ack-filter", skip_serializing_if = "Option::is_none")]
    pub ack_filter: Option<CakeAckFilter>,
    /// Memory that waiting packets may take; at least 1 byte. `None`: what the rate and the time need, at
    /// least 4 MiB; in any case no more than 10,240 packets of the MTU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memlimit: Option<Size>,
    /// The bits of the firewall mark that choose the tin; not 0. `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// What a packet's bytes become on the line. `None`: `noatm`, no cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atm: Option<CakeCells>,
    /// How a packet's size is told. `None`: `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<CakeOverhead>,
    /// Packets smaller than this many bytes count as this many; 1 to 256. `None`: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpu: Option<u16>,
    /// Count dropped packets as well, because they came over the line (`ingress`, `egress`). `None`: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<bool>,
}

/// As text, a rate or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CakeBandwidth {
    /// Do not shape.
    Unlimited,
    /// Shape to this rate.
    Rate(Rate),
}

impl CakeBandwidth {
    fn bytes_per_second(self) -> u64 {
        match self {
            Self::Unlimited => 0,
            Self::Rate(rate) => rate.bytes_per_second(),
        }
    }
}

impl fmt::Display for CakeBandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Rate(rate) => f.write_str(&rate.exact()),
        }
    }
}

impl FromStr for CakeBandwidth {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "unlimited" { Ok(Self::Unlimited) } else { text.parse().map(Self::Rate) }
    }
}

serde_as_text!(CakeBandwidth, CakeBandwidth::to_string);

/// In JSON and TOML `"raw"` or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CakeOverhead {
    /// What the network stack says, which has the link-layer header; with `noatm` unless other cells are said.
    Raw,
    /// What the network layer says (without the link-layer header) and so many bytes; -64 to 256.
    Bytes(i16),
}

impl fmt::Display for CakeOverhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl FromStr for CakeOverhead {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        if text == "raw" {
            return Ok(Self::Raw);
        }
        let bytes = text.parse().map(Self::Bytes);
        bytes.map_err(|_| {
            Syntax::new(format!("overhead: {text:?} is no number of bytes, -64 to 256, and not raw"))
        })
    }
}

impl Serialize for CakeOverhead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw => serializer.serialize_str("raw"),
            Self::Bytes(bytes) => serializer.serialize_i16(*bytes),
        }
    }
}

impl<'de> Deserialize<'de> for CakeOverhead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i16),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(bytes) => Ok(Self::Bytes(bytes)),
            Form::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

/// A type whose values are words of `tc`, each with its number.
macro_rules! words_with_numbers {
    ($(#[$about:meta])* $name:ident, $what:literal: $($(#[$doc:meta])* $variant:ident = $number:literal, $word:literal;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$doc])* $variant = $number,)*
        }

        impl $name {
            fn number(self) -> u32 {
                self as u32
            }

            fn from_number(number: u32) -> Result<Self, Malformed> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(Malformed(concat!("a CAKE with an unknown ", $what))),
                }
            }

            /// The value that is this word.
            fn find(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }

        impl FromStr for $name {
            type Err = Syntax;

            fn from_str(text: &str) -> Result<Self, Syntax> {
                Self::find(text).ok_or_else(|| Syntax::new(format!(concat!("{:?} is no ", $what, " of CAKE"), text)))
            }
        }

        serde_as_text!($name, $name::to_string);
    };
}

words_with_numbers! {
    /// Tins of different priority by the DS field.
    CakeDiffserv, "diffserv mode":
    /// Bulk, best effort, voice.
    Diffserv3 = 0, "diffserv3";
    /// Bulk, best effort, video, voice. In words also `diffserv`.
    Diffserv4 = 1, "diffserv4";
    /// Eight tins.
    Diffserv8 = 2, "diffserv8";
    /// One tin for all.
    Besteffort = 3, "besteffort";
    /// By the IP precedence of old.
    Precedence = 4, "precedence";
}

words_with_numbers! {
    /// What the queues are for.
    CakeFlowMode, "flow mode":
    /// One queue for all.
    Flowblind = 0, "flowblind";
    /// One for each source address.
    Srchost = 1, "srchost";
    /// One for each destination address.
    Dsthost = 2, "dsthost";
    /// One for each pair of addresses.
    Hosts = 3, "hosts";
    /// One for each flow.
    Flows = 4, "flows";
    /// Fair among flows, and among source addresses first.
    DualSrchost = 5, "dual-srchost";
    /// Fair among flows, and among destination addresses first.
    DualDsthost = 6, "dual-dsthost";
    /// Fair among flows, and among source and destination addresses first.
    TripleIsolate = 7, "triple-isolate";
}

words_with_numbers! {
    /// Whether superfluous acknowledgements are dropped.
    CakeAckFilter, "ack filter":
    /// None is.
    No = 0, "no-ack-filter";
    /// Some.
    Filter = 1, "ack-filter";
    /// All that can be.
    Aggressive = 2, "ack-filter-aggressive";
}

words_with_numbers! {
    /// What a packet's bytes become on the line.
    CakeCells, "kind of cells":
    /// As many as it has.
    None = 0, "noatm";
    /// Cells of 53 bytes with 48 of the packet in each, as on ADSL.
    Atm = 1, "atm";
    /// 65 bytes for 64, as on VDSL2.
    Ptm = 2, "ptm";
}

impl Cake {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            if let Some(bandwidth) = self.bandwidth {
                put(buffer, BASE_RATE64, &bandwidth.bytes_per_second().to_ne_bytes());
            }
            put_said(buffer, DIFFSERV_MODE, self.diffserv.map(CakeDiffserv::number));
            let cells =
                self.atm.or_else(|| (self.overhead == Some(CakeOverhead::Raw)).then_some(CakeCells::None));
            put_said(buffer, ATM, cells.map(CakeCells::number));
            put_said(buffer, FLOW_MODE, self.flowmode.map(CakeFlowMode::number));
            match self.overhead {
                Some(CakeOverhead::Bytes(bytes)) => {
                    put(buffer, OVERHEAD, &i32::from(bytes).to_ne_bytes());
                }
                Some(CakeOverhead::Raw) => {
                    put(buffer, OVERHEAD, &0_i32.to_ne_bytes());
                    put(buffer, RAW, &0_u32.to_ne_bytes());
                }
                None => {}
            }
            put_said(buffer, MPU, self.mpu.map(u32::from));
            if let Some(rtt) = self.rtt.map(micros) {
                put(buffer, RTT, &rtt.to_ne_bytes());
                // As tc: packets may wait a twentieth of it.
                put(buffer, TARGET, &(rtt / 20).max(1).to_ne_bytes());
            }
            // To say a bandwidth is to say that it is not estimated.
            let autorate = self.autorate_ingress || self.bandwidth.is_some();
            put_said(buffer, AUTORATE, autorate.then_some(u32::from(self.autorate_ingress)));
            put_said(buffer, MEMORY, self.memlimit.map(Size::bytes));
            put_said(buffer, FWMARK, self.fwmark);
            put_said(buffer, NAT, self.nat.map(u32::from));
            put_said(buffer, WASH, self.wash.map(u32::from));
            put_said(buffer, SPLIT_GSO, self.split_gso.map(u32::from));
            put_said(buffer, INGRESS, self.ingress.map(u32::from));
            put_said(buffer, ACK_FILTER, self.ack_filter.map(CakeAckFilter::number));
        });
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("an attribute of CAKE is too short");
        let mut cake = Self::default();
        let mut raw = false;
        for attribute in each(bytes) {
            let (kind, value) = attribute?;
            let word = || u32_at(value, 0).ok_or(SHORT);
            let flag = || word().map(|word| Some(word != 0));
            match kind {
                BASE_RATE64 => {
                    cake.bandwidth = Some(match u64_at(value, 0).ok_or(SHORT)? {
                        0 => CakeBandwidth::Unlimited,
                        bytes => CakeBandwidth::Rate(
                            Rate::from_bytes_per_second(bytes)
                                .map_err(|_| Malformed("a CAKE with an impossible rate"))?,
                        ),
                    });
                }
                DIFFSERV_MODE => cake.diffserv = Some(CakeDiffserv::from_number(word()?)?),
                ATM => cake.atm = Some(CakeCells::from_number(word()?)?),
                FLOW_MODE => cake.flowmode = Some(CakeFlowMode::from_number(word()?)?),
                OVERHEAD => {
                    let bytes = i16::try_from(word()?.cast_signed())
                        .map_err(|_| Malformed("a CAKE with an impossible overhead"))?;
                    cake.overhead = Some(CakeOverhead::Bytes(bytes));
                }
                RTT => cake.rtt = Some(Time::from_microseconds(word()?)),
                AUTORATE => cake.autorate_ingress = word()? != 0,
                MEMORY => cake.memlimit = Some(word()?).filter(|bytes| *bytes != 0).map(Size::from_bytes),
                NAT => cake.nat = flag()?,
                RAW => raw = true,
                WASH => cake.wash = flag()?,
                MPU => {
                    let bytes =
                        u16::try_from(word()?).map_err(|_| Malformed("a CAKE with an impossible mpu"))?;
                    cake.mpu = Some(bytes).filter(|bytes| *bytes != 0);
                }
                INGRESS => cake.ingress = flag()?,
                ACK_FILTER => cake.ack_filter = Some(CakeAckFilter::from_number(word()?)?),
                SPLIT_GSO => cake.split_gso = flag()?,
                FWMARK => cake.fwmark = Some(word()?).filter(|mask| *mask != 0),
                _ => {}
            }
        }
        if raw {
            cake.overhead = Some(CakeOverhead::Raw);
        }
        Ok(cake)
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut cake = Self::default();
        while let Some(word) = words.next() {
            match word {
                "bandwidth" => {
                    cake.bandwidth = Some(CakeBandwidth::Rate(words.parse(word)?));
                    cake.autorate_ingress = false;
                }
                "unlimited" => {
                    cake.bandwidth = Some(CakeBandwidth::Unlimited);
                    cake.autorate_ingress = false;
                }
                "autorate-ingress" => cake.autorate_ingress = true,
                "rtt" => cake.rtt = Some(words.parse(word)?),
                "diffserv" => cake.diffserv = Some(CakeDiffserv::Diffserv4),
                "nat" | "nonat" => cake.nat = Some(word == "nat"),
                "wash" | "nowash" => cake.wash = Some(word == "wash"),
                "split-gso" | "no-split-gso" => cake.split_gso = Some(word == "split-gso"),
                "ingress" | "egress" => cake.ingress = Some(word == "ingress"),
                "raw" => (cake.atm, cake.overhead) = (Some(CakeCells::None), Some(CakeOverhead::Raw)),
                "conservative" => {
                    // A cell more and ATM's framing: enough where nobody knows.
                    (cake.atm, cake.overhead) = (Some(CakeCells::Atm), Some(CakeOverhead::Bytes(48)));
                }
                "overhead" => cake.overhead = Some(CakeOverhead::Bytes(words.parse(word)?)),
                "mpu" => cake.mpu = Some(words.parse(word)?).filter(|bytes| *bytes != 0),
                "memlimit" => cake.memlimit = Some(words.parse(word)?),
                "fwmark" => cake.fwmark = Some(words.number(word)?),
                "via-ethernet" => {} // tc shows it and takes it for nothing
                other => cake.take(other)?,
            }
        }
        Ok(cake)
    }

    /// A word that says all by itself.
    fn take(&mut self, word: &str) -> Result<(), Syntax> {
        if let Some((_, time)) = PRESETS.iter().find(|(name, _)| *name == word) {
            self.rtt = Some(Time::from_microseconds(*time));
        } else if let Some((_, bytes, cells, mpu)) = OVERHEADS.iter().find(|(name, ..)| *name == word) {
            let before = match self.overhead {
                Some(CakeOverhead::Bytes(before)) => before,
                _ => 0,
            };
            self.overhead = Some(CakeOverhead::Bytes(before.saturating_add(*bytes)));
            self.atm = cells.or(self.atm);
            self.mpu = mpu.or(self.mpu);
        } else if let Some(diffserv) = CakeDiffserv::find(word) {
            self.diffserv = Some(diffserv);
        } else if let Some(flowmode) = CakeFlowMode::find(word) {
            self.flowmode = Some(flowmode);
        } else if let Some(ack_filter) = CakeAckFilter::find(word) {
            self.ack_filter = Some(ack_filter);
        } else if let Some(cells) = CakeCells::find(word) {
            self.atm = Some(cells);
        } else {
            return Err(Syntax::unknown("cake", word));
        }
        Ok(())
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let held = |holds, setting, allowed| require(holds, "cake", setting, allowed);
        let fits = |time: Time| (1..=u64::from(u32::MAX)).contains(&time.microseconds());
        held(self.rtt.is_none_or(fits), "rtt", "1us to 4294967295us")?;
        held(self.memlimit != Some(Size::from_bytes(0)), "memlimit", "at least 1 byte")?;
        held(self.fwmark != Some(0), "fwmark", "not 0")?;
        held(self.mpu.is_none_or(|bytes| (1..=256).contains(&bytes)), "mpu", "1 to 256")?;
        let near = match self.overhead {
            Some(CakeOverhead::Bytes(bytes)) => (-64..=256).contains(&bytes),
            Some(CakeOverhead::Raw) | None => true,
        };
        held(near, "overhead", "-64 to 256")
    }

    /// What the kernel takes where nothing is said.
    fn settled(&self) -> impl PartialEq + use<> {
        // The kernel reports what it estimates.
        let bandwidth =
            self.bandwidth.filter(|_| !self.autorate_ingress).map_or(0, CakeBandwidth::bytes_per_second);
        let shaping = (bandwidth, self.autorate_ingress, self.rtt.map_or(100_000, micros));
        let queues = (
            self.diffserv.unwrap_or(CakeDiffserv::Diffserv3),
            self.flowmode.unwrap_or(CakeFlowMode::TripleIsolate),
            self.ack_filter.unwrap_or(CakeAckFilter::No),
            self.nat.unwrap_or(false),
            self.wash.unwrap_or(false),
            self.split_gso.unwrap_or(true),
            self.ingress.unwrap_or(false),
        );
        let sizes =
            (self.atm.unwrap_or(CakeCells::None), self.overhead.unwrap_or(CakeOverhead::Raw), self.mpu);
        (shaping, queues, sizes, self.memlimit, self.fwmark)
    }

    pub(super) fn meets(&self, actual: &Self) -> bool {
        self.settled() == actual.settled()
    }
}

/// As words of a `tc` command.
impl fmt::Display for Cake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |f: &mut fmt::Formatter<'_>, said: Option<bool>, words: [&str; 2]| {
            said.map_or(Ok(()), |said| write!(f, " {}", words[usize::from(said)]))
        };
        match self.bandwidth {
            Some(CakeBandwidth::Rate(rate)) => write!(f, " bandwidth {}", rate.exact())?,
            Some(CakeBandwidth::Unlimited) => f.write_str(" unlimited")?,
            None => {}
        }
        // After the bandwidth, which takes it back.
        f.write_str(if self.autorate_ingress { " autorate-ingress" } else { "" })?;
        write_said(f, "rtt", self.rtt)?;
        for word in [
            self.diffserv.map(|word| word.to_string()),
            self.flowmode.map(|word| word.to_string()),
            self.ack_filter.map(|word| word.to_string()),
            // Before the cells, which it sets.
            self.overhead.filter(|overhead| *overhead == CakeOverhead::Raw).map(|word| word.to_string()),
            self.atm.map(|word| word.to_string()),
        ]
        .into_iter()
        .flatten()
        {
            write!(f, " {word}")?;
        }
        if let Some(CakeOverhead::Bytes(bytes)) = self.overhead {
            write!(f, " overhead {bytes}")?;
        }
        write_said(f, "mpu", self.mpu)?;
        flag(f, self.nat, ["nonat", "nat"])?;
        flag(f, self.wash, ["nowash", "wash"])?;
        flag(f, self.split_gso, ["no-split-gso", "split-gso"])?;
        flag(f, self.ingress, ["egress", "ingress"])?;
        write_said(f, "memlimit", self.memlimit.map(Size::exact))?;
        self.fwmark.map_or(Ok(()), |mask| write!(f, " fwmark {mask:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::assert_round_trip;
    use proptest::prelude::*;

    fn read(text: &str) -> Cake {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Cake::parse(&mut Words::new(&words)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_stand_for_numbers() {
        for (name, plain) in [
            ("internet diffserv", "rtt 100ms diffserv4"),
            ("pppoe-ptm ether-vlan", "ptm overhead 34"),
            ("conservative", "atm overhead 48"),
            ("docsis", "noatm overhead 18 mpu 64"),
            ("ethernet ether-vlan via-ethernet", "overhead 42 mpu 84"),
            ("overhead 18 raw", "raw"),
        ] {
            assert_eq!(read(name), read(plain), "{name}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let defaults = read(
            "unlimited diffserv3 triple-isolate nonat nowash no-ack-filter split-gso rtt 100ms raw noatm egress",
        );
        assert!(Cake::default().meets(&defaults));
        assert!(defaults.meets(&defaults));
        for text in [
            "bandwidth 1mbit",
            "rtt 50ms",
            "besteffort",
            "flows",
            "nat",
            "wash",
            "no-split-gso",
            "ack-filter",
            "memlimit 1mb",
            "fwmark 0xff",
            "ptm",
            "overhead 0",
            "mpu 64",
            "ingress",
            "autorate-ingress",
        ] {
            assert!(!read(text).meets(&defaults), "{text}");
            assert!(!Cake::default().meets(&read(text)), "{text}");
            assert!(read(text).meets(&read(text)), "{text}");
        }
        assert!(read("autorate-ingress").meets(&read("bandwidth 5mbit autorate-ingress")));
    }

    #[test]
    fn what_is_refused() {
        for text in
            ["rtt 0", "rtt 5000s", "memlimit 0", "fwmark 0", "mpu 257", "overhead -65", "overhead 257"]
        {
            assert!(read(text).validate().is_err(), "{text}");
        }
        for text in ["bandwidth", "bandwidth 0", "overhead raw", "diffserv9", "mpu -1"] {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert!(Cake::parse(&mut Words::new(&words)).is_err(), "{text}");
        }
    }

    fn bandwidth() -> impl Strategy<Value = CakeBandwidth> {
        prop_oneof![
            Just(CakeBandwidth::Unlimited),
            (1_u64..=u64::MAX / 8)
                .prop_map(|rate| CakeBandwidth::Rate(Rate::from_bytes_per_second(rate).unwrap())),
        ]
    }

    prop_compose! {
        fn settings()(
            bandwidth in prop::option::of(bandwidth()), autorate_ingress: bool,
            times: [Option<u32>; 3], flags: [Option<bool>; 4],
            modes in [prop::option::of(0_u32..5), prop::option::of(0_u32..8), prop::option::of(0_u32..3), prop::option::of(0_u32..3)],
            overhead in prop::option::of(prop_oneof![Just(CakeOverhead::Raw), any::<i16>().prop_map(CakeOverhead::Bytes)]),
            mpu in prop::option::of(1_u16..),
        ) -> Cake {
            let [rtt, memlimit, fwmark] = times.map(|number| number.filter(|number| *number != 0));
            let [nat, wash, split_gso, ingress] = flags;
            let [diffserv, flowmode, ack_filter, atm] = modes;
            let atm = atm.map(|number| CakeCells::from_number(number).unwrap());
            Cake {
                bandwidth, autorate_ingress, nat, wash, split_gso, ingress, fwmark, overhead, mpu,
                rtt: rtt.map(Time::from_microseconds),
                memlimit: memlimit.map(Size::from_bytes),
                diffserv: diffserv.map(|number| CakeDiffserv::from_number(number).unwrap()),
                flowmode: flowmode.map(|number| CakeFlowMode::from_number(number).unwrap()),
                ack_filter: ack_filter.map(|number| CakeAckFilter::from_number(number).unwrap()),
                // `raw` says it, too.
                atm: if overhead == Some(CakeOverhead::Raw) { atm.or(Some(CakeCells::None)) } else { atm },
            }
        }
    }

    proptest! {
        #[test]
        fn settings_come_back(cake in settings()) {
            let _ = cake.validate();
            prop_assert!(cake.meets(&cake));
            assert_round_trip(&Qdisc::Cake(Box::new(cake)));
        }
    }
}
