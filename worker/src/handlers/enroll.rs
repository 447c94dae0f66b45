//! `POST /api/v1/enroll`: a host gets an id on a shard with room, and its key.

use super::Ask;
use crate::{
    api_error::ApiError,
    auth::Caller,
    reply::Reply,
    store::{catalogue::Catalogue, shards},
};
use edgewatch_engine::{
    call::{Enroll, Request},
    head::ShardNumber,
    registry::{HostRecord, HostState},
};
use edgewatch_shared::{
    ErrorCode, HostId, HostName,
    keys::Purpose,
    limits::{
        ENROLL_USES_DEFAULT, ENROLL_USES_MAX, FACTS_BYTES_MAX, SHARD_HOSTS_MAX, TAG_BYTES_MAX, TAGS_MAX,
    },
    token::{Claims, Scope},
    wire::{EnrollBody, EnrollReply},
};
use std::collections::{BTreeMap, BTreeSet};

/// Shards that are asked for room before an enrolment is refused.
const SHARDS_TRIED_MAX: usize = 4;

/// Enrols the host that the body names. The shard knows it before the reply leaves.
pub async fn enroll(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let Caller::Holder(claims) = &ask.caller else {
        return Err(ApiError::internal("the route let somebody in without a static token"));
    };
    let body: EnrollBody = ask.json()?;
    let (name, tags) = checked(&body, claims)?;
    let catalogue = Catalogue::open(ask.env).await?;
    if catalogue.name_is_taken(&name).await? {
        return Err(name_is_taken(&name));
    }
    let is_counted = !claims.allows(Scope::Admin);
    if is_counted {
        use_token(&catalogue, claims).await?;
    }
    let placed = place(&ask, &catalogue, name, body, tags).await;
    if placed.is_err() && is_counted {
        catalogue.give_back_enrollment(&claims.jti).await?;
    }
    let host = placed?;
    let reply = EnrollReply {
        host_id: host.id,
        host_key: ask.settings.keyring.signing(Purpose::Host(host.id)).to_text(),
        name: host.name.to_string(),
        server_ms: ask.now,
    };
    Ok(Reply::json(201, &reply))
}

fn checked(body: &EnrollBody, claims: &Claims) -> Result<(HostName, Vec<String>), ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidParameter, message);
    let name = body.name.parse().map_err(|error| invalid(format!("name: {error}")))?;
    let mut distinct = BTreeSet::new();
    distinct.extend(claims.tags.iter().chain(&body.tags).cloned());
    let tags: Vec<String> = distinct.into_iter().collect();
    let fits = |tag: &String| (1..=TAG_BYTES_MAX).contains(&tag.len()) && !tag.contains(char::is_control);
    if tags.len() > TAGS_MAX || !tags.iter().all(fits) {
        return Err(invalid(format!("a host has at most {TAGS_MAX} tags of 1 to {TAG_BYTES_MAX} bytes")));
    }
    let facts_bytes = serde_json::to_vec(&body.facts).map_err(ApiError::internal)?.len();
    if facts_bytes > FACTS_BYTES_MAX {
        return Err(invalid(format!(
            "the facts have {facts_bytes} bytes; at most {FACTS_BYTES_MAX} are taken"
        )));
    }
    Ok((name, tags))
}

async fn use_token(catalogue: &Catalogue, claims: &Claims) -> Result<(), ApiError> {
    if claims.jti.is_empty() {
        return Err(ApiError::new(
            ErrorCode::InvalidToken,
            "an enrolment token needs a jti, so that its uses are counted",
        ));
    }
    let uses_max = uses_max(claims.uses);
    if catalogue.use_enrollment(&claims.jti, uses_max).await? {
        return Ok(());
    }
    let message = format!("this enrolment token was good for {uses_max} hosts and is used up; make another");
    Err(ApiError::new(ErrorCode::EnrollmentExhausted, message))
}

/// How many hosts a token enrols that says so many.
fn uses_max(said: Option<u32>) -> u32 {
    said.unwrap_or(ENROLL_USES_DEFAULT).min(ENROLL_USES_MAX)
}

async fn place(
    ask: &Ask<'_>,
    catalogue: &Catalogue,
    name: HostName,
    body: EnrollBody,
    tags: Vec<String>,
) -> Result<HostRecord, ApiError> {
    let (id, shard) = register(ask, catalogue, &name, &body, &tags).await?;
    let host = HostRecord {
        id,
        name,
        state: HostState::Active,
        facts: body.facts,
        tags,
        enrolled: ask.now,
        catalogued: true,
    };
    match catalogue.add_enrolled(shard, &host).await {
        Ok(true) => Ok(host),
        failed => {
            // The shard must not keep a host that nobody has the key of.
            shards::ask(ask.env, shard, Request::Delete(id)).await?;
            Err(failed.err().unwrap_or_else(|| name_is_taken(&host.name)))
        }
    }
}

/// Makes the host known to a shard. One may have filled up since it told the catalogue: then it is the next one's turn.
async fn register(
    ask: &Ask<'_>,
    catalogue: &Catalogue,
    name: &HostName,
    body: &EnrollBody,
    tags: &[String],
) -> Result<(HostId, ShardNumber), ApiError> {
    for shard in with_room(&catalogue.hosts_by_shard().await?).take(SHARDS_TRIED_MAX) {
        let mut random = [0; 14];
        getrandom::fill(&mut random).map_err(ApiError::internal)?;
        let id = HostId::new(shard, random);
        let enroll = Enroll { id, name: name.clone(), facts: body.facts.clone(), tags: tags.to_vec() };
        match shards::ask(ask.env, shard, Request::Enroll(enroll)).await {
            Ok(_) => return Ok((id, shard)),
            Err(error) if error.code() == ErrorCode::ShardFull => {}
            Err(error) => {
                // The shard may have it all the same. Should this fail as well, the host is listed and can be deleted.
                let _ = shards::ask(ask.env, shard, Request::Delete(id)).await;
                return Err(error);
            }
        }
    }
    Err(ApiError::new(ErrorCode::ShardFull, "every shard that was asked has its full number of hosts"))
}

/// Shards are filled one after the other: a shard that is awake costs, whether it has 1 host or 256.
fn with_room(hosts_by_shard: &BTreeMap<ShardNumber, usize>) -> impl Iterator<Item = ShardNumber> {
    let has_room =
        |shard: &ShardNumber| hosts_by_shard.get(shard).is_none_or(|hosts| *hosts < SHARD_HOSTS_MAX);
    (0..=ShardNumber::MAX).filter(has_room)
}

fn name_is_taken(name: &HostName) -> ApiError {
    let message = format!(
        "a host named {name:?} is enrolled already: choose another name (--name), or revoke or delete the old one first",
        name = name.as_str()
    );
    ApiError::new(ErrorCode::HostExists, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_enrols_no_more_hosts_than_any_may() {
        let uses = [None, Some(ENROLL_USES_MAX), Some(ENROLL_USES_MAX + 1)].map(uses_max);
        assert_eq!(uses, [ENROLL_USES_DEFAULT, ENROLL_USES_MAX, ENROLL_USES_MAX]);
    }

    #[test]
    fn shards_are_filled_one_after_the_other() {
        let first = |hosts: &[(ShardNumber, usize)]| with_room(&hosts.iter().copied().collect()).next();
        assert_eq!(first(&[]), Some(0));
        assert_eq!(first(&[(0, SHARD_HOSTS_MAX - 1)]), Some(0));
        assert_eq!(first(&[(0, SHARD_HOSTS_MAX), (2, 1)]), Some(1));
    }
}
