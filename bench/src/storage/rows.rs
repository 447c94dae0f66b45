//! Rows written a push by the storages' own counts, shard and D1, alarms included: in the hour of a small fleet with
//! everything that follows of it, and under load.

use crate::{
    feed::{Feed, Sender},
    figure::{Figure, median},
    fleet::{self, Host},
    hooks::{rows_written, run_jobs, set_clock},
    open_loop::{Load, Outcome},
    rows::SCRAPE_ROWS,
};
use anyhow::{Result, ensure};
use edgewatch_shared::limits::{DAY_MS, HOUR_MS, MINUTE_MS};
use std::time::Duration;
use xtask::build::Bundle;

const SERIES: usize = 40;
/// Hosts that push once a minute: 4 pushes a second.
const IDLE_HOSTS: usize = 240;
const BUSY: Load = Load { connections: 64, per_second: 500.0, duration: Duration::from_secs(20) };

/// Both.
pub fn measure() -> Result<Vec<Figure>> {
    let (rows, outcome) = busy()?;
    let mut waits = outcome.waits_ms;
    waits.sort_by(f64::total_cmp);
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok(vec![
        Figure::new("rows_per_push_idle", idle()?, "rows"),
        Figure::new("rows_per_push_busy", rows, "rows"),
        Figure::new("busy_push_wait_ms_median", median(waits), "ms"),
        Figure::new("busy_push_wait_ms_p99", p99, "ms"),
    ])
}

/// A simulated hour of pushes one by one, its seal, and the copies in D1.
fn idle() -> Result<f64> {
    let feed = Feed::of_agent(SERIES)?;
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::TestHooks)?;
    let now = fleet::now()?;
    // A full hour to come, so that the pushes fill exactly one partition.
    let hour = now.hour().end().plus_ms(2 * HOUR_MS);
    let at = |minute: i64| hour.plus_ms(minute * MINUTE_MS);
    let put_clock = |minute: i64| set_clock(&server, at(minute).ms_since(fleet::now()?));
    // The first push of a host notes its series; an hour in the life of a host has none. It is sealed before.
    put_clock(-90)?;
    let hosts: Vec<Host> =
        (0..IDLE_HOSTS).map(|n| Host::enroll(&server, format!("rows-{n}"))).collect::<Result<_>>()?;
    let push_all = |minute: i64, number: u64| -> Result<()> {
        put_clock(minute)?;
        for (host, n) in hosts.iter().zip(0..) {
            let sender = Sender::whose_push_ends(n, number, at(minute));
            let reply = host.push_frame(&feed.body(sender, number)?, at(minute))?;
            ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
        }
        Ok(())
    };
    push_all(-90, 0)?;
    put_clock(-50)?;
    run_jobs(&server, 0)?;
    let before = rows_written(&server)?;
    for minute in 0..60 {
        push_all(minute, 1 + minute.unsigned_abs())?;
    }
    put_clock(65)?;
    run_jobs(&server, 0)?;
    let rows = rows_written(&server)? - before - SCRAPE_ROWS;
    server.stop()?;
    Ok(rows / (60.0 * hosts.len() as f64))
}

/// An open loop of pushes; seals are left out, which an hour at this pace has a few of for 1.8 million pushes.
fn busy() -> Result<(f64, Outcome)> {
    let feed = Feed::of_agent(SERIES)?;
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::Release)?;
    let hosts: Vec<Host> =
        (0..BUSY.connections).map(|n| Host::enroll(&server, format!("busy-{n}"))).collect::<Result<_>>()?;
    let start = fleet::now()?.plus_ms(-7 * DAY_MS);
    let push = |connection: usize, number: u64| {
        let body = feed.body(Sender { host: connection as u64, start }, number)?;
        let reply = hosts[connection].push_frame(&body, fleet::now()?)?;
        ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
        Ok(())
    };
    // The first push of a host notes its series.
    (0..hosts.len()).try_for_each(|connection| push(connection, 0))?;
    let before = rows_written(&server)?;
    let outcome = BUSY.run(|connection, number| push(connection, number + 1))?;
    outcome.check()?;
    let rows = rows_written(&server)? - before - SCRAPE_ROWS;
    server.stop()?;
    Ok((rows / outcome.answered as f64, outcome))
}
