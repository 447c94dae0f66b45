//! Where the data of hosts is: what the catalogue says, and what shards say of each other.

use super::catalogue::{Catalogue, Placement};
use crate::api_error::ApiError;
use edgewatch_engine::head::ShardNumber;
use edgewatch_shared::{ErrorCode, HostId, HostName};
use std::collections::BTreeSet;
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

/// What to say where nothing was found, and the catalogue may be to blame.
pub async fn suspicion(env: &Env) -> Option<String> {
    let is_empty = Catalogue::open(env).await.ok()?.is_empty().await.ok()?;
    is_empty.then(|| {
        "the catalogue knows no host at all: if it was lost, `edgewatch rebuild-catalogue` tells it everything again".into()
    })
}

/// Rounds of shards that name further shards: a chain of moves is named whole by every shard of it.
const ROUNDS_MAX: usize = 4;

/// Which hosts shards were asked about.
#[derive(Default)]
pub struct Asked {
    pairs: BTreeSet<(ShardNumber, HostId)>,
    rounds: usize,
}

impl Asked {
    /// What of this has not been asked yet, and is now.
    pub fn further(
        &mut self,
        named: Vec<(ShardNumber, Vec<HostId>)>,
    ) -> Result<Vec<(ShardNumber, Vec<HostId>)>, ApiError> {
        let mut further = named;
        further.retain_mut(|(shard, hosts)| {
            hosts.retain(|host| self.pairs.insert((*shard, *host)));
            !hosts.is_empty()
        });
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > ROUNDS_MAX && !further.is_empty() {
            return Err(ApiError::internal("shards name ever more shards"));
        }
        Ok(further)
    }
}
