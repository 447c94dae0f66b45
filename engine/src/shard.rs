//! A shard: at most 256 hosts, their log, their blocks and what there is to do for them.
//!
//! Every method runs to its end without waiting for anything, so a shard's state
//! is always that of one instant. A write that fails leaves memory behind
//! storage: after [`ShardError::Storage`] the shard has to be opened again.

use crate::{
    agenda::{self, Agenda},
    block_index,
    call::{Call, Enroll, HostReport, Reply, Request, ShardError, Way},
    compression::{Deflater, Inflater},
    counters::Counters,
    dictionaries::{Dictionaries, DictionaryCache},
    head::{HeadRegistry, ShardNumber},
    jobs::{Job, Jobs},
    ledger::{self, Ledger, NewestByHost},
    moves::Moves,
    quota::{Plan, Quota, quotas},
    records::{self, Record, RecordPlaces},
    registry::{HostRecord, HostState, Registry},
    retention::RetentionSettings,
    seal,
    series_limit::SeriesLimit,
    series_registry,
    sql::{Sql, SqlError},
    streams::Streams,
    wal::{Decoding, Wal, WalError},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{DICTIONARY_CACHE_BYTES_MAX, HEADS_BYTES_MAX, SHARD_HOSTS_MAX},
    time::Hour,
};

mod catalogue;
mod compacting;
mod metering;
mod moving;
mod push;
mod reading;
mod rebuilding;
mod retaining;
mod sealing;
#[cfg(test)]
mod tests;
mod working;

use working::Working;

pub use catalogue::{CatalogueChanges, Summary};
pub use working::{ObjectRange, Task};

/// What all shards of a wasm instance share.
pub struct Instance {
    /// Decoded heads.
    pub heads: HeadRegistry,
    /// Decompression and its buffer.
    pub inflater: Inflater,
    /// Compression.
    pub deflater: Deflater,
    /// Decoded series lists.
    pub dictionaries: DictionaryCache,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            heads: HeadRegistry::new(HEADS_BYTES_MAX),
            inflater: Inflater::default(),
            deflater: Deflater::default(),
            dictionaries: DictionaryCache::new(DICTIONARY_CACHE_BYTES_MAX),
        }
    }
}

impl Instance {
    /// What decoding the log needs, and the rest.
    fn decoding(&mut self) -> (Decoding<'_>, &mut Deflater) {
        let decoding = Decoding { inflater: &mut self.inflater, dictionaries: &mut self.dictionaries };
        (decoding, &mut self.deflater)
    }
}

/// A shard on its storage.
pub struct Shard<S> {
    sql: S,
    number: ShardNumber,
    registry: Registry,
    moves: Moves,
    wal: Wal,
    jobs: Jobs,
    series_limit: SeriesLimit,
    streams: Streams,
    dictionaries: Dictionaries,
    ledger: Ledger,
    /// Counters as the last stored copy of the ledger has them: what `/metrics` shows.
    durable: Counters,
    /// Rows written and read, by [`Sql`], that the ledger has counted.
    rows_counted: (u64, u64),
    /// When this incarnation was last called.
    last_woken: Option<TimestampMs>,
    /// Built when somebody lists the hosts.
    newest: Option<NewestByHost>,
    /// Where the log has the hosts' newest records.
    records: RecordPlaces,
    /// The highest id of the blocks that are listed…
    last_block: i64,
    /// …and the last one that was given, to a block that is perhaps not listed yet.
    newest_block_id: i64,
    bucket_is_bound: bool,
    agenda: Agenda,
    retention: RetentionSettings,
    quotas: Vec<Quota>,
    working: Working,
    /// What does not decode and was met since somebody last asked.
    complaints: Vec<String>,
}

impl<S: Sql> Shard<S> {
    /// Opens the shard on its storage, creating what is missing, as a new incarnation: heads of the one before go.
    /// `told` is the number a caller addressed it by; an alarm knows none and opens what was told before.
    pub fn open(sql: S, told: Option<ShardNumber>, instance: &mut Instance) -> Result<Self, ShardError> {
        ledger::create_table(&sql)?;
        let number = match (ledger::load_number(&sql)?, told) {
            (Some(number), _) => number,
            (None, Some(number)) => {
                ledger::store_number(&sql, number)?;
                number
            }
            (None, None) => return Err(ShardError::Storage("this shard was never told its number".into())),
        };
        instance.heads.drop_shard(number);
        block_index::create_table(&sql)?;
        seal::create_table(&sql)?;
        agenda::create_table(&sql)?;
        series_registry::create_table(&sql)?;
        let mut wal = Wal::open(&sql)?;
        let mut streams = Streams::open(&sql)?;
        let mut dictionaries = Dictionaries::open(&sql)?;
        let mut records = RecordPlaces::default();
        // Everything since the last seal. What is in the snapshot already changes nothing.
        wal.recover(&sql, &mut |push| {
            let (host, hour) = (push.keys.host, push.place.hour);
            let list = push.place.form.list();
            if let Some(identity) = &push.keys.identity {
                streams.record(host, identity, list, push.keys.received);
            }
            if let Some(id) = list {
                dictionaries.note_use(host, id, hour);
            }
            push.record.into_iter().for_each(|record| records.note(host, record));
        })?;
        let stored = ledger::load(&sql)?;
        let ledger =
            wal.newest_ledger(&sql)?.filter(|in_log| in_log.version > stored.version).unwrap_or(stored);
        let last_block = block_index::last_id(&sql)?;
        Ok(Self {
            number,
            registry: Registry::open(&sql)?,
            moves: Moves::open(&sql)?,
            complaints: wal.unreadable().iter().map(ToString::to_string).collect(),
            wal,
            jobs: Jobs::open(&sql)?,
            series_limit: SeriesLimit::open(&sql)?,
            streams,
            dictionaries,
            durable: ledger.counters.clone(),
            rows_counted: (0, 0),
            last_woken: None,
            newest: None,
            records,
            last_block,
            newest_block_id: last_block.max(ledger.catalogued_block),
            bucket_is_bound: false,
            agenda: Agenda::read(&sql)?,
            retention: ledger::load_retention(&sql)?,
            quotas: quotas(Plan::default()).to_vec(),
            working: Working::default(),
            ledger,
            sql,
        })
    }

    /// Answers a call that arrived at `now`.
    pub fn answer(
        &mut self,
        call: Call,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Reply, ShardError> {
        self.woken(now);
        self.ledger.counters.merge(&call.counted);
        match call.request {
            Request::Push(push) => {
                let answer = self.push_all(vec![push], now, instance)?.pop();
                answer.ok_or_else(|| ShardError::Storage("a push went unanswered".into()))?.map(Reply::Pushed)
            }
            Request::Read(read) => self.read(&read, instance).map(Reply::Read),
            Request::Enroll(enroll) => self.enroll(enroll, now).map(|()| Reply::Done),
            Request::Revoke(host) => self.set_state(host, HostState::Revoked).map(|()| Reply::Done),
            Request::Delete(host) => self.set_state(host, HostState::Deleted).map(|()| Reply::Done),
            Request::Locate(host) => self.locate(host).map(Reply::Located),
            Request::Leave { host, to } => self.leave(host, to, now).map(Reply::Left),
            Request::Arrive { luggage, to } => self.arrive(luggage, to).map(|()| Reply::Done),
            Request::Redirect { host, number, to } => self.redirect(host, number, to).map(|()| Reply::Done),
            Request::Series(read) => self.series(&read, instance).map(Reply::Series),
            Request::Hosts => self.hosts(now).map(Reply::Hosts),
            Request::Placements => Ok(Reply::Placements(self.placements())),
            Request::Record { host, way } => self.newest_record(host, way).map(Reply::Record),
            Request::Counters(store) => self.counters(store).map(Reply::Counters),
            Request::BlocksAfter(id) => self.blocks_after(id).map(Reply::Blocks),
            Request::UnknownObjects(keys) => self.unknown_objects(keys).map(Reply::Objects),
            Request::Adopt(found) => self.adopt(found, now).map(|()| Reply::Done),
            Request::RestoreHosts(hosts) => self.restore_hosts(hosts).map(Reply::Restored),
            Request::Retention => Ok(Reply::Retention(self.retention())),
            Request::Usage => self.usage().map(Reply::Usage),
            Request::Ping => Ok(Reply::Done),
        }
    }

    /// Takes over what the shard's surroundings counted: alarms set, rows written to the catalogue.
    pub fn take_over(&mut self, counted: &Counters) {
        self.ledger.counters.merge(counted);
    }

    /// What does not decode and was met since this was last asked, to be told whoever runs this.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// The shard's number.
    pub fn number(&self) -> ShardNumber {
        self.number
    }

    /// When there is something to do next.
    pub fn next_due(&self) -> Option<TimestampMs> {
        self.next_job().map(|job| job.due)
    }

    /// The first job that is due.
    pub fn due_job(&self, now: TimestampMs) -> Option<Job> {
        self.next_job().filter(|job| job.due <= now)
    }

    /// The partitions of the log, oldest first.
    pub fn partitions(&self) -> &[Hour] {
        self.wal.partitions()
    }

    fn enroll(&mut self, enroll: Enroll, now: TimestampMs) -> Result<(), ShardError> {
        if self.registry.active_count() >= SHARD_HOSTS_MAX {
            return Err(ShardError::Full);
        }
        let host = HostRecord::new(enroll.id, enroll.name, enroll.facts, enroll.tags, now);
        // Whoever enrols a host tells the catalogue itself, which decides whether the name is free. Told by us as
        // well, it would hold the name against the very host that is being enrolled.
        self.registry.put(&self.sql, HostRecord { catalogued: true, ..host })?;
        Ok(())
    }

    fn set_state(&mut self, id: HostId, state: HostState) -> Result<(), ShardError> {
        if let Err(moved @ ShardError::Moved(_)) = self.check_is_here(id) {
            return Err(moved);
        }
        let host = self.registry.get(id).filter(|host| host.state != HostState::Deleted);
        let host = host.ok_or(ShardError::UnknownHost)?.clone();
        if host.state != state {
            self.registry.put(&self.sql, HostRecord { state, catalogued: false, ..host })?;
            self.newest = None;
        }
        Ok(())
    }

    fn hosts(&mut self, now: TimestampMs) -> Result<Vec<HostReport>, ShardError> {
        let pace_ms = self.pace(now).ms();
        let newest = self.newest()?.clone();
        let report = |record: &HostRecord| HostReport {
            record: record.clone(),
            newest: newest.get(&record.id).cloned(),
            pace_ms,
        };
        Ok(self.registry.listed().map(report).collect())
    }

    /// The newest record of a host, wherever it lies.
    fn newest_record(&self, host: HostId, way: Way) -> Result<Option<Record>, ShardError> {
        if way != Way::Part {
            self.check_is_here(host)?;
        }
        if !self.registry.is_listed(host) {
            return Err(ShardError::UnknownHost);
        }
        let in_log = match self.records.get(host) {
            Some(place) => Wal::record(&self.sql, &place)?,
            None => None,
        };
        let sealed = records::load_sealed(&self.sql)?.remove(&host);
        Ok([sealed, in_log].into_iter().flatten().max_by_key(|record| record.time))
    }

    fn newest(&mut self) -> Result<&mut NewestByHost, ShardError> {
        if self.newest.is_none() {
            let mut newest = ledger::load_newest(&self.sql)?;
            for hour in self.wal.partitions() {
                Wal::for_each_push(&self.sql, *hour, &mut |push| {
                    newest.entry(push.keys.host).or_default().update(push.keys.received, &push.keys.newest);
                })?;
            }
            newest.retain(|host, _| self.registry.is_listed(*host));
            self.newest = Some(newest);
        }
        self.newest.as_mut().ok_or_else(|| ShardError::Storage("newest values were not read".into()))
    }

    fn counters(&mut self, store: bool) -> Result<Counters, ShardError> {
        self.count_rows();
        if store && self.ledger.counters != self.durable {
            ledger::store(&self.sql, &mut self.ledger)?;
            self.durable = self.ledger.counters.clone();
        }
        Ok(self.durable.clone())
    }
}

/// Runs `work` in a transaction and keeps its own error apart from the transaction's.
fn in_transaction<S: Sql>(sql: &S, mut work: impl FnMut() -> Result<(), WalError>) -> Result<(), ShardError> {
    let mut refused = None;
    let result = sql.transaction(&mut || {
        work().map_err(|error| match error {
            WalError::Sql(error) => error,
            other => {
                let text = SqlError(other.to_string());
                refused = Some(other);
                text
            }
        })
    });
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(result?),
    }
}

impl From<SqlError> for ShardError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.0)
    }
}

impl From<WalError> for ShardError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Sql(error) => error.into(),
            WalError::RowTooLarge(_) => Self::RowTooLarge(error.to_string()),
        }
    }
}
