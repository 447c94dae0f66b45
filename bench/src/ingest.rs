//! How many samples a second go through workerd, durable, at 240 samples a push.

use crate::{
    figure::{Figure, median},
    fleet::{self, Host},
    process::cpu_seconds,
};
use anyhow::{Result, anyhow};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use xtask::server::{Options, Server};

const CONNECTIONS: usize = 16;
const SERIES: i64 = 40;
const READINGS: i64 = 6;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

/// Samples a second by the wall and by workerd's processor time; medians of rounds, after one to warm up.
pub fn measure() -> Result<Vec<Figure>> {
    let state = tempfile::tempdir()?;
    let server = Server::start(&Options::new(state.path()))?;
    let hosts: Vec<Host> =
        (0..CONNECTIONS).map(|n| Host::enroll(&server, format!("ingest-{n}"))).collect::<Result<_>>()?;
    round(&server, &hosts)?;
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&server, &hosts)).collect::<Result<_>>()?;
    server.stop()?;
    let by = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
    Ok(vec![
        Figure::new("ingest_samples_per_s", by(|round| round.samples / round.wall_s), "1/s"),
        Figure::new("ingest_samples_per_s_per_core", by(|round| round.samples / round.cpu_s), "1/s"),
        Figure::new("ingest_pushes_per_s", by(|round| round.pushes / round.wall_s), "1/s"),
    ])
}

struct Round {
    samples: f64,
    pushes: f64,
    wall_s: f64,
    cpu_s: f64,
}

fn round(server: &Server, hosts: &[Host]) -> Result<Round> {
    let workerd = server.pids()?.workerd;
    let cpu = || workerd.iter().map(|pid| cpu_seconds(*pid)).sum::<Result<f64>>();
    let (samples, pushes, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (cpu_before, start) = (cpu()?, Instant::now());
    thread::scope(|scope| {
        let pushers: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| {
                let (samples, pushes, is_over) = (&samples, &pushes, &is_over);
                scope.spawn(move || push_until(host, number, is_over, samples, pushes))
            })
            .collect();
        thread::sleep(ROUND);
        is_over.store(true, Ordering::Relaxed);
        pushers.into_iter().try_for_each(|pusher| pusher.join().map_err(|_| anyhow!("a pusher panicked"))?)
    })?;
    Ok(Round {
        samples: samples.into_inner() as f64,
        pushes: pushes.into_inner() as f64,
        wall_s: start.elapsed().as_secs_f64(),
        cpu_s: cpu()? - cpu_before,
    })
}

/// Pushes one body after the other; each is made anew, as an agent would.
fn push_until(
    host: &Host,
    number: usize,
    is_over: &AtomicBool,
    samples: &AtomicU64,
    pushes: &AtomicU64,
) -> Result<()> {
    let mut seed = i64::try_from(number)? * 1_000;
    while !is_over.load(Ordering::Relaxed) {
        let now = fleet::now()?;
        let body = fleet::body(SERIES, READINGS, now, seed)?;
        samples.fetch_add(host.push(&body, now)?, Ordering::Relaxed);
        pushes.fetch_add(1, Ordering::Relaxed);
        seed += 1;
    }
    Ok(())
}
