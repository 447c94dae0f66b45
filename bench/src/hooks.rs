//! What only a test build of the Worker answers: its clock, due jobs, eviction, memory; and its counters.

use crate::fleet::client;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use xtask::server::Server;

/// A shard from inside.
#[derive(Clone, Debug, Deserialize)]
pub struct ShardState {
    /// Bytes of decoded heads in the whole instance.
    pub heads_bytes: u64,
}

/// Puts the server's clock forward against ours.
pub fn set_clock(server: &Server, offset_ms: i64) -> Result<()> {
    post(server, &format!("clock?offset_ms={offset_ms}"))
}

/// Does what a shard has to do by now.
pub fn run_jobs(server: &Server, shard: u16) -> Result<()> {
    post(server, &format!("run-jobs?shard={shard}"))
}

/// Ends a shard's object; its next call opens it anew.
pub fn evict(server: &Server, shard: u16) -> Result<()> {
    post(server, &format!("evict?shard={shard}"))
}

/// Bytes of the instance's linear memory.
pub fn memory_bytes(server: &Server) -> Result<u64> {
    get(server, "memory")?.trim().parse().context("bytes of memory")
}

/// A look into a shard.
pub fn shard(server: &Server, shard: u16) -> Result<ShardState> {
    Ok(serde_json::from_str(&get(server, &format!("shard?shard={shard}"))?)?)
}

/// The sum of a counter over all of its labels, as `/metrics` shows it.
pub fn counter(server: &Server, name: &str) -> Result<f64> {
    let mut reply = client()
        .get(format!("{}/metrics", server.url()))
        .header("Authorization", format!("Bearer {}", server.tokens().read))
        .call()?;
    let text = reply.body_mut().read_to_string()?;
    let is_asked = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(is_asked);
    values.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context("a counter")).sum()
}

/// Rows written so far, to the shards and to D1, by the storages' own counts.
pub fn rows_written(server: &Server) -> Result<f64> {
    counter(server, "edgewatch_storage_rows_written_total")
}

fn post(server: &Server, call: &str) -> Result<()> {
    let reply = client().post(format!("{}/test/{call}", server.url())).send_empty()?;
    ensure!(reply.status() == 200, "the hook {call} answered {}", reply.status());
    Ok(())
}

fn get(server: &Server, call: &str) -> Result<String> {
    let mut reply = client().get(format!("{}/test/{call}", server.url())).call()?;
    ensure!(reply.status() == 200, "the hook {call} answered {}", reply.status());
    Ok(reply.body_mut().read_to_string()?)
}
