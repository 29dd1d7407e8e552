//! What was seen in all, for the end.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use ebpf_loader::Counters;
use hdrhistogram::Histogram;

use super::line::{Duration, errno_name};
use super::request::Request;
use crate::record::{nanoseconds, record};

/// Requests of one type that were shown.
struct OfType {
    totals: Histogram<u64>,
    errors: BTreeMap<i32, u64>,
    unknown: u64,
}

/// Counts.
#[derive(Default)]
pub struct Summary {
    seen: u64,
    shown: u64,
    by_type: BTreeMap<String, OfType>,
    lists: bool,
}

/// What the probes counted, for [`Summary::lines`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Requests whose event found the ring buffer full.
    pub ring_full: u64,
    /// Requests that could not be followed for other reasons; at most so many.
    pub other: u64,
    /// Ext-ack texts.
    pub texts: u64,
    /// Processes that were too many.
    pub processes: u64,
}

impl From<Counters> for Losses {
    fn from(counters: Counters) -> Self {
        Self {
            ring_full: counters.lost_ring_full,
            other: counters.lost() - counters.lost_ring_full,
            texts: counters.lost_ext_acks,
            processes: counters.lost_processes,
        }
    }
}

impl Losses {
    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Summary {
    /// Counts a request, and whether it is shown.
    pub(super) fn count(&mut self, request: &Request, shown: bool) {
        self.seen += 1;
        if !shown {
            return;
        }
        self.shown += 1;
        self.lists |= request.dump;
        if !self.by_type.contains_key(&request.message_type) {
            let new = OfType { totals: nanoseconds(), errors: BTreeMap::new(), unknown: 0 };
            self.by_type.insert(request.message_type.clone(), new);
        }
        if let Some(of_type) = self.by_type.get_mut(&request.message_type) {
            record(&mut of_type.totals, request.total_ns);
            match request.errno {
                Some(0) => {}
                Some(errno) => *of_type.errors.entry(errno).or_default() += 1,
                None => of_type.unknown += 1,
            }
        }
    }

    /// The lines. `losses`: why they are not known, where they are not.
    pub fn lines(&self, losses: &Result<Losses, String>) -> String {
        let lost = match losses {
            Ok(losses) => format!("{losses}"),
            Err(reason) => format!("lost: not known ({reason})"),
        };
        let mut text = format!("{} requests, {} shown, {lost}\n", self.seen, self.shown);
        for (name, of_type) in &self.by_type {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "{name}: {}, median {}, max {}{}",
                of_type.totals.len(),
                Duration { ns: of_type.totals.value_at_quantile(0.5) },
                Duration { ns: of_type.totals.max() },
                of_type.failed()
            );
        }
        if self.lists {
            text.push_str("of lists only the first part: the others are made while they are read\n");
        }
        text
    }
}

impl OfType {
    fn failed(&self) -> String {
        let mut text = String::new();
        for (errno, count) in &self.errors {
            let _ = write!(text, ", {count} {}", errno_name(*errno));
        }
        if self.unknown > 0 {
            let _ = write!(text, ", {} with an unknown result", self.unknown);
        }
        text
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ring_full, self.other) {
            (0, 0) => f.write_str("0 lost")?,
            (ring_full, 0) => write!(f, "{ring_full} lost (they came faster than they could be shown)")?,
            (0, other) => write!(f, "at most {other} lost")?,
            (ring_full, other) => write!(
                f,
                "{ring_full} lost (they came faster than they could be shown) and at most {other} more"
            )?,
        }
        if self.texts > 0 {
            write!(f, ", {} texts of the kernel lost", self.texts)?;
        }
        if self.processes > 0 {
            write!(f, ", {} processes not followed, for there were too many", self.processes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{described, refused};
    use super::*;

    #[test]
    fn requests_are_summed_up_by_type() {
        let (event, detail) = refused();
        let request = described(&event, &detail, None);
        let mut fine = request.clone();
        (fine.errno, fine.total_ns) = (Some(0), 2_000);
        let mut unknown = fine.clone();
        unknown.errno = None;
        let mut summary = Summary::default();
        for (request, shown) in [(&request, true), (&fine, true), (&unknown, true), (&fine, false)] {
            summary.count(request, shown);
        }
        let text = summary.lines(&Ok(Losses::default()));
        assert_eq!(
            text,
            "4 requests, 3 shown, 0 lost\nRTM_NEWTCLASS: 3, median 2.00 µs, max 14.2 µs, 1 EEXIST, \
             1 with an unknown result\n"
        );
    }

    #[test]
    fn losses_are_never_silent() {
        let shown = |losses: Losses| losses.to_string();
        assert_eq!(shown(Losses::default()), "0 lost");
        assert!(shown(Losses { ring_full: 5, ..Losses::default() }).starts_with("5 lost ("));
        assert!(shown(Losses { other: 5, ..Losses::default() }).starts_with("at most 5 lost"));
        assert!(
            shown(Losses { processes: 2, texts: 3, ..Losses::default() })
                .contains("2 processes not followed")
        );
        assert!(Summary::default().lines(&Err("why".into())).contains("lost: not known (why)"));
    }
}
