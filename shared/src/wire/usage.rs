//! What Edgewatch itself uses.

use serde::{Deserialize, Serialize};

/// Reply of `GET /api/v1/usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReply {
    /// `free` or `paid`.
    pub plan: String,
    /// The day that is counted, UTC: `2026-11-21`.
    pub day: String,
    /// What was used today, by resource.
    pub resources: Vec<ResourceUsage>,
    /// What is stored now, by store.
    pub stores: Vec<StoreUsage>,
    /// What is missing in this reply, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How much of one resource was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUsage {
    /// `worker_requests`, `object_requests`, …
    pub resource: String,
    /// Used today.
    pub used: u64,
    /// What the day will come to if it goes on as it did so far.
    pub projected: u64,
    /// What the plan includes…
    pub quota: u64,
    /// …a `day` or a `month`.
    pub per: String,
    /// What it means for pushes when it runs short: `nothing`, `slower`, or `slower, then refused`.
    pub effect: String,
}

/// How much is stored in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreUsage {
    /// `shards`, `r2` or `d1`.
    pub store: String,
    /// Bytes stored now.
    pub bytes: u64,
    /// Bytes that the plan includes.
    pub quota: u64,
}
