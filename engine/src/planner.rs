//! What a query would cost, known before anything of it is read: out of the indexes of the objects that it needs.

use crate::{block::IndexEntry, call::Read, query::wants, rollup::Resolution};
use edgewatch_shared::limits::{
    QUERY_MS_MAX, QUERY_OBJECTS_MAX, QUERY_READ_BYTES_MAX, QUERY_READ_SAMPLES_MAX,
};

/// What there is to read. Bounds, not estimates: a chunk is read whole, of whatever series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of chunks.
    pub bytes: u64,
    /// Samples in them.
    pub samples: u64,
}

/// A query that is refused before it is begun, or given up.
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
    /// Over [`QUERY_MS_MAX`].
    #[error(
        "the query took more than {} s: ask for less time, one host by its id, or a wider bucket",
        QUERY_MS_MAX / 1_000
    )]
    Late,
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

/// Whether a query may go on that has taken so long.
pub fn check_time(took_ms: i64) -> Result<(), TooCostly> {
    if took_ms > QUERY_MS_MAX { Err(TooCostly::Late) } else { Ok(()) }
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

/// What a shard has of a day that a read touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayStock {
    /// All samples of it up to its compaction.
    pub compacted: bool,
    /// Samples that no compaction has taken in: in blocks of their own, or in the log.
    pub loose: bool,
    /// Rollups of five minutes.
    pub five_minutes: bool,
    /// Rollups of an hour.
    pub hours: bool,
    /// Whether the read begins or ends within the day, and within a rollup.
    pub is_cut: bool,
}

/// What a day is read from, beside its loose samples: rollups no coarser than `coarsest` if they are of everything
/// there is, else samples, and where those are gone the finest rollups that there are.
pub fn resolution_of_day(coarsest: Resolution, stock: &DayStock) -> Resolution {
    let has = |resolution: &Resolution| match resolution {
        Resolution::Raw => stock.compacted,
        Resolution::FiveMinutes => stock.five_minutes,
        Resolution::Hour => stock.hours,
    };
    let finest = || Resolution::ALL.into_iter().find(has).unwrap_or(Resolution::Raw);
    if stock.loose || stock.is_cut {
        return finest();
    }
    let fits = |resolution: &Resolution| *resolution <= coarsest && has(resolution);
    Resolution::ALL.into_iter().rev().find(fits).unwrap_or_else(finest)
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
    fn a_day_is_read_from_what_is_coarse_enough_and_of_everything() {
        use Resolution::{FiveMinutes, Hour, Raw};
        let whole = DayStock { compacted: true, five_minutes: true, hours: true, ..DayStock::default() };
        let chosen =
            |stock: DayStock| [Raw, FiveMinutes, Hour].map(|coarsest| resolution_of_day(coarsest, &stock));
        assert_eq!(chosen(whole), [Raw, FiveMinutes, Hour]);
        assert_eq!(chosen(DayStock { hours: false, ..whole }), [Raw, FiveMinutes, FiveMinutes]);
        assert_eq!(chosen(DayStock { loose: true, ..whole }), [Raw; 3], "rollups lack what came late");
        assert_eq!(chosen(DayStock { is_cut: true, ..whole }), [Raw; 3], "a rollup cannot be cut");
        // Samples are gone.
        let rolled_up = DayStock { compacted: false, ..whole };
        assert_eq!(chosen(rolled_up), [FiveMinutes, FiveMinutes, Hour]);
        assert_eq!(chosen(DayStock { loose: true, ..rolled_up }), [FiveMinutes; 3]);
        assert_eq!(chosen(DayStock { is_cut: true, five_minutes: false, ..rolled_up }), [Hour; 3]);
        assert_eq!(chosen(DayStock::default()), [Raw; 3]);
        assert_eq!(chosen(DayStock { loose: true, ..DayStock::default() }), [Raw; 3]);
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
        assert_eq!(check_time(QUERY_MS_MAX), Ok(()));
        assert_eq!(check_time(QUERY_MS_MAX + 1), Err(TooCostly::Late));
        assert_eq!(check_objects(QUERY_OBJECTS_MAX), Ok(()));
        assert_eq!(check_objects(QUERY_OBJECTS_MAX + 1), Err(TooCostly::Objects(QUERY_OBJECTS_MAX + 1)));
    }
}
