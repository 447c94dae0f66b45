//! A push on its way to where its host lives: one shard, or several that share its series.

use super::{CALLS_AT_ONCE, shards};
use crate::{api_error::ApiError, instance};
use edgewatch_engine::{
    call::{Push, Pushed, Reply, Request, ShardError},
    head::ShardNumber,
    moves::Destination,
    split,
};
use edgewatch_shared::{HostId, limits::PUSH_INTERVAL_MS};
use futures_util::{StreamExt, stream};
use worker::Env;

/// Has a push made durable: all of it, or what is left of it can be sent again.
pub async fn store(env: &Env, push: Push) -> Result<Pushed, ApiError> {
    let host = push.sender.host();
    match shards::ask_host(env, host, Request::Push(push)).await? {
        (_, Ok(reply), _) => pushed(reply),
        (home, Err(ShardError::Split(shards)), Request::Push(push)) => {
            store_parts(env, home, push, &shards).await
        }
        (shard, Err(error), _) => Err(ApiError::of_shard(shard, error)),
    }
}

/// Each part is known by the identity of the whole, so that a push of which one part failed can be sent again.
async fn store_parts(
    env: &Env,
    home: ShardNumber,
    push: Push,
    shards: &[ShardNumber],
) -> Result<Pushed, ApiError> {
    let host = push.sender.host();
    let outside_window = push.outside_window;
    let parts = instance::with(|instance| split::parts(push, shards, instance));
    let parts = parts.map_err(|error| ApiError::of_shard(home, error))?;
    if parts.is_empty() {
        let next_push_ms = u32::try_from(PUSH_INTERVAL_MS).unwrap_or(u32::MAX);
        return Ok(Pushed { refused: outside_window, next_push_ms, ..Pushed::default() });
    }
    let mut replies = stream::iter(parts)
        .map(|(shard, part)| store_part(env, host, (home, shards), shard, part))
        .buffer_unordered(CALLS_AT_ONCE);
    let mut sum = Pushed::default();
    while let Some(reply) = replies.next().await {
        let part = reply?;
        sum.ingested = sum.ingested.saturating_add(part.ingested);
        sum.repeated = sum.repeated.saturating_add(part.repeated);
        sum.refused = sum.refused.saturating_add(part.refused);
        // As slow as the slowest shard wishes.
        sum.next_push_ms = sum.next_push_ms.max(part.next_push_ms);
    }
    Ok(sum)
}

async fn store_part(
    env: &Env,
    host: HostId,
    (home, shards): (ShardNumber, &[ShardNumber]),
    shard: ShardNumber,
    part: Push,
) -> Result<Pushed, ApiError> {
    let answer = shards::exchange_with(env, shard, Request::Push(part.clone())).await?;
    let answer = match answer {
        Err(ShardError::UnknownHost) => {
            // The split was cut off before the host was known here.
            shards::bring(env, host, home, shard, Destination::Shards(shards.to_vec())).await?;
            shards::exchange_with(env, shard, Request::Push(part)).await?
        }
        answer => answer,
    };
    pushed(answer.map_err(|error| ApiError::of_shard(shard, error))?)
}

fn pushed(reply: Reply) -> Result<Pushed, ApiError> {
    match reply {
        Reply::Pushed(pushed) => Ok(pushed),
        _ => Err(ApiError::internal("a shard answered a push with something else")),
    }
}
