//! Kinds that have no settings.

use serde::{Deserialize, Serialize};

use crate::words::{Syntax, Words};

/// A place for filters on what a device receives: `tc qdisc add dev <device> ingress` (tc(8), `net/sched/sch_ingress.c`). Its
/// handle is `ffff:` and its parent [`Handle::INGRESS`](crate::Handle::INGRESS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {}

/// As [`Ingress`], with a second place for filters on what the device sends: `tc qdisc add dev <device> clsact` (tc-bpf(8),
/// `net/sched/sch_ingress.c`). A device has only one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clsact {}

/// A class for each transmit queue of the device, `:1` to `:<number>`: `tc qdisc add dev <device> root mq`
/// (`net/sched/sch_mq.c`). Only at the root of a device that has more than one queue; the kernel refuses others with
/// `EOPNOTSUPP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mq {}

impl Ingress {
    /// `tc` lets `handle ffff:` follow, and does not read it.
    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        while words.take("handle") {
            words.value("handle")?;
        }
        nothing("ingress", words)?;
        Ok(Self {})
    }
}

impl Clsact {
    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        nothing("clsact", words)?;
        Ok(Self {})
    }
}

impl Mq {
    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        nothing("mq", words)?;
        Ok(Self {})
    }
}

fn nothing(kind: &str, words: &mut Words) -> Result<(), Syntax> {
    words.next().map_or(Ok(()), |word| Err(Syntax::unknown(kind, word)))
}
