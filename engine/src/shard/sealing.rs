//! How a partition leaves the log: planned, its objects stored by the caller, committed.

use super::{Instance, Shard, in_transaction};
use crate::{
    block_index,
    call::ShardError,
    counters::Counter,
    head::ShardNumber,
    jobs::JobKind,
    ledger::{self, Newest},
    seal::{Seal, SealError},
    sql::Sql,
};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS, time::Hour};

/// After the end of its hour a partition rests this long before it is sealed…
pub(super) const SEAL_GRACE_MS: i64 = MINUTE_MS;
/// …and shards spread over these seconds, so that a fleet does not seal at once.
pub(super) const SEAL_SPREAD_S: i64 = 120;
impl<S: Sql> Shard<S> {
    /// Begins to seal the oldest partition whose hour is over; `None` if there is none, and then the job is done.
    pub fn plan_seal(
        &mut self,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Option<Seal>, ShardError> {
        let Some(partition) = self.wal.oldest_frozen(now) else {
            self.jobs.finish(&self.sql, JobKind::Seal)?;
            return Ok(None);
        };
        self.wal.freeze(partition);
        let (inflater, deflater) = (&mut instance.inflater, &mut instance.deflater);
        let seal = Seal::plan(&self.sql, &self.wal, self.number, partition, inflater, deflater);
        Ok(Some(seal.map_err(|error| match error {
            SealError::Wal(error) => error.into(),
            SealError::Block(error) => {
                ShardError::Corrupt(format!("partition {}: {error}", partition.label()))
            }
        })?))
    }

    /// Ends a seal: index, drop of the partition, newest values and counters in one transaction.
    pub fn commit_seal(&mut self, seal: &Seal, instance: &mut Instance) -> Result<(), ShardError> {
        let mut newest = ledger::load_newest(&self.sql)?;
        for (host, Newest { last_seen, values }) in seal.newest() {
            let values: Vec<_> = values.iter().map(|(name, value)| (name.clone(), *value)).collect();
            newest.entry(*host).or_default().update(*last_seen, &values);
        }
        // A host that is gone would stay for ever.
        newest.retain(|host, _| self.registry.is_listed(*host));
        self.ledger.counters.add(Counter::Seals, 1);
        self.count_rows();
        let (sql, ledger, series_limit) = (&self.sql, &mut self.ledger, &mut self.series_limit);
        in_transaction(sql, || {
            seal.commit(sql)?;
            ledger::store_sealed(sql, ledger, &newest)?;
            for (host, seen) in seal.seen() {
                series_limit.prune(sql, *host, seen)?;
            }
            Ok(())
        })?;
        self.durable = self.ledger.counters.clone();
        self.wal.forget(seal.partition());
        instance.heads.drop_shard(self.number);
        self.last_block = block_index::last_id(&self.sql)?;
        Ok(self.jobs.finish(&self.sql, JobKind::Seal)?)
    }

    /// Puts a seal off that could not store its objects.
    pub fn put_off_seal(&mut self, now: TimestampMs) -> Result<(), ShardError> {
        self.ledger.counters.add(Counter::SealFailures, 1);
        Ok(self.jobs.put_off(&self.sql, JobKind::Seal, now)?)
    }
}

/// When a partition is to be sealed.
pub(super) fn seal_due(partition: Hour, shard: ShardNumber) -> TimestampMs {
    let spread_s = i64::from(shard).saturating_mul(7).rem_euclid(SEAL_SPREAD_S);
    partition.end().plus_ms(SEAL_GRACE_MS).plus_ms(spread_s.saturating_mul(1_000))
}
