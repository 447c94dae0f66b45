//! What there is to do with a shard's blocks, as their index says: nothing of it is stored a second time.

use crate::{
    block_index,
    compaction::Plan,
    head::ShardNumber,
    retention::RetentionSettings,
    rollup::Resolution,
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
    time::{Day, Hour},
};
use std::collections::BTreeMap;

/// After the end of the day in which its oldest part arrived a day rests this long before it is compacted: the first
/// hour of the next day brings its last minutes, and has to be sealed…
pub const COMPACT_GRACE_MS: i64 = 70 * MINUTE_MS;
/// …and shards spread over these seconds.
const COMPACT_SPREAD_S: i64 = 3_000;
/// Whoever asked before a block was replaced reads it no later than this after.
pub const REPLACED_GRACE_MS: i64 = HOUR_MS;

/// What there is to do. Read again whenever blocks came or went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// Days that have parts which no compaction has taken in, and the hour the first of them arrived in.
    parts: BTreeMap<Day, Hour>,
    /// The oldest day of each resolution that may be gone one day.
    oldest: BTreeMap<Resolution, Day>,
    /// When the first of the replaced blocks was replaced.
    replaced: Option<TimestampMs>,
    /// Whether any block's bytes are here that could be in R2.
    has_local: bool,
}

impl Agenda {
    /// Reads it from the index.
    pub fn read(sql: &impl Sql) -> Result<Self, SqlError> {
        let mut agenda = Self::default();
        let parts =
            "SELECT min_ms, part_of FROM blocks WHERE resolution = 0 AND state = 0 AND part_of IS NOT NULL";
        for row in sql.exec(parts, &[])? {
            let [min, arrived] = columns(row)?;
            let (day, arrived) = (TimestampMs(min.integer()?).day(), Hour(arrived.integer()?));
            let first = agenda.parts.entry(day).or_insert(arrived);
            *first = arrived.min(*first);
        }
        // A part is compacted before it may go; one that cannot be is damaged.
        let oldest = "SELECT min_ms FROM blocks WHERE resolution = ?1 AND ((state = 0 AND part_of IS NULL) OR state = 3) \
                      ORDER BY min_ms LIMIT 1";
        for resolution in Resolution::ALL {
            let rows = sql.exec(oldest, &[Value::Integer(resolution.number().into())])?;
            if let Some(row) = rows.into_iter().next() {
                let [min] = columns(row)?;
                agenda.oldest.insert(resolution, TimestampMs(min.integer()?).day());
            }
        }
        let replaced = sql.exec("SELECT min(replaced_ms) FROM blocks WHERE state = 2", &[])?;
        if let Some(row) = replaced.into_iter().next() {
            let [replaced] = columns(row)?;
            agenda.replaced =
                if replaced == Value::Null { None } else { Some(TimestampMs(replaced.integer()?)) };
        }
        agenda.has_local = block_index::next_local(sql)?.is_some();
        Ok(agenda)
    }

    /// The day that is to be compacted first, and when.
    pub fn compact(&self, shard: ShardNumber) -> Option<(Day, TimestampMs)> {
        let spread_s = i64::from(shard).saturating_mul(37).rem_euclid(COMPACT_SPREAD_S);
        let due = |(day, arrived): (&Day, &Hour)| {
            let rested = arrived.start().day().end().plus_ms(COMPACT_GRACE_MS);
            (*day, rested.plus_ms(spread_s.saturating_mul(1_000)))
        };
        self.parts.iter().map(due).min_by_key(|(_, due)| *due)
    }

    /// When the first blocks are older than they have to be kept.
    pub fn retain(&self, settings: &RetentionSettings) -> Option<TimestampMs> {
        self.oldest.iter().filter_map(|(resolution, day)| settings.expires(*resolution, *day)).min()
    }

    /// When bytes of replaced blocks may go.
    pub fn delete(&self) -> Option<TimestampMs> {
        self.replaced.map(|replaced| replaced.plus_ms(REPLACED_GRACE_MS))
    }

    /// Whether blocks are to be moved to R2, if it is bound.
    pub fn has_local(&self) -> bool {
        self.has_local
    }
}

/// What a compaction was begun with, should it have been cut off: its sources do not change, so neither does what it
/// writes.
pub fn begun(sql: &impl Sql, day: Day) -> Result<Option<i64>, SqlError> {
    let rows = sql.exec("SELECT rank FROM compactions WHERE day = ?1", &[Value::Integer(day.0)])?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let [rank] = columns(row)?;
    rank.integer().map(Some)
}

/// Creates the table of compactions that are not over: 1 row each.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    sql.exec("CREATE TABLE IF NOT EXISTS compactions (day INTEGER PRIMARY KEY, rank INTEGER)", &[])
        .map(|_| ())
}

/// Notes what a compaction is begun with.
pub fn begin(sql: &impl Sql, plan: Plan) -> Result<(), SqlError> {
    let values = [plan.day.0, plan.rank].map(Value::Integer);
    sql.exec("INSERT INTO compactions (day, rank) VALUES (?1, ?2)", &values).map(|_| ())
}

/// Forgets a compaction that is over: to be called in the transaction that ends it.
pub fn end(sql: &impl Sql, day: Day) -> Result<(), SqlError> {
    sql.exec("DELETE FROM compactions WHERE day = ?1", &[Value::Integer(day.0)]).map(|_| ())
}
