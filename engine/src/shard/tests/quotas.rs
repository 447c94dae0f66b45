//! Pace and refusals by the day's quotas, and what shards hear of each other.

use super::*;
use crate::{
    pace::Pace,
    quota::{Quota, quotas},
    usage::Resource,
};
use edgewatch_shared::limits::{DAY_MS, PUSH_INTERVAL_MS, PUSH_INTERVAL_MS_MAX};

/// Noon of a day.
const NOON: TimestampMs = TimestampMs(HOUR.0 - HOUR.0 % DAY_MS + DAY_MS / 2);

fn noon(ms: i64) -> TimestampMs {
    NOON.plus_ms(ms)
}

/// The free plan, but for the rows of shards.
fn lowered(rows: u64) -> Vec<Quota> {
    let mut lowered = quotas(Plan::Free).to_vec();
    for quota in lowered.iter_mut().filter(|quota| quota.resource == Resource::ObjectRowsWritten) {
        quota.amount = rows;
    }
    lowered
}

fn rows(count: u64) -> Usage {
    let mut used = Usage::default();
    used.add(Resource::ObjectRowsWritten, count);
    used
}

impl World {
    fn try_push(&mut self, now: TimestampMs) -> Result<u32, ShardError> {
        let answer = self.push(Sender::Host { id: host(1), claimed: None }, now, 1, now)?;
        let Reply::Pushed(pushed) = answer else { panic!("{answer:?}") };
        Ok(pushed.next_push_ms)
    }

    fn rows_today(&self) -> u64 {
        self.shard.used_today().get(Resource::ObjectRowsWritten)
    }
}

#[test]
fn a_push_is_told_its_next_slot() {
    let mut world = World::new();
    let mut now = noon(0);
    let first = world.try_push(now).unwrap();
    assert!((PUSH_INTERVAL_MS / 2..=PUSH_INTERVAL_MS * 3 / 2).contains(&first.into()), "{first}");
    for _ in 0..3 {
        now = now.plus_ms(world.try_push(now).unwrap().into());
        assert_eq!(i64::from(world.try_push(now).unwrap()), PUSH_INTERVAL_MS);
    }
}

#[test]
fn at_the_quota_a_push_is_refused_and_stored_nowhere_until_midnight() {
    let mut world = World::new();
    world.try_push(noon(0)).unwrap();
    world.try_push(noon(1)).unwrap();
    let used = world.rows_today();
    world.shard.set_quotas(lowered(used * 4));
    assert_eq!(world.shard.pace(noon(2)), Pace::Every(PUSH_INTERVAL_MS), "half of a half is used");
    world.shard.set_quotas(lowered(used * 2));
    assert_eq!(world.shard.pace(noon(0)), Pace::Every(PUSH_INTERVAL_MS_MAX), "all of it will be");
    assert!(world.try_push(noon(2)).unwrap() > 2 * PUSH_INTERVAL_MS as u32);
    world.shard.set_quotas(lowered(used));
    let before = world.sql.rows_written();
    let refused = world.try_push(noon(3));
    assert_eq!(refused, Err(ShardError::QuotaExhausted { retry_after_s: 900 }));
    assert_eq!(world.sql.rows_written(), before);
    // Who may not push at all is told that instead.
    let stranger = Sender::Host { id: host(9), claimed: None };
    assert_eq!(world.push(stranger, noon(3), 1, noon(3)), Err(ShardError::UnknownHost));
    world.reopen();
    world.shard.set_quotas(lowered(used));
    assert!(world.try_push(noon(4)).is_err(), "an eviction forgets nothing");
    assert!(world.try_push(noon(DAY_MS / 2 - 1)).is_err());
    assert!(world.try_push(noon(DAY_MS / 2)).is_ok());
}

#[test]
fn what_the_other_shards_use_counts_and_outlives_an_eviction() {
    let mut world = World::new();
    world.try_push(noon(0)).unwrap();
    world.shard.set_quotas(lowered(100_000));
    let changes = CatalogueChanges {
        summary: Some(Summary { newest: NewestByHost::new(), day: NOON.day(), used: Usage::default() }),
        ..CatalogueChanges::default()
    };
    world.shard.catalogue_told(&changes, rows(42_600), noon(1)).unwrap();
    let slowed = Pace::Every(5 * MINUTE_MS);
    assert_eq!(world.shard.pace(noon(1)), slowed);
    world.try_push(noon(2)).unwrap();
    world.reopen();
    world.shard.set_quotas(lowered(100_000));
    assert_eq!(world.shard.pace(noon(3)), slowed);
    assert_eq!(world.shard.pace(noon(12 * HOUR_MS - 1)), slowed, "they go on as they did");
    // Long before its hundredth push it asks whether that is still so.
    let summary_is_due =
        |world: &mut World, now| world.shard.catalogue_changes(now).unwrap().summary.is_some();
    assert!(!summary_is_due(&mut world, noon(PUSH_INTERVAL_MS_MAX)));
    assert!(summary_is_due(&mut world, noon(1 + PUSH_INTERVAL_MS_MAX)));
    world.shard.catalogue_told(&changes, rows(20_000), noon(PUSH_INTERVAL_MS_MAX)).unwrap();
    assert!(!summary_is_due(&mut world, noon(3 * PUSH_INTERVAL_MS_MAX)), "the usual pace asks for nothing");
}

#[test]
fn a_summary_says_what_was_used() {
    let mut world = World::new();
    for n in 0..SUMMARY_PUSHES as i64 {
        world.try_push(noon(n)).unwrap();
    }
    let summary = world.shard.catalogue_changes(noon(MINUTE_MS)).unwrap().summary.unwrap();
    assert_eq!(summary.day, NOON.day());
    assert!(summary.used.get(Resource::ObjectRowsWritten) >= SUMMARY_PUSHES - 1);
    // The enrolment was on that day, too.
    assert_eq!(summary.used.get(Resource::ObjectRequests), SUMMARY_PUSHES + 1);
}
