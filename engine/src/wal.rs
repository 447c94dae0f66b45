//! The write-ahead log: one table for every hour of *arrival*, one row for every group of pushes committed together.
//!
//! A partition is never appended to once a later hour has begun, so it can be read in peace while it is sealed, and
//! leaves by `DROP TABLE`, which writes no rows. Where the pushes of a host lie is remembered, so that a query reads
//! these and no others.

mod index;
mod keys;
mod read;

use crate::{
    ledger::Ledger,
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{ROW_BYTES_MAX, WAL_INDEX_PUSHES_MAX},
    time::Hour,
};
use index::Index;
use keys::Extent;
pub use keys::{Form, PushKeys};
pub use read::{Decoding, Unreadable, named};

/// A push without its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct PushHead {
    /// Where it lies.
    pub place: Place,
    /// Where its record lies, if it brought one.
    pub record: Option<RecordPlace>,
    /// What it says.
    pub keys: PushKeys,
}

/// Where a record lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Partition.
    pub hour: Hour,
    /// Row.
    pub seq: i64,
    /// First byte in the row's data.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// When it was true.
    pub time: TimestampMs,
}

/// Where the samples of a push lie in the log, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Partition.
    pub hour: Hour,
    /// Row.
    pub seq: i64,
    /// First byte in the row's data.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// Samples.
    pub samples: u32,
    /// How they are encoded.
    pub form: Form,
}

/// A partition beside its pushes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partition {
    /// Rows whose keys cannot be read, and what is wrong with them.
    pub unreadable: Vec<Unreadable>,
    /// First and last row; 0 if there is none.
    pub seqs: (i64, i64),
}

/// Why the log could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// The storage failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// Over [`ROW_BYTES_MAX`].
    #[error("a row of {0} bytes is over the limit of {ROW_BYTES_MAX}")]
    RowTooLarge(usize),
}

const PREFIX: &str = "wal_";
/// Rows whose keys are read at a time: of a busy shard about 1 MB.
const PAGE_ROWS: i64 = 250;

/// The partitions that there are, oldest first, and where the pushes in them are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wal {
    partitions: Vec<Hour>,
    /// First hour that rows may go to: one that is being sealed takes none, whatever the clock says.
    open_from: Option<Hour>,
    index: Index,
    /// Rows of which not even the keys can be read: they may be of any host.
    unreadable: Vec<Unreadable>,
}

impl Wal {
    /// Finds the partitions.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        let tables =
            sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'wal_*'", &[])?;
        let mut partitions = Vec::new();
        for row in tables {
            let [name] = columns(row)?;
            let name = name.text()?;
            let hour = name.strip_prefix(PREFIX).and_then(|hour| hour.parse().ok());
            partitions.push(Hour(hour.ok_or_else(|| SqlError(format!("table {name} is no WAL partition")))?));
        }
        partitions.sort_unstable();
        let index = Index::new(WAL_INDEX_PUSHES_MAX);
        Ok(Self { partitions, open_from: None, index, unreadable: Vec::new() })
    }

    /// Every partition, oldest first.
    pub fn partitions(&self) -> &[Hour] {
        &self.partitions
    }

    /// The oldest partition that takes no more rows at `now`.
    pub fn oldest_frozen(&self, now: TimestampMs) -> Option<Hour> {
        self.partitions.first().copied().filter(|oldest| *oldest < now.hour())
    }

    /// The partition for a row that arrives at `now`: never before one that exists or one that is frozen, should the
    /// clock go back.
    pub fn partition_at(&self, now: TimestampMs) -> Hour {
        [self.partitions.last().copied(), self.open_from].into_iter().flatten().fold(now.hour(), Hour::max)
    }

    /// Lets no more rows into a partition: it is being sealed.
    pub fn freeze(&mut self, hour: Hour) {
        self.open_from = self.open_from.max(Some(hour.end().hour()));
    }

    /// Appends pushes, to be called inside a transaction: one row, or as many as their size asks for. The partition is
    /// created if they are its first. Says where each of them went, for [`Self::remember`], and its record.
    pub fn append(
        &mut self,
        sql: &impl Sql,
        hour: Hour,
        pushes: &[(PushKeys, Vec<u8>)],
        ledger: &Ledger,
    ) -> Result<Vec<(Place, Option<RecordPlace>)>, WalError> {
        let ledger = postcard::to_allocvec(ledger).map_err(|error| SqlError(error.to_string()))?;
        if self.partitions.last() != Some(&hour) {
            let table = format!(
                "CREATE TABLE IF NOT EXISTS {PREFIX}{} \
                 (seq INTEGER PRIMARY KEY, keys BLOB, ledger BLOB, data BLOB)",
                hour.0
            );
            sql.exec(&table, &[])?;
            self.partitions.push(hour);
        }
        let mut places = Vec::with_capacity(pushes.len());
        for row in keys::rows(pushes, ROW_BYTES_MAX.saturating_sub(ledger.len()))? {
            // Every row has the ledger: the newest one counts, whichever that is.
            let insert = format!(
                "INSERT INTO {PREFIX}{} (keys, ledger, data) VALUES (?1, ?2, ?3) RETURNING seq",
                hour.0
            );
            let values = [row.keys, ledger.clone(), row.data].map(Value::Blob);
            let [seq] = columns(sql.exec(&insert, &values)?.into_iter().next().unwrap_or_default())?;
            let seq = seq.integer()?;
            let place = |extent: Extent| (extent.at(hour, seq), extent.record_at(hour, seq));
            places.extend(row.extents.into_iter().map(place));
        }
        Ok(places)
    }

    /// Remembers where a push is, once that is committed.
    pub fn remember(&mut self, host: HostId, place: Place) {
        self.index.add(host, place);
    }

    /// Reads the keys of everything there is, in order of arrival, remembers the places and what cannot be read, and
    /// tells `each`.
    pub fn recover(&mut self, sql: &impl Sql, each: &mut dyn FnMut(&PushHead)) -> Result<(), SqlError> {
        for hour in self.partitions.clone() {
            let index = &mut self.index;
            let partition = Self::for_each_push(sql, hour, &mut |push| {
                index.add(push.keys.host, push.place);
                each(&push);
            })?;
            self.unreadable.extend(partition.unreadable);
        }
        Ok(())
    }

    /// Rows of which not even the keys can be read: they may be of any host.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Hands out the pushes of a partition that can be read, without their samples, in order of arrival.
    pub fn for_each_push(
        sql: &impl Sql,
        hour: Hour,
        each: &mut dyn FnMut(PushHead),
    ) -> Result<Partition, SqlError> {
        let mut partition = Partition::default();
        let page =
            format!("SELECT seq, keys FROM {PREFIX}{} WHERE seq > ?1 ORDER BY seq LIMIT {PAGE_ROWS}", hour.0);
        loop {
            let rows = sql.exec(&page, &[Value::Integer(partition.seqs.1)])?;
            if rows.is_empty() {
                return Ok(partition);
            }
            for row in rows {
                let [seq, keys] = columns(row)?;
                let seq = seq.integer()?;
                let first = if partition.seqs.0 == 0 { seq } else { partition.seqs.0 };
                partition.seqs = (first, seq);
                match keys::decode(hour, seq, &keys.blob()?) {
                    Ok(pushes) => pushes.into_iter().for_each(&mut *each),
                    Err(why) => partition.unreadable.push(Unreadable { hour, seq, push: None, why }),
                }
            }
        }
    }

    /// The ledger as the newest row that can be read has it.
    pub fn newest_ledger(&self, sql: &impl Sql) -> Result<Option<Ledger>, SqlError> {
        for hour in self.partitions.iter().rev() {
            let newest = format!("SELECT ledger FROM {PREFIX}{} ORDER BY seq DESC LIMIT 3", hour.0);
            for row in sql.exec(&newest, &[])? {
                let [ledger] = columns(row)?;
                if let Ok(ledger) = postcard::from_bytes(&ledger.blob()?) {
                    return Ok(Some(ledger));
                }
            }
        }
        Ok(None)
    }

    /// Drops a partition: to be called in the transaction that stores what became of it.
    pub fn drop_partition(sql: &impl Sql, hour: Hour) -> Result<(), SqlError> {
        sql.exec(&format!("DROP TABLE IF EXISTS {PREFIX}{}", hour.0), &[]).map(|_| ())
    }

    /// Forgets a partition once its drop is stored.
    pub fn forget(&mut self, hour: Hour) {
        self.partitions.retain(|partition| *partition != hour);
        self.unreadable.retain(|unreadable| unreadable.hour != hour);
        self.index.forget(hour);
    }
}

#[cfg(test)]
mod tests;
