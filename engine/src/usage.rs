//! What Edgewatch itself used today, next to the quotas of the plan it runs on.
//!
//! A shard derives the day's counts from its [`Counters`], which never jump back: the ledger remembers what they were
//! when the day began, and travels in rows that are written anyway.

use crate::counters::{Counter, Counters};
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS},
    time::Day,
};
use serde::{Deserialize, Serialize};

/// Something that a plan limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Requests that reached the Worker.
    WorkerRequests,
    /// Calls of shards, and their alarms.
    ObjectRequests,
    /// Milliseconds that shards were awake, the 10 s included that one stays in memory afterwards. An estimate from above.
    ObjectMs,
    /// Rows written to shards, alarms included.
    ObjectRowsWritten,
    /// Rows read in shards.
    ObjectRowsRead,
    /// Rows written to D1.
    CatalogueRowsWritten,
    /// Rows read in D1.
    CatalogueRowsRead,
    /// R2 operations of class A: put, list.
    BlobWrites,
    /// R2 operations of class B: get, head.
    BlobReads,
}

/// Number of [`Resource::ALL`].
const RESOURCES: usize = 9;

impl Resource {
    /// Every resource, in the order in which it is stored.
    pub const ALL: [Self; RESOURCES] = [
        Self::WorkerRequests,
        Self::ObjectRequests,
        Self::ObjectMs,
        Self::ObjectRowsWritten,
        Self::ObjectRowsRead,
        Self::CatalogueRowsWritten,
        Self::CatalogueRowsRead,
        Self::BlobWrites,
        Self::BlobReads,
    ];

    /// How it is called in replies and figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkerRequests => "worker_requests",
            Self::ObjectRequests => "object_requests",
            Self::ObjectMs => "object_gb_s",
            Self::ObjectRowsWritten => "object_rows_written",
            Self::ObjectRowsRead => "object_rows_read",
            Self::CatalogueRowsWritten => "d1_rows_written",
            Self::CatalogueRowsRead => "d1_rows_read",
            Self::BlobWrites => "r2_class_a",
            Self::BlobReads => "r2_class_b",
        }
    }

    /// The resource that a counter is part of.
    fn of(counter: Counter) -> Option<Self> {
        match counter {
            Counter::Requests { .. } => Some(Self::WorkerRequests),
            Counter::ObjectRequests => Some(Self::ObjectRequests),
            Counter::ObjectMs => Some(Self::ObjectMs),
            Counter::ShardRowsWritten => Some(Self::ObjectRowsWritten),
            Counter::ShardRowsRead => Some(Self::ObjectRowsRead),
            Counter::CatalogueRowsWritten => Some(Self::CatalogueRowsWritten),
            Counter::CatalogueRowsRead => Some(Self::CatalogueRowsRead),
            Counter::BlobWrites => Some(Self::BlobWrites),
            Counter::BlobReads => Some(Self::BlobReads),
            _ => None,
        }
    }
}

/// How much of each resource was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage([u64; RESOURCES]);

impl Usage {
    /// What a set of counters amounts to.
    pub fn of(counters: &Counters) -> Self {
        let mut usage = Self::default();
        for (counter, count) in counters.iter() {
            if let Some(resource) = Resource::of(counter) {
                usage.add(resource, count);
            }
        }
        usage
    }

    /// Of one resource.
    pub fn get(&self, resource: Resource) -> u64 {
        let mut pairs = Resource::ALL.iter().zip(self.0);
        pairs.find(|(other, _)| **other == resource).map_or(0, |(_, count)| count)
    }

    /// Adds to one resource.
    pub fn add(&mut self, resource: Resource, count: u64) {
        for (other, total) in Resource::ALL.iter().zip(&mut self.0) {
            if *other == resource {
                *total = total.saturating_add(count);
            }
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What there is beyond `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// As much of it as `part` is of `whole`; nothing if either is not positive.
    #[must_use]
    pub fn scaled(mut self, part: i64, whole: i64) -> Self {
        let (part, whole) = (part.max(0).unsigned_abs(), whole.max(0).unsigned_abs());
        for mine in &mut self.0 {
            let scaled = u128::from(*mine).saturating_mul(part.into()).checked_div(whole.into());
            *mine = u64::try_from(scaled.unwrap_or_default()).unwrap_or(u64::MAX);
        }
        self
    }

    fn with(mut self, other: Self, both: fn(u64, u64) -> u64) -> Self {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = both(*mine, other);
        }
        self
    }
}

/// The day that is being counted, and what the counters were when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayStart {
    /// Days since the epoch, UTC.
    pub day: Day,
    /// What had been used until then, since the shard's beginning.
    pub before: Usage,
}

impl Default for DayStart {
    fn default() -> Self {
        Self { day: Day(0), before: Usage::default() }
    }
}

impl DayStart {
    /// Begins a new day if `now` is in one. A clock that goes back changes nothing.
    pub fn turn(&mut self, now: TimestampMs, counters: &Counters) {
        if now.day() > self.day {
            *self = Self { day: now.day(), before: Usage::of(counters) };
        }
    }

    /// What `counters` say was used on this day.
    pub fn used(&self, counters: &Counters) -> Usage {
        Usage::of(counters).since(self.before)
    }
}

/// What a day that has used so much at `now` comes to if it goes on like that. What is used in the first
/// [`PROJECTED_FROM_MS`] counts as used in all of that time: a few requests after midnight foretell nothing.
pub fn projected(used: u64, now: TimestampMs) -> u64 {
    let elapsed_ms = now.ms_since(now.day().start()).clamp(PROJECTED_FROM_MS, DAY_MS).unsigned_abs();
    let whole = u128::from(used).saturating_mul(DAY_MS.unsigned_abs().into());
    u64::try_from(whole.checked_div(elapsed_ms.into()).unwrap_or_default()).unwrap_or(u64::MAX)
}

/// Milliseconds of a day before which nothing is made of how it began.
const PROJECTED_FROM_MS: i64 = HOUR_MS;

/// What a shard says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardUsage {
    /// Used today.
    pub used: Usage,
    /// Bytes of its SQLite.
    pub storage_bytes: u64,
    /// Bytes of its blocks in R2, by its index.
    pub blob_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(route: u8, rows: u64) -> Counters {
        let mut counters = Counters::default();
        counters.add(Counter::Requests { route, status: 200 }, 3);
        counters.add(Counter::Requests { route, status: 400 }, 4);
        counters.add(Counter::ShardRowsWritten, rows);
        counters.add(Counter::SamplesIngested, 1_000);
        counters
    }

    #[test]
    fn every_resource_has_a_place_of_its_own() {
        for (at, resource) in Resource::ALL.iter().enumerate() {
            let mut usage = Usage::default();
            usage.add(*resource, 7);
            let found: Vec<_> = Resource::ALL.iter().map(|other| usage.get(*other)).collect();
            let expected: Vec<_> = (0..RESOURCES).map(|other| if other == at { 7 } else { 0 }).collect();
            assert_eq!(found, expected, "{resource:?}");
        }
    }

    #[test]
    fn a_day_counts_from_its_beginning_and_never_back() {
        let mut start = DayStart::default();
        start.turn(TimestampMs(100 * DAY_MS), &counted(1, 50));
        let mut later = counted(1, 60);
        later.merge(&counted(2, 0));
        let used = start.used(&later);
        assert_eq!(used.get(Resource::WorkerRequests), 7);
        assert_eq!(used.get(Resource::ObjectRowsWritten), 10);
        assert_eq!(used.get(Resource::BlobReads), 0);

        let before = start;
        start.turn(TimestampMs(100 * DAY_MS - 1), &later);
        start.turn(TimestampMs(101 * DAY_MS - 1), &later);
        assert_eq!(start, before, "the same day goes on");
        start.turn(TimestampMs(101 * DAY_MS), &later);
        assert_eq!(start.used(&later), Usage::default());
        // What was durable when it was counted may be less than what the day began with.
        assert_eq!(start.used(&counted(1, 60)), Usage::default());
    }

    #[test]
    fn a_day_goes_on_as_it_began_but_not_as_its_first_minutes() {
        let at = |ms| TimestampMs(100 * DAY_MS + ms);
        assert_eq!(projected(10, at(0)), 240);
        assert_eq!(projected(10, at(HOUR_MS)), 240);
        assert_eq!(projected(10, at(12 * HOUR_MS)), 20);
        assert_eq!(projected(10, at(DAY_MS - 1)), 10);
        assert_eq!(projected(u64::MAX, at(0)), u64::MAX);
    }
}
