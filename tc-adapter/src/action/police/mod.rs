//! Drops what exceeds a rate (tc-police(8), `net/sched/act_police.c`).

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::options::ActionOptions;
use crate::attribute::{each, put, u16_at, u32_at, u64_at};
use crate::htb::{
    LINK_LAYER_MASK, LinkLayer, TICKS_IN_A_MICROSECOND, link_layer, transmit_size, transmit_ticks,
    whole_microseconds,
};
use crate::rate::Rate;
use crate::reply::Malformed;
use crate::size::Size;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

const TBF: u16 = 1;
const RATE: u16 = 2;
const PEAKRATE: u16 = 3;
const AVRATE: u16 = 4;
const RESULT: u16 = 5;
const RATE64: u16 = 8;
const PEAKRATE64: u16 = 9;
const PKTRATE64: u16 = 10;
const PKTBURST64: u16 = 11;

/// Bytes of a `struct tc_police`, and in front of its two `struct tc_ratespec`.
const TBF_SIZE: usize = 56;
const RATE_AT: usize = 20;
const PEAKRATE_AT: usize = 32;

/// `tc … action police rate <rate> burst <burst> … [conform-exceed <exceed>[/<conform>]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Police {
    /// `rate`: what passes for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// `burst`: bytes that pass at once; less than 274 s at the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Size>,
    /// `mtu`: larger packets exceed, whatever the rate. 0: 255 cells of the rate table, 2040 bytes.
    #[serde(skip_serializing_if = "is_zero_size")]
    pub mtu: Size,
    /// `mpu`: packets smaller than this many bytes count as this many.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub mpu: u16,
    /// `overhead`: bytes added to every packet's size.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub overhead: u16,
    /// `linklayer`: what a packet's bytes become on the line.
    #[serde(rename = "linklayer", skip_serializing_if = "crate::text::is_default")]
    pub link_layer: LinkLayer,
    /// `peakrate`: what passes at once; needs a rate and an MTU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peakrate: Option<Rate>,
    /// `avrate`: what passes by the rate estimator, instead of a rate; below 2^32 bytes/s. The kernel refuses it (`EINVAL`) where
    /// there is no estimator, which is not asked for here (`tc filter … estimator`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avrate: Option<Rate>,
    /// `pkts_rate`: packets per second, instead of a rate; from kernel 5.13 on.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub pkts_rate: u64,
    /// `pkts_burst`: packets that pass at once.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub pkts_burst: u32,
    /// What becomes of packets that exceed; `reclassify` if it is not said.
    #[serde(skip_serializing_if = "is_reclassify")]
    pub exceed: Control,
    /// What becomes of the others; `pass` if it is not said.
    #[serde(skip_serializing_if = "is_pass")]
    pub conform: Control,
    /// What every action may say.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub options: ActionOptions,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_reclassify(control: &Control) -> bool {
    *control == Control::Reclassify
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_pass(control: &Control) -> bool {
    *control == Control::Pass
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero_size(size: &Size) -> bool {
    size.bytes() == 0
}

/// Polices nothing yet.
impl Default for Police {
    fn default() -> Self {
        Self {
            rate: None,
            burst: None,
            mtu: Size::from_bytes(0),
            mpu: 0,
            overhead: 0,
            link_layer: LinkLayer::Ethernet,
            peakrate: None,
            avrate: None,
            pkts_rate: 0,
            pkts_burst: 0,
            exceed: Control::Reclassify,
            conform: Control::Pass,
            options: ActionOptions::default(),
        }
    }
}

/// A rate of packets in the form of bytes, to compute its burst alike.
fn packet_rate(packets: u64) -> Option<Rate> {
    Rate::from_bytes_per_second(packets).ok()
}

impl Police {
    /// `action police rate <rate> burst <burst> conform-exceed <exceed>`.
    pub fn new(rate: Rate, burst: Size, exceed: Control) -> Self {
        Self { rate: Some(rate), burst: Some(burst), exceed, ..Self::default() }
    }

    /// A burst that takes too long is sent as 2^32 - 1 ticks; a request with one is refused before.
    fn ticks(&self) -> u32 {
        let ticks = self.burst.zip(self.rate).map(|(burst, rate)| transmit_ticks(burst, rate));
        ticks.map_or(0, |ticks| ticks.unwrap_or(u32::MAX))
    }

    fn packet_ticks(&self) -> u64 {
        let rate = packet_rate(self.pkts_rate);
        rate.map_or(0, |rate| {
            transmit_ticks(Size::from_bytes(self.pkts_burst), rate).unwrap_or(u32::MAX).into()
        })
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        // struct tc_police: index, action, limit, burst, mtu, rate, peakrate, refcnt, bindcnt, capab
        let mut parms = [0; TBF_SIZE];
        let head = [self.options.index, self.exceed.value(), 0, self.ticks(), self.mtu.bytes()];
        parms[..RATE_AT].copy_from_slice(head.map(u32::to_ne_bytes).as_flattened());
        for (at, rate) in [(RATE_AT, self.rate), (PEAKRATE_AT, self.peakrate)] {
            if let Some(rate) = rate {
                parms[at..at + 12].copy_from_slice(&self.rate_spec(rate));
            }
        }
        put(buffer, TBF, &parms);
        for (rate, narrow, wide) in [(self.rate, RATE, RATE64), (self.peakrate, PEAKRATE, PEAKRATE64)] {
            let Some(rate) = rate.map(Rate::bytes_per_second) else { continue };
            put(buffer, narrow, &table::table(rate, self.mtu.bytes(), self.mpu, self.link_layer));
            if u32::try_from(rate).is_err() {
                put(buffer, wide, &rate.to_ne_bytes());
            }
        }
        if let Some(avrate) = self.avrate {
            let rate = u32::try_from(avrate.bytes_per_second()).unwrap_or(u32::MAX);
            put(buffer, AVRATE, &rate.to_ne_bytes());
        }
        if self.conform != Control::Pass {
            put(buffer, RESULT, &self.conform.value().to_ne_bytes());
        }
        if self.pkts_rate != 0 {
            put(buffer, PKTRATE64, &self.pkts_rate.to_ne_bytes());
            put(buffer, PKTBURST64, &self.packet_ticks().to_ne_bytes());
        }
    }

    /// `struct tc_ratespec`: `cell_log`, linklayer, overhead, `cell_align`, mpu, rate (all ones when it needs 64 bits).
    fn rate_spec(&self, rate: Rate) -> [u8; 12] {
        let mut spec = [0; 12];
        spec[0] = table::cell_log(self.mtu.bytes());
        spec[1] = self.link_layer as u8;
        spec[2..4].copy_from_slice(&self.overhead.to_ne_bytes());
        spec[4..6].copy_from_slice(&(-1_i16).to_ne_bytes());
        spec[6..8].copy_from_slice(&self.mpu.to_ne_bytes());
        spec[8..].copy_from_slice(&u32::try_from(rate.bytes_per_second()).unwrap_or(u32::MAX).to_ne_bytes());
        spec
    }

    pub(crate) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("an attribute of police is too short");
        const CONTROL: Malformed = Malformed("police with an unknown control");
        let (mut police, mut parms) = (Self::default(), None);
        let (mut rate, mut peakrate, mut packet_ticks) = (0, 0, 0);
        for attribute in each(options) {
            let (number, value) = attribute?;
            let word = || u32_at(value, 0).ok_or(SHORT);
            let double = || u64_at(value, 0).ok_or(SHORT);
            match number {
                TBF => parms = Some(value.get(..TBF_SIZE).ok_or(SHORT)?),
                AVRATE => police.avrate = Rate::from_bytes_per_second(word()?.into()).ok(),
                RESULT => police.conform = Control::from_value(word()?).ok_or(CONTROL)?,
                RATE64 => rate = double()?,
                PEAKRATE64 => peakrate = double()?,
                PKTRATE64 => police.pkts_rate = double()?,
                PKTBURST64 => packet_ticks = double()?,
                _ => {}
            }
        }
        let parms = parms.ok_or(Malformed("police without TCA_POLICE_TBF"))?;
        let word = |at| u32_at(parms, at).unwrap_or(0);
        let half = |at| u16_at(parms, at).unwrap_or(0);
        let wide_or = |wide: u64, narrow: u32| if wide == 0 { u64::from(narrow) } else { wide };
        let of = |bytes| match bytes {
            0 => Ok(None),
            bytes => Rate::from_bytes_per_second(bytes)
                .map(Some)
                .map_err(|_| Malformed("police with an impossible rate")),
        };
        police.options.index = word(0);
        police.exceed = Control::from_value(word(4)).ok_or(CONTROL)?;
        police.rate = of(wide_or(rate, word(RATE_AT + 8)))?;
        police.peakrate = of(wide_or(peakrate, word(PEAKRATE_AT + 8)))?;
        police.burst = police.rate.map(|rate| transmit_size(word(12), rate));
        police.mtu = Size::from_bytes(word(16));
        if police.rate.is_some() {
            (police.overhead, police.mpu) = (half(RATE_AT + 2), half(RATE_AT + 6));
            let layer = parms.get(RATE_AT + 1).map(|layer| layer & LINK_LAYER_MASK);
            police.link_layer = if layer == Some(2) { LinkLayer::Atm } else { LinkLayer::Ethernet };
        }
        let packet_ticks = u32::try_from(packet_ticks).unwrap_or(u32::MAX);
        police.pkts_burst =
            packet_rate(police.pkts_rate).map_or(0, |rate| transmit_size(packet_ticks, rate).bytes());
        Ok(police)
    }

    /// Reads what follows `police`, up to the next word that is not its own.
    pub(crate) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let (mut police, mut any) = (Self::default(), false);
        while let Some(word) = words.peek() {
            // Its controls are read from the word itself.
            let control = ["reclassify", "drop", "shot", "continue", "pass", "ok", "pipe", "goto"];
            match word {
                _ if police.options.parse_index(words)? => {}
                _ if abbreviates(word, "burst") || word == "buffer" || word == "maxburst" => {
                    police.burst = Some(value(words)?);
                }
                "mtu" | "minburst" => police.mtu = value(words)?,
                "mpu" => {
                    let mpu: Size = value(words)?;
                    police.mpu = mpu.bytes().try_into().map_err(|_| Syntax::new("mpu: more than 65535"))?;
                }
                "rate" => police.rate = Some(value(words)?),
                "avrate" => police.avrate = Some(value(words)?),
                _ if abbreviates(word, "peakrate") => police.peakrate = Some(value(words)?),
                _ if control.iter().any(|name| abbreviates(word, name)) => {
                    police.exceed = Control::parse(words)?;
                }
                "conform-exceed" => {
                    words.next();
                    let (exceed, conform) = Control::parse_pair(words)?;
                    (police.exceed, police.conform) = (exceed, conform.unwrap_or(police.conform));
                }
                _ if abbreviates(word, "overhead") => {
                    words.next();
                    police.overhead = words.number("overhead")?;
                }
                _ if abbreviates(word, "linklayer") => {
                    words.next();
                    police.link_layer = link_layer(words.value("linklayer")?)?;
                }
                _ if abbreviates(word, "pkts_rate") => {
                    words.next();
                    police.pkts_rate = words.number("pkts_rate")?;
                }
                _ if abbreviates(word, "pkts_burst") => {
                    words.next();
                    police.pkts_burst = words.number("pkts_burst")?;
                }
                _ => break,
            }
            any = true;
        }
        if any { Ok(police) } else { Err(Syntax::new("police: nothing that it takes follows it")) }
    }

    /// What `tc` refuses, too, since the kernel would without a word.
    pub(crate) fn validate(&self) -> Result<(), InvalidRequest> {
        let refuse = |setting, allowed| Err(InvalidRequest::Setting { kind: "police", setting, allowed });
        let packets = self.pkts_rate != 0;
        if self.rate.is_none()
            && self.avrate.is_none()
            && self.options.index == 0
            && self.mtu.bytes() == 0
            && !packets
        {
            return refuse("rate", "said, or avrate, mtu or pkts_rate");
        }
        if self.rate.is_some() && (self.avrate.is_some() || packets) {
            return refuse("rate", "said without avrate and pkts_rate");
        }
        if self.rate.is_some() != self.burst.is_some_and(|burst| burst.bytes() != 0) {
            return refuse("burst", "said with a rate, and at least 1b");
        }
        if packets != (self.pkts_burst != 0) {
            return refuse("pkts_burst", "said with a pkts_rate, and at least 1");
        }
        if self.peakrate.is_some() && (self.rate.is_none() || self.mtu.bytes() == 0) {
            return refuse("peakrate", "said with a rate and an mtu");
        }
        if self.avrate.is_some_and(|rate| u32::try_from(rate.bytes_per_second()).is_err()) {
            return refuse("avrate", "below 2^32 bytes/s");
        }
        if let Some((burst, rate)) = self.burst.zip(self.rate)
            && transmit_ticks(burst, rate).is_none()
        {
            return Err(InvalidRequest::BurstTooLong { burst, rate });
        }
        if packets
            && packet_rate(self.pkts_rate)
                .and_then(|rate| transmit_ticks(Size::from_bytes(self.pkts_burst), rate))
                .is_none()
        {
            return refuse("pkts_burst", "less than what passes in 274 s");
        }
        self.options.validate("police")
    }

    /// Whether a police action that is to be this one may stay as it is. Bursts are compared to the microsecond, as HTB's are; an
    /// MTU that is not said is the kernel's affair.
    pub(crate) fn meets(&self, actual: &Self) -> bool {
        let near = |wanted: u64, actual: u64| wanted.abs_diff(actual) <= u64::from(TICKS_IN_A_MICROSECOND);
        let wanted = Self {
            burst: actual.burst,
            pkts_burst: actual.pkts_burst,
            mtu: if self.mtu.bytes() == 0 { actual.mtu } else { self.mtu },
            options: actual.options.clone(),
            ..self.clone()
        };
        self.options.meets(&actual.options)
            && near(self.ticks().into(), actual.ticks().into())
            && near(self.packet_ticks(), actual.packet_ticks())
            && wanted == *actual
    }

    /// With the burst that `tc` before iproute2 6.15 makes of this one.
    pub(crate) fn with_whole_microseconds(self) -> Self {
        let burst = self.burst.zip(self.rate).map(|(burst, rate)| whole_microseconds(burst, rate));
        Self { burst: burst.or(self.burst), ..self }
    }
}

/// The value of the word that comes next.
fn value<T: std::str::FromStr<Err: fmt::Display>>(words: &mut Words) -> Result<T, Syntax> {
    let word = words.value("police")?;
    words.parse(word)
}

impl fmt::Display for Police {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("police")?;
        for (word, rate) in [("rate", self.rate), ("peakrate", self.peakrate), ("avrate", self.avrate)] {
            if let Some(rate) = rate {
                write!(f, " {word} {}", rate.exact())?;
            }
        }
        for (word, size) in [("burst", self.burst), ("mtu", Some(self.mtu).filter(|mtu| mtu.bytes() != 0))] {
            if let Some(size) = size {
                write!(f, " {word} {}", size.exact())?;
            }
        }
        for (word, number) in [
            ("mpu", u64::from(self.mpu)),
            ("overhead", u64::from(self.overhead)),
            ("pkts_rate", self.pkts_rate),
            ("pkts_burst", u64::from(self.pkts_burst)),
        ] {
            if number != 0 {
                write!(f, " {word} {number}")?;
            }
        }
        if self.link_layer == LinkLayer::Atm {
            f.write_str(" linklayer atm")?;
        }
        match (self.exceed, self.conform) {
            (Control::Reclassify, Control::Pass) => {}
            (exceed, Control::Pass) => write!(f, " conform-exceed {exceed}")?,
            (exceed, conform) => write!(f, " conform-exceed {exceed} / {conform}")?,
        }
        self.options.fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests;
