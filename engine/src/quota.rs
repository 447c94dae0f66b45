//! The quotas of Cloudflare's plans, and what becomes of pushes when one runs short.
//!
//! Source of the figures: Cloudflare's pricing pages of Workers, Durable Objects, D1 and R2 as of November 2026.

use crate::usage::Resource;
use serde::{Deserialize, Serialize};

/// The plan that Edgewatch runs on: `PLAN` in `wrangler.toml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// Beyond a day's quota the platform fails.
    #[default]
    Free,
    /// Beyond a month's quota it costs, so nothing is slowed down or refused.
    Paid,
}

impl Plan {
    /// How it is called in settings and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
        }
    }

    /// Reads [`Plan::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Free, Self::Paid].into_iter().find(|plan| plan.as_str() == text)
    }
}

/// The time a quota is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A day of UTC.
    Day,
    /// A month.
    Month,
}

/// What becomes of pushes when a quota runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is only shown.
    Shown,
    /// Agents push less often.
    Slows,
    /// Agents push less often, and at the quota not at all.
    Refuses,
}

/// A quota of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of what.
    pub resource: Resource,
    /// How much, in the resource's own unit.
    pub amount: u64,
    /// For how long.
    pub period: Period,
    /// What happens near it.
    pub effect: Effect,
}

/// Days of a month, for the share of a day: the shortest that is not February.
const DAYS_A_MONTH: u64 = 30;

impl Quota {
    const fn a_day(resource: Resource, amount: u64, effect: Effect) -> Self {
        Self { resource, amount, period: Period::Day, effect }
    }

    const fn a_month(resource: Resource, amount: u64) -> Self {
        Self { resource, amount, period: Period::Month, effect: Effect::Shown }
    }

    /// What a day may use.
    pub fn a_day_of_it(&self) -> u64 {
        match self.period {
            Period::Day => self.amount,
            Period::Month => self.amount / DAYS_A_MONTH,
        }
    }
}

/// An object has 128 MB, so 2 GB-s are 15.625 s of it.
const MS_A_2_GB_S: u64 = 15_625;

/// Milliseconds that objects may be awake for so many GB-s.
const fn ms_of_gb_s(gb_s: u64) -> u64 {
    gb_s.saturating_mul(MS_A_2_GB_S) / 2
}

/// GB-s of objects that were awake for so many milliseconds, rounded up.
pub fn gb_s_of_ms(ms: u64) -> u64 {
    ms.saturating_mul(2).div_ceil(MS_A_2_GB_S)
}

/// <https://developers.cloudflare.com/workers/platform/pricing>, …`/durable-objects/platform/pricing`, …`/d1/platform/pricing`,
/// …`/r2/pricing`. What pushes do not spend, or what costs instead of failing, is only shown; the time objects are awake
/// is an estimate from above, so nothing is refused by it.
const FREE: [Quota; 9] = [
    Quota::a_day(Resource::WorkerRequests, 100_000, Effect::Refuses),
    Quota::a_day(Resource::ObjectRequests, 100_000, Effect::Refuses),
    Quota::a_day(Resource::ObjectMs, ms_of_gb_s(13_000), Effect::Slows),
    Quota::a_day(Resource::ObjectRowsWritten, 100_000, Effect::Refuses),
    Quota::a_day(Resource::ObjectRowsRead, 5_000_000, Effect::Shown),
    Quota::a_day(Resource::CatalogueRowsWritten, 100_000, Effect::Shown),
    Quota::a_day(Resource::CatalogueRowsRead, 5_000_000, Effect::Shown),
    Quota::a_month(Resource::BlobWrites, 1_000_000),
    Quota::a_month(Resource::BlobReads, 10_000_000),
];

const PAID: [Quota; 9] = [
    Quota::a_month(Resource::WorkerRequests, 10_000_000),
    Quota::a_month(Resource::ObjectRequests, 1_000_000),
    Quota::a_month(Resource::ObjectMs, ms_of_gb_s(400_000)),
    Quota::a_month(Resource::ObjectRowsWritten, 50_000_000),
    Quota::a_month(Resource::ObjectRowsRead, 25_000_000_000),
    Quota::a_month(Resource::CatalogueRowsWritten, 50_000_000),
    Quota::a_month(Resource::CatalogueRowsRead, 25_000_000_000),
    Quota::a_month(Resource::BlobWrites, 1_000_000),
    Quota::a_month(Resource::BlobReads, 10_000_000),
];

/// The quotas of a plan, one for each resource.
pub fn quotas(plan: Plan) -> &'static [Quota] {
    match plan {
        Plan::Free => &FREE,
        Plan::Paid => &PAID,
    }
}

/// Where bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The shards' SQLite.
    Shards,
    /// R2.
    R2,
    /// D1.
    D1,
}

/// Bytes that a plan includes in a store.
pub fn bytes_included(plan: Plan, store: Store) -> u64 {
    const GB: u64 = 1_000_000_000;
    match (plan, store) {
        (Plan::Free | Plan::Paid, Store::Shards) | (Plan::Paid, Store::D1) => 5 * GB,
        (Plan::Free, Store::D1) => GB / 2,
        (Plan::Free | Plan::Paid, Store::R2) => 10 * GB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_one_quota_for_each_resource() {
        for plan in [Plan::Free, Plan::Paid] {
            let of: Vec<_> = quotas(plan).iter().map(|quota| quota.resource).collect();
            assert_eq!(of, Resource::ALL, "{plan:?}");
            assert_eq!(Plan::parse(plan.as_str()), Some(plan));
        }
        assert_eq!(Plan::parse("Free"), None);
    }

    #[test]
    fn only_what_fails_beyond_its_quota_slows_pushes_down() {
        assert!(quotas(Plan::Paid).iter().all(|quota| quota.effect == Effect::Shown));
        for quota in quotas(Plan::Free) {
            assert!(quota.period == Period::Day || quota.effect == Effect::Shown, "{quota:?}");
        }
    }

    #[test]
    fn one_object_that_is_always_awake_takes_11_059_gb_s_a_day() {
        assert_eq!(gb_s_of_ms(86_400_000), 11_060);
        assert_eq!(gb_s_of_ms(ms_of_gb_s(13_000)), 13_000);
    }
}
