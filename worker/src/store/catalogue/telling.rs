//! What shards tell: hosts, blocks, newest values. The free plan allows 50 queries of D1 in an invocation, and each
//! statement may count as one, so that rows of one table travel as one JSON list.

use super::{Catalogue, SummaryEntry, json, number, unavailable};
use crate::api_error::ApiError;
use edgewatch_engine::{
    block_index::BlockEntry,
    head::ShardNumber,
    moves::Placed,
    registry::{HostRecord, HostState},
    shard::Summary,
    usage::Usage,
};
use edgewatch_shared::{TimestampMs, limits::SHARD_HOSTS_MAX};
use serde::Deserialize;
use std::collections::BTreeMap;
use worker::{D1PreparedStatement, D1Result};

/// Hosts in one statement: with facts and tags as large as they may be, some 400 KB of the 2 MB that a value may have.
const HOSTS_A_STATEMENT: usize = 64;
/// Placements in one statement: of 100 bytes each.
const PLACED_A_STATEMENT: usize = 5_000;
/// Queries of D1 that the free plan allows in an invocation.
const STATEMENTS_MAX: usize = 50;
// Three for hosts, one for blocks, two for the summary.
const _: () = assert!(3 * SHARD_HOSTS_MAX.div_ceil(HOSTS_A_STATEMENT) + 3 <= STATEMENTS_MAX);

#[derive(Deserialize)]
struct UsageRow {
    usage: String,
}

impl Catalogue {
    /// Writes what a shard has to tell, as one transaction. In return for a summary: what the other shards had used of
    /// its day.
    pub async fn tell(
        &self,
        shard: ShardNumber,
        hosts: &[HostRecord],
        blocks: &[BlockEntry],
        summary: Option<&Summary>,
        now: TimestampMs,
    ) -> Result<Usage, ApiError> {
        let mut statements = Vec::new();
        for hosts in hosts.chunks(HOSTS_A_STATEMENT) {
            statements.extend(self.host_statements(shard, hosts, now)?);
        }
        if !blocks.is_empty() {
            statements.push(self.block_statement(shard, blocks)?);
        }
        let Some(summary) = summary else {
            self.write(statements).await?;
            return Ok(Usage::default());
        };
        statements.push(self.summary_statement(shard, summary, now)?);
        let select = "SELECT usage FROM summaries WHERE day = ?1 AND shard <> ?2";
        statements.push(self.bound(select, &[number(summary.day.0), shard.into()])?);
        let results = self.write(statements).await?;
        let others = results.last().map_or_else(|| Ok(Vec::new()), D1Result::results::<UsageRow>);
        // What a later release writes there may not be readable; that shard is then missing.
        let others = others.map_err(unavailable)?.into_iter();
        let used = others.filter_map(|row| serde_json::from_str::<Usage>(&row.usage).ok());
        Ok(used.fold(Usage::default(), Usage::plus))
    }

    /// Writes where hosts are, as their shards remember it. What the catalogue knows itself stays.
    pub async fn restore_placements(&self, placed: &[Placed]) -> Result<(), ApiError> {
        let insert = "INSERT INTO placements (source, shard, from_ms, hash_range) \
                      SELECT value ->> 'host', value ->> 'shard', value ->> 'from', value ->> 'part' \
                      FROM json_each(?1) AS told WHERE NOT EXISTS (SELECT 1 FROM placements \
                      WHERE source = told.value ->> 'host' AND shard = told.value ->> 'shard')";
        let statement = |placed: &[Placed]| self.bound(insert, &[json(&placed)?.into()]);
        let statements = placed.chunks(PLACED_A_STATEMENT).map(statement).collect::<Result<_, _>>()?;
        self.write(statements).await.map(|_| ())
    }

    fn host_statements(
        &self,
        shard: ShardNumber,
        hosts: &[HostRecord],
        now: TimestampMs,
    ) -> Result<Vec<D1PreparedStatement>, ApiError> {
        let (deleted, listed): (Vec<_>, Vec<_>) =
            hosts.iter().partition(|host| host.state == HostState::Deleted);
        let mut statements = Vec::new();
        if !deleted.is_empty() {
            // Their placements stay: the shard's counters go on being part of every sum.
            let delete = "DELETE FROM hosts WHERE id IN (SELECT value ->> 'id' FROM json_each(?1))";
            statements.push(self.bound(delete, &[json(&deleted)?.into()])?);
        }
        if !listed.is_empty() {
            let listed = json(&listed)?;
            let upsert = "INSERT INTO hosts (id, name, enrolled_ms, revoked, facts, tags) \
                          SELECT value ->> 'id', value ->> 'name', value ->> 'enrolled', \
                          value ->> 'state' = 'Revoked', value -> 'facts', value -> 'tags' FROM json_each(?1) \
                          WHERE true ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
                          revoked = excluded.revoked, facts = excluded.facts, tags = excluded.tags";
            // One that moved here was given its placement by whoever moved it.
            let place = "INSERT INTO placements (source, shard, from_ms, hash_range) \
                         SELECT value ->> 'id', ?2, ?3, '' FROM json_each(?1) AS told \
                         WHERE NOT EXISTS (SELECT 1 FROM placements \
                         WHERE source = told.value ->> 'id' AND shard = ?2)";
            statements.push(self.bound(upsert, &[listed.as_str().into()])?);
            statements.push(self.bound(place, &[listed.into(), shard.into(), number(now.0)])?);
        }
        Ok(statements)
    }

    fn block_statement(
        &self,
        shard: ShardNumber,
        blocks: &[BlockEntry],
    ) -> Result<D1PreparedStatement, ApiError> {
        let insert = "INSERT INTO blocks (shard, id, key, place, min_ms, max_ms, samples, bytes) \
                      SELECT ?1, value ->> 'id', value ->> 'key', lower(value ->> 'place'), value ->> 'min', \
                      value ->> 'max', value ->> 'samples', value ->> 'bytes' FROM json_each(?2) WHERE true \
                      ON CONFLICT (shard, id) DO UPDATE SET place = excluded.place WHERE place <> excluded.place";
        self.bound(insert, &[shard.into(), json(&blocks)?.into()])
    }

    fn summary_statement(
        &self,
        shard: ShardNumber,
        summary: &Summary,
        now: TimestampMs,
    ) -> Result<D1PreparedStatement, ApiError> {
        let entry = |newest: &edgewatch_engine::ledger::Newest| SummaryEntry {
            last_seen_ms: newest.last_seen,
            values: newest.values.clone(),
        };
        let mut newest = BTreeMap::new();
        newest.extend(summary.newest.iter().map(|(host, newest)| (*host, entry(newest))));
        let upsert = "INSERT INTO summaries (shard, at_ms, data, day, usage) VALUES (?1, ?2, ?3, ?4, ?5) \
                      ON CONFLICT (shard) DO UPDATE SET at_ms = ?2, data = ?3, day = ?4, usage = ?5";
        let values = [
            shard.into(),
            number(now.0),
            json(&newest)?.into(),
            number(summary.day.0),
            json(&summary.used)?.into(),
        ];
        self.bound(upsert, &values)
    }
}
