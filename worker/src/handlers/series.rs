//! `GET /api/v1/metrics/series`: which series a host has, and when it sent them.

use super::{
    Ask,
    parameters::{invalid, labels},
};
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{
        placement::{self, Asked},
        shards,
    },
};
use edgewatch_engine::{
    call::{self, Read, Request},
    head::ShardNumber,
    series_registry::{SeriesSpan, merged_spans},
};
use edgewatch_shared::{
    TimestampMs,
    name::stored_name,
    wire::{SeriesEntry, SeriesReply},
};

/// Series of all hosts that have the name, in order of name and labels.
pub async fn list(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let host = ask.parameter("host").ok_or_else(|| invalid("`host` is missing: host, name"))?;
    let name = ask.parameter("name").map(|name| stored_name(&name)).transpose();
    let name = name.map_err(|error| invalid(format!("name: {error}")))?;
    let read = Read {
        hosts: Vec::new(),
        names: name.into_iter().collect(),
        labels: labels(&ask),
        from: TimestampMs(i64::MIN),
        to: TimestampMs(i64::MAX),
        evaluation: None,
        is_partial: false,
    };
    let mut spans = Vec::new();
    let mut asked = Asked::default();
    let mut round = asked.further(placement::by_shard(placement::of_host(ask.env, &host).await?))?;
    while !round.is_empty() {
        let mut named = Vec::new();
        for (shard, hosts) in round {
            let reply = of_shard(&ask, shard, Read { hosts, ..read.clone() }).await?;
            spans.extend(reply.series);
            named.extend(reply.elsewhere.into_iter().map(|(shard, host)| (shard, vec![host])));
        }
        round = asked.further(named)?;
    }
    let entry = |SeriesSpan { series, first, last }| SeriesEntry {
        name: series.name,
        labels: series.labels,
        first: first.start().to_rfc3339(),
        last: last.start().to_rfc3339(),
    };
    let series: Vec<_> = merged_spans(spans.into_iter()).into_iter().map(entry).collect();
    let suspicion = if series.is_empty() { placement::suspicion(ask.env).await } else { None };
    Ok(Reply::json(200, &SeriesReply { host, series, warnings: suspicion.into_iter().collect() }))
}

async fn of_shard(ask: &Ask<'_>, shard: ShardNumber, read: Read) -> Result<call::SeriesReply, ApiError> {
    match shards::ask(ask.env, shard, Request::Series(read)).await? {
        call::Reply::Series(reply) => Ok(reply),
        _ => Err(ApiError::internal("a shard listed something else than series")),
    }
}
