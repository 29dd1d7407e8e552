//! Disturbances as data. Pure.

use std::num::NonZeroU64;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tc_adapter::SocketOptions;

use super::DisturbError;
use crate::duration::Span;

/// Nothing on the machine that needs RTNL gets on meanwhile: no address, no route, no namespace.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// A shorter one is over before a timer of the kernel's has expired.
pub(super) const SHORTEST_HOLD: Duration = Duration::from_micros(100);

/// The socket's smallest receive buffer (`SOCK_MIN_RCVBUF` of include/net/sock.h); less than that the kernel makes so much of.
const LEAST_RECEIVE_BUFFER: u32 = 2_304;

/// The process itself has some 10 MiB.
const LEAST_MEMORY_MIB: u64 = 16;

/// Something that stands in a run's way: a `[[disturbance]]` of a profile. Times count from the run's begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Disturbance {
    /// Another process holds RTNL once.
    RtnlHold {
        /// When.
        at: Span,
        /// For how long; 100us to 10s.
        #[serde(rename = "for")]
        length: Span,
    },
    /// Another process holds RTNL again and again.
    RtnlShare {
        /// So much of the time, 1 to 90.
        percent: f64,
        /// For how long each time; 100us to 10s.
        hold: Span,
        /// When it begins; with the run unless said.
        #[serde(default)]
        at: Span,
        /// How long it goes on; to the end unless said.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        length: Option<Span>,
    },
    /// This process keeps more and more memory.
    Leak {
        /// 10^6 bytes an hour.
        megabytes_per_hour: f64,
        /// When it begins; with the run unless said.
        #[serde(default)]
        at: Span,
        /// How long it goes on; to the end unless said. Only then it is freed.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        length: Option<Span>,
    },
    /// A device of the run's is deleted: `ip link del`.
    DeviceGone {
        /// Which of the run's devices, from 0.
        device: usize,
        /// When.
        at: Span,
    },
    /// This process may have no more descriptors open than this (`ulimit -Sn`). Those that it has it keeps.
    Descriptors {
        /// The soft limit.
        limit: u64,
        /// When it begins; with the run unless said.
        #[serde(default)]
        at: Span,
        /// How long it holds; to the end unless said.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        length: Option<Span>,
    },
    /// This process may take no more memory than this from then on: a cgroup. The kernel kills who wants more.
    Memory {
        /// The limit, 2^20 bytes; 16 at least. What was there before does not count.
        limit_mib: u64,
        /// When it begins; with the run unless said.
        #[serde(default)]
        at: Span,
        /// How long it holds; to the end unless said.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        length: Option<Span>,
    },
    /// The receive buffer of the load's socket is this small all the time.
    ReceiveBuffer {
        /// Bytes, as `SO_RCVBUF` has them, of which the kernel makes twice as many; 2304 at least.
        bytes: u32,
    },
}

impl Disturbance {
    /// Its name, as in a file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RtnlHold { .. } => "rtnl-hold",
            Self::RtnlShare { .. } => "rtnl-share",
            Self::Leak { .. } => "leak",
            Self::DeviceGone { .. } => "device-gone",
            Self::Descriptors { .. } => "descriptors",
            Self::Memory { .. } => "memory",
            Self::ReceiveBuffer { .. } => "receive-buffer",
        }
    }

    /// At its time in a run whose times are multiplied. How long RTNL is held stays: it is what the disturbance is.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let shorten = |span: &mut Span| span.0 = span.0.mul_f64(factor);
        match &mut self {
            Self::RtnlHold { at, .. } | Self::DeviceGone { at, .. } => shorten(at),
            Self::RtnlShare { at, length, .. }
            | Self::Leak { at, length, .. }
            | Self::Descriptors { at, length, .. }
            | Self::Memory { at, length, .. } => {
                shorten(at);
                length.iter_mut().for_each(shorten);
            }
            Self::ReceiveBuffer { .. } => {}
        }
        self
    }

    /// When it begins.
    pub fn at(&self) -> Duration {
        match *self {
            Self::RtnlHold { at, .. }
            | Self::RtnlShare { at, .. }
            | Self::Leak { at, .. }
            | Self::DeviceGone { at, .. }
            | Self::Descriptors { at, .. }
            | Self::Memory { at, .. } => at.0,
            Self::ReceiveBuffer { .. } => Duration::ZERO,
        }
    }

    /// How long it goes on; `None`: to the run's end.
    pub fn length(&self) -> Option<Duration> {
        match *self {
            Self::RtnlHold { length, .. } => Some(length.0),
            Self::RtnlShare { length, .. }
            | Self::Leak { length, .. }
            | Self::Descriptors { length, .. }
            | Self::Memory { length, .. } => length.map(|length| length.0),
            Self::DeviceGone { .. } => Some(Duration::ZERO),
            Self::ReceiveBuffer { .. } => None,
        }
    }

    /// Refuses nonsense.
    pub fn check(&self) -> Result<(), DisturbError> {
        let invalid = |reason: String| Err(DisturbError::Invalid { kind: self.kind(), reason });
        match *self {
            Self::RtnlHold { length: Span(hold), .. } | Self::RtnlShare { hold: Span(hold), .. }
                if !(SHORTEST_HOLD..=LONGEST_HOLD).contains(&hold) =>
            {
                invalid(format!("RTNL for {} at a time: give 100us to 10s", Span(hold)))
            }
            Self::RtnlShare { percent, .. } if !(1.0..=90.0).contains(&percent) => {
                invalid(format!("{percent} percent: give 1 to 90"))
            }
            Self::Leak { megabytes_per_hour: rate, .. } if !(rate > 0.0 && rate <= 1e6) => {
                invalid(format!("{rate} megabytes an hour: give more than 0, and no more than 1000000"))
            }
            Self::Descriptors { limit, .. } if limit < 1 => invalid("0 descriptors: give 1 at least".into()),
            Self::Memory { limit_mib, .. } if !(LEAST_MEMORY_MIB..=1 << 30).contains(&limit_mib) => {
                invalid(format!("{limit_mib} MiB: give {LEAST_MEMORY_MIB} at least"))
            }
            Self::ReceiveBuffer { bytes } if bytes < LEAST_RECEIVE_BUFFER => invalid(format!(
                "{bytes} bytes: give {LEAST_RECEIVE_BUFFER} at least, the kernel's own least"
            )),
            Self::RtnlShare { length: Some(length), .. }
            | Self::Leak { length: Some(length), .. }
            | Self::Descriptors { length: Some(length), .. }
            | Self::Memory { length: Some(length), .. }
                if length.0.is_zero() =>
            {
                invalid("for no time at all: leave `for` out, or give more than 0s".into())
            }
            _ => Ok(()),
        }
    }
}

/// The socket's options with the receive buffer that is asked for, if one is. With several the last counts.
pub fn receive_buffer(disturbances: &[Disturbance], options: SocketOptions) -> SocketOptions {
    disturbances.iter().fold(options, |options, disturbance| match *disturbance {
        Disturbance::ReceiveBuffer { bytes } => SocketOptions { receive_buffer: bytes, ..options },
        _ => options,
    })
}

/// Bytes of a second's worth.
pub(super) fn bytes_per_second(megabytes_per_hour: f64) -> f64 {
    megabytes_per_hour * 1e6 / 3_600.0
}

/// A limit in bytes.
pub(super) fn bytes_of(mib: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(mib.checked_mul(1 << 20)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Profile {
        disturbance: Vec<Disturbance>,
    }

    fn read(text: &str) -> Result<Disturbance, String> {
        let text = format!("[[disturbance]]\n{text}");
        let mut profile: Profile = toml::from_str(&text).map_err(|error| error.to_string())?;
        let disturbance = profile.disturbance.remove(0);
        disturbance.check().map_err(|error| error.to_string())?;
        Ok(disturbance)
    }

    fn span(text: &str) -> Span {
        Span(crate::duration::parse(text).unwrap())
    }

    #[test]
    fn profiles_have_them_as_tables() {
        let expected = [
            (
                "kind = 'rtnl-hold'\nat = '10s'\nfor = '2s'",
                Disturbance::RtnlHold { at: span("10s"), length: span("2s") },
            ),
            (
                "kind = 'rtnl-share'\npercent = 30\nhold = '5ms'",
                Disturbance::RtnlShare { percent: 30.0, hold: span("5ms"), at: span("0s"), length: None },
            ),
            (
                "kind = 'leak'\nmegabytes_per_hour = 12\nat = '1m'",
                Disturbance::Leak { megabytes_per_hour: 12.0, at: span("1m"), length: None },
            ),
            (
                "kind = 'device-gone'\ndevice = 0\nat = '5s'",
                Disturbance::DeviceGone { device: 0, at: span("5s") },
            ),
            (
                "kind = 'descriptors'\nlimit = 64\nfor = '1s'",
                Disturbance::Descriptors { limit: 64, at: span("0s"), length: Some(span("1s")) },
            ),
            (
                "kind = 'memory'\nlimit_mib = 128",
                Disturbance::Memory { limit_mib: 128, at: span("0s"), length: None },
            ),
            ("kind = 'receive-buffer'\nbytes = 4096", Disturbance::ReceiveBuffer { bytes: 4_096 }),
        ];
        for (text, disturbance) in expected {
            assert_eq!(read(text), Ok(disturbance.clone()), "{text}");
            let written = toml::to_string(&disturbance).unwrap();
            assert_eq!(read(&written), Ok(disturbance), "{written}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, reason) in [
            ("kind = 'rtnl-hold'\nat = '10s'\nfor = '11s'", "100us to 10s"),
            ("kind = 'rtnl-hold'\nat = '10s'\nfor = '0s'", "100us to 10s"),
            ("kind = 'rtnl-hold'\nat = '10s'", "`for`"),
            ("kind = 'rtnl-share'\npercent = 100\nhold = '5ms'", "1 to 90"),
            ("kind = 'rtnl-share'\npercent = nan\nhold = '5ms'", "1 to 90"),
            ("kind = 'rtnl-share'\npercent = 30\nhold = '5ms'\nfor = '0s'", "no time at all"),
            ("kind = 'rtnl-share'\npercent = 30\nhold = '5'", "units"),
            ("kind = 'leak'\nmegabytes_per_hour = 0", "more than 0"),
            ("kind = 'leak'\nmegabytes_per_hour = inf", "no more than"),
            ("kind = 'leak'\nmegabytes_per_hour = 1\nrate = 2", "rate"),
            ("kind = 'device-gone'\ndevice = -1\nat = '5s'", "-1"),
            ("kind = 'descriptors'\nlimit = 0", "1 at least"),
            ("kind = 'memory'\nlimit_mib = 1", "16 at least"),
            ("kind = 'receive-buffer'\nbytes = 100", "2304 at least"),
            ("kind = 'receive-buffer'\nbytes = 4096\nat = '1s'", "at"),
            ("kind = 'earthquake'", "earthquake"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_receive_buffer_is_the_sockets() {
        let asked = [Disturbance::ReceiveBuffer { bytes: 4_096 }];
        let before = SocketOptions { timed: true, ..SocketOptions::default() };
        let after = receive_buffer(&asked, before);
        assert_eq!(after, SocketOptions { receive_buffer: 4_096, ..before });
        assert_eq!(receive_buffer(&[], before), before);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read(&text);
        }

        #[test]
        fn no_number_panics(percent in any::<f64>(), bytes in any::<u32>(), limit in any::<u64>()) {
            let _ = Disturbance::RtnlShare { percent, hold: span("5ms"), at: span("0s"), length: None }.check();
            let _ = Disturbance::ReceiveBuffer { bytes }.check();
            let _ = Disturbance::Memory { limit_mib: limit, at: span("0s"), length: None }.check();
        }
    }
}
