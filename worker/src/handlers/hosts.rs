//! Hosts: listed with how they are doing, revoked, deleted.

use super::Ask;
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{
        catalogue::{Catalogue, HostRow, SummaryEntry},
        shards,
    },
};
use edgewatch_engine::{
    call::{self, HostReport, Request},
    head::ShardNumber,
    registry::HostState,
};
use edgewatch_shared::{
    ErrorCode, HostId, HostName, TimestampMs,
    limits::PUSH_INTERVAL_MS,
    wire::{HostEntry, HostNamesReply, HostStatus, HostsReply},
};
use std::collections::{BTreeMap, BTreeSet};

/// `GET /api/v1/hosts`: what the shards say; for a shard that does not answer, what the catalogue remembers.
pub async fn list(ask: Ask<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::json(200, &listing(&ask).await?))
}

/// `GET /api/v1/metrics/hosts`: their names.
pub async fn names(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let names: BTreeSet<_> = listing(&ask).await?.hosts.into_iter().map(|host| host.name).collect();
    Ok(Reply::json(200, &HostNamesReply { hosts: names.into_iter().collect() }))
}

/// `DELETE /api/v1/hosts/{host}`: its key dies, it is listed no more; its samples go with their retention.
pub async fn delete(ask: Ask<'_>) -> Result<Reply, ApiError> {
    change(&ask, Request::Delete).await
}

/// `POST /api/v1/hosts/{host}/revoke`: its key dies at once; it stays listed.
pub async fn revoke(ask: Ask<'_>) -> Result<Reply, ApiError> {
    change(&ask, Request::Revoke).await
}

async fn change(ask: &Ask<'_>, request: impl Fn(HostId) -> Request) -> Result<Reply, ApiError> {
    let (id, shard) = one_host(ask).await?;
    match shards::ask(ask.env, shard, request(id)).await {
        Ok(_) => Ok(Reply::empty(204)),
        Err(error) if error.code() == ErrorCode::UnknownHost => {
            Err(ApiError::new(ErrorCode::NotFound, format!("no host {id}")))
        }
        Err(error) => Err(error),
    }
}

/// The host that the path names, by id or by a name that only one host has.
async fn one_host(ask: &Ask<'_>) -> Result<(HostId, ShardNumber), ApiError> {
    let text = ask.matched.segment.as_deref().unwrap_or_default();
    let no_host = || ApiError::new(ErrorCode::NotFound, format!("no host {text:?}"));
    // By its id a stolen key is stopped without the catalogue.
    if let Ok(id) = text.parse::<HostId>() {
        return Ok((id, id.home_shard()));
    }
    let name: HostName = text.parse().map_err(|_| no_host())?;
    let placements = Catalogue::open(ask.env).await?.placements_of(&name).await?;
    match placements.as_slice() {
        [] => Err(no_host()),
        [one] => Ok((one.id, one.shard)),
        several => {
            let ids: Vec<_> = several.iter().map(|placement| placement.id.to_string()).collect();
            let message = format!("several hosts are called {text:?}; use an id: {}", ids.join(", "));
            Err(ApiError::new(ErrorCode::InvalidParameter, message))
        }
    }
}

async fn listing(ask: &Ask<'_>) -> Result<HostsReply, ApiError> {
    let catalogue = Catalogue::open(ask.env).await?;
    let mut shards: BTreeSet<ShardNumber> = catalogue.shards().await?.into_iter().collect();
    // Hosts pushed by name may be so new that the catalogue has not heard of them.
    shards.insert(HostId::NAMED_SHARD);
    let mut hosts: BTreeMap<HostId, HostEntry> = BTreeMap::new();
    let mut silent = BTreeSet::new();
    let mut warnings = Vec::new();
    for (shard, answer) in shards::ask_all(ask.env, shards.into_iter().collect(), &Request::Hosts).await {
        match answer {
            Ok(call::Reply::Hosts(reports)) => {
                hosts.extend(reports.into_iter().map(|report| (report.record.id, reported(report, ask.now))));
            }
            _ => {
                silent.insert(shard);
                warnings.push(format!(
                    "shard {shard} did not answer: its hosts are shown as of their last summary"
                ));
            }
        }
    }
    if !silent.is_empty() {
        let summaries = catalogue.summaries().await?;
        for row in catalogue.hosts().await?.into_iter().filter(|row| silent.contains(&row.id.home_shard())) {
            let summary = summaries.get(&row.id).cloned();
            hosts.insert(row.id, remembered(row, summary, ask.now));
        }
    }
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(HostsReply { hosts, warnings })
}

fn reported(report: HostReport, now: TimestampMs) -> HostEntry {
    let last_seen = report.newest.as_ref().map(|newest| newest.last_seen);
    HostEntry {
        id: report.record.id,
        name: report.record.name.to_string(),
        status: HostStatus::at(now, last_seen, report.pace_ms),
        last_seen: last_seen.map(TimestampMs::to_rfc3339),
        revoked: report.record.state == HostState::Revoked,
        facts: report.record.facts,
        tags: report.record.tags,
        newest: report.newest.map(|newest| newest.values).unwrap_or_default(),
    }
}

fn remembered(row: HostRow, summary: Option<SummaryEntry>, now: TimestampMs) -> HostEntry {
    let last_seen = summary.as_ref().map(|summary| summary.last_seen_ms);
    HostEntry {
        id: row.id,
        name: row.name.to_string(),
        status: HostStatus::at(now, last_seen, PUSH_INTERVAL_MS),
        last_seen: last_seen.map(TimestampMs::to_rfc3339),
        revoked: row.revoked != 0,
        facts: serde_json::from_str(&row.facts).unwrap_or_default(),
        tags: serde_json::from_str(&row.tags).unwrap_or_default(),
        newest: summary.map(|summary| summary.values).unwrap_or_default(),
    }
}
