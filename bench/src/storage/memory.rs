//! The instance's linear memory, which never shrinks: over cycles of eviction and waking of several objects whose
//! heads are built each time, and under a mixed load.

use super::cold_shard::{enrolled, evict_now, fill_hour};
use crate::{
    feed::{Feed, Sender},
    figure::Figure,
    fleet::{self, Host},
    hooks::{memory_bytes, set_clock},
    open_loop::{Load, Outcome},
};
use anyhow::{Result, anyhow, ensure};
use edgewatch_shared::limits::{DAY_MS, SHARD_HOSTS_MAX};
use std::time::Duration;
use xtask::{build::Bundle, server::Server};

const SHARDS: usize = 5;
const CYCLES: usize = 50;
/// After so many it has to be flat.
const CYCLES_TO_GROW: usize = 10;
/// Hosts of each shard that are read: 5 × 15 × 60 series × an hour make 26 MB of heads.
const HOSTS: usize = 15;
const SERIES: usize = 60;
const MIXED: Load = Load { connections: 64, per_second: 250.0, duration: Duration::from_secs(20) };
/// Of so many calls of the mixed load one is a query.
const QUERY_EVERY: u64 = 4;

/// The peak of both, and how much the last 40 cycles added.
pub fn measure() -> Result<Vec<Figure>> {
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::TestHooks)?;
    let feed = Feed::of_agent(SERIES)?;
    let idle = memory_bytes(&server)?;
    let all = enrolled(&server, (SHARDS - 1) * SHARD_HOSTS_MAX + HOSTS, "memory")?;
    let read: Vec<Host> = chosen(all)?;
    let hour = fill_hour(&server, &read, &feed)?;
    let (mut early, mut cycled) = (0, 0);
    for cycle in 0..CYCLES {
        evict_now(&server, 0..u16::try_from(SHARDS)?)?;
        for host in &read {
            let points = host.query(&server, feed.name(), hour.end())?;
            ensure!(points >= 59, "the query of a full hour found {points} minutes");
        }
        cycled = memory_bytes(&server)?;
        if cycle + 1 == CYCLES_TO_GROW {
            early = cycled;
        }
    }
    set_clock(&server, 0)?;
    let (mixed, outcome) = mixed(&server, &read, &feed)?;
    outcome.check()?;
    server.stop()?;
    Ok(vec![
        Figure::new("wasm_memory_peak_bytes", mixed.max(cycled) as f64, "B"),
        Figure::new("wasm_memory_idle_bytes", idle as f64, "B"),
        Figure::new("wasm_memory_after_cycles_bytes", cycled as f64, "B"),
        Figure::new("wasm_memory_growth_bytes", cycled.saturating_sub(early) as f64, "B"),
        Figure::new("wasm_memory_mixed_bytes", mixed as f64, "B"),
    ])
}

/// [`HOSTS`] of each shard: shards are filled one after the other.
fn chosen(all: Vec<Host>) -> Result<Vec<Host>> {
    let mut by_shard = [0; SHARDS];
    let mut chosen = Vec::new();
    for host in all {
        let count = by_shard.get_mut(usize::from(host.id().home_shard()));
        let count = count.ok_or_else(|| anyhow!("a host of a sixth shard"))?;
        if *count < HOSTS {
            *count += 1;
            chosen.push(host);
        }
    }
    ensure!(chosen.len() == SHARDS * HOSTS, "shards have {by_shard:?} hosts");
    Ok(chosen)
}

/// Pushes and queries over many connections; the memory after it, which is the most it ever was.
fn mixed(server: &Server, hosts: &[Host], feed: &Feed) -> Result<(u64, Outcome)> {
    let start = fleet::now()?.plus_ms(-7 * DAY_MS);
    let outcome = MIXED.run(|connection, number| {
        let host = &hosts[connection];
        if number % QUERY_EVERY == QUERY_EVERY - 1 {
            return host.query(server, feed.name(), fleet::now()?).map(|_| ());
        }
        // A stream of its own beside that of the hour before.
        let sender = Sender { host: 1_000 + connection as u64, start };
        let pushed = number / QUERY_EVERY * (QUERY_EVERY - 1) + number % QUERY_EVERY;
        host.push_frame(&feed.body(sender, pushed)?, fleet::now()?).map(|_| ())
    })?;
    Ok((memory_bytes(server)?, outcome))
}
