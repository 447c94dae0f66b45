//! Telling the catalogue everything again.

use serde::{Deserialize, Serialize};

/// Reply of `POST /api/v1/catalogue/rebuild` without a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildShards {
    /// The shards that are known of.
    pub shards: Vec<u16>,
}

/// Reply of `POST /api/v1/catalogue/rebuild` for a slice of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReply {
    /// Hosts that the shard had lost and got back from the catalogue.
    pub hosts_restored: u64,
    /// Hosts that the catalogue was told.
    pub hosts_told: u64,
    /// Blocks that the shard had lost and that were found in R2.
    pub blocks_adopted: u64,
    /// Blocks that the catalogue was told.
    pub blocks_told: u64,
    /// What could not be recovered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The `step` of the next slice; without it the shard is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
