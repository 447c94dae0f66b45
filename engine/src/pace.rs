//! How often agents push: once a minute, all hosts of a shard within the same seconds of it; less often when the day's
//! quota runs short, and not at all when it is used up.
//!
//! Each shard decides by itself, out of what it counted and what it last heard of the others. A pace depends on nothing
//! but the day's average so far, so it settles by itself: the slower the pushes, the lower the average.

use crate::{
    head::ShardNumber,
    quota::{Effect, Quota},
    usage::{Usage, projected},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{MINUTE_MS, PUSH_INTERVAL_MS, PUSH_INTERVAL_MS_MAX},
};
use serde::{Deserialize, Serialize};

/// Paces in minutes: each divides an hour, so that slots stay where they are while a pace holds.
const PACES_MINUTES: [i64; 6] = [1, 2, 3, 5, 10, 15];
/// Percent of a quota that a day may come to before pushes slow down…
const SLOW_FROM_PCT: u64 = 80;
/// …until, at this, they are as slow as they get.
const SLOWEST_FROM_PCT: u64 = 100;
/// Percent of a quota that pushes may use; the rest is for people, and for telling agents to wait.
const PUSHES_PCT_MAX: u64 = 95;
/// Milliseconds within which the hosts of a shard arrive. Reason: 256 hosts in 4 s are 64 a second, which a shard takes
/// with ease, and 4 s are little beside the 10 s that it stays in memory afterwards.
const SLOT_SPREAD_MS: i64 = 4_000;
/// Seconds that an agent is told to wait at the most. Reason: whoever looks again sooner costs requests, later is late.
const RETRY_AFTER_S_MAX: i64 = 900;
/// Seconds over which agents come back after midnight.
const COMEBACK_SPREAD_S: i64 = 60;

/// What pushes may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// One in so many milliseconds.
    Every(i64),
    /// None before midnight: the day's quota is used up.
    Exhausted,
}

impl Default for Pace {
    fn default() -> Self {
        Self::Every(PUSH_INTERVAL_MS)
    }
}

impl Pace {
    /// The pace of a day that has used so much until `now`.
    pub fn of(quotas: &[Quota], used: &Usage, now: TimestampMs) -> Self {
        let mut slowest = PUSH_INTERVAL_MS;
        for quota in quotas.iter().filter(|quota| quota.effect > Effect::Shown) {
            let (amount, used) = (quota.a_day_of_it(), used.get(quota.resource));
            if quota.effect == Effect::Refuses && pct(used, amount) >= PUSHES_PCT_MAX {
                return Self::Exhausted;
            }
            slowest = slowest.max(pace_ms(pct(projected(used, now), amount)));
        }
        Self::Every(slowest)
    }

    /// Milliseconds between two looks of an agent.
    pub fn ms(self) -> i64 {
        match self {
            Self::Every(ms) => ms,
            Self::Exhausted => PUSH_INTERVAL_MS_MAX,
        }
    }

    /// Whether it is the usual one.
    pub fn is_usual(self) -> bool {
        self == Self::default()
    }
}

/// Percent that a part is of a whole, rounded down.
fn pct(part: u64, whole: u64) -> u64 {
    let pct = u128::from(part).saturating_mul(100).checked_div(whole.into());
    pct.map_or(u64::MAX, |pct| u64::try_from(pct).unwrap_or(u64::MAX))
}

/// The pace of a day that comes to so many percent of its quota: the first that is slow enough on the line from the
/// usual one to the slowest.
fn pace_ms(projected_pct: u64) -> i64 {
    let over = projected_pct.clamp(SLOW_FROM_PCT, SLOWEST_FROM_PCT).saturating_sub(SLOW_FROM_PCT);
    let over = i64::try_from(over).unwrap_or_default();
    let range = i64::try_from(SLOWEST_FROM_PCT.saturating_sub(SLOW_FROM_PCT)).unwrap_or(1).max(1);
    let slower_ms = PUSH_INTERVAL_MS_MAX.saturating_sub(PUSH_INTERVAL_MS).saturating_mul(over);
    let wanted_ms = PUSH_INTERVAL_MS.saturating_add(slower_ms.checked_div(range).unwrap_or_default());
    let paces = PACES_MINUTES.iter().map(|minutes| minutes.saturating_mul(MINUTE_MS));
    paces.into_iter().find(|pace_ms| *pace_ms >= wanted_ms).unwrap_or(PUSH_INTERVAL_MS_MAX)
}

/// Milliseconds from `now` to the host's next slot: a fixed place in its shard's few seconds of each pace. Half a pace
/// away at least, so that whoever has just pushed is not called back at once.
pub fn next_push_ms(pace_ms: i64, shard: ShardNumber, host: HostId, now: TimestampMs) -> i64 {
    let pace_ms = pace_ms.max(MINUTE_MS);
    // Shards are spread over the minute, so that the Worker and D1 do not get all of them at once.
    let shard_ms = i64::from(shard).saturating_mul(7_000).rem_euclid(MINUTE_MS);
    let slot_ms = shard_ms.saturating_add(spread(host, SLOT_SPREAD_MS));
    let earliest = now.plus_ms(pace_ms.checked_div(2).unwrap_or_default());
    let into_ms = earliest.0.saturating_sub(slot_ms).rem_euclid(pace_ms);
    let wait_ms = earliest.plus_ms(pace_ms.saturating_sub(into_ms)).ms_since(now);
    // Longer than an agent believes: half of it now, the other half then.
    if wait_ms > PUSH_INTERVAL_MS_MAX { wait_ms.checked_div(2).unwrap_or_default() } else { wait_ms }
}

/// Seconds until a host that was refused for the day's quota should look again.
pub fn retry_after_s(host: HostId, now: TimestampMs) -> u32 {
    let midnight_s = now.day().end().ms_since(now).saturating_add(999).checked_div(1_000).unwrap_or_default();
    let wait_s = midnight_s.saturating_add(spread(host, COMEBACK_SPREAD_S)).clamp(1, RETRY_AFTER_S_MAX);
    u32::try_from(wait_s).unwrap_or(u32::MAX)
}

/// A place for a host out of `0..within`, always the same.
fn spread(host: HostId, within: i64) -> i64 {
    // FNV-1a: ids end in random bytes, or in a hash of a name.
    let hash = host
        .as_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    i64::from(hash).checked_rem(within).unwrap_or_default()
}

/// What a shard knows of the other shards' usage: heard from the catalogue now and then, extrapolated in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// When it was heard.
    heard: TimestampMs,
    /// What they had used that day.
    used: Usage,
    /// What they use in [`Others::grown_ms`].
    grown: Usage,
    grown_ms: i64,
}

/// Milliseconds between two hearings from which a rate is taken.
const RATE_MS_MIN: i64 = MINUTE_MS;

impl Others {
    /// Takes in what the others used today, as heard at `now`.
    pub fn hear(&mut self, used: Usage, now: TimestampMs) {
        let between_ms = now.ms_since(self.heard);
        let today_ms = now.ms_since(now.day().start());
        if self.heard.day() == now.day() {
            if between_ms >= RATE_MS_MIN {
                (self.grown, self.grown_ms) = (used.since(self.used), between_ms);
            }
        } else if today_ms >= RATE_MS_MIN {
            (self.grown, self.grown_ms) = (used, today_ms);
        }
        (self.heard, self.used) = (now, used);
    }

    /// What they have used today, presumably.
    pub fn used(&self, now: TimestampMs) -> Usage {
        if self.heard.day() == now.day() {
            return self.used.plus(self.grown.scaled(now.ms_since(self.heard), self.grown_ms));
        }
        self.grown.scaled(now.ms_since(now.day().start()), self.grown_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        quota::{Plan, quotas},
        usage::Resource,
    };
    use edgewatch_shared::limits::{DAY_MS, HOUR_MS};

    const DAY: TimestampMs = TimestampMs(20_000 * DAY_MS);
    const NOON: TimestampMs = TimestampMs(DAY.0 + DAY_MS / 2);

    fn used(resource: Resource, count: u64) -> Usage {
        let mut used = Usage::default();
        used.add(resource, count);
        used
    }

    fn minutes(pace: Pace) -> i64 {
        match pace {
            Pace::Every(ms) => ms / MINUTE_MS,
            Pace::Exhausted => 0,
        }
    }

    fn host(n: u8) -> HostId {
        HostId::new(3, [n; 14])
    }

    #[test]
    fn pushes_slow_down_as_a_day_comes_near_its_quota_and_end_at_it() {
        for (requests, at, expected) in [
            (40_499, NOON, 1),  // 80 %
            (40_500, NOON, 2),  // 81 %
            (42_500, NOON, 5),  // 85 %
            (45_000, NOON, 10), // 90 %
            (50_000, NOON, 15),
            (94_999, NOON, 15),
            (95_000, NOON, 0),
            (94_999, DAY.plus_ms(DAY_MS - 1), 15),
            (95_000, DAY, 0),
            // An hour's worth of what a day may use says nothing in its first minutes.
            (3_333, DAY.plus_ms(1), 1),
        ] {
            let pace = Pace::of(quotas(Plan::Free), &used(Resource::WorkerRequests, requests), at);
            assert_eq!(minutes(pace), expected, "{requests} at {}", at.to_rfc3339());
        }
    }

    #[test]
    fn what_is_estimated_slows_down_and_what_is_shown_does_nothing() {
        let pace = |plan, resource| minutes(Pace::of(quotas(plan), &used(resource, u64::MAX), NOON));
        for resource in Resource::ALL {
            let expected = match resource {
                Resource::WorkerRequests | Resource::ObjectRequests | Resource::ObjectRowsWritten => 0,
                Resource::ObjectMs => 15,
                _ => 1,
            };
            assert_eq!(pace(Plan::Free, resource), expected, "{resource:?}");
            assert_eq!(pace(Plan::Paid, resource), 1, "{resource:?}");
        }
    }

    #[test]
    fn a_fleet_of_three_times_the_quota_settles_below_it() {
        // Per mille of a push and host and minute, so that nothing is rounded away.
        let (mut requests, hosts) = (0_u64, 210_u64);
        for minute in 0..24 * 60 {
            let now = DAY.plus_ms(minute * MINUTE_MS);
            match Pace::of(quotas(Plan::Free), &used(Resource::WorkerRequests, requests / 1_000), now) {
                Pace::Every(pace_ms) => requests += hosts * 1_000 * MINUTE_MS as u64 / pace_ms as u64,
                Pace::Exhausted => panic!("used up after {minute} minutes"),
            }
        }
        assert!((80_000_000..95_000_000).contains(&requests), "{requests}");
    }

    #[test]
    fn the_hosts_of_a_shard_arrive_within_seconds_whenever_they_came_before() {
        for pace_ms in PACES_MINUTES.map(|minutes| minutes * MINUTE_MS) {
            let mut seconds = Vec::new();
            for n in 0..200_u8 {
                let now = NOON.plus_ms(i64::from(n) * 7_919);
                let wait_ms = next_push_ms(pace_ms, 3, host(n), now);
                let range_ms = pace_ms / 2..=PUSH_INTERVAL_MS_MAX.min(pace_ms * 3 / 2);
                assert!(range_ms.contains(&wait_ms), "{wait_ms}");
                let mut next = now.plus_ms(wait_ms);
                let further_ms = next_push_ms(pace_ms, 3, host(n), next);
                if further_ms != pace_ms {
                    assert!(pace_ms == PUSH_INTERVAL_MS_MAX && range_ms.contains(&further_ms));
                    next = next.plus_ms(further_ms);
                }
                seconds.push(next.0.rem_euclid(pace_ms));
                // From slot to slot it is a pace, also for one who is a little late.
                let late_ms = 1_500;
                assert_eq!(next_push_ms(pace_ms, 3, host(n), next.plus_ms(late_ms)), pace_ms - late_ms);
            }
            let (first, last) = (seconds.iter().min().unwrap(), seconds.iter().max().unwrap());
            assert!(last - first < SLOT_SPREAD_MS && last - first > SLOT_SPREAD_MS / 2, "{first} to {last}");
        }
        let at = |shard| (NOON.0 + next_push_ms(MINUTE_MS, shard, host(1), NOON)) % MINUTE_MS;
        assert_ne!(at(1), at(2), "shards have seconds of their own");
    }

    #[test]
    fn who_is_refused_looks_again_after_midnight_or_a_quarter_of_an_hour() {
        assert_eq!(retry_after_s(host(1), NOON), 900);
        let waits: Vec<u32> =
            (0..200).map(|n| retry_after_s(host(n), DAY.plus_ms(DAY_MS - 10_500))).collect();
        assert!(waits.iter().all(|wait_s| (11..11 + 60).contains(wait_s)), "{waits:?}");
        assert!(waits.iter().max().unwrap() - waits.iter().min().unwrap() > 30, "{waits:?}");
    }

    #[test]
    fn the_others_go_on_as_they_did_until_more_is_heard() {
        let requests = |others: &Others, now| others.used(now).get(Resource::WorkerRequests);
        let heard = |count| used(Resource::WorkerRequests, count);
        let mut others = Others::default();
        assert_eq!(requests(&others, NOON), 0);
        others.hear(heard(1_200), NOON);
        assert_eq!(requests(&others, NOON), 1_200);
        assert_eq!(requests(&others, NOON.plus_ms(HOUR_MS)), 1_300, "by the day's average");
        others.hear(heard(1_800), NOON.plus_ms(HOUR_MS));
        assert_eq!(requests(&others, NOON.plus_ms(2 * HOUR_MS)), 2_400, "by the last hour");
        // Too short a time to tell a rate from.
        others.hear(heard(1_805), NOON.plus_ms(HOUR_MS + 1));
        assert_eq!(requests(&others, NOON.plus_ms(2 * HOUR_MS + 1)), 2_405);
        let next = DAY.plus_ms(DAY_MS);
        assert_eq!(requests(&others, next), 0);
        assert_eq!(requests(&others, next.plus_ms(HOUR_MS)), 600, "also on the next day");
        others.hear(heard(100), next.plus_ms(HOUR_MS));
        assert_eq!(requests(&others, next.plus_ms(2 * HOUR_MS)), 200);
    }
}
