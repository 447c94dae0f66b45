//! How the parts of a day become day blocks: read, written, recorded, and put in their place in one transaction.

use super::{
    Instance, Shard, in_transaction,
    working::{ObjectRange, Reading, Storing, Task},
};
use crate::{
    agenda,
    block_index::{self, BlockEntry, Place, State},
    call::ShardError,
    compaction::{Compaction, CompactionError, Limits, Plan, SourceRange, Step},
    counters::Counter,
    jobs::JobKind,
    ledger,
    rollup::Resolution,
    sql::{Sql, SqlError},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{BLOCK_BYTES_MAX, DAY_BLOCK_BYTES_MAX},
    time::Day,
};

/// So often a compaction fails at a damaged block before it goes on without it: it could have been a fault on the way.
const DAMAGED_TRIES: i64 = 2;

impl<S: Sql> Shard<S> {
    /// Goes on with the day that is to be compacted first.
    pub(super) fn work_on_compaction(
        &mut self,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Task, ShardError> {
        let Some(mut compaction) = self.working.compaction.take() else {
            let due = self.agenda.compact(self.number).filter(|(_, due)| *due <= now);
            let Some((day, _)) = due else { return Ok(Task::Done) };
            self.working.compaction = self.begin_compaction(day, now)?;
            return Ok(if self.working.compaction.is_some() { Task::Again } else { Task::Done });
        };
        let step = match self.working.reading.take() {
            Some(Reading { ranges, found }) => {
                // Whatever is missing was in R2, and whoever runs the job did not bring it.
                let bytes = found.into_iter().map(Option::unwrap_or_default).collect();
                compaction.given(&ranges, bytes, &mut instance.inflater).map(|()| Step::Again)
            }
            None => compaction.step(&mut instance.inflater, &mut instance.deflater),
        };
        let task = match step {
            Ok(Step::Again) => Task::Again,
            Ok(Step::Read(ranges)) => self.find(&compaction, ranges)?,
            Ok(Step::Store(entry, bytes)) if self.bucket_is_bound => {
                // Named before it is stored: nothing lies in R2 that nobody knows of, should its sources change.
                let entry = BlockEntry { id: self.next_block_id(), ..*entry };
                block_index::insert(&self.sql, &entry, State::Named)?;
                let key = entry.key.clone();
                self.working.storing = Some(Storing::Compacted(entry));
                Task::Store { key, bytes }
            }
            Ok(Step::Store(entry, bytes)) => {
                let id = self.keep_local(bytes)?;
                compaction.stored(BlockEntry { id, place: Place::Local, ..*entry });
                Task::Again
            }
            Ok(Step::Record(entries)) => {
                let sql = &self.sql;
                in_transaction(sql, || {
                    entries.iter().try_for_each(|entry| block_index::insert(sql, entry, State::Pending))?;
                    Ok(())
                })?;
                Task::Again
            }
            Ok(Step::Finish(entries)) => {
                self.finish_compaction(&compaction, &entries, now)?;
                return Ok(Task::Done);
            }
            Err(error) => return self.compaction_failed(compaction.plan().day, error, now),
        };
        self.working.compaction = Some(compaction);
        Ok(task)
    }

    /// `None` if there is nothing to compact after all.
    fn begin_compaction(&mut self, day: Day, now: TimestampMs) -> Result<Option<Compaction>, ShardError> {
        block_index::drop_unlisted_data(&self.sql)?;
        self.drop_written(day, &[State::Named], now)?;
        let mut blocks = block_index::of_day(&self.sql, day, State::Current)?;
        let begun = agenda::begun(&self.sql, day)?;
        let newest = blocks.iter().map(|block| block.rank).max();
        let Some(rank) = begun.or(newest) else { return Ok(None) };
        // What came since it was begun is left for the next time: the same sources give the same blocks.
        blocks.retain(|block| block.rank <= rank);
        let recorded = block_index::of_day(&self.sql, day, State::Pending)?;
        let plan = Plan {
            shard: self.number,
            day,
            rank,
            limits: Limits::of_blocks(if self.bucket_is_bound {
                DAY_BLOCK_BYTES_MAX
            } else {
                BLOCK_BYTES_MAX
            }),
            after: recorded.iter().map(|block| block.hosts.1).max(),
        };
        if begun.is_none() {
            agenda::begin(&self.sql, plan)?;
        }
        let mut before = block_index::of_day(&self.sql, Day(day.0.saturating_sub(1)), State::Current)?;
        before.retain(|block| block.resolution == Resolution::Hour);
        Ok(Some(Compaction::begin(plan, blocks, before)))
    }

    /// Reads what lies here of what is asked for; the rest is asked of whoever runs the job.
    fn find(&mut self, compaction: &Compaction, ranges: Vec<SourceRange>) -> Result<Task, ShardError> {
        let mut found = Vec::new();
        let mut asked = Vec::new();
        for range in &ranges {
            let Some(entry) = compaction.source(range) else { continue };
            found.push(match entry.place {
                Place::Local => {
                    let bytes = block_index::local_range(&self.sql, entry.id, range.offset, range.length)?;
                    Some(bytes.unwrap_or_default())
                }
                Place::R2 => {
                    let (offset, length) = (range.offset, range.length);
                    asked.push(ObjectRange { key: entry.key.clone(), offset, length });
                    None
                }
            });
        }
        self.working.reading = Some(Reading { ranges, found });
        Ok(if asked.is_empty() { Task::Again } else { Task::Read(asked) })
    }

    /// What [`Task::Read`] asked for, in its order; nothing for an object that is gone.
    pub fn given(&mut self, bytes: Vec<Vec<u8>>) {
        let Some(Reading { found, .. }) = &mut self.working.reading else { return };
        for (place, bytes) in found.iter_mut().filter(|place| place.is_none()).zip(bytes) {
            *place = Some(bytes);
        }
    }

    /// The new blocks take the place of the old ones, in one transaction.
    fn finish_compaction(
        &mut self,
        compaction: &Compaction,
        entries: &[BlockEntry],
        now: TimestampMs,
    ) -> Result<(), ShardError> {
        let day = compaction.plan().day;
        let recorded = block_index::of_day(&self.sql, day, State::Pending)?;
        self.ledger.counters.add(Counter::Compactions, 1);
        // Blocks sealed meanwhile may have been told with higher ids: the catalogue is told again from here on.
        let first = entries.iter().chain(&recorded).map(|block| block.id).min();
        self.tell_again_from(first);
        self.count_rows();
        let (sql, ledger) = (&self.sql, &mut self.ledger);
        in_transaction(sql, || {
            for entry in entries {
                block_index::insert(sql, entry, State::Current)?;
            }
            for block in &recorded {
                block_index::set_state(sql, block.id, State::Current)?;
            }
            for block in compaction.replaced() {
                block_index::replace(sql, block.id, now)?;
            }
            agenda::end(sql, day)?;
            ledger::store(sql, ledger)?;
            Ok(())
        })?;
        self.durable = self.ledger.counters.clone();
        self.look_at_blocks()
    }

    pub(super) fn tell_again_from(&mut self, id: Option<i64>) {
        if let Some(id) = id {
            self.ledger.catalogued_block = self.ledger.catalogued_block.min(id.saturating_sub(1));
        }
    }

    /// A damaged block is left out after some tries; it stays what it is for those who read it.
    fn compaction_failed(
        &mut self,
        day: Day,
        error: CompactionError,
        now: TimestampMs,
    ) -> Result<Task, ShardError> {
        let failures = self.jobs.get(JobKind::CompactDay).map_or(0, |job| job.failures);
        match &error {
            CompactionError::Damaged { id, .. } if failures >= DAMAGED_TRIES => {
                self.complaints.push(format!("{error}; the day {} is compacted without it", day.label()));
                self.leave_out(day, *id, now)?;
                Ok(Task::Again)
            }
            _ => Err(ShardError::Corrupt(error.to_string())),
        }
    }

    fn leave_out(&mut self, day: Day, damaged: i64, now: TimestampMs) -> Result<(), ShardError> {
        self.ledger.counters.add(Counter::DamagedBlocks, 1);
        in_transaction(&self.sql, || {
            block_index::set_state(&self.sql, damaged, State::Damaged)?;
            Ok(self.begin_anew(day, now)?)
        })?;
        self.look_at_blocks()
    }

    /// With other sources the day is another: what was written of it so far goes. To be called in a transaction.
    pub(super) fn begin_anew(&self, day: Day, now: TimestampMs) -> Result<(), SqlError> {
        self.drop_written(day, &[State::Named, State::Pending], now)?;
        agenda::end(&self.sql, day)
    }

    /// What a compaction that was cut off wrote is deleted like what was replaced, unless it comes to the same again.
    fn drop_written(&self, day: Day, states: &[State], now: TimestampMs) -> Result<(), SqlError> {
        for state in states {
            for block in block_index::of_day(&self.sql, day, *state)? {
                block_index::replace(&self.sql, block.id, now)?;
            }
        }
        Ok(())
    }
}
