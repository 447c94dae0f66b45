//! What a shard tells the catalogue, and remembers having told.

use super::Shard;
use crate::{
    block_index::{self, BlockEntry},
    call::ShardError,
    jobs::JobKind,
    ledger::NewestByHost,
    moves::{Placed, Whereabouts},
    registry::HostRecord,
    sql::Sql,
    usage::Usage,
};
use edgewatch_shared::{
    TimestampMs,
    limits::{MINUTE_MS, PUSH_INTERVAL_MS_MAX},
    time::Day,
};

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
    /// The summary, if one is due.
    pub summary: Option<Summary>,
}

/// How a shard is doing. Whoever stores it tells the shard what the others say.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Newest values of all hosts.
    pub newest: NewestByHost,
    /// The day…
    pub day: Day,
    /// …and what was used of its quotas.
    pub used: Usage,
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
        let silent_ms = now.ms_since(self.ledger.summarized);
        let is_due = self.ledger.pushes_since_summary >= SUMMARY_PUSHES && silent_ms >= SUMMARY_INTERVAL_MS;
        // Pushes that are slowed down or refused for what the others use ask in time whether that is still so.
        let is_due = is_due || silent_ms >= PUSH_INTERVAL_MS_MAX && !self.pace(now).is_usual();
        let summary = if is_due { Some(self.summary()?) } else { None };
        let blocks = if self.last_block > self.ledger.catalogued_block {
            block_index::after(&self.sql, self.ledger.catalogued_block, CATALOGUE_BLOCKS_MAX)?
        } else {
            Vec::new()
        };
        Ok(CatalogueChanges { hosts: self.registry.uncatalogued().cloned().collect(), blocks, summary })
    }

    fn summary(&mut self) -> Result<Summary, ShardError> {
        let newest = self.newest()?.clone();
        Ok(Summary { newest, day: self.ledger.day.day, used: self.used_today() })
    }

    /// The catalogue knows these changes now. In return for a summary it says what the other shards have used today.
    pub fn catalogue_told(
        &mut self,
        changes: &CatalogueChanges,
        others: Usage,
        now: TimestampMs,
    ) -> Result<(), ShardError> {
        for host in &changes.hosts {
            self.registry.set_catalogued(&self.sql, host)?;
        }
        if let Some(block) = changes.blocks.last() {
            self.ledger.catalogued_block = block.id;
        }
        if changes.summary.is_some() {
            self.ledger.others.hear(others, now);
            self.ledger.summarized = now;
            self.ledger.pushes_since_summary = 0;
        }
        Ok(self.jobs.finish(&self.sql, JobKind::Catalogue)?)
    }

    /// Where hosts that are or were here have samples, deleted ones included: the shard's counters go on being part of
    /// every sum.
    pub(super) fn placements(&self) -> Vec<Placed> {
        let settled = self.registry.iter().filter(|host| self.moves.get(host.id).is_none());
        let here = |host: &HostRecord| Placed {
            host: host.id,
            shard: self.number,
            from: host.enrolled,
            part: String::new(),
        };
        let mut placed: Vec<Placed> = settled.map(here).collect();
        for (host, whereabouts) in self.moves.iter() {
            let record = match whereabouts {
                Whereabouts::Here { .. } => self.registry.get(host),
                Whereabouts::Left { luggage, .. } => Some(&luggage.record),
            };
            let enrolled = record.map_or(TimestampMs(0), |record| record.enrolled);
            placed.extend(whereabouts.placements(host, self.number, enrolled));
        }
        placed
    }

    /// Whether telling the catalogue has to wait for its job, because it failed before.
    pub fn catalogue_is_put_off(&self) -> bool {
        self.jobs.get(JobKind::Catalogue).is_some()
    }
}
