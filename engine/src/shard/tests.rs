//! The shard's life natively, on rusqlite: pushes, readers, restarts, seals cut anywhere.

use super::{
    catalogue::SUMMARY_PUSHES,
    sealing::{SEAL_GRACE_MS, SEAL_SPREAD_S},
    *,
};
use crate::{
    block_index::{BlockEntry, State},
    call::{Named, Payload, Push, Read, Sender, Way},
    compression::Deflater,
    counters::Counter,
    frame::{self, Frame, tests::batch},
    jobs::JobKind,
    query::{Merger, read_block},
    rusqlite_sql::TestSql,
    series_limit::fingerprint,
    usage::Usage,
};
use edgewatch_shared::{
    HostName, Labels, RefusalReason,
    limits::{HOUR_MS, MINUTE_MS, QUERY_LOCAL_BLOCKS_MAX, SHARD_STORAGE_BYTES_MAX},
    wire::Facts,
};
use std::collections::BTreeMap;

mod compactions;
mod moves;
mod pushes;
mod quotas;
mod readings;
mod rebuildings;
mod records;
mod retentions;
mod rollups;
mod seals;
mod world;

use world::{World, named_push};

/// 2026-09-21T14:00:00Z, the start of an hour.
const HOUR: TimestampMs = TimestampMs(1_790_000_000_000 - 1_790_000_000_000 % HOUR_MS);

fn host(n: u8) -> HostId {
    HostId::new(3, [n; 14])
}

fn name(n: u8) -> HostName {
    format!("web-{n}").parse().unwrap()
}

fn at(ms: i64) -> TimestampMs {
    HOUR.plus_ms(ms)
}

#[test]
fn what_is_pushed_can_be_read_and_survives_a_restart() {
    let mut world = World::new();
    world.push_from(1, at(0), 3, at(5_000));
    let expected = [(0, 0.5), (1_000, 1.5), (2_000, 2.5)];
    assert_eq!(world.read_all(), expected);
    world.reopen();
    assert_eq!(world.read_all(), expected);
}

#[test]
fn a_batch_sent_twice_is_there_once() {
    let mut world = World::new();
    world.push_from(1, at(0), 3, at(5_000));
    world.push_from(1, at(0), 3, at(6_000));
    assert_eq!(world.read_all().len(), 3);
}

#[test]
fn a_cold_push_builds_no_head_and_a_read_one_is_kept_up_to_date() {
    let mut world = World::new();
    world.push_from(1, at(0), 3, at(5_000));
    assert_eq!(world.instance.heads.bytes(), 0);
    assert_eq!(world.read_all().len(), 3);
    let bytes = world.instance.heads.bytes();
    assert!(bytes > 0);
    world.push_from(1, at(10_000), 2, at(15_000));
    assert!(world.instance.heads.bytes() > bytes);
    assert_eq!(world.read_all().len(), 5);
}

#[test]
fn of_a_host_too_large_for_a_head_a_small_series_is_read_and_a_large_one_refused() {
    let mut world = World::new();
    world.instance.heads = HeadRegistry::new(2_000);
    world.push_from(1, at(0), 200, at(250_000));
    let sender = Sender::Host { id: host(1), claimed: None };
    world.push_named("load_5m", sender, at(0), 5, at(250_000)).unwrap();
    assert_eq!(world.read_named("load_5m").unwrap().len(), 5);
    assert!(matches!(world.read_named("load_1m"), Err(ShardError::TooManySamples(_))));
    assert_eq!(world.instance.heads.bytes(), 0);
}

#[test]
fn only_known_hosts_push_and_only_under_their_name() {
    let mut world = World::new();
    let by = |n, claimed: Option<&str>| Sender::Host { id: host(n), claimed: claimed.map(Into::into) };
    assert_eq!(world.push(by(9, None), at(0), 1, at(0)), Err(ShardError::UnknownHost));
    assert!(matches!(
        world.push(by(1, Some("web-2")), at(0), 1, at(0)),
        Err(ShardError::HostMismatch { .. })
    ));
    assert!(world.push(by(1, Some("web-1")), at(0), 1, at(0)).is_ok());
    assert!(world.push(by(1, Some(&host(1).to_string())), at(0), 1, at(0)).is_ok());
    world.ask(Request::Revoke(host(1)), at(0)).unwrap();
    assert_eq!(world.push(by(1, None), at(0), 1, at(0)), Err(ShardError::RevokedHost));
    world.reopen();
    assert_eq!(world.push(by(1, None), at(0), 1, at(0)), Err(ShardError::RevokedHost));
    assert_eq!(world.read_all().len(), 1);
    world.ask(Request::Delete(host(1)), at(0)).unwrap();
    assert_eq!(world.push(by(1, None), at(0), 1, at(0)), Err(ShardError::UnknownHost));
    assert_eq!(world.hosts(), []);
    assert_eq!(world.ask(Request::Revoke(host(1)), at(0)), Err(ShardError::UnknownHost));
}

#[test]
fn the_last_host_fits_and_one_more_does_not() {
    let mut world = World::new();
    for n in 1..SHARD_HOSTS_MAX {
        world.push(Sender::Named(format!("named-{n}").parse().unwrap()), at(0), 1, at(0)).unwrap();
    }
    assert_eq!(world.push(Sender::Named(name(8)), at(0), 1, at(0)), Err(ShardError::Full));
    assert_eq!(world.enroll(2), Err(ShardError::Full));
    assert!(world.push(Sender::Named("named-1".parse().unwrap()), at(0), 1, at(0)).is_ok());
}

#[test]
fn a_push_of_nothing_checks_the_sender_and_writes_nothing() {
    let mut world = World::new();
    let rows = world.sql.rows_written();
    let sender = Sender::Host { id: host(1), claimed: None };
    let push = |sender| Push {
        sender,
        facts: None,
        outside_window: 7,
        payload: None,
        record: None,
        way: Way::Direct,
    };
    world.ask(Request::Push(push(sender)), at(0)).unwrap();
    let unknown = Sender::Host { id: host(9), claimed: None };
    assert_eq!(world.ask(Request::Push(push(unknown)), at(0)), Err(ShardError::UnknownHost));
    assert_eq!(world.sql.rows_written(), rows);
    assert_eq!(world.counters(true).get(Counter::Refused(RefusalReason::OutsideWindow)), 7);
}

#[test]
fn late_data_becomes_a_further_block_and_the_later_write_wins() {
    let mut world = World::new();
    world.push_from(1, at(0), 3, at(5_000));
    world.seal(at(HOUR_MS));
    // The same instants a day later, with other values: the batch starts a second earlier.
    let late = at(24 * HOUR_MS);
    world.push_from(1, at(-1_000), 3, late);
    let expected = [(-1_000, 0.5), (0, 1.5), (1_000, 2.5), (2_000, 2.5)];
    assert_eq!(world.read_all(), expected);
    world.seal(at(25 * HOUR_MS));
    assert_eq!(world.read_all(), expected);
    // The hour, what it had of the day before, and of both days the late ones.
    assert_eq!(world.r2.len(), 2, "{:?}", world.r2.keys());
}

#[test]
fn a_clock_that_goes_back_does_not_touch_a_frozen_partition() {
    let mut world = World::new();
    world.push_from(1, at(HOUR_MS), 1, at(HOUR_MS));
    world.push_from(1, at(0), 1, at(0));
    assert_eq!(world.shard.partitions(), [at(HOUR_MS).hour()]);
    assert_eq!(world.read_all().len(), 2);
}

#[test]
fn a_clock_that_goes_back_while_a_partition_is_sealed_loses_nothing() {
    let mut world = World::new();
    world.push_from(1, at(0), 1, at(0));
    world.step(JobKind::Seal, at(HOUR_MS)).unwrap();
    world.push_from(1, at(5_000), 1, at(HOUR_MS - 1));
    while !world.step(JobKind::Seal, at(HOUR_MS)).unwrap() {}
    assert_eq!(world.read_all(), [(0, 0.5), (5_000, 0.5)]);
}

#[test]
fn samples_that_come_latest_first_are_merged() {
    let mut world = World::new();
    for hour in (0..5).rev() {
        world.push_from(1, at(hour * 60_000), 60, at(HOUR_MS - 1));
        assert_eq!(world.read_all().len() as i64, (5 - hour) * 60);
    }
    let times: Vec<_> = world.read_all().into_iter().map(|(ms, _)| ms).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_host_that_is_deleted_leaves_no_newest_values() {
    let mut world = World::new();
    world.push_from(1, at(0), 1, at(0));
    assert!(world.hosts()[0].newest.is_some());
    world.ask(Request::Delete(host(1)), at(0)).unwrap();
    world.seal(at(HOUR_MS));
    assert_eq!(ledger::load_newest(&world.sql).unwrap(), NewestByHost::new());
}

#[test]
fn a_shard_takes_up_to_its_storage_limit_and_not_a_byte_more() {
    let mut world = World::new();
    world.sql.size_bytes.set(Some(SHARD_STORAGE_BYTES_MAX));
    world.push_from(1, at(0), 1, at(0));
    world.sql.size_bytes.set(Some(SHARD_STORAGE_BYTES_MAX + 1));
    let sender = Sender::Host { id: host(1), claimed: None };
    assert_eq!(world.push(sender, at(0), 1, at(0)), Err(ShardError::StorageFull));
    assert_eq!(world.read_all().len(), 1);
}

#[test]
fn a_query_reads_as_many_local_blocks_as_it_may_and_not_one_more() {
    let mut world = World::without_r2();
    world.push_from(1, at(0), 3, at(5_000));
    world.seal(at(HOUR_MS));
    let block = block_index::after(&world.sql, 0, 1).unwrap().remove(0);
    let bytes = block_index::local_data(&world.sql, block.id).unwrap().unwrap();
    let sql = world.sql.clone();
    let insert = |number: usize| {
        let id = block.id + number as i64;
        block_index::keep_data(&sql, id, bytes.clone()).unwrap();
        block_index::insert(&sql, &BlockEntry { id, ..block.clone() }, State::Current).unwrap();
    };
    (1..QUERY_LOCAL_BLOCKS_MAX).for_each(insert);
    assert_eq!(world.read_all().len(), 3);
    insert(QUERY_LOCAL_BLOCKS_MAX);
    let too_many = ShardError::TooManyBlocks(QUERY_LOCAL_BLOCKS_MAX as u64 + 1);
    assert_eq!(world.read_named("load_1m"), Err(too_many));
}

#[test]
fn the_seal_is_due_after_the_hour_and_only_while_there_is_something_to_seal() {
    let mut world = World::new();
    assert_eq!(world.shard.next_due(), None);
    world.push_from(1, at(0), 1, at(0));
    let due = world.shard.next_due().unwrap();
    assert!(due > at(HOUR_MS) && due <= at(HOUR_MS + SEAL_GRACE_MS + SEAL_SPREAD_S * 1_000));
    assert_eq!(world.shard.due_job(due.plus_ms(-1)), None);
    assert_eq!(world.shard.due_job(due).unwrap().kind, JobKind::Seal);
    world.shard.put_off(JobKind::Seal, due).unwrap();
    assert_eq!(world.shard.next_due(), Some(due.plus_ms(MINUTE_MS)));
    world.push_from(1, at(HOUR_MS + 1), 1, at(HOUR_MS + 1));
    world.reopen();
    assert_eq!(world.seal(due), 1);
    assert_eq!(world.shard.next_due(), Some(due.plus_ms(HOUR_MS)));
    assert_eq!(world.seal(due), 0);
    assert_eq!(world.seal(due.plus_ms(HOUR_MS)), 1);
    // What comes next is the night.
    assert!(world.shard.due_job(HOUR.day().end()).is_none());
}

#[test]
fn counters_are_shown_once_durable_and_never_jump_back() {
    let mut world = World::new();
    let mut counted = Counters::default();
    counted.add(Counter::Requests { route: 1, status: 202 }, 3);
    world.shard.answer(Call { counted, request: Request::Ping }, at(0), &mut world.instance).unwrap();
    let requests = Counter::Requests { route: 1, status: 202 };
    assert_eq!(world.counters(false).get(requests), 0);
    world.push_from(1, at(0), 2, at(0));
    world.push_from(1, at(5_000), 2, at(5_000));
    let shown = world.counters(false);
    assert_eq!((shown.get(requests), shown.get(Counter::SamplesIngested)), (3, 4));
    world.reopen();
    assert_eq!(world.counters(false), shown);
    let mut alarm = Counters::default();
    alarm.add(Counter::ShardRowsWritten, 1);
    world.shard.take_over(&alarm);
    let stored = world.counters(true);
    world.reopen();
    assert_eq!(world.counters(false), stored);
    world.seal(at(HOUR_MS));
    let after = world.counters(false);
    assert_eq!((after.get(Counter::Seals), after.get(Counter::BatchesIngested)), (1, 2));
    world.reopen();
    assert_eq!(world.counters(false), after);
}

#[test]
fn newest_values_survive_restart_and_seal() {
    let mut world = World::new();
    assert_eq!(world.hosts()[0].newest, None);
    world.push_from(1, at(0), 2, at(1_000));
    world.push_from(1, at(5_000), 3, at(9_000));
    let newest = |world: &mut World| {
        let newest = world.hosts()[0].newest.clone().unwrap();
        (newest.last_seen, newest.values["load_1m"])
    };
    let expected = (at(9_000), 3.0);
    assert_eq!(newest(&mut world), expected);
    world.reopen();
    assert_eq!(newest(&mut world), expected);
    world.seal(at(HOUR_MS));
    assert_eq!(newest(&mut world), expected);
    world.reopen();
    assert_eq!(newest(&mut world), expected);
}

#[test]
fn the_catalogue_is_told_of_hosts_and_blocks_once_and_of_values_now_and_then() {
    let mut world = World::new();
    let tell = |world: &mut World, now| {
        let changes = world.shard.catalogue_changes(now).unwrap();
        world.shard.catalogue_told(&changes, Usage::default(), now).unwrap();
        (changes.hosts.len(), changes.blocks.len(), changes.summary.is_some())
    };
    // Whoever enrolled the first host has told the catalogue; the second one comes by name.
    assert_eq!(tell(&mut world, at(0)), (0, 0, false));
    world.push(Sender::Named(name(2)), at(0), 1, at(0)).unwrap();
    assert_eq!(tell(&mut world, at(0)), (1, 0, false));
    assert_eq!(tell(&mut world, at(0)), (0, 0, false));
    world.reopen();
    for _ in 2..SUMMARY_PUSHES {
        world.push_from(1, at(0), 1, at(0));
    }
    assert_eq!(tell(&mut world, at(MINUTE_MS)), (0, 0, false));
    world.push_from(1, at(0), 1, at(0));
    assert_eq!(tell(&mut world, at(MINUTE_MS)), (0, 0, true));
    assert_eq!(tell(&mut world, at(MINUTE_MS)), (0, 0, false));
    world.seal(at(HOUR_MS));
    assert_eq!(tell(&mut world, at(HOUR_MS)), (0, 1, false));
    assert_eq!(tell(&mut world, at(HOUR_MS)), (0, 0, false));
}

#[test]
fn a_host_that_changed_while_the_catalogue_was_told_is_told_again() {
    let mut world = World::new();
    world.push(Sender::Named(name(2)), at(0), 1, at(0)).unwrap();
    let changes = world.shard.catalogue_changes(at(0)).unwrap();
    assert_eq!(changes.hosts[0].state, HostState::Active);
    world.ask(Request::Revoke(changes.hosts[0].id), at(0)).unwrap();
    world.shard.catalogue_told(&changes, Usage::default(), at(0)).unwrap();
    assert_eq!(world.shard.catalogue_changes(at(0)).unwrap().hosts[0].state, HostState::Revoked);
}

#[test]
fn an_hour_of_pushes_costs_little_more_than_a_row_each() {
    let mut world = World::new();
    let before = world.sql.rows_written();
    for minute in 0..60 {
        world.push_from(1, at(minute * MINUTE_MS), 60, at(minute * MINUTE_MS));
    }
    world.seal(at(HOUR_MS));
    let rows = world.sql.rows_written() - before;
    assert!(rows <= 64, "{rows} rows for 60 pushes");
}
