//! Hosts: listed with how they are doing, revoked, deleted.

use super::Ask;
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{
        catalogue::{Catalogue, SummaryEntry},
        shards,
    },
};
use edgewatch_engine::{
    call::{self, HostReport, Request, ShardError},
    head::ShardNumber,
    ledger::Newest,
    registry::{HostRecord, HostState},
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
    // In order already; several hosts may have one name.
    let mut hosts: Vec<_> = listing(&ask).await?.hosts.into_iter().map(|host| host.name).collect();
    hosts.dedup();
    Ok(Reply::json(200, &HostNamesReply { hosts }))
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
    let id = one_host(ask).await?;
    let (lives_on, answer, _) = shards::ask_host(ask.env, id, request(id)).await?;
    let mut is_known = is_known(lives_on, answer)?;
    // Its key is dead, for every push comes to that shard first. Where its series are spread over several, each lists it;
    // one to which it has not come yet is told when it does.
    let located = shards::exchange_with(ask.env, lives_on, Request::Locate(id)).await?;
    let spread = if let Err(ShardError::Split(shards)) = located { shards } else { Vec::new() };
    for shard in spread.into_iter().filter(|shard| *shard != lives_on) {
        is_known |= self::is_known(shard, shards::exchange_with(ask.env, shard, request(id)).await?)?;
    }
    if is_known {
        Ok(Reply::empty(204))
    } else {
        Err(ApiError::new(ErrorCode::NotFound, format!("no host {id}")))
    }
}

fn is_known(shard: ShardNumber, answer: Result<call::Reply, ShardError>) -> Result<bool, ApiError> {
    match answer {
        Ok(_) => Ok(true),
        Err(ShardError::UnknownHost) => Ok(false),
        Err(error) => Err(ApiError::of_shard(shard, error)),
    }
}

/// The host that the path names, by id or by a name that only one host has.
pub async fn one_host(ask: &Ask<'_>) -> Result<HostId, ApiError> {
    let text = ask.matched.segment.as_deref().unwrap_or_default();
    let no_host = || ApiError::new(ErrorCode::NotFound, format!("no host {text:?}"));
    // By its id a stolen key is stopped without the catalogue.
    if let Ok(id) = text.parse::<HostId>() {
        return Ok(id);
    }
    let name: HostName = text.parse().map_err(|_| no_host())?;
    let placements = Catalogue::open(ask.env).await?.placements_of(&name).await?;
    let mut ids = BTreeSet::new();
    ids.extend(placements.iter().map(|placement| placement.id));
    let mut ids = ids.into_iter();
    match (ids.next(), ids.len()) {
        (None, _) => Err(no_host()),
        (Some(only), 0) => Ok(only),
        (Some(first), _) => {
            let ids: Vec<_> = std::iter::once(first).chain(ids).map(|id| id.to_string()).collect();
            let message = format!("several hosts are called {text:?}; use an id: {}", ids.join(", "));
            Err(ApiError::new(ErrorCode::InvalidParameter, message))
        }
    }
}

/// What to say where shards have told the catalogue of hosts, and it knows none.
const LOST: &str = "the catalogue has lost the hosts that it was told of, and others may be missing here: \
                    `edgewatch rebuild-catalogue` tells it everything again";

async fn listing(ask: &Ask<'_>) -> Result<HostsReply, ApiError> {
    let catalogue = Catalogue::open(ask.env).await?;
    let shards = catalogue.shards().await?;
    let mut hosts: BTreeMap<HostId, HostEntry> = BTreeMap::new();
    let mut silent = Vec::new();
    let mut warnings = Vec::new();
    let mut is_told = false;
    let knows_one_shard = shards.len() == 1;
    for (shard, answer) in shards::ask_all(ask.env, shards, &Request::Hosts).await {
        match answer {
            Ok(call::Reply::Hosts(reports)) => {
                is_told |= reports.iter().any(|report| report.record.catalogued);
                reports.into_iter().for_each(|report| list_once(&mut hosts, report, ask.now));
            }
            _ => {
                silent.push(shard);
                warnings.push(format!(
                    "shard {shard} did not answer: its hosts are shown as of their last summary"
                ));
            }
        }
    }
    if !silent.is_empty() {
        let mut summaries = catalogue.summaries().await?;
        for record in catalogue.hosts_of(&silent).await? {
            let summary = summaries.remove(&record.id);
            // One that is spread over several shards was listed by another.
            hosts.entry(record.id).or_insert_with(|| remembered(record, summary, ask.now));
        }
    }
    if is_told && knows_one_shard && catalogue.is_empty().await? {
        warnings.push(LOST.to_owned());
    }
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(HostsReply { hosts, warnings })
}

/// A host whose series are spread over shards is listed by each: it was last seen by the latest.
fn list_once(hosts: &mut BTreeMap<HostId, HostEntry>, report: HostReport, now: TimestampMs) {
    let id = report.record.id;
    let mut entry = reported(report, now);
    if let Some(other) = hosts.remove(&id) {
        let (older, newer) = if entry.last_seen < other.last_seen { (entry, other) } else { (other, entry) };
        let revoked = older.revoked || newer.revoked;
        let mut newest = older.newest;
        newest.extend(newer.newest.clone());
        entry = HostEntry { revoked, newest, ..newer };
    }
    hosts.insert(id, entry);
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

fn remembered(record: HostRecord, summary: Option<SummaryEntry>, now: TimestampMs) -> HostEntry {
    let newest = summary.map(|entry| Newest { last_seen: entry.last_seen_ms, values: entry.values });
    reported(HostReport { record, newest, pace_ms: PUSH_INTERVAL_MS }, now)
}
