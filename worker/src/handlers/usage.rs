//! `GET /api/v1/usage`: what Edgewatch used today, next to the quotas of its plan.

use super::Ask;
use crate::{
    api_error::ApiError,
    reply::Reply,
    settings,
    store::{catalogue::Catalogue, shards},
};
use edgewatch_engine::{
    call::{self, Request},
    quota::{Effect, Period, Plan, Quota, Store, bytes_included, gb_s_of_ms},
    usage::{Resource, Usage, projected},
};
use edgewatch_shared::{
    TimestampMs,
    wire::{ResourceUsage, StoreUsage, UsageReply},
};

/// Sums what the shards have counted. It reads no more than they know anyway, so it writes nothing.
pub async fn today(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let catalogue = Catalogue::open(ask.env).await?;
    let shards = catalogue.shards().await?;
    let mut used = Usage::default();
    let (mut shard_bytes, mut blob_bytes) = (0_u64, 0_u64);
    let mut warnings = Vec::new();
    for (shard, answer) in shards::ask_all(ask.env, shards, &Request::Usage).await {
        match answer {
            Ok(call::Reply::Usage(of_shard)) => {
                used = used.plus(of_shard.used);
                shard_bytes = shard_bytes.saturating_add(of_shard.storage_bytes);
                blob_bytes = blob_bytes.saturating_add(of_shard.blob_bytes);
            }
            _ => warnings.push(format!("shard {shard} did not answer: its usage is missing")),
        }
    }
    let plan = ask.settings.plan;
    let d1_bytes = catalogue.size_bytes().await?;
    let bytes = [(Store::Shards, shard_bytes), (Store::R2, blob_bytes), (Store::D1, d1_bytes)];
    let reply = UsageReply {
        plan: plan.as_str().to_owned(),
        day: ask.now.day().label(),
        resources: settings::quotas(plan).iter().map(|quota| resource(quota, used, ask.now)).collect(),
        stores: bytes.into_iter().map(|(store, bytes)| stored(plan, store, bytes)).collect(),
        warnings,
    };
    Ok(Reply::json(200, &reply))
}

fn resource(quota: &Quota, used: Usage, now: TimestampMs) -> ResourceUsage {
    let used = used.get(quota.resource);
    let shown = |amount| if quota.resource == Resource::ObjectMs { gb_s_of_ms(amount) } else { amount };
    ResourceUsage {
        resource: quota.resource.as_str().to_owned(),
        used: shown(used),
        projected: shown(projected(used, now)),
        quota: shown(quota.amount),
        per: match quota.period {
            Period::Day => "day",
            Period::Month => "month",
        }
        .to_owned(),
        effect: match quota.effect {
            Effect::Shown => "nothing",
            Effect::Slows => "slower",
            Effect::Refuses => "slower, then refused",
        }
        .to_owned(),
    }
}

fn stored(plan: Plan, store: Store, bytes: u64) -> StoreUsage {
    let name = match store {
        Store::Shards => "shards",
        Store::R2 => "r2",
        Store::D1 => "d1",
    };
    StoreUsage { store: name.to_owned(), bytes, quota: bytes_included(plan, store) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_engine::quota::quotas;
    use edgewatch_shared::limits::DAY_MS;

    #[test]
    fn object_time_is_shown_as_gb_s_and_projected_to_the_days_end() {
        let mut used = Usage::default();
        used.add(Resource::ObjectMs, 15_625_000);
        let noon = TimestampMs(100 * DAY_MS + DAY_MS / 2);
        let quota = quotas(Plan::Free).iter().find(|quota| quota.resource == Resource::ObjectMs).unwrap();
        let shown = resource(quota, used, noon);
        assert_eq!((shown.resource.as_str(), shown.effect.as_str()), ("object_gb_s", "slower"));
        assert_eq!((shown.used, shown.projected, shown.quota), (2_000, 4_000, 13_000));
    }
}
