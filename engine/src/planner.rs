//! What a query would cost, known before anything of it is read: out of the indexes of the objects that it needs.

use crate::{block::IndexEntry, call::Read, query::wants};
use edgewatch_shared::limits::{QUERY_OBJECTS_MAX, QUERY_READ_BYTES_MAX, QUERY_READ_SAMPLES_MAX};

/// What there is to read. Bounds, not estimates: a chunk is read whole, of whatever series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of chunks.
    pub bytes: u64,
    /// Samples in them.
    pub samples: u64,
}

/// A query that is refused before it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooCostly {
    /// Over [`QUERY_OBJECTS_MAX`].
    #[error(
        "the query would read {0} objects, at most {QUERY_OBJECTS_MAX} are read: ask for less time or one host by its id"
    )]
    Objects(usize),
    /// Over [`QUERY_READ_BYTES_MAX`].
    #[error(
        "the query would read {0} bytes, at most {QUERY_READ_BYTES_MAX} are read: ask for less time, one host by its id, or a wider bucket"
    )]
    Bytes(u64),
    /// Over [`QUERY_READ_SAMPLES_MAX`].
    #[error(
        "the query would decode {0} samples, at most {QUERY_READ_SAMPLES_MAX} are decoded: ask for less time, one host by its id, or a wider bucket"
    )]
    Samples(u64),
}

/// Whether so many objects may be looked at.
pub fn check_objects(objects: usize) -> Result<(), TooCostly> {
    if objects > QUERY_OBJECTS_MAX { Err(TooCostly::Objects(objects)) } else { Ok(()) }
}

impl Cost {
    /// With the chunks of an object that a read wants.
    #[must_use]
    pub fn with(self, entries: &[IndexEntry], read: &Read) -> Self {
        let wanted = entries.iter().filter(|entry| wants(read, entry));
        wanted.fold(self, |cost, entry| Self {
            bytes: cost.bytes.saturating_add(entry.length.into()),
            samples: cost.samples.saturating_add(entry.samples.into()),
        })
    }

    /// Whether that may be read.
    pub fn check(&self) -> Result<(), TooCostly> {
        match self {
            cost if cost.bytes > QUERY_READ_BYTES_MAX => Err(TooCostly::Bytes(cost.bytes)),
            cost if cost.samples > QUERY_READ_SAMPLES_MAX => Err(TooCostly::Samples(cost.samples)),
            _ => Ok(()),
        }
    }
}

/// The rank of a part among those of several shards that hold samples of the same hosts: of one instant the shard that
/// a host was on later counts, and within a shard the higher rank.
pub fn rank_among_shards(order: usize, rank: i64) -> i64 {
    const WITHIN: i64 = 1 << 55;
    let order = i64::try_from(order).unwrap_or(i64::MAX).min(i64::MAX / WITHIN - 1);
    order.saturating_mul(WITHIN).saturating_add(rank.clamp(0, WITHIN - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{HostId, Labels, TimestampMs};

    fn entry(host: u8, min: i64, length: u32, samples: u32) -> IndexEntry {
        let host = HostId::new(0, [host; 14]);
        let (min, max) = (TimestampMs(min), TimestampMs(min + 9));
        IndexEntry { host, offset: 0, length, crc: 0, min, max, samples }
    }

    #[test]
    fn only_chunks_that_are_read_cost() {
        let read = Read {
            hosts: vec![HostId::new(0, [1; 14])],
            names: Vec::new(),
            labels: Labels::new(),
            from: TimestampMs(10),
            to: TimestampMs(20),
            evaluation: None,
            is_partial: false,
        };
        let entries = [entry(1, 0, 1, 10), entry(1, 5, 2, 20), entry(1, 20, 4, 40), entry(2, 10, 8, 80)];
        assert_eq!(Cost::default().with(&entries, &read), Cost { bytes: 6, samples: 60 });
    }

    #[test]
    fn a_later_shard_ranks_above_whatever_an_earlier_one_has() {
        let ranks = [(0, 1), (0, i64::MAX), (1, 0), (1, 7), (1, i64::MAX), (126, i64::MAX)];
        assert!(ranks.map(|(order, rank)| rank_among_shards(order, rank)).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_query_is_refused_one_beyond_its_limits() {
        let cost = |bytes, samples| Cost { bytes, samples }.check();
        assert_eq!(cost(QUERY_READ_BYTES_MAX, QUERY_READ_SAMPLES_MAX), Ok(()));
        assert_eq!(cost(QUERY_READ_BYTES_MAX + 1, 0), Err(TooCostly::Bytes(QUERY_READ_BYTES_MAX + 1)));
        assert_eq!(cost(0, QUERY_READ_SAMPLES_MAX + 1), Err(TooCostly::Samples(QUERY_READ_SAMPLES_MAX + 1)));
        assert_eq!(check_objects(QUERY_OBJECTS_MAX), Ok(()));
        assert_eq!(check_objects(QUERY_OBJECTS_MAX + 1), Err(TooCostly::Objects(QUERY_OBJECTS_MAX + 1)));
    }
}
