//! How a partition leaves the log: read in slices, its blocks stored as they close, committed.

use super::{
    Instance, Shard, in_transaction,
    working::{Storing, Task},
};
use crate::{
    block_index::{self, Place},
    call::ShardError,
    counters::Counter,
    dictionaries::{Dictionaries, DictionaryCache, DictionaryError},
    head::ShardNumber,
    ledger::{self, Newest},
    records,
    seal::Seal,
    series_limit::{Fingerprint, fingerprint},
    series_registry,
    sql::{Sql, SqlError},
};
use edgewatch_shared::{HostId, TimestampMs, limits::MINUTE_MS, time::Hour};
use std::collections::BTreeSet;

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
            if self.working.compaction.is_none() {
                block_index::drop_unlisted_data(&self.sql)?;
            }
            self.working.seal = Some(Seal::begin(&self.sql, self.number, partition)?);
            return Ok(Task::Again);
        };
        if seal.is_complete() {
            self.commit_seal(&seal, instance)?;
            return Ok(Task::Done);
        }
        let task = match seal.pending() {
            Some((entry, bytes)) if self.bucket_is_bound => {
                let key = entry.key.clone();
                self.working.storing = Some(Storing::Sealed(entry));
                Task::Store { key, bytes }
            }
            Some((entry, bytes)) => {
                let id = self.keep_local(bytes)?;
                seal.stored(entry, id, Place::Local);
                Task::Again
            }
            None => {
                let (mut decoding, deflater) = instance.decoding();
                seal.step(&self.sql, &self.wal, &mut decoding, deflater)?;
                // Noted again, should the seal be begun again, it changes nothing.
                for (host, met) in seal.take_met() {
                    series_registry::note(&self.sql, host, met, decoding.inflater, deflater)?;
                }
                Task::Again
            }
        };
        self.working.seal = Some(seal);
        Ok(task)
    }

    /// Ends a seal: index, drop of the partition, what streams have sent, newest values and counters in one transaction.
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
        self.complaints.extend(seal.set_aside().iter().map(ToString::to_string));
        let (sql, ledger, series_limit) = (&self.sql, &mut self.ledger, &mut self.series_limit);
        let (streams, dictionaries, registry) = (&mut self.streams, &mut self.dictionaries, &self.registry);
        streams.expire(seal.partition().end(), |host| registry.is_listed(host));
        let lists = &mut instance.dictionaries;
        in_transaction(sql, || {
            seal.commit(sql)?;
            ledger::store_sealed(sql, ledger, &newest)?;
            records::seal(sql, seal.records(), |host| registry.is_listed(host))?;
            streams.store(sql)?;
            dictionaries.drop_unused(sql, seal.partition(), |host, id| streams.refers_to(host, id))?;
            series_limit.prune(
                sql,
                |host| registry.is_listed(host),
                |host| still_sent(sql, seal, dictionaries, lists, host),
            )?;
            Ok(())
        })?;
        self.durable = self.ledger.counters.clone();
        self.wal.forget(seal.partition());
        self.records.forget(seal.partition());
        instance.heads.drop_shard(self.number);
        self.look_at_blocks()
    }
}

/// Series that a host sent in the hour that is sealed, or may send under a list that is kept; `None` if it sent nothing.
fn still_sent(
    sql: &impl Sql,
    seal: &Seal,
    dictionaries: &Dictionaries,
    lists: &mut DictionaryCache,
    host: HostId,
) -> Result<Option<BTreeSet<Fingerprint>>, SqlError> {
    let Some(mut series) = seal.seen().get(&host).cloned() else { return Ok(None) };
    for id in dictionaries.of_host(host) {
        match lists.get(sql, host, id) {
            Ok(list) => series.extend(list.series().iter().map(fingerprint)),
            Err(DictionaryError::Sql(error)) => return Err(error),
            // Nobody can send anything under a list that does not decode.
            Err(DictionaryError::Unreadable { .. }) => {}
        }
    }
    Ok(Some(series))
}

/// When a partition is to be sealed.
pub(super) fn seal_due(partition: Hour, shard: ShardNumber) -> TimestampMs {
    let spread_s = i64::from(shard).saturating_mul(7).rem_euclid(SEAL_SPREAD_S);
    partition.end().plus_ms(SEAL_GRACE_MS).plus_ms(spread_s.saturating_mul(1_000))
}
