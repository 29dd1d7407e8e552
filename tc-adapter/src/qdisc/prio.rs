//! Bands that are served one after the other (tc-prio(8), `net/sched/sch_prio.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TCA_OPTIONS, require};
use crate::attribute::{nest, put, u32_at};
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words};

const BANDS: u32 = 3;
const PRIOMAP: [u8; 16] = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];

/// Classes `:1` to `:<bands>`, of which each sends only when those before it are empty: `tc qdisc … prio [bands <number>]
/// [priomap <band>…]`.
///
/// What is not said is `tc`'s default; it goes to the kernel all the same, also in a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prio {
    /// How many bands; 2 to 16, 3 by default.
    #[serde(skip_serializing_if = "is_default_bands")]
    pub bands: u32,
    /// The band, from 0 on, of packets of each Linux priority, 0 to 15 (`skb->priority`, for which an IP packet's TOS may
    /// stand); packets that a filter assigns go elsewhere. By default 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1.
    #[serde(skip_serializing_if = "is_default_map")]
    pub priomap: [u8; 16],
}

impl Default for Prio {
    fn default() -> Self {
        Self { bands: BANDS, priomap: PRIOMAP }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default_bands(bands: &u32) -> bool {
    *bands == BANDS
}

fn is_default_map(priomap: &[u8; 16]) -> bool {
    *priomap == PRIOMAP
}

impl Prio {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        nest(buffer, TCA_OPTIONS, |buffer| {
            // struct tc_prio_qopt
            buffer.extend_from_slice(&self.bands.to_ne_bytes());
            buffer.extend_from_slice(&self.priomap);
            // The kernel of Linux 2.6.26 looked for TCA_PRIO_MQ in there; `tc` still sends it, empty.
            put(buffer, TCA_OPTIONS, &[]);
        });
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("the options of prio are too short");
        let bands = u32_at(options, 0).ok_or(SHORT)?;
        let priomap = *options.get(4..).and_then(|map| map.first_chunk()).ok_or(SHORT)?;
        Ok(Self { bands, priomap })
    }

    /// A `priomap` that is shorter than 16 leaves the rest at the default, as in `tc`.
    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut prio = Self::default();
        while let Some(word) = words.next() {
            match word {
                "bands" => prio.bands = words.number(word)?,
                "priomap" => {
                    let mut places = prio.priomap.iter_mut();
                    while words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
                        let place = places
                            .next()
                            .ok_or_else(|| Syntax::new("priomap: there are more than 16 priorities"))?;
                        *place = words.number(word)?;
                    }
                }
                other => return Err(Syntax::unknown("prio", other)),
            }
        }
        Ok(prio)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        require((2..=16).contains(&self.bands), "prio", "bands", "2 to 16")?;
        let inside = self.priomap.iter().all(|band| u32::from(*band) < self.bands);
        require(inside, "prio", "priomap", "of bands that there are, from 0 to bands - 1")
    }
}

/// As words of a `tc` command.
impl fmt::Display for Prio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bands != BANDS {
            write!(f, " bands {}", self.bands)?;
        }
        if self.priomap != PRIOMAP {
            f.write_str(" priomap")?;
            for band in self.priomap {
                write!(f, " {band}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdisc::Qdisc;
    use crate::qdisc::tests::assert_round_trip;
    use proptest::prelude::*;

    #[test]
    fn the_default_map_needs_three_bands() {
        assert_eq!(Prio::default().validate(), Ok(()));
        for prio in [
            Prio { bands: 2, ..Prio::default() },
            Prio { bands: 1, priomap: [0; 16] },
            Prio { bands: 17, priomap: [0; 16] },
        ] {
            assert!(prio.validate().is_err(), "{prio:?}");
        }
    }

    proptest! {
        #[test]
        fn settings_come_back(bands: u32, priomap: [u8; 16]) {
            assert_round_trip(&Qdisc::Prio(Prio { bands, priomap }));
        }
    }
}
