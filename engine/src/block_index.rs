//! The shard's own list of its sealed blocks, and the blocks themselves where R2 is not bound.
//!
//! A row is small: the bytes of a local block lie in a table of their own, so that a row can change its state or its
//! place without writing them again.

use crate::{
    block::Built,
    head::ShardNumber,
    rollup::Resolution,
    sql::{Row, Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::DAY_MS,
    time::{Day, Hour},
};
use serde::{Deserialize, Serialize};

/// Where a block's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the shard's SQLite.
    Local,
    /// In R2 under its key.
    R2,
}

impl Place {
    fn number(self) -> i64 {
        match self {
            Self::Local => 0,
            Self::R2 => 1,
        }
    }
}

/// What a block is to those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is read.
    Current,
    /// Written by a compaction that is not over: nobody reads it yet.
    Pending,
    /// Nobody asks for it any more; its bytes go after a grace, for whoever has its name already.
    Replaced,
    /// A compaction found it damaged. It is read as before, and says so; no compaction touches it again.
    Damaged,
    /// A compaction has named an object of R2 and not recorded it: whatever becomes of the compaction, its object is
    /// known.
    Named,
}

impl State {
    fn number(self) -> i64 {
        match self {
            Self::Current => 0,
            Self::Pending => 1,
            Self::Replaced => 2,
            Self::Damaged => 3,
            Self::Named => 4,
        }
    }
}

/// One sealed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockEntry {
    /// Grows with every block of the shard.
    pub id: i64,
    /// Of two samples at one instant, the one in the block of the higher rank counts. A block that was sealed has its
    /// own id, one that was compacted the highest rank of what it was made of.
    pub rank: i64,
    /// Name of the object.
    pub key: String,
    /// Where it is.
    pub place: Place,
    /// Its oldest sample. All of a block lies in one day.
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
    /// The first and the last host in it.
    pub hosts: (HostId, HostId),
    /// The hour it arrived in, if it comes straight from the log and no compaction has taken it in yet.
    pub part_of: Option<Hour>,
}

impl BlockEntry {
    /// The entry of a block that was just built.
    pub fn of(built: &Built, key: String, part_of: Option<Hour>) -> Self {
        Self {
            id: 0,
            rank: 0,
            key,
            place: Place::R2,
            min: built.min,
            max: built.max,
            samples: built.samples,
            bytes: built.bytes.len() as u64,
            tail_bytes: built.tail_bytes,
            resolution: built.resolution,
            hosts: built.hosts,
            part_of,
        }
    }

    /// The day it is of.
    pub fn day(&self) -> Day {
        self.min.day()
    }

    /// Whether it may hold something of one of these hosts.
    pub fn may_hold(&self, hosts: &[HostId]) -> bool {
        hosts.iter().any(|host| (self.hosts.0..=self.hosts.1).contains(host))
    }
}

/// What tells one sealed block from every other: it names the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockName<'a> {
    /// Whose block.
    pub shard: ShardNumber,
    /// The hour or the day its samples are of, as a label.
    pub span: String,
    /// The partition they arrived in.
    pub partition: Hour,
    /// First and last row of that partition.
    pub seqs: (i64, i64),
    /// Blocks of the same span and partition, counted from 0.
    pub part: usize,
    /// Checksum of the content.
    pub checksum: &'a str,
}

impl BlockName<'_> {
    /// `metrics/raw/00007/2026-11-21T09/2026-11-21T09-1-240-0-1f2e3d4c5b6a7988.ewb`; what came late has
    /// `/2026-11-20/` there.
    pub fn key(&self) -> String {
        format!(
            "metrics/raw/{:05}/{}/{}-{}-{}-{}-{}.ewb",
            self.shard,
            self.span,
            self.partition.label(),
            self.seqs.0,
            self.seqs.1,
            self.part,
            self.checksum
        )
    }
}

/// Creates the tables.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    let blocks = "CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY, state INTEGER, rank INTEGER, key TEXT, \
                  place INTEGER, min_ms INTEGER, max_ms INTEGER, samples INTEGER, bytes INTEGER, \
                  tail_bytes INTEGER, resolution INTEGER, first_host BLOB, last_host BLOB, part_of INTEGER, \
                  replaced_ms INTEGER)";
    sql.exec(blocks, &[])?;
    // A shard wakes often, and every look at its blocks would read all of them: a row more an hour is cheaper.
    let by_time = "CREATE INDEX IF NOT EXISTS blocks_by_time ON blocks (resolution, min_ms)";
    sql.exec(by_time, &[])?;
    let replaced = "CREATE INDEX IF NOT EXISTS blocks_replaced ON blocks (replaced_ms) WHERE state = 2";
    sql.exec(replaced, &[])?;
    sql.exec("CREATE TABLE IF NOT EXISTS block_data (id INTEGER PRIMARY KEY, data BLOB)", &[]).map(|_| ())
}

const COLUMNS: &str = "id, rank, key, place, min_ms, max_ms, samples, bytes, tail_bytes, resolution, first_host, \
                       last_host, part_of";

/// Adds a block under its id, or changes the state of one that is listed.
pub fn insert(sql: &impl Sql, entry: &BlockEntry, state: State) -> Result<(), SqlError> {
    let values = [
        Value::Integer(entry.id),
        Value::Integer(entry.rank),
        Value::Text(entry.key.clone()),
        Value::Integer(entry.place.number()),
        Value::Integer(entry.min.0),
        Value::Integer(entry.max.0),
        count(entry.samples),
        count(entry.bytes),
        count(entry.tail_bytes),
        Value::Integer(entry.resolution.number().into()),
        Value::Blob(entry.hosts.0.as_bytes().to_vec()),
        Value::Blob(entry.hosts.1.as_bytes().to_vec()),
        entry.part_of.map_or(Value::Null, |hour| Value::Integer(hour.0)),
        Value::Integer(state.number()),
    ];
    let insert = format!(
        "INSERT INTO blocks ({COLUMNS}, state) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state"
    );
    sql.exec(&insert, &values).map(|_| ())
}

/// The blocks of a resolution that are read, with samples from `from` to `to`, lowest rank first.
pub fn overlapping(
    sql: &impl Sql,
    resolution: Resolution,
    from: TimestampMs,
    to: TimestampMs,
) -> Result<Vec<BlockEntry>, SqlError> {
    // A block is of one day: of those that begin earlier none lasts till then.
    let condition = "state IN (0, 3) AND resolution = ?1 AND min_ms > ?2 AND min_ms <= ?3 AND max_ms >= ?4 \
                     ORDER BY rank, id";
    let earliest = from.plus_ms(DAY_MS.saturating_neg());
    let values = [resolution.number().into(), earliest.0, to.0, from.0].map(Value::Integer);
    select(sql, condition, &values)
}

/// At most `count_max` blocks that are read, with an id above `id`, in order.
pub fn after(sql: &impl Sql, id: i64, count_max: i64) -> Result<Vec<BlockEntry>, SqlError> {
    let condition = "state IN (0, 3) AND id > ?1 ORDER BY id LIMIT ?2";
    select(sql, condition, &[id, count_max].map(Value::Integer))
}

/// The blocks of a day in one state, lowest rank first.
pub fn of_day(sql: &impl Sql, day: Day, state: State) -> Result<Vec<BlockEntry>, SqlError> {
    let values = [day.start().0, day.end().0, state.number()].map(Value::Integer);
    let condition =
        "resolution IN (0, 1, 2) AND min_ms >= ?1 AND min_ms < ?2 AND state = ?3 ORDER BY rank, id";
    select(sql, condition, &values)
}

/// A block whose bytes are here and could be in R2; `None` if there is none.
pub fn next_local(sql: &impl Sql) -> Result<Option<BlockEntry>, SqlError> {
    let condition = "id IN (SELECT id FROM block_data) AND place = 0 AND state <> 2 ORDER BY id LIMIT 1";
    Ok(select(sql, condition, &[])?.pop())
}

/// Whether a block's object has the name of another block too, beside these: the same samples compacted again under the
/// same rank are the same object.
pub fn shares_object(sql: &impl Sql, entry: &BlockEntry, beside: &[i64]) -> Result<bool, SqlError> {
    // An object holds the same samples whoever lists it: the index by time finds them all.
    let select = "SELECT id FROM blocks WHERE resolution = ?1 AND min_ms = ?2 AND key = ?3";
    let values = [
        Value::Integer(entry.resolution.number().into()),
        Value::Integer(entry.min.0),
        Value::Text(entry.key.clone()),
    ];
    for row in sql.exec(select, &values)? {
        let [id] = columns(row)?;
        if !beside.contains(&id.integer()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// At most `count_max` blocks that were replaced by `until`.
pub fn replaced(sql: &impl Sql, until: TimestampMs, count_max: i64) -> Result<Vec<BlockEntry>, SqlError> {
    let condition = "state = 2 AND replaced_ms <= ?1 ORDER BY id LIMIT ?2";
    select(sql, condition, &[until.0, count_max].map(Value::Integer))
}

/// The blocks of a resolution whose samples are all older than `until`, unless they are still to be compacted.
pub fn older(
    sql: &impl Sql,
    resolution: Resolution,
    until: TimestampMs,
) -> Result<Vec<BlockEntry>, SqlError> {
    let condition = "((state = 0 AND part_of IS NULL) OR state = 3) AND resolution = ?1 AND min_ms < ?2 AND max_ms < ?2 \
                     ORDER BY id";
    select(sql, condition, &[resolution.number().into(), until.0].map(Value::Integer))
}

fn select(sql: &impl Sql, condition: &str, values: &[Value]) -> Result<Vec<BlockEntry>, SqlError> {
    let rows = sql.exec(&format!("SELECT {COLUMNS} FROM blocks WHERE {condition}"), values)?;
    rows.into_iter().map(entry).collect()
}

/// Changes what a block is to those who ask: 1 row.
pub fn set_state(sql: &impl Sql, id: i64, state: State) -> Result<(), SqlError> {
    let values = [state.number(), id].map(Value::Integer);
    sql.exec("UPDATE blocks SET state = ?1 WHERE id = ?2", &values).map(|_| ())
}

/// Nobody is told of a block any more: 1 row.
pub fn replace(sql: &impl Sql, id: i64, now: TimestampMs) -> Result<(), SqlError> {
    let values = [State::Replaced.number(), now.0, id].map(Value::Integer);
    sql.exec("UPDATE blocks SET state = ?1, replaced_ms = ?2 WHERE id = ?3", &values).map(|_| ())
}

/// The bytes of a block are in R2 now, and no longer here.
pub fn move_to_r2(sql: &impl Sql, id: i64) -> Result<(), SqlError> {
    let values = [Place::R2.number(), id].map(Value::Integer);
    sql.exec("UPDATE blocks SET place = ?1 WHERE id = ?2", &values)?;
    sql.exec("DELETE FROM block_data WHERE id = ?1", &[Value::Integer(id)]).map(|_| ())
}

/// Forgets a block.
pub fn delete(sql: &impl Sql, id: i64) -> Result<(), SqlError> {
    sql.exec("DELETE FROM block_data WHERE id = ?1", &[Value::Integer(id)])?;
    sql.exec("DELETE FROM blocks WHERE id = ?1", &[Value::Integer(id)]).map(|_| ())
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

/// Keeps the bytes of a block here. Until [`insert`] lists it, nobody sees them.
pub fn keep_data(sql: &impl Sql, id: i64, data: Vec<u8>) -> Result<(), SqlError> {
    let insert = "INSERT INTO block_data (id, data) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET data = ?2";
    sql.exec(insert, &[Value::Integer(id), Value::Blob(data)]).map(|_| ())
}

/// Removes bytes that no block is listed for: whoever kept them was cut off.
pub fn drop_unlisted_data(sql: &impl Sql) -> Result<(), SqlError> {
    sql.exec("DELETE FROM block_data WHERE id NOT IN (SELECT id FROM blocks)", &[]).map(|_| ())
}

/// The names of all blocks, whatever becomes of them.
pub fn keys(sql: &impl Sql) -> Result<Vec<String>, SqlError> {
    let rows = sql.exec("SELECT key FROM blocks", &[])?;
    rows.into_iter().map(|row| columns::<1>(row).and_then(|[key]| key.text())).collect()
}

/// Bytes of all blocks in R2.
pub fn remote_bytes(sql: &impl Sql) -> Result<u64, SqlError> {
    let rows = sql.exec("SELECT coalesce(sum(bytes), 0) FROM blocks WHERE place = 1", &[])?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(0);
    };
    let [bytes] = columns(row)?;
    bytes.integer().map(i64::unsigned_abs)
}

/// The bytes of a block that is here.
pub fn local_data(sql: &impl Sql, id: i64) -> Result<Option<Vec<u8>>, SqlError> {
    let rows = sql.exec("SELECT data FROM block_data WHERE id = ?1", &[Value::Integer(id)])?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let [data] = columns(row)?;
    data.blob().map(Some)
}

/// Some bytes of a block that is here; `None` if it is not.
pub fn local_range(sql: &impl Sql, id: i64, offset: u64, length: u64) -> Result<Option<Vec<u8>>, SqlError> {
    let values = [Value::Integer(id), count(offset.saturating_add(1)), count(length)];
    let rows = sql.exec("SELECT substr(data, ?2, ?3) FROM block_data WHERE id = ?1", &values)?;
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
    let [
        id,
        rank,
        key,
        place,
        min,
        max,
        samples,
        bytes,
        tail_bytes,
        resolution,
        first_host,
        last_host,
        part_of,
    ] = columns(row)?;
    let number = resolution.integer()?;
    let resolution = u8::try_from(number).ok().and_then(Resolution::of_number);
    Ok(BlockEntry {
        id: id.integer()?,
        rank: rank.integer()?,
        key: key.text()?,
        place: if place.integer()? == Place::Local.number() { Place::Local } else { Place::R2 },
        min: TimestampMs(min.integer()?),
        max: TimestampMs(max.integer()?),
        samples: samples.integer()?.unsigned_abs(),
        bytes: bytes.integer()?.unsigned_abs(),
        tail_bytes: tail_bytes.integer()?.unsigned_abs(),
        resolution: resolution
            .ok_or_else(|| SqlError(format!("a block of an unknown resolution: {number}")))?,
        hosts: (host(first_host)?, host(last_host)?),
        part_of: if part_of == Value::Null { None } else { Some(Hour(part_of.integer()?)) },
    })
}

fn host(value: Value) -> Result<HostId, SqlError> {
    HostId::from_bytes(&value.blob()?).map_err(|error| SqlError(format!("the host of a block: {error}")))
}
