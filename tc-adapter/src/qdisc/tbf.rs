//! The token bucket filter: one rate for all (tc-tbf(8), `net/sched/sch_tbf.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TCA_OPTIONS, require, write_said};
use crate::attribute::{each, nest, put, u16_at, u32_at, u64_at};
use crate::htb::{LinkLayer, link_layer, reported_size, transmit_ticks};
use crate::rate::Rate;
use crate::reply::Malformed;
use crate::size::Size;
use crate::time::Time;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

const PARMS: u16 = 1;
const RATE64: u16 = 4;
const PRATE64: u16 = 5;
const BURST: u16 = 6;
const PBURST: u16 = 7;

/// Bytes of a `struct tc_tbf_qopt`.
const PARMS_SIZE: usize = 36;
/// The largest packet that `tc` assumes where no `mtu` is given; it shapes the rate tables.
const TABLE_MTU: u32 = 2047;
/// The part of `tc_ratespec.linklayer` that is the link layer.
const LINK_LAYER_MASK: u8 = 0x0f;
/// Bytes of an ATM cell, and of the packet in it.
const ATM_CELL: (u32, u32) = (53, 48);

/// Lets packets through at a rate, from a bucket of tokens: `tc qdisc … tbf rate <rate> burst <size> limit <size>|latency <time>
/// [peakrate <rate> mtu <size>] [mpu <size>] [overhead <bytes>] [linklayer <layer>]`.
///
/// `tc` turns a `latency` into the limit that has it, `rate * latency + burst` (or what `peakrate` and `mtu` give, if that is
/// less); so does this crate when it reads words, and keeps the limit alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tbf {
    /// Bytes a second that may pass in the long run.
    pub rate: Rate,
    /// The bucket: bytes that may go at once above `rate`; at least 1, and no less than the largest packet, which never passes
    /// otherwise. In `tc` also `buffer` or `maxburst`. At most what takes 274 s at `rate`.
    pub burst: Size,
    /// Bytes that may wait for tokens; at least 1.
    pub limit: Size,
    /// Bytes a second that a burst may reach; above `rate`. `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peakrate: Option<Rate>,
    /// The bucket of the peak rate, for which it must be said, at least 1; without one it has no meaning to the kernel. In `tc`
    /// also `minburst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Size>,
    /// Packets smaller than this many bytes count as this many.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub mpu: u16,
    /// Bytes added to every packet's size.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub overhead: u16,
    /// What a packet's bytes become on the line.
    #[serde(default, rename = "linklayer", skip_serializing_if = "crate::text::is_default")]
    pub link_layer: LinkLayer,
}

/// A rate as `struct tc_ratespec` says it: all ones from 2^32 bytes a second on, when the true one follows in an attribute.
fn narrow(rate: Rate) -> u32 {
    u32::try_from(rate.bytes_per_second()).unwrap_or(u32::MAX)
}

/// The time that `tc` computes of a bucket, by the rate that 32 bits hold. The kernel does not read it, as it is told the bytes
/// (since Linux 3.13).
fn ticks(size: Size, rate: Rate) -> u32 {
    let narrow = Rate::from_bytes_per_second(u64::from(narrow(rate)));
    narrow.ok().and_then(|rate| transmit_ticks(size, rate)).unwrap_or(u32::MAX)
}

impl Tbf {
    /// `tc qdisc … tbf rate <rate> burst <burst> limit <limit>`.
    pub const fn new(rate: Rate, burst: Size, limit: Size) -> Self {
        let link_layer = LinkLayer::Ethernet;
        Self { rate, burst, limit, peakrate: None, mtu: None, mpu: 0, overhead: 0, link_layer }
    }

    /// `TCA_TBF_RTAB` and `TCA_TBF_PTAB`, 1 KiB each, are left out: the kernel reads them only to guess the link layer, which it
    /// is told.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            let mtu = self.mtu.unwrap_or(Size::from_bytes(0));
            // struct tc_tbf_qopt: rate, peakrate, limit, buffer, mtu
            let mut parms = [0; PARMS_SIZE];
            parms[..12].copy_from_slice(&self.rate_spec(self.rate));
            let mut peak_ticks = 0;
            if let Some(peakrate) = self.peakrate {
                parms[12..24].copy_from_slice(&self.rate_spec(peakrate));
                peak_ticks = ticks(mtu, peakrate);
            }
            let tail = [self.limit.bytes(), ticks(self.burst, self.rate), peak_ticks].map(u32::to_ne_bytes);
            parms[24..].copy_from_slice(tail.as_flattened());
            put(buffer, PARMS, &parms);
            put(buffer, BURST, &self.burst.bytes().to_ne_bytes());
            for (kind, rate) in [(RATE64, Some(self.rate)), (PRATE64, self.peakrate)] {
                let wide = rate.map(Rate::bytes_per_second).filter(|rate| u32::try_from(*rate).is_err());
                if let Some(wide) = wide {
                    put(buffer, kind, &wide.to_ne_bytes());
                }
            }
            if self.peakrate.is_some() {
                put(buffer, PBURST, &mtu.bytes().to_ne_bytes());
            }
        });
    }

    /// `struct tc_ratespec`: `cell_log`, linklayer, overhead, `cell_align`, mpu, rate. The cells are those of the table that is
    /// not sent, for the same bytes as those of `tc`.
    fn rate_spec(&self, rate: Rate) -> [u8; 12] {
        let mtu = self.mtu.map_or(0, Size::bytes);
        let mtu = if mtu == 0 { TABLE_MTU } else { mtu };
        let cell_log = (0_u8..32).find(|log| mtu >> log <= 255).unwrap_or(0);
        let mut spec = [0; 12];
        spec[0] = cell_log;
        spec[1] = self.link_layer as u8;
        spec[2..4].copy_from_slice(&self.overhead.to_ne_bytes());
        spec[4..6].copy_from_slice(&(-1_i16).to_ne_bytes());
        spec[6..8].copy_from_slice(&self.mpu.to_ne_bytes());
        spec[8..].copy_from_slice(&narrow(rate).to_ne_bytes());
        spec
    }

    /// Reads the value of `TCA_OPTIONS`. The kernel reports buckets as the time that their bytes take on the line, which is
    /// undone: to the byte up to 125 Mbit/s, to the bytes of 64 ns above.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parms = None;
        let (mut rate64, mut peakrate64, mut burst, mut mtu) = (None, None, None, None);
        for attribute in each(bytes) {
            const SHORT: Malformed = Malformed("an attribute of TBF is too short");
            match attribute? {
                (PARMS, value) => parms = Some(value),
                (RATE64, value) => rate64 = Some(u64_at(value, 0).ok_or(SHORT)?),
                (PRATE64, value) => peakrate64 = Some(u64_at(value, 0).ok_or(SHORT)?),
                (BURST, value) => burst = Some(u32_at(value, 0).ok_or(SHORT)?),
                (PBURST, value) => mtu = Some(u32_at(value, 0).ok_or(SHORT)?),
                _ => {}
            }
        }
        let parms = parms.ok_or(Malformed("TBF options without TCA_TBF_PARMS"))?;
        let short = || Malformed("TCA_TBF_PARMS is too short");
        let word = |offset: usize| u32_at(parms, offset).ok_or_else(short);
        let half = |offset: usize| u16_at(parms, offset).ok_or_else(short);
        let rate_of = |wide: Option<u64>, narrow: u32| {
            Rate::from_bytes_per_second(wide.unwrap_or(u64::from(narrow)))
                .map_err(|_| Malformed("a TBF with an impossible rate"))
        };
        let peak_ticks = word(32)?; // the last field first: what follows then only fails on its values
        let rate = rate_of(rate64, word(8)?)?;
        let peakrate = match word(20)? {
            0 => None,
            narrow => Some(rate_of(peakrate64, narrow)?),
        };
        let mut tbf = Self {
            peakrate,
            mpu: half(6)?,
            overhead: half(2)?,
            link_layer: match parms.get(1).map(|layer| layer & LINK_LAYER_MASK) {
                Some(2) => LinkLayer::Atm,
                _ => LinkLayer::Ethernet,
            },
            ..Self::new(rate, Size::from_bytes(0), Size::from_bytes(word(24)?))
        };
        let burst_ticks = word(28)?;
        let size = |said: Option<u32>, ticks: u32, rate: Rate| {
            said.map_or_else(|| tbf.size_of_line(reported_size(ticks, rate)), Size::from_bytes)
        };
        (tbf.burst, tbf.mtu) =
            (size(burst, burst_ticks, rate), peakrate.map(|peakrate| size(mtu, peak_ticks, peakrate)));
        Ok(tbf)
    }

    /// The bytes that a packet of this size takes on the line (`psched_l2t_ns`).
    fn on_line(&self, size: Size) -> Size {
        let bytes = size.bytes().saturating_add(u32::from(self.overhead)).max(u32::from(self.mpu));
        let (cell, payload) = ATM_CELL;
        Size::from_bytes(match self.link_layer {
            LinkLayer::Ethernet => bytes,
            LinkLayer::Atm => bytes.div_ceil(payload).saturating_mul(cell),
        })
    }

    /// The largest size that takes so many bytes on the line.
    fn size_of_line(&self, size: Size) -> Size {
        let (cell, payload) = ATM_CELL;
        let bytes = match self.link_layer {
            LinkLayer::Ethernet => size.bytes(),
            LinkLayer::Atm => size.bytes().saturating_add(cell / 2) / cell * payload,
        };
        Size::from_bytes(bytes.saturating_sub(u32::from(self.overhead)))
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let (mut rate, mut burst, mut limit, mut latency) = (None, None, None, None);
        let (mut peakrate, mut mtu, mut mpu, mut overhead) = (None, None, 0, 0);
        let mut layer = LinkLayer::Ethernet;
        while let Some(word) = words.next() {
            match word {
                "rate" => rate = Some(words.parse(word)?),
                "buffer" | "maxburst" => burst = Some(bucket(word, words)?),
                "mtu" | "minburst" => mtu = Some(bucket(word, words)?),
                "mpu" => {
                    let size: Size = words.parse(word)?;
                    mpu = u16::try_from(size.bytes())
                        .map_err(|_| Syntax::new("mpu: at most 65535 bytes are possible"))?;
                }
                _ if abbreviates(word, "limit") => limit = Some(words.parse(word)?),
                _ if abbreviates(word, "latency") => latency = Some(words.parse(word)?),
                _ if abbreviates(word, "burst") => burst = Some(bucket(word, words)?),
                _ if abbreviates(word, "peakrate") => peakrate = Some(words.parse(word)?),
                _ if abbreviates(word, "overhead") => overhead = words.number(word)?,
                _ if abbreviates(word, "linklayer") => layer = link_layer(words.value(word)?)?,
                other => return Err(Syntax::unknown("tbf", other)),
            }
        }
        let rate = rate.ok_or_else(|| Syntax::new("tbf: rate is missing"))?;
        let burst = burst.ok_or_else(|| Syntax::new("tbf: burst is missing"))?;
        let limit = match (limit, latency) {
            (Some(limit), None) => limit,
            (None, Some(latency)) => limit_of(latency, rate, burst, peakrate.zip(mtu))
                .ok_or_else(|| Syntax::new("tbf: the latency is too long: its limit does not fit 32 bits"))?,
            (Some(_), Some(_)) => return Err(Syntax::new("tbf: limit and latency exclude each other")),
            (None, None) => return Err(Syntax::new("tbf: limit or latency is missing")),
        };
        Ok(Self { peakrate, mtu, mpu, overhead, link_layer: layer, ..Self::new(rate, burst, limit) })
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let there = |size: Option<Size>| size.is_none_or(|size| size.bytes() > 0);
        require(there(Some(self.burst)), "tbf", "burst", "at least 1 byte")?;
        require(there(Some(self.limit)), "tbf", "limit", "at least 1 byte")?;
        require(there(self.mtu), "tbf", "mtu", "at least 1 byte")?;
        require(self.peakrate.is_none() || self.mtu.is_some(), "tbf", "mtu", "said along with peakrate")?;
        require(self.peakrate.is_none_or(|peak| peak > self.rate), "tbf", "peakrate", "above rate")?;
        // What is longer would be reported as something else: the kernel keeps it, but 32 bits of ticks cannot say it.
        for (burst, rate) in [(Some(self.burst), Some(self.rate)), (self.mtu, self.peakrate)] {
            if let (Some(burst), Some(rate)) = (burst, rate)
                && transmit_ticks(self.on_line(burst), rate).is_none()
            {
                return Err(InvalidRequest::BurstTooLong { burst, rate });
            }
        }
        Ok(())
    }

    /// Buckets are compared as the kernel reports them: as times on the line, to two ticks of 64 ns, and more in long ones, as it
    /// divides by multiplying with 31 bits of a fraction.
    pub(super) fn meets(&self, actual: &Self) -> bool {
        let near = |wanted: Size, reported: Size, rate: Rate| {
            let ticks = |tbf: &Self, size| transmit_ticks(tbf.on_line(size), rate).unwrap_or(u32::MAX);
            let (wanted, reported) = (ticks(self, wanted), ticks(actual, reported));
            wanted.abs_diff(reported) <= 2 + (wanted >> 28)
        };
        let rest = |tbf: &Self| (tbf.rate, tbf.limit, tbf.peakrate, tbf.mpu, tbf.overhead, tbf.link_layer);
        rest(self) == rest(actual)
            && near(self.burst, actual.burst, self.rate)
            && self.peakrate.is_none_or(|rate| match (self.mtu, actual.mtu) {
                (Some(wanted), Some(actual)) => near(wanted, actual, rate),
                _ => false,
            })
    }

    /// What `tc` before iproute2 6.15 makes of it. It rounds the time of the bucket down to whole microseconds, as for HTB; but
    /// here it also sends the bytes as they are, and the kernel reads only these. So nothing changes.
    #[must_use]
    pub(crate) fn with_whole_microseconds(self) -> Self {
        self
    }
}

/// A bucket's size; `tc` takes `/<bytes>` after it, a power of two, for the cells of the rate table that is not sent here.
fn bucket(keyword: &str, words: &mut Words) -> Result<Size, Syntax> {
    let text = words.value(keyword)?;
    let (size, cell) = text.split_once('/').map_or((text, None), |(size, cell)| (size, Some(cell)));
    if cell.is_some_and(|cell| !cell.parse().is_ok_and(u32::is_power_of_two)) {
        return Err(Syntax::new(format!("{keyword}: the cell size in {text:?} is no power of two")));
    }
    size.parse().map_err(|error| Syntax::new(format!("{keyword}: {error}")))
}

/// The bytes that wait no longer than `latency`, in whole microseconds as in `tc`.
fn limit_of(latency: Time, rate: Rate, burst: Size, peak: Option<(Rate, Size)>) -> Option<Size> {
    let bytes = |(rate, bucket): (Rate, Size)| {
        let bytes = u128::from(rate.bytes_per_second()) * u128::from(latency.microseconds()) / 1_000_000;
        bytes + u128::from(bucket.bytes())
    };
    let limit = bytes((rate, burst));
    let limit = peak.map_or(limit, |peak| limit.min(bytes(peak)));
    u32::try_from(limit).ok().map(Size::from_bytes)
}

/// As words of a `tc` command.
impl fmt::Display for Tbf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " rate {} burst {} limit {}", self.rate.exact(), self.burst.exact(), self.limit.exact())?;
        write_said(f, "peakrate", self.peakrate.map(Rate::exact))?;
        write_said(f, "mtu", self.mtu.map(Size::exact))?;
        write_said(f, "mpu", Some(self.mpu).filter(|mpu| *mpu != 0))?;
        write_said(f, "overhead", Some(self.overhead).filter(|overhead| *overhead != 0))?;
        if self.link_layer == LinkLayer::Atm { f.write_str(" linklayer atm") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::assert_round_trip;
    use proptest::prelude::*;

    fn read(text: &str) -> Tbf {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Tbf::parse(&mut Words::new(&words)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn latency_becomes_a_limit() {
        let limit = |text| read(text).limit.bytes();
        // 500 kbit/s for 70 ms are 4,375 bytes.
        assert_eq!(limit("rate 0.5mbit burst 5kb latency 70ms"), 4375 + 5120);
        assert_eq!(limit("rate 8mbit burst 10k latency 50ms peakrate 90mbit mtu 2000"), 50_000 + 10_240);
        assert_eq!(limit("rate 8mbit burst 100k latency 50ms peakrate 9mbit mtu 2000"), 56_250 + 2000);
    }

    #[test]
    fn settings_that_make_no_sense() {
        for (text, setting) in [
            ("rate 1mbit burst 0 limit 10k", "burst"),
            ("rate 1mbit burst 5k limit 0", "limit"),
            ("rate 1mbit burst 5k limit 10k peakrate 2mbit", "mtu"),
            ("rate 1mbit burst 5k limit 10k peakrate 1mbit mtu 1540", "peakrate"),
        ] {
            let error = read(text).validate().unwrap_err();
            assert!(
                matches!(error, InvalidRequest::Setting { setting: told, .. } if told == setting),
                "{error}"
            );
        }
        let error = read("rate 8bit burst 5k limit 10k").validate().unwrap_err();
        assert!(matches!(error, InvalidRequest::BurstTooLong { .. }), "{error}");
    }

    #[test]
    fn words_that_do_not_go_together() {
        for text in [
            "",
            "rate 1mbit",
            "rate 1mbit burst 5k",
            "rate 1mbit burst 5k limit 5k latency 5ms",
            "rate 1mbit burst 5k/3 limit 5k",
            "rate 1mbit burst 5k limit 5k mpu 64k",
            "rate 1mbit burst 5k latency 40000s",
        ] {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert!(Tbf::parse(&mut Words::new(&words)).is_err(), "{text}");
        }
    }

    /// What the kernel reports after it took `tbf`: ticks of what the buckets are on the line, rounded down, and no bytes.
    fn reported(tbf: &Tbf) -> Vec<u8> {
        let ticks = |size: Size, rate: Rate| {
            let nanoseconds =
                u128::from(tbf.on_line(size).bytes()) * 1_000_000_000 / u128::from(rate.bytes_per_second());
            u32::try_from(nanoseconds >> 6).unwrap()
        };
        let mut parms = [0; PARMS_SIZE];
        parms[..12].copy_from_slice(&tbf.rate_spec(tbf.rate));
        parms[24..28].copy_from_slice(&tbf.limit.bytes().to_ne_bytes());
        parms[28..32].copy_from_slice(&ticks(tbf.burst, tbf.rate).to_ne_bytes());
        if let (Some(rate), Some(mtu)) = (tbf.peakrate, tbf.mtu) {
            parms[12..24].copy_from_slice(&tbf.rate_spec(rate));
            parms[32..].copy_from_slice(&ticks(mtu, rate).to_ne_bytes());
        }
        let mut options = Vec::new();
        put(&mut options, PARMS, &parms);
        for (kind, rate) in [(RATE64, Some(tbf.rate)), (PRATE64, tbf.peakrate)] {
            if let Some(rate) = rate {
                put(&mut options, kind, &rate.bytes_per_second().to_ne_bytes());
            }
        }
        options
    }

    prop_compose! {
        fn settings()(
            rate in prop_oneof![1_u64..1 << 24, 1_u64..=u64::MAX / 8], burst: u32, limit: u32,
            peak in prop::option::of((prop_oneof![1_u64..1 << 24, 1_u64..=u64::MAX / 8], any::<u32>())),
            mpu: u16, overhead: u16, atm: bool,
        ) -> Tbf {
            Tbf {
                rate: Rate::from_bytes_per_second(rate).unwrap(),
                burst: Size::from_bytes(burst),
                limit: Size::from_bytes(limit),
                peakrate: peak.map(|(rate, _)| Rate::from_bytes_per_second(rate).unwrap()),
                mtu: peak.map(|(_, mtu)| Size::from_bytes(mtu)),
                mpu, overhead,
                link_layer: if atm { LinkLayer::Atm } else { LinkLayer::Ethernet },
            }
        }
    }

    proptest! {
        #[test]
        fn settings_come_back(tbf in settings()) {
            assert_round_trip(&Qdisc::Tbf(tbf));
        }

        #[test]
        fn what_the_kernel_reports_meets_what_was_asked(tbf in settings(), more in 1_u32..1000) {
            // Without sizes that are near 2^32 on the line.
            let small = |size: Size| Size::from_bytes(size.bytes() >> 8);
            let tbf = Tbf { burst: small(tbf.burst), mtu: tbf.mtu.map(small), ..tbf };
            if tbf.validate().is_ok() {
                let actual = Tbf::decode(&reported(&tbf)).unwrap();
                prop_assert!(tbf.meets(&actual), "{actual:?}");
                prop_assert!(actual.meets(&actual));
                let again = Tbf::decode(&reported(&actual)).unwrap();
                prop_assert!(tbf.meets(&again), "{again:?}");
                prop_assert!(again.burst.bytes().abs_diff(actual.burst.bytes()) <= 1, "{actual:?} {again:?}");
                let other = Tbf { limit: Size::from_bytes(tbf.limit.bytes() ^ more), ..tbf };
                prop_assert!(!other.meets(&actual));
            }
        }
    }
}
