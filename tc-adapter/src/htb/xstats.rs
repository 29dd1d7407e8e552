//! What HTB counts about a class beyond what every class counts.

use crate::attribute::u32_at;
use crate::reply::Malformed;

/// `struct tc_htb_xstats`; the second and third statistics lines of `tc -s class show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtbXstats {
    /// Packets sent within the class's own rate.
    pub lends: u32,
    /// Packets sent on bandwidth borrowed from an ancestor.
    pub borrows: u32,
    /// Packets larger than the rate table covered; always 0 since Linux 3.8.
    pub giants: u32,
    /// Tokens left of the rate, in ticks of 64 ns; negative: owed.
    pub tokens: i32,
    /// Tokens left of the ceil, in ticks of 64 ns.
    pub ctokens: i32,
}

impl HtbXstats {
    /// Reads the value of `TCA_STATS_APP` or `TCA_XSTATS`.
    pub fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let field = |index: usize| u32_at(value, index * 4).ok_or(Malformed("HTB statistics are too short"));
        Ok(Self {
            lends: field(0)?,
            borrows: field(1)?,
            giants: field(2)?,
            tokens: field(3)?.cast_signed(),
            ctokens: field(4)?.cast_signed(),
        })
    }
}
