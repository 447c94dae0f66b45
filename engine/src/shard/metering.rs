//! What a shard counts of its own running: calls, rows, the time it is awake.

use super::Shard;
use crate::{
    block_index,
    call::ShardError,
    counters::Counter,
    pace::{Pace, next_push_ms, retry_after_s},
    quota::Quota,
    sql::Sql,
    usage::{ShardUsage, Usage},
};
use edgewatch_shared::{HostId, TimestampMs};

/// Milliseconds that an object stays in memory after a call; counted as time it is awake, whether it is billed or not.
pub(super) const LINGER_MS: i64 = 10_000;

impl<S: Sql> Shard<S> {
    /// Counts a call or an alarm at `now`, and the time since the last one as far as the object was in memory.
    pub fn woken(&mut self, now: TimestampMs) {
        self.ledger.day.turn(now, &self.ledger.counters);
        // Of the incarnation before nobody knows when it ended: it lingered in full.
        let since_ms = self.last_woken.map_or(LINGER_MS, |last| now.ms_since(last).clamp(0, LINGER_MS));
        self.last_woken = Some(now);
        self.ledger.counters.add(Counter::ObjectRequests, 1);
        self.ledger.counters.add(Counter::ObjectMs, since_ms.unsigned_abs());
    }

    /// What pushes have to leave alone; until it is said, the free plan's quotas.
    pub fn set_quotas(&mut self, quotas: Vec<Quota>) {
        self.quotas = quotas;
    }

    /// What this shard has used today.
    pub(super) fn used_today(&self) -> Usage {
        self.ledger.day.used(&self.ledger.counters)
    }

    /// What pushes may do, by what all shards have presumably used today.
    pub fn pace(&self, now: TimestampMs) -> Pace {
        Pace::of(&self.quotas, &self.used_today().plus(self.ledger.others.used(now)), now)
    }

    /// Milliseconds until a host that pushes now should push again, if it may.
    pub(super) fn next_push_ms(&self, pace: Pace, host: HostId, now: TimestampMs) -> Result<u32, ShardError> {
        match pace {
            Pace::Every(pace_ms) => {
                let wait_ms = next_push_ms(pace_ms, self.number, host, now);
                Ok(u32::try_from(wait_ms).unwrap_or(u32::MAX))
            }
            Pace::Exhausted => Err(ShardError::QuotaExhausted { retry_after_s: retry_after_s(host, now) }),
        }
    }

    /// What is durable of today's counts, so that they never jump back, and what is stored.
    pub(super) fn usage(&self) -> Result<ShardUsage, ShardError> {
        Ok(ShardUsage {
            used: self.ledger.day.used(&self.durable),
            storage_bytes: self.sql.size_bytes(),
            blob_bytes: block_index::remote_bytes(&self.sql)?,
        })
    }

    pub(super) fn count_rows(&mut self) {
        let (written, read) = (self.sql.rows_written(), self.sql.rows_read());
        let (written_before, read_before) = self.rows_counted;
        self.ledger.counters.add(Counter::ShardRowsWritten, written.saturating_sub(written_before));
        self.ledger.counters.add(Counter::ShardRowsRead, read.saturating_sub(read_before));
        self.rows_counted = (written, read);
    }
}
