//! What a shard gives and takes when the catalogue, or its own storage, was lost.

use super::{Shard, in_transaction};
use crate::{
    block_index::{self, BlockEntry, State},
    call::ShardError,
    recovery,
    registry::HostRecord,
    sql::Sql,
};
use edgewatch_shared::TimestampMs;
use std::collections::BTreeSet;

/// Blocks that are told at a time.
const TOLD_AT_ONCE: i64 = 100;

impl<S: Sql> Shard<S> {
    /// Blocks with an id above `id`, some of them, in order; none: that were all.
    pub(super) fn blocks_after(&self, id: i64) -> Result<Vec<BlockEntry>, ShardError> {
        Ok(block_index::after(&self.sql, id, TOLD_AT_ONCE)?)
    }

    /// Those objects of which the shard knows nothing, and ought to. What arrived in an hour that is still in the log
    /// comes from a seal that was cut, which will be begun again.
    pub(super) fn unknown_objects(&self, keys: Vec<String>) -> Result<Vec<String>, ShardError> {
        let mut known = BTreeSet::new();
        known.extend(block_index::keys(&self.sql)?);
        let belongs = |key: &String| {
            recovery::named(key).is_some_and(|named| {
                let is_logged = named.part_of.is_some_and(|hour| self.wal.partitions().contains(&hour));
                named.shard == self.number && !is_logged
            })
        };
        Ok(keys.into_iter().filter(|key| belongs(key) && !known.contains(key)).collect())
    }

    /// Lists blocks that were found in R2, but for those that are listed by now.
    pub(super) fn adopt(&mut self, mut found: Vec<BlockEntry>, now: TimestampMs) -> Result<(), ShardError> {
        let mut known = BTreeSet::new();
        known.extend(block_index::keys(&self.sql)?);
        found.retain(|entry| !known.contains(&entry.key));
        // What was in hand did not reckon with them, nor what was recorded of their days.
        self.working = super::Working::default();
        let mut days = BTreeSet::new();
        days.extend(found.iter().map(BlockEntry::day));
        let highest = found.iter().map(|entry| entry.rank).max().unwrap_or_default();
        self.newest_block_id = self.newest_block_id.max(highest);
        let entries: Vec<_> =
            found.into_iter().map(|entry| BlockEntry { id: self.next_block_id(), ..entry }).collect();
        in_transaction(&self.sql, || {
            days.iter().try_for_each(|day| self.begin_anew(*day, now))?;
            Ok(entries.iter().try_for_each(|entry| block_index::insert(&self.sql, entry, State::Current))?)
        })?;
        self.look_at_blocks()
    }

    /// Takes in hosts of which the shard knows nothing at all, not even that they were deleted or have left; returns how
    /// many.
    pub(super) fn restore_hosts(&mut self, hosts: Vec<HostRecord>) -> Result<u64, ShardError> {
        let mut restored: u64 = 0;
        for host in hosts {
            if self.registry.get(host.id).is_none() && self.moves.get(host.id).is_none() {
                self.registry.put(&self.sql, host)?;
                restored = restored.saturating_add(1);
            }
        }
        self.newest = None;
        Ok(restored)
    }
}
