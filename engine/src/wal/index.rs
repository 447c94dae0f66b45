//! Where the pushes of each host lie, for as long as that many can be remembered.

use super::Place;
use edgewatch_shared::{HostId, time::Hour};
use std::collections::HashMap;

/// Places by host, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    hosts: HashMap<HostId, Vec<Place>>,
    count: usize,
    count_max: usize,
    /// Partitions that have pushes which are not in here.
    incomplete: Vec<Hour>,
}

impl Index {
    /// Remembers at most `count_max` places.
    pub fn new(count_max: usize) -> Self {
        Self { count_max, ..Self::default() }
    }

    /// Adds a push, if there is room for it.
    pub fn add(&mut self, host: HostId, place: Place) {
        if self.incomplete.contains(&place.hour) {
            return;
        }
        if self.count >= self.count_max {
            self.forget(place.hour);
            self.incomplete.push(place.hour);
            return;
        }
        self.hosts.entry(host).or_default().push(place);
        self.count = self.count.saturating_add(1);
    }

    /// The pushes of a host in a partition; `None` if they have to be looked for.
    pub fn places(&self, host: HostId, hour: Hour) -> Option<Vec<Place>> {
        if self.incomplete.contains(&hour) {
            return None;
        }
        let places = self.hosts.get(&host).into_iter().flatten();
        Some(places.filter(|place| place.hour == hour).copied().collect())
    }

    /// Forgets a partition.
    pub fn forget(&mut self, hour: Hour) {
        self.incomplete.retain(|other| *other != hour);
        self.hosts.retain(|_, places| {
            places.retain(|place| place.hour != hour);
            !places.is_empty()
        });
        self.count = self.hosts.values().map(Vec::len).fold(0, usize::saturating_add);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Form, *};

    fn place(hour: i64, seq: i64) -> Place {
        Place { hour: Hour(hour), seq, offset: 0, length: 1, samples: 1, form: Form::Named }
    }

    fn seqs(index: &Index, host: HostId, hour: i64) -> Option<Vec<i64>> {
        Some(index.places(host, Hour(hour))?.iter().map(|place| place.seq).collect())
    }

    #[test]
    fn a_partition_with_more_pushes_than_can_be_remembered_is_looked_through_until_it_is_gone() {
        let host = HostId::new(0, [1; 14]);
        let mut index = Index::new(3);
        for (hour, seq) in [(1, 1), (1, 2), (2, 1)] {
            index.add(host, place(hour, seq));
        }
        assert_eq!(seqs(&index, host, 1), Some(vec![1, 2]));
        assert_eq!(seqs(&index, host, 2), Some(vec![1]));
        index.add(host, place(2, 2));
        assert_eq!((seqs(&index, host, 1), seqs(&index, host, 2)), (Some(vec![1, 2]), None));
        index.add(host, place(2, 3));
        index.forget(Hour(1));
        assert_eq!((seqs(&index, host, 1), seqs(&index, host, 2)), (Some(vec![]), None));
        index.forget(Hour(2));
        index.add(host, place(3, 1));
        assert_eq!((seqs(&index, host, 2), seqs(&index, host, 3)), (Some(vec![]), Some(vec![1])));
    }
}
