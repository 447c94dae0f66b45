//! Numbers of readings as ranges: what of a stream waits, or may be at the server.

use edgewatch_shared::wire::push::ReadingRange;

/// Reading numbers, as ranges in ascending order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<ReadingRange>);

impl Ranges {
    /// Adds readings.
    pub fn insert(&mut self, mut range: ReadingRange) {
        let start = self.0.partition_point(|other| other.last.saturating_add(1) < range.first);
        let end = self.0.partition_point(|other| other.first <= range.last.saturating_add(1));
        for other in self.0.drain(start..end.max(start)) {
            range.first = range.first.min(other.first);
            range.last = range.last.max(other.last);
        }
        self.0.insert(start, range);
    }

    /// Takes readings out.
    pub fn remove(&mut self, range: ReadingRange) {
        let start = self.0.partition_point(|other| other.last < range.first);
        let end = self.0.partition_point(|other| other.first <= range.last);
        let hit: Vec<ReadingRange> = self.0.drain(start..end.max(start)).collect();
        let before = hit.first().filter(|other| other.first < range.first);
        let before = before.map(|other| ReadingRange { last: range.first.saturating_sub(1), ..*other });
        let after = hit.last().filter(|other| other.last > range.last);
        let after = after.map(|other| ReadingRange { first: range.last.saturating_add(1), ..*other });
        self.0.splice(start..start, before.into_iter().chain(after));
    }

    /// Leaves only what is in the other, too.
    pub fn intersect(&mut self, other: &Self) {
        let parts = self.0.iter().flat_map(|range| other.within(*range).collect::<Vec<_>>());
        self.0 = parts.collect();
    }

    /// What of `range` is in it, in ascending order.
    pub fn within(&self, range: ReadingRange) -> impl Iterator<Item = ReadingRange> {
        let start = self.0.partition_point(|other| other.last < range.first);
        let hit = self.0.iter().skip(start).take_while(move |other| other.first <= range.last);
        hit.map(move |other| ReadingRange {
            first: other.first.max(range.first),
            last: other.last.min(range.last),
        })
    }

    /// Whether any reading of `range` is in it.
    pub fn meets(&self, range: ReadingRange) -> bool {
        self.within(range).next().is_some()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.first)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ranges, in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReadingRange> {
        self.0.iter().copied()
    }
}

impl FromIterator<ReadingRange> for Ranges {
    fn from_iter<T: IntoIterator<Item = ReadingRange>>(ranges: T) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.insert(range));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|range| range.first..=range.last).collect()
    }

    fn range((first, further): (u64, u64)) -> ReadingRange {
        ReadingRange { first, last: first + further }
    }

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), (1u64..40, 0u64..8)), 0..60),
            asked in (1u64..40, 0u64..8),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (inserts, step) in steps {
                let step = range(step);
                if inserts {
                    ranges.insert(step);
                    model.extend(step.first..=step.last);
                } else {
                    ranges.remove(step);
                    model.retain(|number| !(step.first..=step.last).contains(number));
                }
                prop_assert_eq!(numbers(&ranges), model.clone());
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            }
            let asked = range(asked);
            let within: BTreeSet<u64> = ranges.within(asked).flat_map(|part| part.first..=part.last).collect();
            let expected: BTreeSet<u64> = model.range(asked.first..=asked.last).copied().collect();
            prop_assert_eq!(ranges.meets(asked), !expected.is_empty());
            prop_assert_eq!(within, expected.clone());
            prop_assert_eq!(ranges.first(), model.first().copied());
            let mut both = ranges;
            both.intersect(&Ranges::from_iter([asked]));
            prop_assert_eq!(numbers(&both), expected);
        }
    }

    #[test]
    fn the_ends_of_all_numbers_are_numbers() {
        let mut ranges = Ranges::default();
        ranges.insert(ReadingRange { first: 0, last: u64::MAX });
        ranges.remove(ReadingRange { first: 1, last: u64::MAX - 1 });
        assert_eq!(
            ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>(),
            [(0, 0), (u64::MAX, u64::MAX)]
        );
    }
}
