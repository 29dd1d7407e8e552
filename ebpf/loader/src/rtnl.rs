//! Which lock is RTNL.

use std::fmt;

use crate::kallsyms::{self, Symbol};

/// How RTNL is told from other locks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtnlLock {
    /// `/proc/kallsyms` shows `rtnl_mutex`.
    Symbol {
        /// The mutex's address.
        address: u64,
    },
    /// Found by making requests contend: the mutex for which they waited.
    Calibrated {
        /// The mutex's address.
        address: u64,
        /// How many waits for it were seen.
        waits: u64,
        /// How many waits for any mutex were seen.
        of: u64,
    },
    /// Not found: every mutex for which a request waits counts as RTNL.
    AnyMutex {
        /// Why it was not found.
        reason: String,
    },
    /// Waits are not measured at all.
    NotMeasured,
}

impl fmt::Display for RtnlLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol { .. } => f.write_str("the mutex that /proc/kallsyms names rtnl_mutex"),
            Self::Calibrated { waits, of, .. } => {
                write!(f, "the mutex that contending requests wait for ({waits} of {of} waits)")
            }
            Self::AnyMutex { reason } => {
                write!(f, "any mutex inside the request (address not identified: {reason})")
            }
            Self::NotMeasured => f.write_str("not measured"),
        }
    }
}

impl RtnlLock {
    /// The mutex's address, 0 when it is not known.
    pub(crate) fn address(&self) -> u64 {
        match self {
            Self::Symbol { address } | Self::Calibrated { address, .. } => *address,
            Self::AnyMutex { .. } | Self::NotMeasured => 0,
        }
    }

    /// What the symbol table knows.
    pub(crate) fn from_symbols() -> Option<Self> {
        match kallsyms::find(&["rtnl_mutex"]) {
            Ok(Symbol::At(address)) => Some(Self::Symbol { address }),
            Ok(Symbol::Hidden | Symbol::Absent) | Err(_) => None,
        }
    }

    /// The verdict on the waits that were counted for each mutex.
    pub(crate) fn from_waits(waits: &[(u64, u64)]) -> Self {
        let of: u64 = waits.iter().map(|(_, count)| count).sum();
        let Some(&(address, most)) = waits.iter().max_by_key(|(_, count)| count) else {
            return Self::AnyMutex { reason: "no contention could be provoked".to_owned() };
        };
        if of < MIN_WAITS {
            return Self::AnyMutex { reason: format!("only {of} waits could be provoked") };
        }
        if most * 100 < of * MIN_SHARE_PERCENT {
            return Self::AnyMutex { reason: format!("the likeliest mutex has only {most} of {of} waits") };
        }
        Self::Calibrated { address, waits: most, of }
    }
}

/// Below this, chance could make any mutex the dominant one.
const MIN_WAITS: u64 = 20;
const MIN_SHARE_PERCENT: u64 = 95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dominant_mutex_is_rtnl() {
        let found = RtnlLock::from_waits(&[(0xa, 3), (0xb, 97)]);
        assert_eq!(found, RtnlLock::Calibrated { address: 0xb, waits: 97, of: 100 });
        assert_eq!(found.address(), 0xb);
    }

    #[test]
    fn doubt_is_said() {
        assert!(RtnlLock::from_waits(&[]).to_string().contains("no contention"));
        assert!(RtnlLock::from_waits(&[(0xa, 19)]).to_string().contains("only 19 waits"));
        let split = RtnlLock::from_waits(&[(0xa, 50), (0xb, 50)]);
        assert!(
            split.to_string().starts_with("any mutex inside the request (address not identified: "),
            "{split}"
        );
        assert_eq!(split.address(), 0);
    }
}
