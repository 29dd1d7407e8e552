//! What was seen in the last interval, and since the start, told apart by process, message type and device.

use std::collections::HashMap;
use std::time::Duration;

use super::tally::{Sample, Tally};
use crate::observe::Losses;

/// So many combinations are told apart, which takes 20 MB. Requests of further ones are those of [`others`].
const MOST: usize = 1_024;
/// Who has been quiet for so many intervals is no longer among those of the moment.
const RECENT: u64 = 10;

/// Whose request it was, and about what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// `None`: of several processes.
    pub(super) pid: Option<u32>,
    pub(super) comm: String,
    pub(super) message_type: String,
    pub(super) device: Option<String>,
}

/// The name of those that are not told apart.
pub(super) const OTHERS: &str = "(others)";

fn others(message_type: &str) -> Key {
    Key { pid: None, comm: OTHERS.into(), message_type: message_type.into(), device: None }
}

/// A stretch of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Period {
    pub(super) length: Duration,
    pub(super) tallies: HashMap<Key, Tally>,
    /// Requests that were lost, at most; `None`: not known.
    pub(super) lost: Option<u64>,
}

impl Period {
    fn tally(&mut self, key: Key) -> &mut Tally {
        let key = if self.tallies.len() < MOST || self.tallies.contains_key(&key) {
            key
        } else {
            others(&key.message_type)
        };
        self.tallies.entry(key).or_default()
    }
}

/// Which stretch of time is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Span {
    /// The last interval.
    #[default]
    Interval,
    /// Since the start.
    All,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Board {
    current: Period,
    last: Period,
    all: Period,
    /// In which interval each was last seen.
    seen: HashMap<Key, u64>,
    intervals: u64,
    losses: Option<Result<Losses, String>>,
}

fn lost(losses: &Result<Losses, String>) -> Option<u64> {
    losses.as_ref().ok().map(|losses| losses.ring_full + losses.other)
}

impl Board {
    /// Counts a request of the interval that is under way.
    pub(super) fn count(&mut self, key: Key, sample: Sample) {
        self.current.tally(key).count(sample);
    }

    /// The interval is over. `losses` are those since the start.
    pub(super) fn close(&mut self, length: Duration, losses: Result<Losses, String>) {
        self.intervals += 1;
        let mut last = std::mem::take(&mut self.current);
        last.length = length;
        let before = self.all.lost.unwrap_or(0);
        last.lost = lost(&losses).map(|now| now.saturating_sub(before));
        self.all.lost = lost(&losses).or(self.all.lost);
        self.losses = Some(losses);
        self.all.length += length;
        for (key, tally) in &last.tallies {
            self.seen.insert(key.clone(), self.intervals);
            self.all.tallies.entry(key.clone()).or_default().add(tally);
        }
        self.last = last;
        if self.all.tallies.len() > MOST {
            self.forget();
        }
    }

    /// Those that were quiet for longest, and among them those with fewest requests, are told apart no longer.
    fn forget(&mut self) {
        let mut keys: Vec<_> = self
            .all
            .tallies
            .iter()
            .map(|(key, tally)| (self.seen.get(key).copied().unwrap_or(0), tally.requests, key.clone()))
            .filter(|(.., key)| key.comm != OTHERS)
            .collect();
        keys.sort_unstable();
        for (.., key) in keys.into_iter().take(self.all.tallies.len() - MOST / 4 * 3) {
            self.seen.remove(&key);
            if let Some(tally) = self.all.tallies.remove(&key) {
                self.all.tallies.entry(others(&key.message_type)).or_default().add(&tally);
            }
        }
    }

    /// What was seen in this span.
    pub(super) fn period(&self, span: Span) -> &Period {
        match span {
            Span::Interval => &self.last,
            Span::All => &self.all,
        }
    }

    /// Those of whom requests were seen lately, perhaps none in the last interval.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Key> {
        self.seen.iter().filter(|(_, seen)| *seen + RECENT > self.intervals).map(|(key, _)| key)
    }

    /// What was lost since the start, or why that is not known; `None` before the first interval is over.
    pub(super) fn losses(&self) -> Option<&Result<Losses, String>> {
        self.losses.as_ref()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tally::tests::sample;
    use super::*;

    pub(in super::super) fn key(pid: u32, comm: &str, message_type: &str, device: &str) -> Key {
        Key {
            pid: Some(pid),
            comm: comm.into(),
            message_type: message_type.into(),
            device: Some(device.into()),
        }
    }

    fn requests(period: &Period) -> u64 {
        period.tallies.values().map(|tally| tally.requests).sum()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_interval_is_shown_when_it_is_over_and_summed_up() {
        let mut board = Board::default();
        board.count(key(1, "tc", "RTM_NEWTCLASS", "eth0"), sample(1_000, 0, 0));
        assert_eq!(requests(board.period(Span::Interval)), 0);
        board.close(SECOND, Ok(Losses { ring_full: 3, other: 1, ..Losses::default() }));
        assert_eq!(requests(board.period(Span::Interval)), 1);
        assert_eq!(board.period(Span::Interval).lost, Some(4));
        board.close(2 * SECOND, Ok(Losses { ring_full: 4, other: 1, ..Losses::default() }));
        let (last, all) = (board.period(Span::Interval), board.period(Span::All));
        assert_eq!((requests(last), last.lost, last.length), (0, Some(1), 2 * SECOND));
        assert_eq!((requests(all), all.lost, all.length), (1, Some(5), 3 * SECOND));
    }

    #[test]
    fn losses_that_are_not_known_are_not_none() {
        let mut board = Board::default();
        board.close(SECOND, Err("why".into()));
        assert_eq!(board.period(Span::Interval).lost, None);
        assert_eq!(board.losses(), Some(&Err("why".into())));
    }

    #[test]
    fn who_is_quiet_is_remembered_for_a_while() {
        let mut board = Board::default();
        board.count(key(1, "tc", "RTM_NEWTCLASS", "eth0"), sample(1_000, 0, 0));
        for _ in 0..RECENT {
            board.close(SECOND, Ok(Losses::default()));
            assert_eq!(board.recent().count(), 1);
        }
        board.close(SECOND, Ok(Losses::default()));
        assert_eq!(board.recent().count(), 0);
        assert_eq!(board.period(Span::All).tallies.len(), 1);
    }

    #[test]
    fn many_short_lives_take_bounded_room_and_no_request_is_forgotten() {
        let mut board = Board::default();
        let lives = 5 * u32::try_from(MOST).unwrap();
        for pid in 0..lives {
            board.count(key(pid, "tc", "RTM_NEWTCLASS", "eth0"), sample(1_000, 0, 0));
            if pid % 700 == 0 {
                board.close(SECOND, Ok(Losses::default()));
            }
        }
        for pid in 0..lives {
            board.count(key(pid, "tc", "RTM_DELTCLASS", "eth0"), sample(1_000, 0, 0));
        }
        board.close(SECOND, Ok(Losses::default()));
        for span in [Span::Interval, Span::All] {
            assert!(board.period(span).tallies.len() <= MOST + 2, "{span:?}");
        }
        let all = board.period(Span::All);
        let of = |message_type: &str| -> u64 {
            let of_type = all.tallies.iter().filter(|(key, _)| key.message_type == message_type);
            of_type.map(|(_, tally)| tally.requests).sum()
        };
        assert_eq!((of("RTM_NEWTCLASS"), of("RTM_DELTCLASS")), (u64::from(lives), u64::from(lives)));
    }
}
