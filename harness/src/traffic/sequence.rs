//! What became of a stream of numbered packets: received, lost, reordered, duplicated. Pure.

use std::collections::BTreeMap;

/// Gaps that are remembered at once. A stream that loses every second packet for an hour must not take a hundred megabytes.
const MOST_GAPS: usize = 16_384;

/// Follows one stream, whose sender numbers its packets from 0 on.
///
/// A packet is *reordered* when a later one came before it (RFC 4737, section 3.3: its number is below the next expected one), and
/// *duplicated* when its number came before. What has not come at the end is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// `NextExp` of RFC 4737: one more than the greatest number so far.
    next: u64,
    /// Numbers below `next` that have not come: first → the first after them.
    gaps: BTreeMap<u64, u64>,
    /// Numbers below this are no longer told apart: their gaps were given up.
    horizon: u64,
    /// Packets in the gaps that were given up.
    given_up: u64,
    received: u64,
    reordered: u64,
    duplicated: u64,
    too_late: u64,
}

/// The figures of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different packets that came.
    pub received: u64,
    /// Packets that were sent and did not come.
    pub lost: u64,
    /// Of those received, how many came after a later one.
    pub reordered: u64,
    /// Packets that came once more.
    pub duplicated: u64,
    /// Packets that came so late, after so many other gaps, that they are counted as lost and not as received; a duplicate may be
    /// among them.
    pub too_late: u64,
}

impl Sequence {
    /// A packet has come.
    pub fn arrived(&mut self, number: u64) {
        if number >= self.next {
            if number > self.next {
                self.gaps.insert(self.next, number);
                self.forget();
            }
            self.next = number.saturating_add(1);
            self.received += 1;
        } else if number < self.horizon {
            self.too_late += 1;
        } else if let Some((&first, &end)) =
            self.gaps.range(..=number).next_back().filter(|gap| number < *gap.1)
        {
            self.gaps.remove(&first);
            if first < number {
                self.gaps.insert(first, number);
            }
            if number + 1 < end {
                self.gaps.insert(number + 1, end);
            }
            self.received += 1;
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Gives up the oldest gap when there are too many.
    fn forget(&mut self) {
        if self.gaps.len() > MOST_GAPS
            && let Some((first, end)) = self.gaps.pop_first()
        {
            self.given_up += end - first;
            self.horizon = end;
        }
    }

    /// One more than the greatest number that came: at least so many were sent.
    pub fn seen(&self) -> u64 {
        self.next
    }

    /// The figures, of a stream of which `sent` packets were sent.
    pub fn counts(&self, sent: u64) -> Counts {
        let in_gaps: u64 = self.gaps.iter().map(|(first, end)| end - first).sum();
        Counts {
            received: self.received,
            lost: in_gaps + self.given_up + sent.saturating_sub(self.next),
            reordered: self.reordered,
            duplicated: self.duplicated,
            too_late: self.too_late,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[u64], sent: u64) -> Counts {
        let mut sequence = Sequence::default();
        for &number in numbers {
            sequence.arrived(number);
        }
        sequence.counts(sent)
    }

    #[test]
    fn in_order_is_neither_lost_nor_reordered() {
        assert_eq!(of(&[0, 1, 2], 3), Counts { received: 3, ..Counts::default() });
        assert_eq!(of(&[], 0), Counts::default());
        assert_eq!(of(&[], 4), Counts { lost: 4, ..Counts::default() });
    }

    /// The example of RFC 4737, 3.3 and 4: the one that is late is reordered, and not those that overtook it.
    #[test]
    fn who_is_late_is_reordered() {
        assert_eq!(of(&[0, 1, 3, 4, 2, 5], 6), Counts { received: 6, reordered: 1, ..Counts::default() });
        assert_eq!(of(&[2, 1, 0], 3), Counts { received: 3, reordered: 2, ..Counts::default() });
    }

    #[test]
    fn what_comes_twice_is_no_loss_undone() {
        assert_eq!(of(&[0, 0, 2, 2], 4), Counts { received: 2, lost: 2, duplicated: 2, ..Counts::default() });
    }

    #[test]
    fn gaps_are_given_up_oldest_first() {
        let mut sequence = Sequence::default();
        let sent = 2 * (MOST_GAPS as u64 + 10);
        (0..sent).filter(|number| number % 2 == 1).for_each(|number| sequence.arrived(number));
        assert!(sequence.gaps.len() <= MOST_GAPS);
        let lost = sent / 2;
        assert_eq!(sequence.counts(sent).lost, lost);
        sequence.arrived(0);
        let counts = sequence.counts(sent);
        assert_eq!((counts.lost, counts.too_late, counts.received), (lost, 1, lost));
        sequence.arrived(sent - 2);
        assert_eq!(sequence.counts(sent).reordered, 1);
    }

    proptest! {
        /// Against the definition, with sets.
        #[test]
        fn figures_are_those_of_the_definition(numbers in prop::collection::vec(0_u64..200, 0..400), more in 0_u64..50) {
            let sent = numbers.iter().max().map_or(0, |most| most + 1) + more;
            let (mut seen, mut greatest) = (HashSet::new(), None::<u64>);
            let mut expected = Counts::default();
            for &number in &numbers {
                if seen.insert(number) {
                    expected.received += 1;
                    expected.reordered += u64::from(greatest.is_some_and(|most| number < most));
                } else {
                    expected.duplicated += 1;
                }
                greatest = greatest.max(Some(number));
            }
            expected.lost = sent - expected.received;
            prop_assert_eq!(of(&numbers, sent), expected);
        }

        #[test]
        fn every_packet_is_somewhere(numbers in prop::collection::vec(any::<u64>(), 0..200)) {
            let mut sequence = Sequence::default();
            for &number in &numbers {
                sequence.arrived(number);
            }
            let counts = sequence.counts(sequence.seen());
            prop_assert_eq!(counts.received + counts.duplicated + counts.too_late, numbers.len() as u64);
        }
    }
}
