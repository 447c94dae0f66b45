//! Days become day blocks, in slices, cut anywhere; no reader sees a difference, and late data is taken in.

use super::*;
use crate::{
    agenda::{COMPACT_GRACE_MS, REPLACED_GRACE_MS},
    rollup::{ROLLUP_LABEL, Resolution},
    sql::Value,
};
use edgewatch_shared::limits::DAY_MS;
use std::collections::BTreeSet;

/// Milliseconds from [`HOUR`] to the end of its day.
fn to_midnight() -> i64 {
    HOUR.day().end().ms_since(HOUR)
}

/// When the day of [`HOUR`] is to be compacted.
fn night() -> TimestampMs {
    HOUR.day().end().plus_ms(COMPACT_GRACE_MS + HOUR_MS)
}

/// A shard with parts of two hours, with some that came late and twice, all of one day.
fn sealed(with_r2: bool) -> World {
    let mut world = World::new();
    world.bind_r2(with_r2);
    world.enroll(2).unwrap();
    for n in [1, 2] {
        world.push_from(n, at(0), 200, at(5_000));
        world.push_from(n, at(HOUR_MS), 200, at(HOUR_MS + 5_000));
        world.push_from(n, at(1_000), 20, at(HOUR_MS + 5_000));
    }
    assert_eq!(world.seal(at(2 * HOUR_MS)), 2);
    world
}

fn keys(world: &World, resolution: &str) -> usize {
    let prefix = format!("metrics/{resolution}/");
    world.r2.keys().filter(|key| key.starts_with(&prefix)).count()
}

/// A field of host 1's hour rollups: times after [`HOUR`], and values.
fn rolled_up(world: &mut World, field: &str) -> Vec<(i64, f64)> {
    let blocks =
        block_index::overlapping(&world.sql, Resolution::Hour, TimestampMs(i64::MIN), TimestampMs(i64::MAX));
    let read = Read {
        hosts: vec![host(1)],
        names: vec!["load_1m".into()],
        labels: Labels::from([(ROLLUP_LABEL.to_owned(), field.to_owned())]),
        from: TimestampMs(i64::MIN),
        to: TimestampMs(i64::MAX),
        evaluation: None,
        is_partial: false,
    };
    let mut found = Vec::new();
    for block in blocks.unwrap() {
        let bytes = &world.r2[&block.key];
        let parts = read_block(bytes, block.rank, &read, &mut Inflater::default()).unwrap();
        let samples = parts.into_iter().flat_map(|part| part.series).flat_map(|entry| entry.samples);
        found.extend(samples.map(|sample| (sample.time.ms_since(HOUR), sample.value)));
    }
    found
}

#[test]
fn no_step_of_a_compaction_or_of_the_deletion_after_it_changes_an_answer() {
    for with_r2 in [false, true] {
        let mut world = sealed(with_r2);
        let expected = world.read_all();
        assert_eq!(expected.len(), 400);
        let before = world.r2.clone();
        let mut steps = 0;
        while !world.step(JobKind::CompactDay, night()).unwrap() {
            assert_eq!(world.read_all(), expected, "step {steps}");
            steps += 1;
        }
        assert!(steps >= 10, "only {steps} steps");
        assert_eq!(world.read_all(), expected, "compacted");
        // Whoever asked before reads what it was told of.
        assert!(before.iter().all(|(key, bytes)| world.r2[key] == *bytes));
        let deletion = night().plus_ms(REPLACED_GRACE_MS);
        assert_eq!(world.run_due(deletion.plus_ms(-1)), []);
        while !world.step(JobKind::DeleteReplaced, deletion).unwrap() {
            assert_eq!(world.read_all(), expected, "deleting");
        }
        assert_eq!(world.read_all(), expected, "deleted");
        if with_r2 {
            assert_eq!([keys(&world, "raw"), keys(&world, "5m"), keys(&world, "1h")], [1, 1, 1]);
            assert!(before.keys().all(|key| !world.r2.contains_key(key)));
        }
        assert_eq!(block_index::after(&world.sql, 0, 100).unwrap().len(), 3);
        assert_eq!(world.run_due(deletion), []);
        world.reopen();
        assert_eq!(world.read_all(), expected, "opened again");
        assert_eq!(world.run_due(deletion), []);
    }
}

#[test]
fn a_compaction_cut_between_any_two_steps_leaves_the_same_objects() {
    let mut reference = sealed(true);
    reference.run_due(night());
    let expected = reference.read_all();
    let mut cuts = 0;
    for steps in 0.. {
        let mut world = sealed(true);
        let is_over = (0..steps).any(|_| world.step(JobKind::CompactDay, night()).unwrap());
        world.reopen();
        assert_eq!(world.read_all(), expected, "cut after {steps} steps");
        if is_over {
            break;
        }
        cuts += 1;
        // What comes between is left for the next time.
        world.push_from(2, at(90_000), 1, night());
        assert_eq!(world.run_due(night()), [JobKind::CompactDay]);
        assert_eq!(world.read_all(), expected);
        assert_eq!(world.r2, reference.r2, "cut after {steps} steps");
        // What was written before the cut is what was written after it: it stays.
        world.shard.due_job(night().plus_ms(REPLACED_GRACE_MS)).unwrap();
        while !world.step(JobKind::DeleteReplaced, night().plus_ms(REPLACED_GRACE_MS)).unwrap() {}
        world.assert_objects_exist();
        assert_eq!([keys(&world, "raw"), keys(&world, "5m"), keys(&world, "1h")], [1, 1, 1]);
        assert_eq!(world.read_all(), expected);
    }
    assert!(cuts >= 10, "only {cuts} cuts");
}

#[test]
fn a_compaction_cut_at_any_statement_loses_nothing_and_leaves_nothing_behind() {
    let mut cuts = 0;
    for statements in 0.. {
        let mut world = sealed(false);
        let expected = world.read_all();
        let is_cut = world.is_cut_after(statements, JobKind::CompactDay, night());
        assert_eq!(world.read_all(), expected, "cut after {statements} statements");
        if !is_cut {
            break;
        }
        cuts += 1;
        world.run_due(night());
        world.run_due(night().plus_ms(REPLACED_GRACE_MS));
        assert_eq!(world.read_all(), expected, "again after {statements} statements");
        let count = |table| world.sql.exec(&format!("SELECT count(*) FROM {table}"), &[]).unwrap();
        assert_eq!(count("block_data"), [[Value::Integer(3)]]);
        assert_eq!(count("compactions"), [[Value::Integer(0)]]);
    }
    assert!(cuts >= 20, "only {cuts} cuts");
}

#[test]
fn a_late_part_is_merged_into_its_day_and_rolled_up_the_next_night() {
    let mut world = sealed(true);
    assert_eq!(world.run_due(night()), [JobKind::CompactDay]);
    assert_eq!(rolled_up(&mut world, "count"), [(0, 200.0), (HOUR_MS, 200.0)]);
    // Ten samples that are there already, with other values, and ten that are not.
    let late = night().plus_ms(HOUR_MS);
    world.push_from(1, at(190_000), 20, late);
    let expected = world.read_all();
    assert_eq!(expected.len(), 410);
    assert_eq!(expected[195], (195_000, 5.5));
    world.seal(late.plus_ms(HOUR_MS));
    assert_eq!(world.read_all(), expected);
    let again = late.day().end().plus_ms(COMPACT_GRACE_MS + HOUR_MS);
    assert_eq!(
        world.shard.due_job(again.plus_ms(-2 * HOUR_MS)).map(|job| job.kind),
        Some(JobKind::DeleteReplaced)
    );
    assert_eq!(world.run_due(again), [JobKind::DeleteReplaced, JobKind::CompactDay]);
    assert_eq!(world.read_all(), expected);
    assert_eq!(rolled_up(&mut world, "count"), [(0, 210.0), (HOUR_MS, 200.0)]);
    world.run_due(again.plus_ms(REPLACED_GRACE_MS));
    assert_eq!(world.read_all(), expected);
    assert_eq!([keys(&world, "raw"), keys(&world, "5m"), keys(&world, "1h")], [1, 1, 1]);
}

#[test]
fn what_is_sealed_while_a_day_is_compacted_outranks_it() {
    let mut world = sealed(true);
    for _ in 0..5 {
        world.step(JobKind::CompactDay, night()).unwrap();
    }
    world.push_from(1, at(-1_000), 3, night());
    let expected = world.read_all();
    assert_eq!(expected[..3], [(-1_000, 0.5), (0, 1.5), (1_000, 2.5)]);
    let later = night().plus_ms(2 * HOUR_MS);
    world.seal(later);
    assert_eq!(world.read_all(), expected, "sealed");
    world.run_due(later);
    assert_eq!(world.read_all(), expected, "compacted");
    assert_eq!(world.counters(false).get(Counter::Compactions), 1);
}

#[test]
fn the_night_begins_when_the_last_minutes_of_the_day_are_sealed() {
    let mut world = World::new();
    world.push_from(1, at(0), 3, at(5_000));
    assert_eq!(world.run_due(at(2 * HOUR_MS)), [JobKind::Seal]);
    // The first push of the next day brings the last minute of this one.
    world.push_from(1, at(to_midnight() - 2_000), 4, at(to_midnight() + 5_000));
    let day = HOUR.day();
    let due = world.shard.next_due().unwrap();
    assert_eq!(world.run_due(due), [JobKind::Seal]);
    let due = world.shard.next_due().unwrap();
    assert!(due > day.end().plus_ms(HOUR_MS) && due < day.end().plus_ms(3 * HOUR_MS), "{due:?}");
    let expected = world.read_all();
    assert_eq!(world.run_due(due), [JobKind::CompactDay]);
    assert_eq!(world.read_all(), expected);
    let compacted = block_index::overlapping(&world.sql, Resolution::Raw, day.start(), day.end().plus_ms(-1));
    let [block] = compacted.unwrap().try_into().unwrap();
    assert_eq!((block.samples, block.part_of), (5, None));
}

/// Compacts the day until it is whole without what is damaged; returns when that was.
fn leave_out_damaged(world: &mut World) -> TimestampMs {
    let mut now = night();
    for tries in 1..=2 {
        let failed = loop {
            match world.step(JobKind::CompactDay, now) {
                Ok(false) => {}
                Ok(true) => panic!("try {tries} noticed nothing"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&failed, ShardError::Corrupt(why) if why.contains("checksum")), "{failed}");
        world.shard.put_off(JobKind::CompactDay, now).unwrap();
        now = now.plus_ms(HOUR_MS);
    }
    while !world.step(JobKind::CompactDay, now).unwrap() {}
    now
}

#[test]
fn a_damaged_part_is_left_out_after_some_tries_and_stops_nothing() {
    let mut world = sealed(true);
    let damaged = world.r2.keys().next().unwrap().clone();
    let good = world.r2[&damaged].clone();
    world.r2.get_mut(&damaged).unwrap()[3] ^= 1;
    let now = leave_out_damaged(&mut world);
    world.run_due(now.plus_ms(REPLACED_GRACE_MS));
    assert_eq!(world.counters(true).get(Counter::DamagedBlocks), 1);
    assert_eq!(keys(&world, "raw"), 2, "{:?}", world.r2.keys());
    // It is read as before: once it is mended, nothing is missing.
    world.r2.insert(damaged, good);
    assert_eq!(world.read_all(), sealed(true).read_all());
    assert_eq!(world.run_due(now.plus_ms(DAY_MS)), []);
}

#[test]
fn what_was_written_of_other_sources_is_deleted() {
    let mut world = sealed(true);
    let sealed: BTreeSet<String> = world.r2.keys().cloned().collect();
    while world.r2.len() < sealed.len() + 3 {
        assert!(!world.step(JobKind::CompactDay, night()).unwrap());
    }
    // Stored and not recorded when it was cut; then a part turns out to be damaged, and the day is another.
    let (parts, written): (Vec<String>, Vec<String>) =
        world.r2.keys().cloned().partition(|key| sealed.contains(key));
    world.reopen();
    world.r2.get_mut(&parts[0]).unwrap()[3] ^= 1;
    let now = leave_out_damaged(&mut world);
    world.run_due(now.plus_ms(REPLACED_GRACE_MS));
    assert!(written.iter().all(|key| !world.r2.contains_key(key)), "{:?}", world.r2.keys());
    assert_eq!(world.r2.len(), 1 + 3, "the damaged one, and the day without it");
}

/// A day of which so much is of host 1 that it is recorded before host 2 is read.
pub fn large() -> World {
    let mut world = World::new();
    world.enroll(2).unwrap();
    let mut state: u64 = 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Every bit but one of the exponent's, so that it is finite.
        f64::from_bits(state & !(1 << 62))
    };
    for part in 0..34 {
        let samples = (0..8_000).map(|n| (at(part * 80_000 + n * 10), noise()));
        world.push_values(1, samples, at(HOUR_MS - 1));
    }
    world.push_from(2, at(HOUR_MS), 200, at(HOUR_MS + 5_000));
    world.push_from(2, at(2 * HOUR_MS), 200, at(2 * HOUR_MS + 5_000));
    world.seal(at(3 * HOUR_MS));
    world
}

#[test]
fn what_was_recorded_before_a_damaged_part_was_left_out_and_is_the_same_after_it_stays() {
    let mut world = large();
    let expected = world.read_all();
    let of_second = block_index::of_day(&world.sql, HOUR.day(), State::Current).unwrap();
    let damaged = of_second.iter().find(|block| block.hosts.0 == host(2)).unwrap().key.clone();
    world.r2.get_mut(&damaged).unwrap()[3] ^= 1;
    let now = leave_out_damaged(&mut world);
    let of_first = |block: &&BlockEntry| block.hosts.1 == host(1);
    let again = block_index::of_day(&world.sql, HOUR.day(), State::Replaced).unwrap();
    let current = block_index::of_day(&world.sql, HOUR.day(), State::Current).unwrap();
    let is_again = |block: &&BlockEntry| again.iter().any(|other| other.key == block.key);
    assert_eq!(current.iter().filter(of_first).filter(is_again).count(), 3, "{current:?}");
    world.run_due(now.plus_ms(REPLACED_GRACE_MS));
    assert_eq!(world.read_all(), expected);
}

#[test]
fn the_catalogue_is_told_of_day_blocks_though_later_ones_were_told_before() {
    let mut world = sealed(true);
    let told = |world: &mut World, now| {
        let changes = world.shard.catalogue_changes(now).unwrap();
        world.shard.catalogue_told(&changes, Usage::default(), now).unwrap();
        changes.blocks.into_iter().map(|block| block.resolution.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut world, night()), ["raw", "raw", "raw"]);
    while world.r2.len() < 5 {
        assert!(!world.step(JobKind::CompactDay, night()).unwrap());
    }
    world.push_from(1, night(), 1, night());
    world.seal(night().plus_ms(2 * HOUR_MS));
    assert_eq!(told(&mut world, night()), ["raw"]);
    world.run_due(night().plus_ms(2 * HOUR_MS));
    let mut again = told(&mut world, night());
    again.sort_unstable();
    assert_eq!(again, ["1h", "5m", "raw", "raw"]);
    assert_eq!(told(&mut world, night()), [""; 0]);
}
