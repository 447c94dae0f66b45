//! Where the data of hosts is.

use super::catalogue::{Catalogue, Placement};
use crate::api_error::ApiError;
use edgewatch_engine::head::ShardNumber;
use edgewatch_shared::{ErrorCode, HostId, HostName};
use worker::Env;

/// Where a host's data is: by its id, or of all that ever had its name.
pub async fn of_host(env: &Env, host: &str) -> Result<Vec<Placement>, ApiError> {
    if let Ok(id) = host.parse::<HostId>() {
        return Ok(of_id(env, id).await);
    }
    let catalogue = Catalogue::open(env).await?;
    let name: HostName =
        host.parse().map_err(|error| ApiError::new(ErrorCode::InvalidParameter, format!("host: {error}")))?;
    let mut placements = catalogue.placements_of(&name).await?;
    if placements.is_empty() {
        // A host pushed by name may be so new that the catalogue has not heard of it.
        placements.push(Placement { id: HostId::of_name(&name), shard: HostId::NAMED_SHARD });
    }
    Ok(placements)
}

/// The catalogue knows which shards there are; without it the id's own is asked.
async fn of_id(env: &Env, id: HostId) -> Vec<Placement> {
    let known = match Catalogue::open(env).await {
        Ok(catalogue) => catalogue.placements_of_id(id).await,
        Err(error) => Err(error),
    };
    known.unwrap_or_else(|_| vec![Placement { id, shard: id.home_shard() }])
}

/// The hosts of each shard, in the order of the placements.
pub fn by_shard(placements: impl IntoIterator<Item = Placement>) -> Vec<(ShardNumber, Vec<HostId>)> {
    let mut shards: Vec<(ShardNumber, Vec<HostId>)> = Vec::new();
    for Placement { id, shard } in placements {
        match shards.iter_mut().find(|(other, _)| *other == shard) {
            Some((_, hosts)) => hosts.push(id),
            None => shards.push((shard, vec![id])),
        }
    }
    shards
}
