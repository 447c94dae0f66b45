//! What a day of a shard uses, counted by Edgewatch itself in two simulated days, one with few hosts and one with
//! more: pushes one by one, every hour's seal, the day's compaction, and the clearing up after it.

use super::plan::Law;
use crate::{
    feed::{Feed, Sender},
    fleet::{self, Host},
    hooks::{counter, run_jobs, set_clock},
};
use anyhow::{Result, ensure};
use edgewatch_engine::usage::Resource;
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS},
};
use xtask::{build::Bundle, server::Server};

const FEW_HOSTS: usize = 2;
const MORE_HOSTS: usize = 12;
const SERIES: usize = 70;
/// What looking at the counters uses itself: a request, and the row of the ledger that it stores.
const COUNTED: [(Resource, &str, f64); 6] = [
    (Resource::WorkerRequests, "edgewatch_batches_ingested_total", 0.0),
    (Resource::ObjectRequests, "edgewatch_object_requests_total", 1.0),
    (Resource::ObjectRowsWritten, "edgewatch_storage_rows_written_total{store=\"shard\"}", 1.0),
    (Resource::CatalogueRowsWritten, "edgewatch_storage_rows_written_total{store=\"d1\"}", 0.0),
    (Resource::BlobWrites, "edgewatch_r2_operations_total{class=\"a\"}", 0.0),
    (Resource::BlobReads, "edgewatch_r2_operations_total{class=\"b\"}", 0.0),
];

/// The law of each resource.
pub fn measure() -> Result<Vec<(Resource, Law)>> {
    let (few, more) = (day(FEW_HOSTS)?, day(MORE_HOSTS)?);
    let pushes = |hosts: usize| hosts as f64 * (DAY_MS / MINUTE_MS) as f64;
    let laws = COUNTED.iter().zip(few).zip(more).map(|(((resource, ..), few), more)| {
        (*resource, Law::through((pushes(FEW_HOSTS), few), (pushes(MORE_HOSTS), more)))
    });
    Ok(laws.collect())
}

/// What a day of so many hosts uses, in the order of [`COUNTED`].
fn day(hosts: usize) -> Result<Vec<f64>> {
    let feed = Feed::of_agent(SERIES)?;
    let state = tempfile::tempdir()?;
    let server = fleet::server(state.path(), Bundle::TestHooks)?;
    let midnight = fleet::now()?.day().end();
    let at = |minute: i64| midnight.plus_ms(minute * MINUTE_MS);
    let put_clock = |minute: i64| set_clock(&server, at(minute).ms_since(fleet::now()?));
    put_clock(-61)?;
    let hosts: Vec<Host> =
        (0..hosts).map(|n| Host::enroll(&server, format!("cost-{n}"))).collect::<Result<_>>()?;
    // The first push of a host brings its series list; a day in the life of a host has none. It is sealed before.
    push_all(&hosts, &feed, at(-61), 0)?;
    put_clock(-50)?;
    run_jobs(&server, 0)?;
    let before = counted(&server)?;
    let mut alarms = 0.0;
    for minute in 0..1_440 {
        put_clock(minute)?;
        push_all(&hosts, &feed, at(minute), 1 + minute.unsigned_abs())?;
        if minute % 60 == 10 {
            run_jobs(&server, 0)?;
            alarms += 1.0;
        }
    }
    // The last hour's seal, the day's compaction, and the end of what it has replaced.
    for hour in 0..4 {
        put_clock(1_440 + 15 + hour * HOUR_MS / MINUTE_MS)?;
        run_jobs(&server, 0)?;
        alarms += 1.0;
    }
    let after = counted(&server)?;
    server.stop()?;
    let used = COUNTED.iter().zip(before).zip(after);
    let used = used.map(|(((resource, _, by_looking), before), after)| {
        // The hook that has jobs done is no call that is counted; the alarm that it stands for is one.
        let alarms = if *resource == Resource::ObjectRequests { alarms } else { 0.0 };
        after - before - by_looking + alarms
    });
    Ok(used.collect())
}

fn push_all(hosts: &[Host], feed: &Feed, now: TimestampMs, number: u64) -> Result<()> {
    for (host, n) in hosts.iter().zip(0..) {
        let reply = host.push_frame(&feed.body(Sender::whose_push_ends(n, number, now), number)?, now)?;
        ensure!(reply.ingested == feed.samples_per_push(), "{reply:?}");
    }
    Ok(())
}

fn counted(server: &Server) -> Result<Vec<f64>> {
    COUNTED.iter().map(|(_, name, _)| counter(server, name)).collect()
}
