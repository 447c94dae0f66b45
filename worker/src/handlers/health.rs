//! `GET /healthz`: the Worker is there. `GET /readyz`: so is all it needs.

use super::Ask;
use crate::{
    reply::Reply,
    store::{blobs, catalogue::Catalogue, shards},
};
use edgewatch_engine::call::Request;
use edgewatch_shared::{HostId, TimestampMs};
use serde::Serialize;
use std::cell::Cell;

/// Milliseconds for which an answer is kept, so that probes cost next to nothing.
const CACHED_MS: i64 = 30_000;

thread_local! {
    static LAST: Cell<Option<(TimestampMs, Readiness)>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Serialize)]
struct Readiness {
    status: &'static str,
    version: &'static str,
    checks: Checks,
}

#[derive(Clone, Copy, Serialize)]
struct Checks {
    d1: &'static str,
    r2: &'static str,
    shard: &'static str,
}

/// Always 200.
pub fn health(ask: &Ask<'_>) -> Reply {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
        server_ms: TimestampMs,
    }
    Reply::json(200, &Health { status: "ok", version: env!("CARGO_PKG_VERSION"), server_ms: ask.now })
}

/// 200 if D1, R2 (where bound) and a shard answer, else 503; at most 30 s old.
pub async fn ready(ask: Ask<'_>) -> Result<Reply, crate::api_error::ApiError> {
    let is_fresh = |(at, _): &(TimestampMs, Readiness)| (0..CACHED_MS).contains(&ask.now.ms_since(*at));
    let readiness = match LAST.get().filter(is_fresh) {
        Some((_, readiness)) => readiness,
        None => {
            let readiness = check(&ask).await;
            LAST.set(Some((ask.now, readiness)));
            readiness
        }
    };
    Ok(Reply::json(if readiness.status == READY { 200 } else { 503 }, &readiness))
}

const READY: &str = "ready";

async fn check(ask: &Ask<'_>) -> Readiness {
    let d1 = match Catalogue::open(ask.env).await {
        Ok(catalogue) => catalogue.ping().await.is_ok(),
        Err(_) => false,
    };
    let r2 = match blobs::bucket(ask.env) {
        Some(bucket) => Some(blobs::ping(&bucket).await.is_ok()),
        None => None,
    };
    let shard = shards::ask(ask.env, HostId::NAMED_SHARD, Request::Ping).await.is_ok();
    let is_ready = d1 && r2 != Some(false) && shard;
    let word = |answers: bool| if answers { "ok" } else { "unavailable" };
    let checks = Checks { d1: word(d1), r2: r2.map_or("not bound", word), shard: word(shard) };
    let status = if is_ready { READY } else { "not ready" };
    Readiness { status, version: env!("CARGO_PKG_VERSION"), checks }
}
