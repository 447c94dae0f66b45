//! Seals: in slices, cut anywhere, with rows that do not decode; no reader sees a difference.

use super::*;
use crate::sql::Value;

/// A shard with two hosts: of this hour, of late minutes and of days ago.
fn pushed() -> World {
    let mut world = World::new();
    world.enroll(2).unwrap();
    for n in [1, 2] {
        world.push_from(n, at(-10 * MINUTE_MS), 2, at(5_000));
        world.push_from(n, at(0), 2, at(5_000));
        world.push_from(n, at(-50 * HOUR_MS), 3, at(5_000));
    }
    world
}

/// What a seal of [`pushed`] leaves behind: the objects.
fn sealed() -> BTreeMap<String, Vec<u8>> {
    let mut world = pushed();
    assert_eq!(world.seal(at(HOUR_MS)), 1);
    world.r2
}

#[test]
fn no_step_of_a_seal_changes_an_answer_and_others_push_in_between() {
    for with_r2 in [false, true] {
        let mut world = pushed();
        world.bind_r2(with_r2);
        let mut expected = world.read_all();
        assert_eq!(expected.len(), 7);
        let now = at(HOUR_MS);
        let mut steps = 0;
        while !world.step(JobKind::Seal, now).unwrap() {
            assert_eq!(world.read_all(), expected, "step {steps}");
            world.push_from(1, now.plus_ms(steps), 1, now);
            expected.push((HOUR_MS + steps, 0.5));
            steps += 1;
        }
        // A look, two hosts, three blocks of which two are late: written and stored each.
        assert!(steps >= 6, "only {steps} steps");
        assert_eq!(world.read_all(), expected, "sealed");
        assert_eq!(world.shard.partitions(), [now.hour()]);
        assert_eq!(world.r2.len(), if with_r2 { 3 } else { 0 }, "{:?}", world.r2.keys());
        world.reopen();
        assert_eq!(world.read_all(), expected, "opened again");
    }
}

#[test]
fn a_seal_cut_between_any_two_steps_gives_the_same_blocks_under_the_same_names() {
    let reference = sealed();
    let mut cuts = 0;
    for steps in 0.. {
        let mut world = pushed();
        let expected = world.read_all();
        let is_over = (0..steps).any(|_| world.step(JobKind::Seal, at(HOUR_MS)).unwrap());
        world.reopen();
        assert_eq!(world.read_all(), expected, "cut after {steps} steps");
        if is_over {
            break;
        }
        cuts += 1;
        assert_eq!(world.seal(at(HOUR_MS)), 1);
        assert_eq!(world.read_all(), expected, "sealed again after {steps} steps");
        assert_eq!(world.r2, reference);
    }
    assert!(cuts >= 6, "only {cuts} cuts");
}

#[test]
fn a_seal_cut_at_any_statement_loses_nothing_and_leaves_nothing_behind() {
    for with_r2 in [false, true] {
        let mut cuts = 0;
        for statements in 0.. {
            let mut world = pushed();
            world.bind_r2(with_r2);
            let expected = world.read_all();
            let is_cut = world.is_cut_after(statements, JobKind::Seal, at(HOUR_MS));
            assert_eq!(world.read_all(), expected, "cut after {statements} statements");
            if !is_cut {
                break;
            }
            cuts += 1;
            world.seal(at(HOUR_MS));
            assert_eq!(world.read_all(), expected, "sealed again after {statements} statements");
            assert_eq!(world.shard.partitions(), []);
            let kept = world.sql.exec("SELECT count(*) FROM block_data", &[]).unwrap();
            assert_eq!(kept, [[Value::Integer(if with_r2 { 0 } else { 3 })]]);
        }
        assert!(cuts >= 10, "only {cuts} cuts");
    }
}

#[test]
fn a_row_that_does_not_decode_is_set_aside_and_the_others_are_sealed() {
    let mut world = pushed();
    let damage = format!("UPDATE wal_{} SET data = ?1 WHERE seq = 2", HOUR.hour().0);
    world.sql.exec(&damage, &[Value::Blob(vec![1, 2, 3])]).unwrap();
    assert_eq!(world.seal(at(HOUR_MS)), 1);
    let times: Vec<_> = world.read_all().into_iter().map(|(ms, _)| ms).collect();
    let late = -50 * HOUR_MS;
    assert_eq!(times, [late, late + 1_000, late + 2_000, -10 * MINUTE_MS, -10 * MINUTE_MS + 1_000]);
    let kept = world.sql.exec("SELECT partition, seq, host, data FROM set_aside", &[]).unwrap();
    let [row] = kept.as_slice() else { panic!("{kept:?}") };
    let expected = [
        Value::Integer(HOUR.hour().0),
        Value::Integer(2),
        Value::Blob(host(1).as_bytes().to_vec()),
        Value::Blob(vec![1, 2, 3]),
    ];
    assert_eq!(*row, expected);
    assert_eq!(world.counters(false).get(Counter::SetAside), 1);
}

#[test]
fn a_host_of_many_samples_is_sealed_in_several_steps() {
    let steps = |pushes: i64| {
        let mut world = World::new();
        for n in 0..pushes {
            world.push_from(1, at(n * 1_000), 300, at(HOUR_MS - 1));
        }
        let mut steps = 0;
        while !world.step(JobKind::Seal, at(HOUR_MS)).unwrap() {
            steps += 1;
        }
        steps
    };
    // A look, 50,000 samples a step, the block closed and stored.
    assert_eq!((steps(167), steps(168), steps(340)), (4, 5, 6));
}
