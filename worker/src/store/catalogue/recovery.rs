//! What a shard that lost its storage is given back, and what is forgotten of it.

use super::{Catalogue, json};
use crate::api_error::ApiError;
use edgewatch_engine::{
    head::ShardNumber,
    registry::{HostRecord, HostState},
};
use edgewatch_shared::{HostId, HostName, TimestampMs};
use serde::Deserialize;

impl Catalogue {
    /// The hosts that are placed on some shards now.
    pub async fn hosts_of(&self, shards: &[ShardNumber]) -> Result<Vec<HostRecord>, ApiError> {
        #[derive(Deserialize)]
        struct Row {
            id: HostId,
            name: HostName,
            enrolled_ms: i64,
            revoked: u8,
            facts: String,
            tags: String,
        }
        let select = "SELECT id, name, enrolled_ms, revoked, facts, tags FROM hosts \
                      WHERE id IN (SELECT source FROM placements p \
                      WHERE shard IN (SELECT value FROM json_each(?1)) \
                      AND from_ms = (SELECT max(from_ms) FROM placements WHERE source = p.source))";
        let rows = self.rows::<Row>(select, &[json(&shards)?.into()]).await?;
        let record = |row: Row| HostRecord {
            id: row.id,
            name: row.name,
            state: if row.revoked == 0 { HostState::Active } else { HostState::Revoked },
            facts: serde_json::from_str(&row.facts).unwrap_or_default(),
            tags: serde_json::from_str(&row.tags).unwrap_or_default(),
            enrolled: TimestampMs(row.enrolled_ms),
            catalogued: true,
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// Forgets all blocks of a shard, to be told of them anew.
    pub async fn forget_all_blocks(&self, shard: ShardNumber) -> Result<(), ApiError> {
        self.write(vec![self.bound("DELETE FROM blocks WHERE shard = ?1", &[shard.into()])?])
            .await
            .map(|_| ())
    }
}
