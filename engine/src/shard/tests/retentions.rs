//! What is older than its retention goes, nothing else; blocks move to R2 once it is bound.

use super::*;
use crate::{agenda::REPLACED_GRACE_MS, block_index::Place, rollup::Resolution, sql::Value};
use edgewatch_shared::limits::DAY_MS;
use proptest::prelude::*;

/// The oldest sample of each block that is read, and its resolution.
fn blocks(world: &World) -> Vec<BlockEntry> {
    block_index::after(&world.sql, 0, 10_000).unwrap()
}

/// A day with raw samples and rollups, `days` after [`HOUR`].
fn push_day(world: &mut World, days: i64) {
    let start = at(days * DAY_MS);
    world.push_from(1, start, 20, start);
    world.run_due(start.day().end().plus_ms(3 * HOUR_MS));
}

#[test]
fn a_day_goes_once_it_is_older_than_its_retention_object_first_and_row_last() {
    let mut world = World::new();
    world.retention = RetentionSettings { raw_days: Some(2), five_minute_days: Some(3), hour_days: None };
    push_day(&mut world, 0);
    assert_eq!(blocks(&world).len(), 3);
    let gone = HOUR.day().end().plus_ms(2 * DAY_MS);
    // What the shard was told before is not what counts: it asks.
    world.shard.set_retention(RetentionSettings { raw_days: Some(1), ..world.retention }).unwrap();
    assert_eq!(world.run_due(gone.plus_ms(-1)), [JobKind::DeleteReplaced, JobKind::Retain]);
    assert_eq!(blocks(&world).len(), 3);
    let expected = world.read_all();
    assert_eq!(expected.len(), 20);
    let objects = world.r2.len();
    assert_eq!(world.run_due(gone), [JobKind::Retain]);
    assert_eq!((world.read_all(), world.r2.len()), (Vec::new(), objects), "nobody is told of it any more");
    let deletion = gone.plus_ms(REPLACED_GRACE_MS);
    // Cut after the object is gone, before its row is.
    let Task::Delete { keys, .. } =
        world.shard.work(JobKind::DeleteReplaced, deletion, &mut world.instance).unwrap()
    else {
        panic!("nothing to delete")
    };
    assert_eq!(keys.len(), 1);
    world.r2.remove(&keys[0]);
    world.reopen();
    assert_eq!(world.run_due(deletion), [JobKind::DeleteReplaced]);
    assert_eq!(world.sql.exec("SELECT count(*) FROM blocks", &[]).unwrap(), [[Value::Integer(2)]]);
    assert_eq!(world.run_due(gone.plus_ms(DAY_MS + 1)), [JobKind::Retain]);
    world.run_due(gone.plus_ms(400 * DAY_MS));
    let [left] = blocks(&world).try_into().unwrap();
    assert_eq!((left.resolution, world.r2.len()), (Resolution::Hour, 1));
}

#[test]
fn a_part_is_compacted_before_it_may_go() {
    let mut world = World::new();
    world.retention = RetentionSettings { raw_days: Some(1), ..RetentionSettings::default() };
    world.shard.set_retention(world.retention).unwrap();
    // Five days late.
    let late = at(5 * DAY_MS);
    world.push_from(1, at(0), 20, late);
    world.run_due(late.plus_ms(2 * HOUR_MS));
    assert_eq!(world.read_all().len(), 20);
    world.run_due(late.day().end().plus_ms(3 * HOUR_MS));
    assert_eq!(world.read_all().len(), 0);
    let resolutions: Vec<_> = blocks(&world).iter().map(|block| block.resolution).collect();
    assert_eq!(resolutions, [Resolution::FiveMinutes, Resolution::Hour]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_younger_than_its_retention_ever_goes_and_nothing_older_stays(
        raw_days in proptest::option::of(1u32..5),
        five_minute_days in proptest::option::of(1u32..8),
        hour_days in proptest::option::of(1u32..10),
        days in proptest::collection::btree_set(0i64..6, 1..4),
        steps_ms in proptest::collection::vec(HOUR_MS..3 * DAY_MS, 1..8),
    ) {
        let mut world = World::new();
        world.retention = RetentionSettings { raw_days, five_minute_days, hour_days };
        world.shard.set_retention(world.retention).unwrap();
        for day in &days {
            push_day(&mut world, *day);
        }
        let mut now = at((days.last().unwrap() + 1) * DAY_MS + 3 * HOUR_MS);
        for step_ms in [0].into_iter().chain(steps_ms) {
            now = now.plus_ms(step_ms);
            world.run_due(now);
            world.run_due(now.plus_ms(REPLACED_GRACE_MS));
            let kept: Vec<_> = blocks(&world).iter().map(|block| (block.day(), block.resolution)).collect();
            for day in &days {
                let day = at(day * DAY_MS).day();
                for resolution in Resolution::ALL {
                    let is_due = |at: TimestampMs| {
                        world.retention.expires(resolution, day).is_some_and(|expires| expires <= at)
                    };
                    if !is_due(now.plus_ms(REPLACED_GRACE_MS)) {
                        prop_assert!(kept.contains(&(day, resolution)), "{:?} of {:?} is gone", resolution, day);
                    }
                    if is_due(now) {
                        prop_assert!(!kept.contains(&(day, resolution)), "{:?} of {:?} stays", resolution, day);
                    }
                }
            }
            let objects: Vec<_> = blocks(&world).into_iter().map(|block| block.key).collect();
            let lie: Vec<_> = world.r2.keys().cloned().collect();
            prop_assert!(objects.iter().all(|key| lie.contains(key)), "{:?} of {:?}", objects, lie);
        }
    }
}

#[test]
fn blocks_move_to_r2_once_it_is_bound_and_no_step_changes_an_answer() {
    let mut world = World::without_r2();
    push_day(&mut world, 0);
    push_day(&mut world, 1);
    world.push_from(1, at(2 * DAY_MS), 20, at(2 * DAY_MS));
    world.seal(at(2 * DAY_MS + HOUR_MS));
    let now = at(2 * DAY_MS + HOUR_MS);
    let expected = world.read_all();
    assert_eq!((expected.len(), world.r2.len()), (60, 0));
    let changes = world.shard.catalogue_changes(now).unwrap();
    world.shard.catalogue_told(&changes, Usage::default(), now).unwrap();
    let local = changes.blocks.len();
    assert_eq!(world.run_due(now), [JobKind::DeleteReplaced]);
    world.bind_r2(true);
    let mut cuts = 0;
    while world.shard.due_job(now).is_some_and(|job| job.kind == JobKind::Upload) {
        let is_over = world.step(JobKind::Upload, now).unwrap();
        assert_eq!(world.read_all(), expected, "step {cuts}");
        if !is_over {
            world.reopen();
            cuts += 1;
        }
    }
    assert_eq!((cuts, world.r2.len()), (local, local));
    assert_eq!(world.sql.exec("SELECT count(*) FROM block_data", &[]).unwrap(), [[Value::Integer(0)]]);
    assert!(world.shard.catalogue_changes(now).unwrap().blocks.iter().all(|block| block.place == Place::R2));
    assert_eq!(world.shard.catalogue_changes(now).unwrap().blocks.len(), local, "told again");
    world.run_due(at(3 * DAY_MS + 3 * HOUR_MS));
    assert_eq!(world.read_all(), expected);
}
