//! Samples a second of processor time through workerd, durable and fully checked, with heads that are kept current;
//! beside it Prometheus and VictoriaMetrics that take the very same samples by remote_write.

use crate::{
    feed::{Feed, Sender},
    figure::{Figure, median},
    fleet::{self, Host, client},
    peers::{
        Peer,
        prometheus::Prometheus,
        remote_write,
        victoria_metrics::{self, VictoriaMetrics},
    },
    process::cpu_seconds,
};
use anyhow::{Result, anyhow, ensure};
use edgewatch_shared::limits::DAY_MS;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use xtask::build::Bundle;

/// 240 samples a push with [`feed::READINGS`](crate::feed::READINGS).
const SERIES: usize = 40;
/// One host each.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// Pushes by which a host may be ahead of the slowest: Prometheus takes nothing that is an hour late.
const AHEAD_MAX: u64 = 20;

/// The figure that the cost of a fleet is reckoned with.
pub const CPU_MS_PER_PUSH: &str = "ingest_cpu_ms_per_push";

/// Medians of rounds, after one to warm up.
pub fn measure() -> Result<Vec<Figure>> {
    let feed = Feed::of_agent(SERIES)?;
    let ours = ours(&feed)?;
    let victoria = peer(&VictoriaMetrics::start()?.peer, &feed)?;
    let prometheus = peer(&Prometheus::start()?.peer, &feed)?;
    let by = |rounds: &[Round], pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
    let per_core: fn(&Round) -> f64 = |round| round.samples / round.cpu_s;
    Ok(vec![
        Figure::new("ingest_samples_per_s_per_core", by(&ours, per_core), "1/s")
            .beside(victoria_metrics::NAME, by(&victoria, per_core)),
        Figure::new("ingest_samples_per_s_per_core_prometheus", by(&prometheus, per_core), "1/s"),
        Figure::new("ingest_samples_per_s", by(&ours, |round| round.samples / round.wall_s), "1/s"),
        Figure::new("ingest_pushes_per_s", by(&ours, |round| round.pushes / round.wall_s), "1/s"),
        Figure::new(CPU_MS_PER_PUSH, by(&ours, |round| round.cpu_s * 1e3 / round.pushes), "ms"),
    ])
}

struct Round {
    samples: f64,
    pushes: f64,
    wall_s: f64,
    cpu_s: f64,
}

fn ours(feed: &Feed) -> Result<Vec<Round>> {
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::Release)?;
    let hosts: Vec<Host> =
        (0..CONNECTIONS).map(|n| Host::enroll(&server, format!("ingest-{n}"))).collect::<Result<_>>()?;
    let sent: Vec<AtomicU64> = (0..CONNECTIONS).map(|_| AtomicU64::new(0)).collect();
    let start = fleet::now()?.plus_ms(-7 * DAY_MS);
    let push = |connection: usize, number: u64| {
        let body = feed.body(Sender { host: connection as u64, start }, number)?;
        let reply = hosts[connection].push_frame(&body, fleet::now()?)?;
        ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
        Ok(())
    };
    let cpu = || server.pids()?.workerd.into_iter().map(cpu_seconds).sum();
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        // So that there is a head to keep current.
        for host in &hosts {
            host.query(&server, feed.name(), fleet::now()?)?;
        }
        rounds.push(round(feed, &sent, cpu, push)?);
    }
    server.stop()?;
    Ok(rounds.split_off(1))
}

fn peer(peer: &Peer, feed: &Feed) -> Result<Vec<Round>> {
    let sent: Vec<AtomicU64> = (0..CONNECTIONS).map(|_| AtomicU64::new(0)).collect();
    let start = fleet::now()?.plus_ms(-7 * DAY_MS);
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| client()).collect();
    let push = |connection: usize, number: u64| {
        let samples = feed.samples(Sender { host: connection as u64, start }, number);
        let body = remote_write::body(&samples, ("instance", &format!("ingest-{connection}")))?;
        let mut request = clients[connection].post(peer.at(remote_write::PATH));
        for (name, value) in remote_write::HEADERS {
            request = request.header(name, value);
        }
        let mut reply = request.send(&body)?;
        let (status, text) = (reply.status(), reply.body_mut().read_to_string()?);
        ensure!(status.is_success(), "remote_write was answered {status}: {text}");
        Ok(())
    };
    let cpu = || cpu_seconds(peer.pid());
    let rounds: Result<Vec<Round>> = (0..=ROUNDS).map(|_| round(feed, &sent, cpu, push)).collect();
    Ok(rounds?.split_off(1))
}

/// Every connection pushes one after the other; each push is made anew, as a host would. `sent` numbers them.
fn round(
    feed: &Feed,
    sent: &[AtomicU64],
    cpu: impl Fn() -> Result<f64>,
    push: impl Fn(usize, u64) -> Result<()> + Sync,
) -> Result<Round> {
    let total = || sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum::<u64>();
    let (cpu_before, before, start, push) = (cpu()?, total(), Instant::now(), &push);
    thread::scope(|scope| {
        let connections: Vec<_> = sent
            .iter()
            .enumerate()
            .map(|(connection, mine)| {
                scope.spawn(move || {
                    while start.elapsed() < ROUND {
                        let number = mine.load(Ordering::Relaxed);
                        let slowest = sent.iter().map(|sent| sent.load(Ordering::Relaxed)).min();
                        if slowest.is_some_and(|slowest| number > slowest + AHEAD_MAX) {
                            thread::sleep(Duration::from_millis(1));
                            continue;
                        }
                        push(connection, number)?;
                        mine.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<(), anyhow::Error>(())
                })
            })
            .collect();
        connections
            .into_iter()
            .try_for_each(|ended| ended.join().map_err(|_| anyhow!("a sender panicked"))?)
    })?;
    let (wall_s, pushes) = (start.elapsed().as_secs_f64(), total() - before);
    let samples = (pushes * feed.samples_per_push()) as f64;
    Ok(Round { samples, pushes: pushes as f64, wall_s, cpu_s: cpu()? - cpu_before })
}
