//! What a shard counts and remembers of its housekeeping. A copy travels in every
//! WAL row, so that it is durable at no cost, and lies in `shard_state` after a seal.

use crate::{
    counters::Counters,
    head::ShardNumber,
    pace::Others,
    retention::RetentionSettings,
    sql::{Sql, SqlError, Value, columns},
    usage::DayStart,
};
use edgewatch_shared::{HostId, TimestampMs};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Counts and positions. The copy with the highest `version` is the true one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Grows with every copy that is stored.
    pub version: u64,
    /// Self-metrics.
    pub counters: Counters,
    /// Blocks up to this id are copied to the catalogue.
    pub catalogued_block: i64,
    /// When the newest values last went to the catalogue.
    pub summarized: TimestampMs,
    /// Pushes since then.
    pub pushes_since_summary: u64,
    /// The day whose usage is counted.
    pub day: DayStart,
    /// What is known of the other shards' usage.
    pub others: Others,
}

/// When a host last pushed, and its newest headline values by stored name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Newest {
    /// Arrival of its last push.
    pub last_seen: TimestampMs,
    /// Newest values.
    pub values: BTreeMap<String, f64>,
}

impl Newest {
    /// Takes in what a later push said.
    pub fn update(&mut self, received: TimestampMs, values: &[(String, f64)]) {
        self.last_seen = self.last_seen.max(received);
        self.values.extend(values.iter().cloned());
    }
}

/// Newest values by host.
pub type NewestByHost = BTreeMap<HostId, Newest>;

const LEDGER_ROW: i64 = 1;
const SEALED_ROW: i64 = 2;
const NUMBER_ROW: i64 = 3;
const RETENTION_ROW: i64 = 4;
/// Of [`crate::records`].
pub(crate) const RECORDS_ROW: i64 = 5;

/// Creates the table.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    sql.exec("CREATE TABLE IF NOT EXISTS shard_state (id INTEGER PRIMARY KEY, data BLOB)", &[]).map(|_| ())
}

/// The newest stored copy of the ledger; a copy in a WAL row may be newer still.
pub fn load(sql: &impl Sql) -> Result<Ledger, SqlError> {
    let stored: Ledger = load_row(sql, LEDGER_ROW)?;
    let (sealed, _) = load_sealed(sql)?;
    Ok(if sealed.version > stored.version { sealed } else { stored })
}

/// The shard's own number, as it was first told: an alarm does not say it.
pub fn load_number(sql: &impl Sql) -> Result<Option<ShardNumber>, SqlError> {
    load_row(sql, NUMBER_ROW)
}

/// Stores the shard's number: 1 row, once.
pub fn store_number(sql: &impl Sql, number: ShardNumber) -> Result<(), SqlError> {
    store_row(sql, NUMBER_ROW, &Some(number))
}

/// The retention as the catalogue last said it; the default before that.
pub fn load_retention(sql: &impl Sql) -> Result<RetentionSettings, SqlError> {
    load_row(sql, RETENTION_ROW)
}

/// Stores the retention: 1 row, when it changes.
pub fn store_retention(sql: &impl Sql, retention: &RetentionSettings) -> Result<(), SqlError> {
    store_row(sql, RETENTION_ROW, retention)
}

/// The newest values as of the last seal.
pub fn load_newest(sql: &impl Sql) -> Result<NewestByHost, SqlError> {
    load_sealed(sql).map(|(_, newest)| newest)
}

fn load_sealed(sql: &impl Sql) -> Result<(Ledger, NewestByHost), SqlError> {
    load_row(sql, SEALED_ROW)
}

/// Stores the ledger under its next version: 1 row.
pub fn store(sql: &impl Sql, ledger: &mut Ledger) -> Result<(), SqlError> {
    ledger.version = ledger.version.saturating_add(1);
    store_row(sql, LEDGER_ROW, ledger)
}

/// Stores the ledger under its next version together with the newest values, for a seal: 1 row.
pub fn store_sealed(sql: &impl Sql, ledger: &mut Ledger, newest: &NewestByHost) -> Result<(), SqlError> {
    ledger.version = ledger.version.saturating_add(1);
    store_row(sql, SEALED_ROW, &(&*ledger, newest))
}

/// A row of the table; the default where there is none.
pub(crate) fn load_row<T: DeserializeOwned + Default>(sql: &impl Sql, id: i64) -> Result<T, SqlError> {
    let rows = sql.exec("SELECT data FROM shard_state WHERE id = ?1", &[Value::Integer(id)])?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(T::default());
    };
    let [data] = columns(row)?;
    postcard::from_bytes(&data.blob()?).map_err(|error| SqlError(format!("shard_state row {id}: {error}")))
}

/// Stores a row of the table: 1 row.
pub(crate) fn store_row(sql: &impl Sql, id: i64, value: &impl Serialize) -> Result<(), SqlError> {
    let data = postcard::to_allocvec(value).map_err(|error| SqlError(error.to_string()))?;
    let upsert =
        "INSERT INTO shard_state (id, data) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET data = ?2";
    sql.exec(upsert, &[Value::Integer(id), Value::Blob(data)]).map(|_| ())
}
