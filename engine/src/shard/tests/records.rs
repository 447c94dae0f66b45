//! Records: the newest of each host is kept, through restarts, seals and cuts, and costs no row a push.

use super::*;
use crate::{records, records::Record};

fn record(ms: i64) -> Record {
    Record { time: at(ms), bytes: ms.to_le_bytes().to_vec() }
}

/// A push of one sample, with a record of the same instant.
fn recorded(n: u8, ms: i64) -> Push {
    let sender = Sender::Host { id: host(n), claimed: None };
    Push { record: Some(record(ms)), ..named_push("load_1m", sender, at(ms), 1) }
}

fn newest(world: &mut World, n: u8) -> Result<Option<Record>, ShardError> {
    match world.ask(Request::Record { host: host(n), way: Way::Direct }, HOUR)? {
        Reply::Record(record) => Ok(record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_record_is_kept_through_restarts_and_seals() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    assert_eq!(newest(&mut world, 1), Ok(None));
    let push = |world: &mut World, n, ms, arrived: i64| {
        world.ask(Request::Push(recorded(n, ms)), at(arrived)).unwrap();
    };
    push(&mut world, 1, 1_000, 2_000);
    push(&mut world, 1, 5_000, 6_000);
    // Late: it is of an earlier time.
    push(&mut world, 1, 3_000, 7_000);
    world.push_from(1, at(8_000), 1, at(8_000));
    push(&mut world, 2, 4_000, 8_000);
    let check = |world: &mut World, what: &str| {
        assert_eq!(newest(world, 1), Ok(Some(record(5_000))), "{what}");
        assert_eq!(newest(world, 2), Ok(Some(record(4_000))), "{what}");
        assert_eq!(world.read_all().len(), 4, "{what}");
    };
    check(&mut world, "in the log");
    world.reopen();
    check(&mut world, "opened again");
    world.seal(at(HOUR_MS));
    check(&mut world, "sealed");
    world.reopen();
    check(&mut world, "sealed and opened again");
    // The next hour has an older one first, then a newer one of one host only.
    push(&mut world, 1, 4_500, HOUR_MS + 1);
    assert_eq!(newest(&mut world, 1), Ok(Some(record(5_000))));
    push(&mut world, 2, HOUR_MS, HOUR_MS + 2);
    assert_eq!(newest(&mut world, 2), Ok(Some(record(HOUR_MS))));
    world.seal(at(2 * HOUR_MS));
    assert_eq!(newest(&mut world, 1), Ok(Some(record(5_000))));
    assert_eq!(newest(&mut world, 2), Ok(Some(record(HOUR_MS))));
}

#[test]
fn a_record_costs_no_row_and_its_samples_are_read_as_without_it() {
    let rows = |with_record: bool| {
        let mut world = World::new();
        let before = world.sql.rows_written();
        let pushes = (0..10).map(|n| {
            let push = recorded(1, n * 1_000);
            Push { record: push.record.clone().filter(|_| with_record), ..push }
        });
        let answers = world.shard.push_all(pushes.collect(), at(10_000), &mut world.instance).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        (world.sql.rows_written() - before, world.read_all())
    };
    assert_eq!(rows(true), rows(false));
}

#[test]
fn a_record_of_a_refused_push_is_not_kept_and_that_of_a_host_that_goes_goes_along() {
    let mut world = World::new();
    let bare = |ms| Push { payload: None, ..recorded(1, ms) };
    world.ask(Request::Push(bare(1_000)), at(1_000)).unwrap();
    assert_eq!(newest(&mut world, 1), Ok(None));
    assert_eq!(newest(&mut world, 9), Err(ShardError::UnknownHost));
    world.ask(Request::Push(recorded(1, 2_000)), at(2_000)).unwrap();
    world.ask(Request::Delete(host(1)), at(3_000)).unwrap();
    assert_eq!(newest(&mut world, 1), Err(ShardError::UnknownHost));
    world.seal(at(HOUR_MS));
    assert_eq!(records::load_sealed(&world.sql), Ok(BTreeMap::new()));
}

#[test]
fn a_seal_cut_at_any_statement_loses_no_record() {
    let mut cuts = 0;
    for statements in 0.. {
        let mut world = World::new();
        world.ask(Request::Push(recorded(1, 1_000)), at(1_000)).unwrap();
        let is_cut = world.is_cut_after(statements, JobKind::Seal, at(HOUR_MS));
        assert_eq!(newest(&mut world, 1), Ok(Some(record(1_000))), "cut after {statements} statements");
        if !is_cut {
            break;
        }
        cuts += 1;
        world.seal(at(HOUR_MS));
        assert_eq!(newest(&mut world, 1), Ok(Some(record(1_000))), "sealed again after {statements}");
    }
    assert!(cuts >= 10, "only {cuts} cuts");
}
