//! `POST /api/v1/hosts/{host}/move` and `…/split`: what a host sends goes to other shards from now on; what it sent
//! stays where it is, and queries read both.

use super::{Ask, hosts::one_host, parameters::invalid};
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{catalogue::Catalogue, shards},
};
use edgewatch_engine::{
    call::{self, Request, ShardError},
    head::ShardNumber,
    moves::{Destination, Luggage},
    split,
};
use edgewatch_shared::{
    ErrorCode, HostId,
    limits::{SHARD_HOSTS_MAX, SPLIT_SHARDS_MAX},
    wire::{MoveBody, SplitBody},
};
use std::collections::BTreeSet;

/// Moves a host. Cut off anywhere, it is carried on by the host's next push, or by the same call again: the catalogue
/// names the new shard before anything goes there, and the old one keeps what the host takes along.
pub async fn move_host(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let MoveBody { shard: to } = ask.json()?;
    let host = one_host(&ask).await?;
    let (from, number) = match locate(&ask, host).await? {
        (from, Ok(number)) => (from, number),
        (from, Err(error)) => return Err(ApiError::of_shard(from, error)),
    };
    if from == to {
        redirect(&ask, host, number, to).await?;
        return Ok(Reply::empty(204));
    }
    check_room(&ask, host, to).await?;
    Catalogue::open(ask.env).await?.place(host, &[(to, String::new())], ask.now).await?;
    let luggage = leave(&ask, host, from, Destination::Shard(to)).await?;
    let number = luggage.number;
    let arrive = Request::Arrive { luggage, to: Destination::Shard(to) };
    shards::ask(ask.env, to, arrive).await?;
    redirect(&ask, host, number, to).await?;
    Ok(Reply::empty(204))
}

/// Spreads a host's series over shards.
pub async fn split_host(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let SplitBody { shards } = ask.json()?;
    let mut distinct = BTreeSet::new();
    distinct.extend(shards.iter().copied());
    if distinct.len() != shards.len() || !(2..=SPLIT_SHARDS_MAX).contains(&shards.len()) {
        return Err(invalid(format!("`shards` names 2 to {SPLIT_SHARDS_MAX} shards, each once")));
    }
    let host = one_host(&ask).await?;
    let from = match locate(&ask, host).await? {
        (from, Ok(_)) => from,
        (from, Err(ShardError::Split(before))) if before == shards => from,
        (from, Err(error)) => return Err(ApiError::of_shard(from, error)),
    };
    for shard in shards.iter().filter(|shard| **shard != from) {
        check_room(&ask, host, *shard).await?;
    }
    Catalogue::open(ask.env).await?.place(host, &split::parts_of_series(&shards), ask.now).await?;
    let to = Destination::Shards(shards.clone());
    let luggage = leave(&ask, host, from, to.clone()).await?;
    for shard in shards.into_iter().filter(|shard| *shard != from) {
        let arrive = Request::Arrive { luggage: luggage.clone(), to: to.clone() };
        shards::ask(ask.env, shard, arrive).await?;
    }
    Ok(Reply::empty(204))
}

/// Where a host lives, and the number of its last move.
async fn locate(ask: &Ask<'_>, host: HostId) -> Result<(ShardNumber, Result<u64, ShardError>), ApiError> {
    let (shard, answer, _) = shards::ask_host(ask.env, host, Request::Locate(host)).await?;
    match answer {
        Ok(call::Reply::Located(number)) => Ok((shard, Ok(number))),
        Ok(_) => Err(unexpected()),
        Err(ShardError::UnknownHost) => Err(ApiError::new(ErrorCode::NotFound, format!("no host {host}"))),
        Err(error) => Ok((shard, Err(error))),
    }
}

async fn check_room(ask: &Ask<'_>, host: HostId, shard: ShardNumber) -> Result<(), ApiError> {
    let call::Reply::Hosts(hosts) = shards::ask(ask.env, shard, Request::Hosts).await? else {
        return Err(unexpected());
    };
    if hosts.len() >= SHARD_HOSTS_MAX && hosts.iter().all(|other| other.record.id != host) {
        let message = format!("shard {shard} has its full number of hosts: choose another");
        return Err(ApiError::new(ErrorCode::ShardFull, message));
    }
    Ok(())
}

async fn leave(ask: &Ask<'_>, host: HostId, from: ShardNumber, to: Destination) -> Result<Luggage, ApiError> {
    match shards::ask(ask.env, from, Request::Leave { host, to }).await? {
        call::Reply::Left(Some(luggage)) => Ok(luggage),
        _ => Err(unexpected()),
    }
}

/// Lets the shard that pushes come to first know where the host is now.
async fn redirect(ask: &Ask<'_>, host: HostId, number: u64, to: ShardNumber) -> Result<(), ApiError> {
    let home = host.home_shard();
    if home == to {
        return Ok(());
    }
    shards::ask(ask.env, home, Request::Redirect { host, number, to }).await.map(|_| ())
}

fn unexpected() -> ApiError {
    ApiError::internal("a shard answered with something else than it was asked")
}
