//! The shard's own list of its sealed blocks, and the blocks themselves where R2 is not bound.

use crate::{
    head::ShardNumber,
    rollup::Resolution,
    sql::{Row, Sql, SqlError, Value, columns},
};
use edgewatch_shared::{TimestampMs, time::Hour};
use serde::{Deserialize, Serialize};

/// Where a block's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the shard's SQLite.
    Local,
    /// In R2 under its key.
    R2,
}

/// One sealed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockEntry {
    /// Grows with every block of the shard: of two samples at one instant, the one in the later block counts.
    pub id: i64,
    /// Name of the object.
    pub key: String,
    /// Where it is.
    pub place: Place,
    /// Its oldest sample.
    pub min: TimestampMs,
    /// Its newest sample.
    pub max: TimestampMs,
    /// Its samples.
    pub samples: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of its index and footer, at its end.
    pub tail_bytes: u64,
    /// How finely it keeps time.
    pub resolution: Resolution,
}

/// What tells one block from every other: it names the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockName<'a> {
    /// Whose block.
    pub shard: ShardNumber,
    /// The hour its samples are of.
    pub data_hour: Hour,
    /// The partition they arrived in.
    pub partition: Hour,
    /// First and last row of that partition.
    pub seqs: (i64, i64),
    /// Blocks of the same hour and partition, counted from 0.
    pub part: usize,
    /// Checksum of the content.
    pub checksum: &'a str,
}

impl BlockName<'_> {
    /// `metrics/raw/00007/2026-11-21T08/2026-11-21T09-1-240-0-1f2e3d4c5b6a7988.ewb`.
    pub fn key(&self) -> String {
        format!(
            "metrics/raw/{:05}/{}/{}-{}-{}-{}-{}.ewb",
            self.shard,
            self.data_hour.label(),
            self.partition.label(),
            self.seqs.0,
            self.seqs.1,
            self.part,
            self.checksum
        )
    }
}

const COLUMNS: &str = "id, key, data IS NULL, min_ms, max_ms, samples, bytes, tail_bytes, resolution";

/// Creates the table. `data` is NULL where the bytes are in R2.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    let table = "CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY, key TEXT, min_ms INTEGER, \
                 max_ms INTEGER, samples INTEGER, bytes INTEGER, tail_bytes INTEGER, resolution INTEGER, data BLOB)";
    sql.exec(table, &[]).map(|_| ())
}

/// Adds a block, with its bytes if it stays here. Its id is given here.
pub fn insert(sql: &impl Sql, entry: &BlockEntry, data: Option<Vec<u8>>) -> Result<(), SqlError> {
    let values = [
        Value::Text(entry.key.clone()),
        Value::Integer(entry.min.0),
        Value::Integer(entry.max.0),
        count(entry.samples),
        count(entry.bytes),
        count(entry.tail_bytes),
        Value::Integer(entry.resolution.number().into()),
        data.map_or(Value::Null, Value::Blob),
    ];
    let insert = "INSERT INTO blocks (key, min_ms, max_ms, samples, bytes, tail_bytes, resolution, data) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    sql.exec(insert, &values).map(|_| ())
}

/// The blocks with samples from `from` to `to`, oldest id first.
pub fn overlapping(sql: &impl Sql, from: TimestampMs, to: TimestampMs) -> Result<Vec<BlockEntry>, SqlError> {
    let select = format!("SELECT {COLUMNS} FROM blocks WHERE max_ms >= ?1 AND min_ms <= ?2 ORDER BY id");
    let rows = sql.exec(&select, &[Value::Integer(from.0), Value::Integer(to.0)])?;
    rows.into_iter().map(entry).collect()
}

/// At most `count_max` blocks with an id above `id`, in order.
pub fn after(sql: &impl Sql, id: i64, count_max: i64) -> Result<Vec<BlockEntry>, SqlError> {
    let select = format!("SELECT {COLUMNS} FROM blocks WHERE id > ?1 ORDER BY id LIMIT ?2");
    sql.exec(&select, &[Value::Integer(id), Value::Integer(count_max)])?.into_iter().map(entry).collect()
}

/// The highest id; 0 if there is no block.
pub fn last_id(sql: &impl Sql) -> Result<i64, SqlError> {
    let rows = sql.exec("SELECT coalesce(max(id), 0) FROM blocks", &[])?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(0);
    };
    let [id] = columns(row)?;
    id.integer()
}

/// The bytes of a block that is here.
pub fn local_data(sql: &impl Sql, id: i64) -> Result<Option<Vec<u8>>, SqlError> {
    let rows =
        sql.exec("SELECT data FROM blocks WHERE id = ?1 AND data IS NOT NULL", &[Value::Integer(id)])?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let [data] = columns(row)?;
    data.blob().map(Some)
}

fn count(count: u64) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn entry(row: Row) -> Result<BlockEntry, SqlError> {
    let [id, key, is_remote, min, max, samples, bytes, tail_bytes, resolution] = columns(row)?;
    let number = resolution.integer()?;
    let resolution = u8::try_from(number).ok().and_then(Resolution::of_number);
    Ok(BlockEntry {
        id: id.integer()?,
        key: key.text()?,
        place: if is_remote.integer()? == 0 { Place::Local } else { Place::R2 },
        min: TimestampMs(min.integer()?),
        max: TimestampMs(max.integer()?),
        samples: samples.integer()?.unsigned_abs(),
        bytes: bytes.integer()?.unsigned_abs(),
        tail_bytes: tail_bytes.integer()?.unsigned_abs(),
        resolution: resolution
            .ok_or_else(|| SqlError(format!("a block of an unknown resolution: {number}")))?,
    })
}
