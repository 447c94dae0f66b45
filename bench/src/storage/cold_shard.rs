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
use std::{thread, time::Instant};
use xtask::{
    build::Bundle,
    server::{Options, Server},
};

const HOSTS: usize = 256;
const SERIES: usize = 60;
const MINUTES: u64 = 60;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 15;
const SHARD: u16 = 0;

/// Medians over evictions.
pub fn measure() -> Result<Vec<Figure>> {
    let feed = Feed::of_agent(SERIES)?;
    let state = tempfile::tempdir()?;
    let server = Server::start(&Options { bundle: Bundle::TestHooks, ..Options::new(state.path()) })?;
    let hosts = enrolled(&server, HOSTS, "cold")?;
    let end = fill_hour(&server, &hosts, &feed)?;
    let (mut firsts, mut alls, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        evict_now(&server, SHARD)?;
        let start = Instant::now();
        let host = hosts.get(round * HOSTS / ROUNDS).context("a host")?;
        let points = host.query(&server, feed.name(), end)?;
        firsts.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(points >= 59, "the query of a full hour found {points} minutes");
    }
    for _ in 0..3 {
        evict_now(&server, SHARD)?;
        let start = Instant::now();
        for host in &hosts {
            host.query(&server, feed.name(), end)?;
        }
        alls.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for push in 0..3 {
        evict_now(&server, SHARD)?;
        let sender = Sender { host: 0, start: first_reading(end) };
        hosts[0].push_frame(&feed.body(sender, MINUTES + push)?, end)?;
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

/// Ends a shard's object and waits until the next one answers.
pub fn evict_now(server: &Server, shard: u16) -> Result<()> {
    evict(server, shard)?;
    // The object ends a moment after it has said so; calls that it cuts off fail.
    for _ in 0..200 {
        if hooks::shard(server, shard).is_ok_and(|shard| shard.heads_bytes == 0) {
            return Ok(());
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    Err(anyhow!("shard {shard} keeps its heads"))
}

/// Pushes a full hour of every host into one partition of the log; returns its end, where the server's clock stands.
pub fn fill_hour(server: &Server, hosts: &[Host], feed: &Feed) -> Result<TimestampMs> {
    let hour = fleet::now()?.hour().end();
    let end = hour.plus_ms(HOUR_MS - 1_000);
    // Two minutes may pass until all are sent, and the hour must not end.
    set_clock(server, end.plus_ms(-4 * MINUTE_MS).ms_since(fleet::now()?))?;
    each(hosts.len(), |n| {
        let host = hosts.get(n).context("a host")?;
        for minute in 0..MINUTES {
            let sender = Sender { host: n as u64, start: first_reading(end) };
            let reply = host.push_frame(&feed.body(sender, minute)?, end)?;
            ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
        }
        Ok(())
    })?;
    Ok(end)
}

fn first_reading(end: TimestampMs) -> TimestampMs {
    end.hour().start()
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
