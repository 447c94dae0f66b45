//! A shard that wakes with a full hour in its log: how long the first query takes, and that a push builds no head.

use crate::{
    feed::{Feed, Sender},
    figure::{Figure, median},
    fleet::{self, Host},
    hooks::{self, evict, set_clock},
};
use anyhow::{Context, Result, anyhow, ensure};
use edgewatch_shared::{
    TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
};
use std::{
    thread,
    time::{Duration, Instant},
};
use xtask::{build::Bundle, server::Server};

const HOSTS: usize = 256;
const SERIES: usize = 60;
const MINUTES: u64 = 60;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 15;
const SHARD: u16 = 0;
/// An object ends a moment after it has said so.
const EVICTION: Duration = Duration::from_millis(200);

/// Medians over evictions.
pub fn measure() -> Result<Vec<Figure>> {
    let feed = Feed::of_agent(SERIES)?;
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::TestHooks)?;
    let hosts = enrolled(&server, HOSTS, "cold")?;
    let hour = fill_hour(&server, &hosts, &feed)?;
    let (mut firsts, mut alls, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    let mut head_bytes = u64::MAX;
    for round in 0..ROUNDS {
        // Asking whether it has ended would wake it.
        evict(&server, SHARD)?;
        thread::sleep(EVICTION);
        let start = Instant::now();
        let host = hosts.get(round * HOSTS / ROUNDS).context("a host")?;
        let points = host.query(&server, feed.name(), hour.end())?;
        firsts.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(points >= 59, "the query of a full hour found {points} minutes");
        // That of this host alone: the others' have ended with the object.
        let heads = hooks::shard(&server, SHARD)?.heads_bytes;
        ensure!(heads / 2 < head_bytes, "the shard was not evicted: it has {heads} bytes of heads");
        head_bytes = head_bytes.min(heads);
    }
    for _ in 0..3 {
        evict_now(&server, SHARD..SHARD + 1)?;
        let start = Instant::now();
        for host in &hosts {
            host.query(&server, feed.name(), hour.end())?;
        }
        alls.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for push in 0..3 {
        evict_now(&server, SHARD..SHARD + 1)?;
        let sender = Sender { host: 0, start: hour.start };
        hosts[0].push_frame(&feed.body(sender, MINUTES + push)?, hour.now()?)?;
        heads.push(hooks::shard(&server, SHARD)?.heads_bytes as f64);
    }
    server.stop()?;
    Ok(vec![
        Figure::new("recovery_first_query_ms", median(firsts), "ms"),
        Figure::new("recovery_query_of_every_host_ms", median(alls), "ms"),
        Figure::new("cold_push_heads_bytes", heads.into_iter().fold(0.0, f64::max), "B"),
    ])
}

/// Enrols hosts, several at a time.
pub fn enrolled(server: &Server, count: usize, name: &str) -> Result<Vec<Host>> {
    each(count, |n| Host::enroll(server, format!("{name}-{n}")))
}

/// Ends the objects of some shards and wakes the next ones; their heads are gone.
pub fn evict_now(server: &Server, shards: std::ops::Range<u16>) -> Result<()> {
    shards.clone().try_for_each(|shard| evict(server, shard))?;
    thread::sleep(EVICTION);
    let woken = shards.map(|shard| hooks::shard(server, shard)).collect::<Result<Vec<_>>>()?;
    let heads = woken.last().map_or(0, |shard| shard.heads_bytes);
    ensure!(heads == 0, "the shards were not evicted: there are {heads} bytes of heads");
    Ok(())
}

/// An hour that is full, as the server's clock has it.
#[derive(Clone, Copy, Debug)]
pub struct FullHour {
    start: TimestampMs,
    offset_ms: i64,
}

impl FullHour {
    /// The server's clock.
    fn now(&self) -> Result<TimestampMs> {
        Ok(fleet::now()?.plus_ms(self.offset_ms))
    }

    /// Its last instant.
    pub fn end(&self) -> TimestampMs {
        self.start.plus_ms(HOUR_MS - 1)
    }
}

/// Pushes a full hour of every host into one partition of the log.
pub fn fill_hour(server: &Server, hosts: &[Host], feed: &Feed) -> Result<FullHour> {
    let start = fleet::now()?.hour().end();
    // The newest samples may be five minutes ahead, and the hour must not end until all are sent.
    let offset_ms = start.plus_ms(HOUR_MS - 4 * MINUTE_MS).ms_since(fleet::now()?);
    set_clock(server, offset_ms)?;
    let hour = FullHour { start, offset_ms };
    each(hosts.len(), |n| {
        let host = hosts.get(n).context("a host")?;
        for minute in 0..MINUTES {
            let body = feed.body(Sender { host: n as u64, start }, minute)?;
            let reply = host.push_frame(&body, hour.now()?)?;
            ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
        }
        Ok(())
    })?;
    Ok(hour)
}

/// Does something for every number below `count`, several at a time; what it gives is in order.
fn each<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|worker| {
                let mine = (worker..count).step_by(CONNECTIONS);
                scope.spawn(move || mine.map(|n| work(n).map(|given| (n, given))).collect::<Result<Vec<_>>>())
            })
            .collect();
        let ended =
            workers.into_iter().map(|ended| ended.join().map_err(|_| anyhow!("a worker panicked"))?);
        Ok::<_, anyhow::Error>(ended.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, given)| given).collect())
}
