//! How a partition leaves the log: read in slices, its blocks stored as they close, committed.

use super::{Instance, Shard, in_transaction, working::Task};
use crate::{
    block_index::{self, Place},
    call::ShardError,
    counters::Counter,
    head::ShardNumber,
    ledger::{self, Newest},
    seal::Seal,
    sql::Sql,
};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS, time::Hour};

/// After the end of its hour a partition rests this long before it is sealed…
pub(super) const SEAL_GRACE_MS: i64 = MINUTE_MS;
/// …and shards spread over these seconds, so that a fleet does not seal at once.
pub(super) const SEAL_SPREAD_S: i64 = 120;

impl<S: Sql> Shard<S> {
    /// Goes on sealing the oldest partition whose hour is over.
    pub(super) fn work_on_seal(
        &mut self,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Task, ShardError> {
        let Some(mut seal) = self.working.seal.take() else {
            let Some(partition) = self.wal.oldest_frozen(now) else { return Ok(Task::Done) };
            self.wal.freeze(partition);
            self.working.seal = Some(Seal::begin(&self.sql, &self.wal, self.number, partition)?);
            return Ok(Task::Again);
        };
        if seal.is_complete() {
            self.commit_seal(&seal, instance)?;
            return Ok(Task::Done);
        }
        let task = match seal.pending() {
            Some((entry, bytes)) if self.bucket_is_bound => {
                let key = entry.key.clone();
                self.working.storing = Some(entry);
                Task::Store { key, bytes }
            }
            Some((entry, bytes)) => {
                let id = self.keep_local(bytes)?;
                seal.stored(entry, id, Place::Local);
                Task::Again
            }
            None => {
                seal.step(&self.sql, &self.wal, &mut instance.inflater, &mut instance.deflater)?;
                Task::Again
            }
        };
        self.working.seal = Some(seal);
        Ok(task)
    }

    /// Ends a seal: index, drop of the partition, newest values and counters in one transaction.
    fn commit_seal(&mut self, seal: &Seal, instance: &mut Instance) -> Result<(), ShardError> {
        let mut newest = ledger::load_newest(&self.sql)?;
        for (host, Newest { last_seen, values }) in seal.newest() {
            let values: Vec<_> = values.iter().map(|(name, value)| (name.clone(), *value)).collect();
            newest.entry(*host).or_default().update(*last_seen, &values);
        }
        // A host that is gone would stay for ever.
        newest.retain(|host, _| self.registry.is_listed(*host));
        self.ledger.counters.add(Counter::Seals, 1);
        self.ledger.counters.add(Counter::SetAside, seal.set_aside().len() as u64);
        self.count_rows();
        let (sql, wal, ledger) = (&self.sql, &self.wal, &mut self.ledger);
        let series_limit = &mut self.series_limit;
        in_transaction(sql, || {
            seal.commit(sql, wal)?;
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
        Ok(())
    }
}

/// When a partition is to be sealed.
pub(super) fn seal_due(partition: Hour, shard: ShardNumber) -> TimestampMs {
    let spread_s = i64::from(shard).saturating_mul(7).rem_euclid(SEAL_SPREAD_S);
    partition.end().plus_ms(SEAL_GRACE_MS).plus_ms(spread_s.saturating_mul(1_000))
}
