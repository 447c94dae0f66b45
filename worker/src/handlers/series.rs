//! `GET /api/v1/metrics/series`: which series a host has, and when it sent them.

use super::{
    Ask,
    parameters::{invalid, labels},
};
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{placement, shards},
};
use edgewatch_engine::{
    call::{self, Read, Request},
    head::ShardNumber,
    series_registry::{SeriesSpan, merged_spans},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    name::stored_name,
    wire::{SeriesEntry, SeriesReply},
};
use futures_util::{StreamExt, stream};

/// Shards asked at the same time.
const SHARDS_AT_ONCE: usize = 6;

/// Series of all hosts that have the name, in order of name and labels.
pub async fn list(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let host = ask.parameter("host").ok_or_else(|| invalid("`host` is missing: host, name"))?;
    let name = ask.parameter("name").map(|name| stored_name(&name)).transpose();
    let name = name.map_err(|error| invalid(format!("name: {error}")))?;
    let labels = labels(&ask);
    let read = |hosts: Vec<HostId>| Read {
        hosts,
        names: name.iter().cloned().collect(),
        labels: labels.clone(),
        from: TimestampMs(i64::MIN),
        to: TimestampMs(i64::MAX),
        evaluation: None,
        is_partial: false,
    };
    let asked = placement::by_shard(placement::of_host(ask.env, &host).await?);
    let mut replies =
        stream::iter(asked).map(|(shard, hosts)| of_shard(&ask, shard, read(hosts))).buffered(SHARDS_AT_ONCE);
    let mut spans = Vec::new();
    while let Some(reply) = replies.next().await {
        spans.extend(reply?);
    }
    let entry = |SeriesSpan { series, first, last }| SeriesEntry {
        name: series.name,
        labels: series.labels,
        first: first.start().to_rfc3339(),
        last: last.start().to_rfc3339(),
    };
    let series = merged_spans(spans.into_iter()).into_iter().map(entry).collect();
    Ok(Reply::json(200, &SeriesReply { host, series }))
}

async fn of_shard(ask: &Ask<'_>, shard: ShardNumber, read: Read) -> Result<Vec<SeriesSpan>, ApiError> {
    match shards::ask(ask.env, shard, Request::Series(read)).await? {
        call::Reply::Series(spans) => Ok(spans.into_iter().map(|(_, span)| span).collect()),
        _ => Err(ApiError::internal("a shard listed something else than series")),
    }
}
