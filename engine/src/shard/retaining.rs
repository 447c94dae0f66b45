//! How blocks leave: first nobody is told of them any more, then, after a grace, their bytes go, and their rows last.
//! And how they move to R2, if it was bound only later.

use super::{
    Instance, Shard, in_transaction,
    working::{Storing, Task},
};
use crate::{
    agenda::REPLACED_GRACE_MS,
    block_index::{self, BlockEntry, Place},
    call::ShardError,
    counters::Counter,
    ledger,
    rollup::Resolution,
    series_registry,
    sql::Sql,
};
use edgewatch_shared::{TimestampMs, limits::DAY_MS};
use std::collections::BTreeSet;

/// Blocks deleted in a step: R2 deletes up to 1,000 objects at once, D1 takes 100 bound parameters.
const DELETED_AT_ONCE: i64 = 90;

impl<S: Sql> Shard<S> {
    /// Marks what is older than its retention, which is looked up first, as replaced.
    pub(super) fn work_on_retention(
        &mut self,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Task, ShardError> {
        if !std::mem::take(&mut self.working.has_learnt_retention) {
            self.working.asks_for_retention = true;
            return Ok(Task::LearnRetention);
        }
        let mut expired = Vec::new();
        for resolution in Resolution::ALL {
            let Some(days) = self.retention.days(resolution) else { continue };
            // A day goes as a whole, by its newest samples: all of a block are of one day.
            let kept_from = now.plus_ms(i64::from(days).saturating_mul(DAY_MS).saturating_neg()).day();
            expired.extend(block_index::older(&self.sql, resolution, kept_from.start())?);
        }
        let sql = &self.sql;
        in_transaction(sql, || {
            Ok(expired.iter().try_for_each(|block| block_index::replace(sql, block.id, now))?)
        })?;
        // As long as anything is kept of a series, it is listed.
        let longest = Resolution::ALL.map(|resolution| self.retention.days(resolution));
        if let Some(days) =
            longest.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
        {
            let kept_from =
                now.plus_ms(i64::from(days).saturating_mul(DAY_MS).saturating_neg()).day().start();
            let Instance { inflater, deflater, .. } = instance;
            series_registry::expire(&self.sql, kept_from.hour(), inflater, deflater)?;
        }
        self.look_at_blocks()?;
        Ok(Task::Done)
    }

    /// Deletes blocks that were replaced long enough ago: objects and the catalogue's rows first, our own rows last.
    pub(super) fn work_on_deletion(&mut self, now: TimestampMs) -> Result<Task, ShardError> {
        let until = now.plus_ms(REPLACED_GRACE_MS.saturating_neg());
        let blocks = block_index::replaced(&self.sql, until, DELETED_AT_ONCE)?;
        if blocks.is_empty() {
            self.look_at_blocks()?;
            return Ok(Task::Done);
        }
        let ids: Vec<i64> = blocks.iter().map(|block| block.id).collect();
        self.working.deleting.clone_from(&ids);
        let mut keys = BTreeSet::new();
        for block in blocks.into_iter().filter(|block| block.place == Place::R2) {
            // An object goes with the last block that it is.
            if !block_index::shares_object(&self.sql, &block, &ids)? {
                keys.insert(block.key);
            }
        }
        Ok(Task::Delete { keys: keys.into_iter().collect(), ids })
    }

    /// What [`Task::Delete`] asked for is done.
    pub fn deleted(&mut self) -> Result<(), ShardError> {
        let ids = std::mem::take(&mut self.working.deleting);
        self.ledger.counters.add(Counter::BlocksDeleted, ids.len() as u64);
        let (sql, ledger) = (&self.sql, &mut self.ledger);
        in_transaction(sql, || {
            ids.iter().try_for_each(|id| block_index::delete(sql, *id))?;
            Ok(ledger::store(sql, ledger)?)
        })
    }

    /// Moves one block that is here to R2.
    pub(super) fn work_on_upload(&mut self) -> Result<Task, ShardError> {
        let local = if self.bucket_is_bound { block_index::next_local(&self.sql)? } else { None };
        let Some(entry) = local else {
            self.look_at_blocks()?;
            return Ok(Task::Done);
        };
        // A compaction knows where its sources lay: it begins again after this.
        self.working.compaction = None;
        let bytes = block_index::local_data(&self.sql, entry.id)?;
        let bytes = bytes.ok_or_else(|| ShardError::Corrupt(format!("block {} is gone", entry.key)))?;
        let key = entry.key.clone();
        self.working.storing = Some(Storing::Moved(entry));
        Ok(Task::Store { key, bytes })
    }

    /// A block lies in R2 now: whoever asks from here on is told so, whoever asked before has read it.
    pub(super) fn moved(&mut self, entry: &BlockEntry) -> Result<(), ShardError> {
        self.tell_again_from(Some(entry.id));
        let (sql, ledger) = (&self.sql, &mut self.ledger);
        in_transaction(sql, || {
            block_index::move_to_r2(sql, entry.id)?;
            ledger::store(sql, ledger)?;
            Ok(())
        })
    }
}
