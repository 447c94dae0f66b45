//! Self-metrics that are counters. They live in the shards and travel with what
//! is written anyway, so that they never jump back and cost no row of their own.

use edgewatch_shared::RefusalReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Counter {
    /// Requests by route (the route table's stable number) and status.
    Requests {
        /// Stable number of the route.
        route: u8,
        /// HTTP status of the reply.
        status: u16,
    },
    /// Samples made durable.
    SamplesIngested,
    /// Batches made durable.
    BatchesIngested,
    /// Samples or requests that were not stored, by reason.
    Refused(RefusalReason),
    /// Partitions sealed.
    Seals,
    /// Seals that failed and were put off.
    SealFailures,
    /// Copies to the catalogue that failed and were put off.
    CatalogueFailures,
    /// Rows written to the shard's SQLite, by its own count, alarms included.
    ShardRowsWritten,
    /// Rows written to D1, by its own count.
    CatalogueRowsWritten,
    /// Pushes of the log that could not be sealed and were set aside.
    SetAside,
    /// Calls of the shard, and its alarms.
    ObjectRequests,
    /// Milliseconds the shard was awake, estimated from above.
    ObjectMs,
    /// Rows read in the shard's SQLite, by its own count.
    ShardRowsRead,
    /// Rows read in D1, by its own count.
    CatalogueRowsRead,
    /// R2 operations of class A.
    BlobWrites,
    /// R2 operations of class B.
    BlobReads,
    /// Samples that came again and were stored before.
    SamplesRepeated,
    /// Days compacted.
    Compactions,
    /// Blocks that a compaction found damaged.
    DamagedBlocks,
    /// Blocks deleted: replaced by others, or older than their retention.
    BlocksDeleted,
    /// Jobs other than seals and the catalogue's that failed and were put off.
    JobFailures,
    /// Times that a query came upon a damaged block, or a damaged part of one.
    CorruptBlocks,
}

/// Counts by what is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters(BTreeMap<Counter, u64>);

impl Counters {
    /// Adds to one counter.
    pub fn add(&mut self, counter: Counter, count: u64) {
        if count > 0 {
            let total = self.0.entry(counter).or_default();
            *total = total.saturating_add(count);
        }
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        for (counter, count) in &other.0 {
            self.add(*counter, *count);
        }
    }

    /// One counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(&counter).copied().unwrap_or_default()
    }

    /// Every counter that ever moved, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> {
        self.0.iter().map(|(counter, count)| (*counter, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_add_up_and_what_never_moved_is_not_there() {
        let mut totals = Counters::default();
        totals.add(Counter::SamplesIngested, 5);
        totals.add(Counter::Seals, 0);
        let mut more = Counters::default();
        more.add(Counter::SamplesIngested, u64::MAX);
        totals.merge(&more);
        assert_eq!(totals.iter().collect::<Vec<_>>(), [(Counter::SamplesIngested, u64::MAX)]);
    }
}
