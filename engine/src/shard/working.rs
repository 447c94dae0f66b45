//! What a shard does beside answering, in slices: its job says step by step what has to happen next, and whoever runs
//! it does what waits for R2 or D1. Between two steps the shard answers calls.
//!
//! What a job has in hand is lost with the shard's incarnation; it is then begun again out of what is stored.

use super::{Instance, Shard};
use crate::{
    block_index::{self, BlockEntry, Place},
    call::ShardError,
    counters::Counter,
    jobs::JobKind,
    seal::Seal,
    sql::Sql,
};
use edgewatch_shared::TimestampMs;

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
    /// The job is done.
    Done,
}

/// What jobs have in hand.
#[derive(Default)]
pub(super) struct Working {
    pub(super) seal: Option<Seal>,
    /// On its way to R2.
    pub(super) storing: Option<BlockEntry>,
}

impl<S: Sql> Shard<S> {
    /// Whether blocks have a place in R2; until it is said, they have none.
    pub fn set_bucket(&mut self, is_bound: bool) {
        self.bucket_is_bound = is_bound;
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
        };
        if task == Task::Done {
            self.jobs.finish(&self.sql, kind)?;
        }
        Ok(task)
    }

    /// What [`Task::Store`] asked for is done.
    pub fn stored(&mut self) -> Result<(), ShardError> {
        let Some(entry) = self.working.storing.take() else { return Ok(()) };
        let id = self.next_block_id();
        if let Some(seal) = &mut self.working.seal {
            seal.stored(entry, id, Place::R2);
        }
        Ok(())
    }

    /// A job failed: what it had in hand is dropped, and it is begun again later.
    pub fn put_off(&mut self, kind: JobKind, now: TimestampMs) -> Result<(), ShardError> {
        let counter = match kind {
            JobKind::Seal => Counter::SealFailures,
            JobKind::Catalogue => Counter::CatalogueFailures,
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
}
