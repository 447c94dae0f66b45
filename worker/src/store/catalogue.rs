//! The catalogue in D1: hosts, placements, summaries, the copy of the block index.
//!
//! The Worker applies `schema.sql` itself when it meets a database of another version.

use crate::{api_error::ApiError, counting};
use edgewatch_engine::{counters::Counter, head::ShardNumber, registry::HostRecord};
use edgewatch_shared::{ErrorCode, HostId, HostName, TimestampMs, wire::Facts};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{cell::Cell, collections::BTreeMap};
use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, D1Result, Env};

mod recovery;
mod schema;
mod settings;
mod telling;

thread_local! {
    /// Whether this instance has seen the database at the current version.
    static SCHEMA_IS_CURRENT: Cell<bool> = const { Cell::new(false) };
}

/// The catalogue, at the current schema.
pub struct Catalogue {
    db: D1Database,
}

/// A host and a shard that holds some of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Placement {
    /// The host.
    pub id: HostId,
    /// The shard.
    pub shard: ShardNumber,
}

/// Newest values of a host in a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryEntry {
    /// Milliseconds since the epoch.
    pub last_seen_ms: TimestampMs,
    /// By stored name.
    pub values: BTreeMap<String, f64>,
}

impl Catalogue {
    /// Opens the catalogue, applying the schema if this instance has not seen it yet.
    pub async fn open(env: &Env) -> Result<Self, ApiError> {
        let db = env.d1("DB").map_err(|error| {
            ApiError::new(ErrorCode::Misconfigured, format!("no D1 database is bound as DB: {error}"))
        })?;
        let catalogue = Self { db };
        if !SCHEMA_IS_CURRENT.get() {
            catalogue.apply_schema().await?;
            SCHEMA_IS_CURRENT.set(true);
        }
        Ok(catalogue)
    }

    /// Opens the catalogue and applies the schema whatever the database says of itself: it may have been lost in part.
    pub async fn mend(env: &Env) -> Result<Self, ApiError> {
        let catalogue = Self::open(env).await?;
        catalogue.mend_schema().await?;
        Ok(catalogue)
    }

    /// Whether D1 answers.
    pub async fn ping(&self) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct One {}
        self.rows::<One>("SELECT 1 AS one", &[]).await.map(|_| ())
    }

    /// Bytes of the database.
    pub async fn size_bytes(&self) -> Result<u64, ApiError> {
        faults()?;
        let result = self.bound("SELECT 1 AS one", &[])?.all().await.map_err(unavailable)?;
        count_rows(&result);
        Ok(result.meta().ok().flatten().and_then(|meta| meta.size_after).unwrap_or_default() as u64)
    }

    /// Where data of hosts of this name is, the shard that a host came to last the last. A host pushed by name counts only where none is enrolled under it:
    /// whoever may push by name must not write into the answers of an enrolled host.
    pub async fn placements_of(&self, name: &HostName) -> Result<Vec<Placement>, ApiError> {
        let select = "SELECT p.source AS id, p.shard FROM hosts h JOIN placements p ON p.source = h.id \
                      WHERE h.name = ?1 GROUP BY p.source, p.shard ORDER BY max(p.from_ms)";
        let mut placements = self.rows::<Placement>(select, &[name.as_str().into()]).await?;
        let named = HostId::of_name(name);
        if placements.iter().any(|placement| placement.id != named) {
            placements.retain(|placement| placement.id != named);
        }
        Ok(placements)
    }

    /// Hosts, whether their keys were revoked, and the shards that hold their data, by id; only those of this id or name if
    /// one is given.
    pub async fn placed(
        &self,
        host: Option<&str>,
    ) -> Result<BTreeMap<(HostId, HostName, bool), Vec<ShardNumber>>, ApiError> {
        #[derive(Deserialize)]
        struct Row {
            id: HostId,
            name: HostName,
            revoked: u8,
            shard: ShardNumber,
        }
        let select = "SELECT h.id, h.name, h.revoked, p.shard FROM hosts h JOIN placements p ON p.source = h.id \
                      WHERE ?1 = '' OR h.id = ?1 OR h.name = ?1 \
                      GROUP BY h.id, h.name, h.revoked, p.shard ORDER BY h.id, max(p.from_ms)";
        let mut placed: BTreeMap<_, Vec<ShardNumber>> = BTreeMap::new();
        for row in self.rows::<Row>(select, &[host.unwrap_or_default().into()]).await? {
            placed.entry((row.id, row.name, row.revoked != 0)).or_default().push(row.shard);
        }
        Ok(placed)
    }

    /// Whether no host was ever placed: there is none, or the database was lost.
    pub async fn is_empty(&self) -> Result<bool, ApiError> {
        #[derive(Deserialize)]
        struct One {}
        Ok(self.rows::<One>("SELECT 1 AS one FROM placements LIMIT 1", &[]).await?.is_empty())
    }

    /// Where data of the host with this id is, the shard that it came to last the last.
    pub async fn placements_of_id(&self, id: HostId) -> Result<Vec<Placement>, ApiError> {
        let select = "SELECT source AS id, shard FROM placements WHERE source = ?1 \
                      GROUP BY shard ORDER BY max(from_ms)";
        let mut placements = self.rows::<Placement>(select, &[id.to_string().into()]).await?;
        if placements.is_empty() {
            // Nobody may have told us of it yet, or what we were told was lost.
            placements.push(Placement { id, shard: id.home_shard() });
        }
        Ok(placements)
    }

    /// Notes that what a host sends from now on is on these shards, each with its part of the series.
    pub async fn place(
        &self,
        host: HostId,
        shards: &[(ShardNumber, String)],
        from: TimestampMs,
    ) -> Result<(), ApiError> {
        let place =
            "INSERT OR IGNORE INTO placements (source, shard, from_ms, hash_range) VALUES (?1, ?2, ?3, ?4)";
        let statement = |(shard, part): &(ShardNumber, String)| {
            let values = [host.to_string().into(), (*shard).into(), number(from.0), part.as_str().into()];
            self.bound(place, &values)
        };
        self.write(shards.iter().map(statement).collect::<Result<_, _>>()?).await.map(|_| ())
    }

    /// Every shard that may have a host, in order: those that were given one, and where hosts pushed by name are, which
    /// may be so new that the catalogue has not heard of them.
    pub async fn shards(&self) -> Result<Vec<ShardNumber>, ApiError> {
        #[derive(Deserialize)]
        struct Row {
            shard: ShardNumber,
        }
        let rows = self.rows::<Row>("SELECT DISTINCT shard FROM placements ORDER BY shard", &[]).await?;
        let mut shards: Vec<_> = rows.into_iter().map(|row| row.shard).collect();
        if !shards.contains(&HostId::NAMED_SHARD) {
            shards.insert(0, HostId::NAMED_SHARD);
        }
        Ok(shards)
    }

    /// Hosts that may push, by shard.
    pub async fn hosts_by_shard(&self) -> Result<BTreeMap<ShardNumber, usize>, ApiError> {
        #[derive(Deserialize)]
        struct Row {
            shard: ShardNumber,
            hosts: usize,
        }
        let select = "SELECT p.shard, count(*) AS hosts FROM hosts h JOIN placements p ON p.source = h.id \
                      AND p.from_ms = (SELECT max(from_ms) FROM placements WHERE source = h.id) \
                      WHERE h.revoked = 0 GROUP BY p.shard";
        let mut hosts = BTreeMap::new();
        hosts.extend(self.rows::<Row>(select, &[]).await?.into_iter().map(|row| (row.shard, row.hosts)));
        Ok(hosts)
    }

    /// Newest values as the shards last reported them; of a host that moved, the latest.
    pub async fn summaries(&self) -> Result<BTreeMap<HostId, SummaryEntry>, ApiError> {
        #[derive(Deserialize)]
        struct Row {
            data: String,
        }
        let mut newest: BTreeMap<HostId, SummaryEntry> = BTreeMap::new();
        for row in self.rows::<Row>("SELECT data FROM summaries", &[]).await? {
            let Ok(summary) = serde_json::from_str::<BTreeMap<HostId, SummaryEntry>>(&row.data) else {
                continue;
            };
            for (host, entry) in summary {
                if newest.get(&host).is_none_or(|known| known.last_seen_ms <= entry.last_seen_ms) {
                    newest.insert(host, entry);
                }
            }
        }
        Ok(newest)
    }

    /// Forgets blocks that a shard has deleted.
    pub async fn forget_blocks(&self, shard: ShardNumber, ids: &[i64]) -> Result<(), ApiError> {
        let delete = "DELETE FROM blocks WHERE shard = ?1 AND id IN (SELECT value FROM json_each(?2))";
        self.write(vec![self.bound(delete, &[shard.into(), json(&ids)?.into()])?]).await.map(|_| ())
    }

    /// Whether an enrolled host of this name may push; hosts pushed by name do not count.
    pub async fn name_is_taken(&self, name: &HostName) -> Result<bool, ApiError> {
        #[derive(Deserialize)]
        struct One {}
        let select = "SELECT 1 AS one FROM hosts WHERE name = ?1 AND revoked = 0 AND id <> ?2 LIMIT 1";
        let named = HostId::of_name(name).to_string();
        Ok(!self.rows::<One>(select, &[name.as_str().into(), named.into()]).await?.is_empty())
    }

    /// Uses an enrolment token once more; `false` if it has been used `uses_max` times.
    pub async fn use_enrollment(&self, jti: &str, uses_max: u32) -> Result<bool, ApiError> {
        #[derive(Deserialize)]
        struct Used {}
        let upsert = "INSERT INTO enrollments (jti, used) VALUES (?1, 1) \
                      ON CONFLICT (jti) DO UPDATE SET used = used + 1 WHERE used < ?2 RETURNING used";
        Ok(!self.rows::<Used>(upsert, &[jti.into(), uses_max.into()]).await?.is_empty())
    }

    /// Gives back a use of an enrolment token that came to nothing.
    pub async fn give_back_enrollment(&self, jti: &str) -> Result<(), ApiError> {
        let update = "UPDATE enrollments SET used = used - 1 WHERE jti = ?1 AND used > 0";
        self.write(vec![self.bound(update, &[jti.into()])?]).await.map(|_| ())
    }

    /// Adds a host that has just been enrolled, unless its name was taken meanwhile; `false` if it was.
    pub async fn add_enrolled(&self, shard: ShardNumber, host: &HostRecord) -> Result<bool, ApiError> {
        #[derive(Deserialize)]
        struct Added {}
        let insert = "INSERT INTO hosts (id, name, enrolled_ms, revoked, facts, tags) \
                      SELECT ?1, ?2, ?3, 0, ?4, ?5 \
                      WHERE NOT EXISTS (SELECT 1 FROM hosts WHERE name = ?2 AND revoked = 0 AND id <> ?6) RETURNING id";
        let id = JsValue::from(host.id.to_string());
        let values = [
            id.clone(),
            host.name.as_str().into(),
            number(host.enrolled.0),
            json::<Facts>(&host.facts)?.into(),
            json(&host.tags)?.into(),
            HostId::of_name(&host.name).to_string().into(),
        ];
        if self.rows::<Added>(insert, &values).await?.is_empty() {
            return Ok(false);
        }
        let place =
            "INSERT OR IGNORE INTO placements (source, shard, from_ms, hash_range) VALUES (?1, ?2, ?3, '')";
        self.write(vec![self.bound(place, &[id, shard.into(), number(host.enrolled.0)])?]).await?;
        Ok(true)
    }

    fn bound(&self, sql: &str, values: &[JsValue]) -> Result<D1PreparedStatement, ApiError> {
        self.db.prepare(sql).bind(values).map_err(ApiError::internal)
    }

    async fn rows<T: DeserializeOwned>(&self, sql: &str, values: &[JsValue]) -> Result<Vec<T>, ApiError> {
        faults()?;
        let result = self.bound(sql, values)?.all().await.map_err(unavailable)?;
        count_rows(&result);
        result.results().map_err(unavailable)
    }

    async fn write(&self, statements: Vec<D1PreparedStatement>) -> Result<Vec<D1Result>, ApiError> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        faults()?;
        let results = self.db.batch(statements).await.map_err(unavailable)?;
        results.iter().for_each(count_rows);
        Ok(results)
    }
}

fn count_rows(result: &D1Result) {
    let Some(meta) = result.meta().ok().flatten() else { return };
    counting::add(Counter::CatalogueRowsWritten, meta.rows_written.unwrap_or_default() as u64);
    counting::add(Counter::CatalogueRowsRead, meta.rows_read.unwrap_or_default() as u64);
}

fn number(value: i64) -> JsValue {
    // Milliseconds and ids are far below 2^53.
    JsValue::from_f64(value as f64)
}

fn json<T: Serialize>(value: &T) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(ApiError::internal)
}

fn unavailable(error: worker::Error) -> ApiError {
    ApiError::unavailable(ErrorCode::CatalogueUnavailable, "the catalogue (D1)", error)
}

fn faults() -> Result<(), ApiError> {
    #[cfg(feature = "test-hooks")]
    crate::test_hooks::fail_if_asked(crate::test_hooks::Store::D1).map_err(|error| {
        ApiError::unavailable(ErrorCode::CatalogueUnavailable, "the catalogue (D1)", error)
    })?;
    Ok(())
}
