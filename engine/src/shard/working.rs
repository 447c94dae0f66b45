//! What a shard does beside answering, in slices: its job says step by step what has to happen next, and whoever runs
//! it does what waits for R2 or D1. Between two steps the shard answers calls.
//!
//! What a job has in hand is lost with the shard's incarnation; it is then begun again out of what is stored.

use super::{Instance, Shard, sealing::seal_due};
use crate::{
    agenda::Agenda,
    block_index::{self, BlockEntry, Place},
    call::ShardError,
    compaction::{Compaction, SourceRange},
    counters::Counter,
    jobs::{Job, JobKind},
    ledger,
    retention::RetentionSettings,
    seal::Seal,
    sql::Sql,
};
use edgewatch_shared::TimestampMs;

/// Bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRange {
    /// Its name.
    pub key: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// What has to happen next for a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Nothing beside letting others have their turn.
    Again,
    /// This object has to be stored in R2; then [`Shard::stored`].
    Store {
        /// Its name.
        key: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// These bytes are needed; then [`Shard::given`].
    Read(Vec<ObjectRange>),
    /// The retention as it is set now has to be looked up; then [`Shard::set_retention`].
    LearnRetention,
    /// These objects have to be deleted in R2, and these blocks in the catalogue; then [`Shard::deleted`].
    Delete {
        /// Names of objects, perhaps none; one may be gone already.
        keys: Vec<String>,
        /// Ids of blocks.
        ids: Vec<i64>,
    },
    /// The job is done.
    Done,
}

/// What is on its way to R2, and for what.
pub(super) enum Storing {
    Sealed(BlockEntry),
    Compacted(BlockEntry),
    Moved(BlockEntry),
}

/// What a compaction asked for: what lies here is read here, the rest by whoever runs the job.
pub(super) struct Reading {
    pub(super) ranges: Vec<SourceRange>,
    /// In the same order; `None` until it is there.
    pub(super) found: Vec<Option<Vec<u8>>>,
}

/// What jobs have in hand.
#[derive(Default)]
pub(super) struct Working {
    pub(super) seal: Option<Seal>,
    pub(super) compaction: Option<Compaction>,
    pub(super) reading: Option<Reading>,
    pub(super) storing: Option<Storing>,
    pub(super) asks_for_retention: bool,
    pub(super) has_learnt_retention: bool,
    pub(super) deleting: Vec<i64>,
}

impl<S: Sql> Shard<S> {
    /// Whether blocks have a place in R2; until it is said, they have none.
    pub fn set_bucket(&mut self, is_bound: bool) {
        self.bucket_is_bound = is_bound;
    }

    /// Jobs are stored only once they have failed: that there is something to do is seen from what it is to be done to.
    pub(super) fn next_job(&self) -> Option<Job> {
        let job = |kind| {
            let natural = || Some(Job { kind, due: self.natural_due(kind)?, failures: 0 });
            self.jobs.get(kind).or_else(natural)
        };
        JobKind::ALL.into_iter().filter_map(job).min_by_key(|job| job.due)
    }

    fn natural_due(&self, kind: JobKind) -> Option<TimestampMs> {
        match kind {
            JobKind::Seal => self.wal.partitions().first().map(|oldest| seal_due(*oldest, self.number)),
            JobKind::Catalogue => None,
            JobKind::Upload if self.bucket_is_bound && self.agenda.has_local() => Some(TimestampMs(0)),
            JobKind::Upload => None,
            JobKind::CompactDay => self.agenda.compact(self.number).map(|(_, due)| due),
            JobKind::Retain => self.agenda.retain(&self.retention),
            JobKind::DeleteReplaced => self.agenda.delete(),
        }
    }

    /// Goes on with a job.
    pub fn work(
        &mut self,
        kind: JobKind,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Task, ShardError> {
        let task = match kind {
            JobKind::Seal => self.work_on_seal(now, instance)?,
            // It has nothing that could be cut in slices: whoever tells the catalogue does it at once.
            JobKind::Catalogue => Task::Done,
            JobKind::Upload => self.work_on_upload()?,
            JobKind::CompactDay => self.work_on_compaction(now, instance)?,
            JobKind::Retain => self.work_on_retention(now, instance)?,
            JobKind::DeleteReplaced => self.work_on_deletion(now)?,
        };
        if task == Task::Done {
            self.jobs.finish(&self.sql, kind)?;
        }
        Ok(task)
    }

    /// What [`Task::Store`] asked for is done.
    pub fn stored(&mut self) -> Result<(), ShardError> {
        match self.working.storing.take() {
            Some(Storing::Sealed(entry)) => {
                let id = self.next_block_id();
                if let Some(seal) = &mut self.working.seal {
                    seal.stored(entry, id, Place::R2);
                }
            }
            Some(Storing::Compacted(entry)) => {
                if let Some(compaction) = &mut self.working.compaction {
                    compaction.stored(entry);
                }
            }
            Some(Storing::Moved(entry)) => self.moved(&entry)?,
            // The shard was opened again meanwhile: the job begins again.
            None => {}
        }
        Ok(())
    }

    /// The retention as far as the shard knows.
    pub fn retention(&self) -> RetentionSettings {
        self.retention
    }

    /// The retention as it is set now.
    pub fn set_retention(&mut self, retention: RetentionSettings) -> Result<(), ShardError> {
        self.working.has_learnt_retention = std::mem::take(&mut self.working.asks_for_retention);
        if retention != self.retention {
            ledger::store_retention(&self.sql, &retention)?;
            self.retention = retention;
        }
        Ok(())
    }

    /// A job failed: what it had in hand is dropped, and it is begun again later.
    pub fn put_off(&mut self, kind: JobKind, now: TimestampMs) -> Result<(), ShardError> {
        let counter = match kind {
            JobKind::Seal => Counter::SealFailures,
            JobKind::Catalogue => Counter::CatalogueFailures,
            _ => Counter::JobFailures,
        };
        self.ledger.counters.add(counter, 1);
        // The catalogue is told beside other jobs.
        if kind != JobKind::Catalogue {
            self.working = Working::default();
        }
        Ok(self.jobs.put_off(&self.sql, kind, now)?)
    }

    /// The id of the next block, given once.
    pub(super) fn next_block_id(&mut self) -> i64 {
        self.newest_block_id = self.newest_block_id.saturating_add(1);
        self.newest_block_id
    }

    /// Keeps a block here, under a new id.
    pub(super) fn keep_local(&mut self, bytes: Vec<u8>) -> Result<i64, ShardError> {
        let id = self.next_block_id();
        block_index::keep_data(&self.sql, id, bytes)?;
        Ok(id)
    }

    /// Blocks came or went.
    pub(super) fn look_at_blocks(&mut self) -> Result<(), ShardError> {
        self.last_block = block_index::last_id(&self.sql)?;
        self.agenda = Agenda::read(&self.sql)?;
        Ok(())
    }
}
