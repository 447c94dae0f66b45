//! The write-ahead log: one table for every hour of *arrival*, one row for every push.
//!
//! A partition is never appended to once a later hour has begun, so it can be
//! read in peace while it is sealed, and leaves by `DROP TABLE`, which writes no rows.

use crate::{
    compression::Inflater,
    frame::{self, FrameError},
    ledger::Ledger,
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{HostId, TimestampMs, limits::ROW_BYTES_MAX, series::SeriesSamples, time::Hour};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// What a row says beside its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowKeys {
    /// When it arrived.
    pub received: TimestampMs,
    /// Samples in it.
    pub samples: u32,
    /// Values for listings of hosts: stored name and newest value.
    pub newest: Vec<(String, f64)>,
}

/// A row without its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct RowHead {
    /// Where it lies.
    pub seq: i64,
    /// Whose it is.
    pub host: HostId,
    /// What it says.
    pub keys: RowKeys,
}

/// Why the log could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// The storage failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A row does not decode.
    #[error("row {seq} of WAL partition {hour} is corrupt: {why}")]
    Corrupt {
        /// The partition.
        hour: String,
        /// The row.
        seq: i64,
        /// What is wrong with it.
        why: String,
    },
    /// Over [`ROW_BYTES_MAX`].
    #[error("a row of {0} bytes is over the limit of {ROW_BYTES_MAX}")]
    RowTooLarge(usize),
}

const PREFIX: &str = "wal_";

/// The partitions that there are, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wal {
    partitions: Vec<Hour>,
    /// First hour that rows may go to: one that is being sealed takes none, whatever the clock says.
    open_from: Option<Hour>,
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
        Ok(Self { partitions, open_from: None })
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

    /// Appends a row, creating its partition if it is the first, and returns the partition.
    pub fn append(
        &mut self,
        sql: &impl Sql,
        host: HostId,
        keys: &RowKeys,
        ledger: &Ledger,
        frame: Vec<u8>,
    ) -> Result<Hour, WalError> {
        let hour = self.partition_at(keys.received);
        let keys = postcard::to_allocvec(keys).map_err(|error| SqlError(error.to_string()))?;
        let ledger = postcard::to_allocvec(ledger).map_err(|error| SqlError(error.to_string()))?;
        let bytes = keys.len().saturating_add(ledger.len()).saturating_add(frame.len());
        if bytes > ROW_BYTES_MAX {
            return Err(WalError::RowTooLarge(bytes));
        }
        if self.partitions.last() != Some(&hour) {
            let table = format!(
                "CREATE TABLE IF NOT EXISTS {PREFIX}{} \
                 (seq INTEGER PRIMARY KEY, host BLOB, keys BLOB, ledger BLOB, data BLOB)",
                hour.0
            );
            sql.exec(&table, &[])?;
            self.partitions.push(hour);
        }
        let insert =
            format!("INSERT INTO {PREFIX}{} (host, keys, ledger, data) VALUES (?1, ?2, ?3, ?4)", hour.0);
        sql.exec(&insert, &[host.as_bytes().to_vec(), keys, ledger, frame].map(Value::Blob))?;
        Ok(hour)
    }

    /// The rows of a partition without their samples, in order of arrival.
    pub fn row_heads(&self, sql: &impl Sql, hour: Hour) -> Result<Vec<RowHead>, WalError> {
        let rows = sql.exec(&format!("SELECT seq, host, keys FROM {PREFIX}{} ORDER BY seq", hour.0), &[])?;
        rows.into_iter().map(|row| row_head(hour, row)).collect()
    }

    /// The ledger as the newest row of all has it.
    pub fn newest_ledger(&self, sql: &impl Sql) -> Result<Option<Ledger>, WalError> {
        for hour in self.partitions.iter().rev() {
            let newest = format!("SELECT seq, ledger FROM {PREFIX}{} ORDER BY seq DESC LIMIT 1", hour.0);
            if let Some(row) = sql.exec(&newest, &[])?.into_iter().next() {
                let [seq, ledger] = columns(row)?;
                let seq = seq.integer()?;
                let ledger = postcard::from_bytes(&ledger.blob()?);
                return ledger.map(Some).map_err(|error| corrupt(*hour, seq, error));
            }
        }
        Ok(None)
    }

    /// The samples of one row.
    pub fn samples(
        &self,
        sql: &impl Sql,
        hour: Hour,
        seq: i64,
        inflater: &mut Inflater,
    ) -> Result<Vec<SeriesSamples>, WalError> {
        decode(hour, seq, &self.data(sql, hour, seq)?, inflater)
    }

    /// What one row holds, as it lies there.
    pub fn data(&self, sql: &impl Sql, hour: Hour, seq: i64) -> Result<Vec<u8>, WalError> {
        let rows =
            sql.exec(&format!("SELECT data FROM {PREFIX}{} WHERE seq = ?1", hour.0), &[Value::Integer(seq)])?;
        let row = rows.into_iter().next().ok_or_else(|| corrupt(hour, seq, "it is gone"))?;
        let [data] = columns(row)?;
        Ok(data.blob()?)
    }

    /// Hands every row of one host to `each`, partition by partition, in order of arrival, until it breaks off.
    pub fn for_each_of_host(
        &self,
        sql: &impl Sql,
        host: HostId,
        inflater: &mut Inflater,
        each: &mut dyn FnMut(Vec<SeriesSamples>) -> ControlFlow<()>,
    ) -> Result<(), WalError> {
        for hour in &self.partitions {
            let select = format!("SELECT seq FROM {PREFIX}{} WHERE host = ?1 ORDER BY seq", hour.0);
            for row in sql.exec(&select, &[Value::Blob(host.as_bytes().to_vec())])? {
                let [seq] = columns(row)?;
                if each(self.samples(sql, *hour, seq.integer()?, inflater)?).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Drops a partition: to be called in the transaction that stores what became of it.
    pub fn drop_partition(sql: &impl Sql, hour: Hour) -> Result<(), SqlError> {
        sql.exec(&format!("DROP TABLE IF EXISTS {PREFIX}{}", hour.0), &[]).map(|_| ())
    }

    /// Forgets a partition once its drop is stored.
    pub fn forget(&mut self, hour: Hour) {
        self.partitions.retain(|partition| *partition != hour);
    }
}

fn row_head(hour: Hour, row: Vec<Value>) -> Result<RowHead, WalError> {
    let [seq, host, keys] = columns(row)?;
    let seq = seq.integer()?;
    let host = HostId::from_bytes(&host.blob()?).map_err(|error| corrupt(hour, seq, error))?;
    let keys = postcard::from_bytes(&keys.blob()?).map_err(|error| corrupt(hour, seq, error))?;
    Ok(RowHead { seq, host, keys })
}

fn decode(
    hour: Hour,
    seq: i64,
    data: &[u8],
    inflater: &mut Inflater,
) -> Result<Vec<SeriesSamples>, WalError> {
    frame::decode(data, inflater).map_err(|error: FrameError| corrupt(hour, seq, error))
}

fn corrupt(hour: Hour, seq: i64, why: impl ToString) -> WalError {
    WalError::Corrupt { hour: hour.label(), seq, why: why.to_string() }
}
