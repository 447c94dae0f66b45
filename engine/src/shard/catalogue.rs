//! What a shard tells the catalogue, and remembers having told.

use super::Shard;
use crate::{
    block_index::{self, BlockEntry},
    call::ShardError,
    jobs::JobKind,
    ledger::NewestByHost,
    registry::HostRecord,
    sql::Sql,
};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS};

/// A summary of newest values goes to the catalogue at most this often…
const SUMMARY_INTERVAL_MS: i64 = MINUTE_MS;
/// …and after this many pushes at least, so that it adds at most 1 % to the rows written.
pub(super) const SUMMARY_PUSHES: u64 = 100;
/// Blocks copied to the catalogue at a time.
const CATALOGUE_BLOCKS_MAX: i64 = 100;

/// What the catalogue does not know yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogueChanges {
    /// Hosts that came or changed; deleted ones are to be removed.
    pub hosts: Vec<HostRecord>,
    /// New blocks.
    pub blocks: Vec<BlockEntry>,
    /// Newest values of all hosts, if a summary is due.
    pub summary: Option<NewestByHost>,
}

impl CatalogueChanges {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.blocks.is_empty() && self.summary.is_none()
    }
}

impl<S: Sql> Shard<S> {
    /// What the catalogue should be told now.
    pub fn catalogue_changes(&mut self, now: TimestampMs) -> Result<CatalogueChanges, ShardError> {
        let is_due = self.ledger.pushes_since_summary >= SUMMARY_PUSHES
            && now.ms_since(self.ledger.summarized) >= SUMMARY_INTERVAL_MS;
        let summary = if is_due { Some(self.newest()?.clone()) } else { None };
        let blocks = if self.last_block > self.ledger.catalogued_block {
            block_index::after(&self.sql, self.ledger.catalogued_block, CATALOGUE_BLOCKS_MAX)?
        } else {
            Vec::new()
        };
        Ok(CatalogueChanges { hosts: self.registry.uncatalogued().cloned().collect(), blocks, summary })
    }

    /// The catalogue knows these changes now.
    pub fn catalogue_told(&mut self, changes: &CatalogueChanges, now: TimestampMs) -> Result<(), ShardError> {
        for host in &changes.hosts {
            self.registry.set_catalogued(&self.sql, host)?;
        }
        if let Some(block) = changes.blocks.last() {
            self.ledger.catalogued_block = block.id;
        }
        if changes.summary.is_some() {
            self.ledger.summarized = now;
            self.ledger.pushes_since_summary = 0;
        }
        Ok(self.jobs.finish(&self.sql, JobKind::Catalogue)?)
    }

    /// Whether telling the catalogue has to wait for its job, because it failed before.
    pub fn catalogue_is_put_off(&self) -> bool {
        self.jobs.get(JobKind::Catalogue).is_some()
    }
}
