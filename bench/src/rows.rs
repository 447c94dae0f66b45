//! Rows written a push, over a simulated hour with its seal: shard and D1, alarms included, by the storages' own counts.

use crate::{
    figure::Figure,
    fleet::{self, Host},
    hooks::{rows_written, run_jobs, set_clock},
};
use anyhow::Result;
use edgewatch_shared::limits::{HOUR_MS, MINUTE_MS};
use xtask::{
    build::Bundle,
    server::{Options, Server},
};

/// What the first scrape of a measurement writes itself, after it has counted: the shard's ledger.
pub const SCRAPE_ROWS: f64 = 1.0;

/// One host, ten hosts, and ten that send 16 times the samples.
pub fn measure() -> Result<Vec<Figure>> {
    Ok(vec![
        Figure::new("rows_per_push", hour(10, 40)?, "rows"),
        Figure::new("rows_per_push_6000_samples", hour(10, 1_000)?, "rows"),
        Figure::new("rows_per_push_single_host", hour(1, 40)?, "rows"),
    ])
}

/// An hour of pushes by some hosts, each with `series` × 6 samples, and what follows of it.
fn hour(hosts: usize, series: i64) -> Result<f64> {
    let state = tempfile::tempdir()?;
    let server = Server::start(&Options { bundle: Bundle::TestHooks, ..Options::new(state.path()) })?;
    let start = fleet::now()?;
    // A full hour to come, so that the pushes fill exactly one partition.
    let offset_ms = 3 * HOUR_MS - start.0.rem_euclid(HOUR_MS);
    // The first push of a host notes its series; an hour in the life of a host has none. It is sealed before.
    set_clock(&server, offset_ms - 90 * MINUTE_MS)?;
    let hosts: Vec<Host> =
        (0..hosts).map(|n| Host::enroll(&server, format!("rows-{n}"))).collect::<Result<_>>()?;
    push_all(&server, &hosts, series, offset_ms, -90)?;
    set_clock(&server, offset_ms - 50 * MINUTE_MS)?;
    run_jobs(&server, 0)?;
    let before = rows_written(&server)?;
    let minutes = 60;
    for minute in 0..minutes {
        push_all(&server, &hosts, series, offset_ms, minute)?;
    }
    set_clock(&server, offset_ms + HOUR_MS + 5 * MINUTE_MS)?;
    run_jobs(&server, 0)?;
    let rows = rows_written(&server)? - before - SCRAPE_ROWS;
    server.stop()?;
    Ok(rows / (minutes as f64 * hosts.len() as f64))
}

fn push_all(server: &Server, hosts: &[Host], series: i64, offset_ms: i64, minute: i64) -> Result<()> {
    let offset_ms = offset_ms + minute * MINUTE_MS;
    set_clock(server, offset_ms)?;
    for host in hosts {
        let now = fleet::now()?.plus_ms(offset_ms);
        host.push(&fleet::body(series, 6, now, minute)?, now)?;
    }
    Ok(())
}
