//! What the kernel reports of filters.

use super::{Classifier, Filter, FilterName, Protocol, TCA_CHAIN, TCA_KIND, TCA_OPTIONS, U32Hits};
use crate::action::{self, Police};
use crate::attribute::{each, u32_at};
use crate::handle::Handle;
use crate::message::TC_HEADER;
use crate::reply::Malformed;
use crate::stats::Stats;

/// One entry of `tc -s filter show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterEntry {
    /// Index of its device; of a shared block, what the kernel says instead (`0xffffffff`).
    pub device: u32,
    /// What it hangs on: a qdisc or a class.
    pub parent: Handle,
    /// Its place among the others; 0 in front.
    pub chain: u32,
    /// Lower ones are asked first.
    pub prio: u16,
    /// The packets that it is asked about.
    pub protocol: Protocol,
    /// Its number within the prio. 0: this entry stands for the prio itself, as the kernel lists it before its filters.
    pub handle: u32,
    /// `u32`, `flower`, …
    pub kind: String,
    /// Its settings; `None`: of a kind, or with an action of a kind, that this crate does not know, or an entry without settings.
    pub filter: Option<Filter>,
    /// What each of its actions has counted, in their order.
    pub action_stats: Vec<Stats>,
    /// How often a node of u32 was asked; `None`: another kind, or the kernel does not count it.
    pub hits: Option<U32Hits>,
}

impl FilterEntry {
    /// Its address.
    pub fn name(&self) -> FilterName {
        FilterName {
            chain: self.chain,
            prio: self.prio,
            protocol: Some(self.protocol),
            handle: self.handle,
            kind: Some(self.kind.clone()),
        }
    }

    /// The hash table of `u32` that it is, or is in.
    pub(crate) const fn table(&self) -> u32 {
        self.handle & 0xFFF0_0000
    }

    /// Whether it is, or is in, a hash table that the kernel made for a prio.
    pub(crate) const fn is_in_a_root_table(&self) -> bool {
        self.handle >= 0x8000_0000
    }

    /// Whether it stands for the prio as a whole, or for the hash table that every prio of `u32` has, and not for a filter.
    pub fn is_only_a_place(&self) -> bool {
        const FIRST_AUTOMATIC_TABLE: u32 = 0x8000_0000;
        let is_own_table =
            self.handle >= FIRST_AUTOMATIC_TABLE && self.filter.as_ref().is_some_and(Filter::is_table);
        (self.handle == 0 && self.filter.is_none()) || is_own_table
    }

    /// Reads what follows the netlink header in an `RTM_NEWTFILTER` message.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        // struct tcmsg: family and padding, index, handle, parent, info
        let word = |at: usize| u32_at(payload, at).ok_or(Malformed("a message shorter than its header"));
        let (device, handle, parent, info) = (word(4)?, word(8)?, Handle::from_raw(word(12)?), word(16)?);
        let prio = u16::try_from(info >> 16).unwrap_or(0);
        let protocol = Protocol::from_number(u16::from_be(u16::try_from(info & 0xFFFF).unwrap_or(0)));
        let (mut kind, mut options, mut chain) = (String::new(), None, 0);
        for attribute in each(payload.get(TC_HEADER..).unwrap_or_default()) {
            match attribute? {
                (TCA_KIND, value) => kind = crate::attribute::text(value),
                (TCA_OPTIONS, value) => options = Some(value),
                (TCA_CHAIN, value) => {
                    chain = u32_at(value, 0).ok_or(Malformed("TCA_CHAIN is too short"))?;
                }
                _ => {}
            }
        }
        let (mut filter, mut action_stats, mut hits) = (None, Vec::new(), None);
        if let Some(options) = options.filter(|options| !options.is_empty())
            && let Some(classifier) = Classifier::decode(&kind, options)?
        {
            let numbers = classifier.numbers();
            let mut whole = Filter { chain, prio, protocol, handle, ..Filter::new(protocol, classifier) };
            let mut known = true;
            for attribute in each(options) {
                let (number, value) = attribute?;
                if number == numbers.classid {
                    whole.classid =
                        Handle::from_raw(u32_at(value, 0).ok_or(Malformed("a classid is too short"))?);
                } else if Some(number) == numbers.police {
                    whole.police = Some(Box::new(Police::decode(value)?));
                } else if number == numbers.actions {
                    match action::decode(value)? {
                        Some(counted) => (whole.actions, action_stats) = counted,
                        None => known = false,
                    }
                }
            }
            if matches!(whole.classifier, Classifier::U32(_)) {
                hits = U32Hits::decode(options)?;
            }
            filter = known.then_some(whole);
        }
        Ok(Self { device, parent, chain, prio, protocol, handle, kind, filter, action_stats, hits })
    }
}
