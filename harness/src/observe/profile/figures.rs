//! Requests, added up.

use std::collections::{BTreeMap, HashMap};

use ebpf_loader::Seen;

use super::model::{OfType, Refusal};
use crate::attribution::{Holders, Measured};
use crate::observe::line::errno_name;
use crate::observe::request::Request;
use crate::record::Phases;
use crate::report::model::RtnlWaits;

/// Kinds of refusals that are told apart at most; the kernel's texts may name whatever was asked for.
const MOST_REFUSALS: usize = 1_000;

/// What is kept of requests.
#[derive(Default)]
pub(super) struct Figures {
    requests: u64,
    by_type: BTreeMap<String, Kept>,
    refusals: HashMap<(String, i32, Option<String>), u64>,
    holders: Holders,
}

#[derive(Default)]
struct Kept {
    phases: Phases,
    messages: Option<u64>,
    uncounted: bool,
    failed: u64,
    unknown_results: u64,
    lists: u64,
}

impl Figures {
    /// Adds a request.
    pub(super) fn add(&mut self, seen: &Seen<'_>, request: &Request) {
        self.requests += 1;
        self.holders.record(seen.event);
        if !self.by_type.contains_key(&request.message_type) {
            self.by_type.insert(request.message_type.clone(), Kept::default());
        }
        let Some(kept) = self.by_type.get_mut(&request.message_type) else { return };
        kept.phases.record(seen.event);
        match request.messages {
            Some(messages) => *kept.messages.get_or_insert(0) += u64::from(messages),
            None => kept.uncounted = true,
        }
        kept.lists += u64::from(request.dump);
        match request.errno {
            Some(0) => {}
            Some(errno) => {
                kept.failed += 1;
                self.refuse(request, errno);
            }
            None => kept.unknown_results += 1,
        }
    }

    fn refuse(&mut self, request: &Request, errno: i32) {
        // A text too many counts without its words.
        let text = request.ext_ack.clone().filter(|_| self.refusals.len() < MOST_REFUSALS);
        *self.refusals.entry((request.message_type.clone(), errno, text)).or_default() += 1;
    }

    /// How many there were.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn by_type(&self, measured: Measured, system_calls: bool) -> BTreeMap<String, OfType> {
        let of_type = |kept: &Kept| OfType {
            requests: kept.phases.count(),
            messages: kept.messages.filter(|_| !kept.uncounted),
            failed: kept.failed,
            unknown_results: kept.unknown_results,
            lists: kept.lists,
            kernel_us: kept.phases.figures(measured, system_calls),
        };
        self.by_type.iter().map(|(name, kept)| (name.clone(), of_type(kept))).collect()
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = self
            .refusals
            .iter()
            .map(|((message_type, errno, text), &count)| Refusal {
                message_type: message_type.clone(),
                errno: *errno,
                error: errno_name(*errno),
                ext_ack: text.clone(),
                count,
            })
            .collect();
        refusals.sort_by(|one, other| {
            let key =
                |refusal: &Refusal| (refusal.message_type.clone(), refusal.errno, refusal.ext_ack.clone());
            other.count.cmp(&one.count).then_with(|| key(one).cmp(&key(other)))
        });
        refusals
    }

    pub(super) fn rtnl_waits(&self) -> Option<RtnlWaits> {
        self.holders.summary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::request::tests::{described, refused};

    #[test]
    fn requests_are_added_up_by_type_and_refusals_by_their_words() {
        let (event, detail) = refused();
        let mut figures = Figures::default();
        let seen = Seen { event: &event, ext_ack: None, detail: Some(&detail) };
        let mut fine = described(&event, &detail, None);
        fine.errno = Some(0);
        figures.add(&seen, &fine);
        for text in [Some("no"), Some("no"), Some("never")] {
            figures.add(&seen, &described(&event, &detail, text));
        }
        let mut unknown = fine.clone();
        (unknown.errno, unknown.messages) = (None, None);
        figures.add(&seen, &unknown);
        let measured = Measured { rtnl_wait: true, off_cpu: true };
        let by_type = figures.by_type(measured, true);
        let of_type = &by_type["RTM_NEWTCLASS"];
        assert_eq!((figures.requests(), of_type.requests), (5, 5));
        assert_eq!((of_type.failed, of_type.unknown_results, of_type.messages), (3, 1, None));
        let phases = of_type.kernel_us.unwrap();
        assert_eq!(phases.rtnl_wait.unwrap().count, 5);
        let refusals: Vec<_> = figures
            .refusals()
            .into_iter()
            .map(|refusal| (refusal.error, refusal.ext_ack, refusal.count))
            .collect();
        assert_eq!(
            refusals,
            [("EEXIST".into(), Some("no".into()), 2), ("EEXIST".into(), Some("never".into()), 1)]
        );
        assert_eq!(figures.rtnl_waits().unwrap().holders[0].comm, "other");
    }

    #[test]
    fn texts_without_end_do_not_pile_up() {
        let (event, detail) = refused();
        let mut figures = Figures::default();
        let seen = Seen { event: &event, ext_ack: None, detail: Some(&detail) };
        for number in 0..2 * MOST_REFUSALS {
            figures.add(&seen, &described(&event, &detail, Some(&number.to_string())));
        }
        let refusals = figures.refusals();
        assert_eq!(refusals.len(), MOST_REFUSALS + 1);
        assert_eq!((refusals[0].ext_ack.clone(), refusals[0].count), (None, MOST_REFUSALS as u64));
    }
}
