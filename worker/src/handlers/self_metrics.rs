//! `GET /metrics`: Edgewatch's own counters in Prometheus' text format 0.0.4.
//!
//! Only what is durable is shown, so no counter jumps back. A scrape with a read
//! token makes pending counts durable first (one row a shard); an anonymous one
//! shows what was durable anyway, so that nobody can make us write, and is kept for
//! half a minute: another instance may show an older one, but none as old as that.

use super::Ask;
use crate::{
    api_error::ApiError,
    auth::Caller,
    reply::Reply,
    routes,
    store::{catalogue::Catalogue, shards},
};
use edgewatch_engine::{
    call::{self, Request},
    counters::{Counter, Counters},
};
use edgewatch_shared::{ErrorCode, RefusalReason, TimestampMs, token::Scope};
use std::{cell::RefCell, fmt::Write};

/// Milliseconds for which what is shown without a token is kept: a scrape asks every shard, and whoever has no token must
/// not use up the day's requests.
const CACHED_MS: i64 = 30_000;

thread_local! {
    /// What was shown last without a token, and when it was asked for; `None` if something did not answer.
    static SHOWN: RefCell<Option<(TimestampMs, Option<String>)>> = const { RefCell::new(None) };
}

/// The counters of all shards, summed: for a reader as of now, for others at most 30 s old.
pub async fn scrape(ask: Ask<'_>) -> Result<Reply, ApiError> {
    if matches!(&ask.caller, Caller::Holder(claims) if claims.allows(Scope::Read)) {
        return Ok(shown(sum(&ask, true).await?));
    }
    let is_fresh = |at: TimestampMs| (0..CACHED_MS).contains(&ask.now.ms_since(at));
    match SHOWN.with_borrow(|shown| shown.clone()) {
        Some((at, Some(text))) if is_fresh(at) => Ok(shown(text)),
        Some((at, None)) if is_fresh(at) => {
            let what = "a shard or the catalogue";
            Err(ApiError::unavailable(
                ErrorCode::ShardUnavailable,
                what,
                "when it was last asked for /metrics",
            ))
        }
        _ => {
            let text = sum(&ask, false).await;
            SHOWN.set(Some((ask.now, text.as_ref().ok().cloned())));
            Ok(shown(text?))
        }
    }
}

fn shown(text: String) -> Reply {
    Reply::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// Sums the counters of all shards; one that does not answer is an error, since a sum without it would jump back.
async fn sum(ask: &Ask<'_>, store: bool) -> Result<String, ApiError> {
    let shards = Catalogue::open(ask.env).await?.shards().await?;
    let mut totals = Counters::default();
    for (_, answer) in shards::ask_all(ask.env, shards, &Request::Counters(store)).await {
        if let call::Reply::Counters(counters) = answer? {
            totals.merge(&counters);
        }
    }
    Ok(exposition(&totals))
}

fn exposition(totals: &Counters) -> String {
    let mut text = String::new();
    let version = env!("CARGO_PKG_VERSION");
    family(&mut text, "edgewatch_build_info", "gauge", "Version of the Worker.");
    line(&mut text, "edgewatch_build_info", &format!("{{version=\"{version}\"}}"), 1);
    family(&mut text, "edgewatch_requests_total", "counter", "Requests answered, by route and status.");
    for (counter, count) in totals.iter() {
        if let Counter::Requests { route, status } = counter {
            let (method, path) = (routes::method(route), routes::label(route));
            let labels = format!("{{method=\"{method}\",route=\"{path}\",status=\"{status}\"}}");
            line(&mut text, "edgewatch_requests_total", &labels, count);
        }
    }
    family(
        &mut text,
        "edgewatch_refused_total",
        "counter",
        "Pushes and samples that were not stored, by reason.",
    );
    for reason in RefusalReason::ALL {
        let labels = format!("{{reason=\"{}\"}}", reason.as_str());
        line(&mut text, "edgewatch_refused_total", &labels, totals.get(Counter::Refused(*reason)));
    }
    let plain = [
        ("edgewatch_samples_ingested_total", "Samples made durable.", Counter::SamplesIngested),
        ("edgewatch_batches_ingested_total", "Batches made durable.", Counter::BatchesIngested),
        (
            "edgewatch_samples_repeated_total",
            "Samples that came again and were stored before.",
            Counter::SamplesRepeated,
        ),
        ("edgewatch_seals_total", "Hours of the log that became blocks.", Counter::Seals),
        ("edgewatch_seal_failures_total", "Seals that failed and were put off.", Counter::SealFailures),
        ("edgewatch_rows_set_aside_total", "Pushes of the log that no block can hold.", Counter::SetAside),
        ("edgewatch_compactions_total", "Days that became day blocks and rollups.", Counter::Compactions),
        (
            "edgewatch_damaged_blocks_total",
            "Blocks that a compaction found damaged and left as they are.",
            Counter::DamagedBlocks,
        ),
        (
            "edgewatch_corrupt_blocks_total",
            "Times that a query came upon a damaged block, or a damaged part of one.",
            Counter::CorruptBlocks,
        ),
        (
            "edgewatch_blocks_deleted_total",
            "Blocks that were deleted: replaced by others, or older than their retention.",
            Counter::BlocksDeleted,
        ),
        (
            "edgewatch_job_failures_total",
            "Uploads, compactions and deletions that failed and were put off.",
            Counter::JobFailures,
        ),
        (
            "edgewatch_catalogue_failures_total",
            "Copies to the catalogue that failed and were put off.",
            Counter::CatalogueFailures,
        ),
    ];
    for (name, help, counter) in plain {
        family(&mut text, name, "counter", help);
        line(&mut text, name, "", totals.get(counter));
    }
    let rows = "edgewatch_storage_rows_written_total";
    family(&mut text, rows, "counter", "Rows written, by the storage's own count, alarms included.");
    line(&mut text, rows, "{store=\"shard\"}", totals.get(Counter::ShardRowsWritten));
    line(&mut text, rows, "{store=\"d1\"}", totals.get(Counter::CatalogueRowsWritten));
    let rows = "edgewatch_storage_rows_read_total";
    family(&mut text, rows, "counter", "Rows read, by the storage's own count.");
    line(&mut text, rows, "{store=\"shard\"}", totals.get(Counter::ShardRowsRead));
    line(&mut text, rows, "{store=\"d1\"}", totals.get(Counter::CatalogueRowsRead));
    let operations = "edgewatch_r2_operations_total";
    family(&mut text, operations, "counter", "Operations of R2, by the class they are billed in.");
    line(&mut text, operations, "{class=\"a\"}", totals.get(Counter::BlobWrites));
    line(&mut text, operations, "{class=\"b\"}", totals.get(Counter::BlobReads));
    let requests = "edgewatch_object_requests_total";
    family(&mut text, requests, "counter", "Calls of shards, and their alarms.");
    line(&mut text, requests, "", totals.get(Counter::ObjectRequests));
    let awake = "edgewatch_object_milliseconds_total";
    family(&mut text, awake, "counter", "Milliseconds that shards were awake, estimated from above.");
    line(&mut text, awake, "", totals.get(Counter::ObjectMs));
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_is_exposed_under_a_family_of_its_own() {
        let mut totals = Counters::default();
        totals.add(Counter::Requests { route: 1, status: 202 }, 3);
        totals.add(Counter::Refused(RefusalReason::Malformed), 2);
        let text = exposition(&totals);
        assert!(text.contains(
            "edgewatch_requests_total{method=\"POST\",route=\"/api/v1/metrics\",status=\"202\"} 3\n"
        ));
        assert!(text.contains("edgewatch_refused_total{reason=\"malformed\"} 2\n"));
        assert!(text.contains("edgewatch_seals_total 0\n"));
        let families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(families.iter().collect::<BTreeSet<_>>().len(), families.len());
    }
}
