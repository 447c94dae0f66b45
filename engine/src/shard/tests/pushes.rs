//! Compact pushes: exactly once, series lists, limits, groups that are committed together and fail together.

use super::*;
use crate::{
    call::{Listed, Pushed},
    dictionaries::Dictionary,
    sql::Value,
    streams::Identity,
};
use edgewatch_shared::{
    Sample, Series,
    limits::{HOST_DICTIONARIES_MAX, HOST_SERIES_MAX},
    wire::push::{DictionaryId, ReadingRange, StreamId, encode_columns, encode_series},
};

fn series(names: &[&str]) -> Vec<Series> {
    let mut series: Vec<Series> =
        names.iter().map(|name| Series { name: (*name).into(), labels: Labels::new() }).collect();
    series.sort();
    series
}

/// A push of host 1: reading n lies n seconds after [`HOUR`], and every series has the value n.
fn listed(stream: u64, first: u64, last: u64, list: &[Series]) -> Push {
    let sample = |n: u64| Sample { time: at(n as i64 * 1_000), value: n as f64 };
    let columns = vec![(first..=last).map(sample).collect::<Vec<_>>(); list.len()];
    let identity = Identity {
        stream: StreamId(stream),
        floor: 1,
        readings: ReadingRange { first, last },
        checksum: first * 1_000 + last,
    };
    let listed = Listed {
        samples: columns.iter().map(Vec::len).sum::<usize>() as u32,
        identity,
        dictionary: DictionaryId::of(&encode_series(list)),
        series: Some(list.to_vec()),
        newest: vec![Some(last as f64); list.len()],
        columns: encode_columns(&columns),
    };
    let sender = Sender::Host { id: host(1), claimed: None };
    Push {
        sender,
        facts: None,
        outside_window: 0,
        payload: Some(Payload::Listed(listed)),
        record: None,
        way: Way::Direct,
    }
}

fn load(stream: u64, first: u64, last: u64) -> Push {
    listed(stream, first, last, &series(&["load_1m"]))
}

fn change(mut push: Push, change: impl FnOnce(&mut Listed)) -> Push {
    let Some(Payload::Listed(listed)) = &mut push.payload else { panic!() };
    change(listed);
    push
}

fn listless(push: Push) -> Push {
    change(push, |listed| listed.series = None)
}

impl World {
    fn push_listed(&mut self, push: Push) -> Result<(u32, u32, u32), ShardError> {
        let Reply::Pushed(Pushed { ingested, repeated, refused, .. }) =
            self.ask(Request::Push(push), at(0))?
        else {
            panic!()
        };
        Ok((ingested, repeated, refused))
    }

    fn push_group(&mut self, pushes: Vec<Push>) -> Result<Vec<Result<Pushed, ShardError>>, ShardError> {
        self.shard.push_all(pushes, at(0), &mut self.instance)
    }

    fn seconds(&mut self, name: &str) -> Vec<i64> {
        self.read_named(name).unwrap().into_iter().map(|(ms, _)| ms / 1_000).collect()
    }

    fn table_rows(&self, table: &str) -> i64 {
        let row = self.sql.exec(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().remove(0);
        row[0].clone().integer().unwrap()
    }
}

const CONFLICT: ShardError = ShardError::IdentityConflict { first: 1, last: 6 };

#[test]
fn whatever_comes_in_between_every_reading_is_there_once() {
    type Between = fn(&mut World);
    let nothing: Between = |_| ();
    let reopen: Between = World::reopen;
    let seal: Between = |world| {
        world.seal(at(HOUR_MS));
    };
    let seal_and_reopen: Between = |world| {
        world.seal(at(HOUR_MS));
        world.reopen();
    };
    for (name, between) in [("nothing", nothing), ("open", reopen), ("seal", seal), ("both", seal_and_reopen)]
    {
        let mut world = World::new();
        let mut next = |push, expected| {
            assert_eq!(world.push_listed(push), expected, "{name}");
            between(&mut world);
        };
        next(load(1, 1, 6), Ok((6, 0, 0)));
        // A repeat, with and without the list.
        next(load(1, 1, 6), Ok((0, 6, 0)));
        next(listless(load(1, 1, 6)), Ok((0, 6, 0)));
        // Other content.
        next(change(load(1, 1, 6), |listed| listed.identity.checksum = 7), Err(CONFLICT));
        // A gap, out of order, and the missing ones regrouped across their borders.
        next(listless(load(1, 20, 25)), Ok((6, 0, 0)));
        next(listless(load(1, 7, 9)), Ok((3, 0, 0)));
        next(listless(load(1, 10, 19)), Ok((10, 0, 0)));
        next(listless(load(1, 5, 22)), Ok((0, 18, 0)));
        next(listless(load(1, 24, 30)), Ok((7, 0, 0)));
        // An agent that began anew, and the old stream.
        next(load(2, 31, 36), Ok((6, 0, 0)));
        next(listless(load(1, 1, 30)), Ok((0, 30, 0)));
        assert_eq!(world.seconds("load_1m"), (1..=36).collect::<Vec<_>>(), "{name}");
        let ingested = world.counters(true).get(Counter::SamplesIngested);
        assert_eq!(ingested, 6 + 6 + 3 + 10 + 7 + 6, "{name}");
    }
}

#[test]
fn a_backlog_beside_fresh_data_is_there_once() {
    let mut world = World::new();
    for turn in 0..10 {
        let fresh = (601 + turn * 6, 606 + turn * 6);
        world.push_listed(load(1, fresh.0, fresh.1)).unwrap();
        let old = change(load(1, 1 + turn * 60, 60 + turn * 60), |listed| {
            listed.identity.floor = 1 + turn * 60;
        });
        assert_eq!(world.push_listed(old), Ok((60, 0, 0)));
        assert_eq!(world.push_listed(load(1, fresh.0, fresh.1)), Ok((0, 6, 0)));
        if turn == 5 {
            world.reopen();
        }
    }
    assert_eq!(world.seconds("load_1m"), (1..=660).collect::<Vec<_>>());
}

#[test]
fn pushes_that_arrive_together_share_a_row_and_are_judged_one_after_the_other() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    let rows = world.sql.rows_written();
    let other = Push { sender: Sender::Host { id: host(2), claimed: None }, ..load(1, 1, 6) };
    let stranger = Push { sender: Sender::Host { id: host(9), claimed: None }, ..load(1, 1, 6) };
    let group = vec![
        load(1, 1, 6),
        load(1, 1, 6),
        stranger,
        listless(load(1, 7, 12)),
        change(load(1, 1, 6), |listed| listed.identity.checksum = 7),
        other,
    ];
    let answers: Vec<_> = world
        .push_group(group)
        .unwrap()
        .into_iter()
        .map(|answer| answer.map(|pushed| (pushed.ingested, pushed.repeated)))
        .collect();
    let expected =
        [Ok((6, 0)), Ok((0, 6)), Err(ShardError::UnknownHost), Ok((6, 0)), Err(CONFLICT), Ok((6, 0))];
    assert_eq!(answers, expected);
    // The row, a list and the series of each host.
    assert_eq!(world.sql.rows_written() - rows, 5);
    assert_eq!(world.seconds("load_1m"), (1..=12).collect::<Vec<_>>());
}

#[test]
fn hosts_that_come_together_by_name_are_counted_up_to_the_last_place() {
    let mut world = World::new();
    let named =
        |n: usize| Push { sender: Sender::Named(format!("named-{n}").parse().unwrap()), ..load(1, 1, 1) };
    let answers = world.push_group((0..SHARD_HOSTS_MAX + 1).map(named).collect()).unwrap();
    let refused = answers.iter().filter(|answer| **answer == Err(ShardError::Full)).count();
    // One place is taken by the host that is enrolled.
    assert_eq!((answers.len() - refused, refused), (SHARD_HOSTS_MAX - 1, 2));
}

#[test]
fn a_group_that_fails_fails_for_everybody_and_can_be_sent_again() {
    let group = || vec![load(1, 1, 6), load(1, 7, 12), load(1, 1, 6)];
    let mut cuts = 0;
    for statements in 0.. {
        let mut world = World::new();
        world.read_all();
        world.sql.failing_after.set(Some(statements));
        let result = world.push_group(group());
        world.sql.failing_after.set(None);
        if result.is_ok() {
            break;
        }
        cuts += 1;
        world.reopen();
        assert_eq!(world.seconds("load_1m"), [0; 0], "cut after {statements} statements");
        let answers = world.push_group(group()).unwrap();
        let ingested: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().ingested).collect();
        assert_eq!(ingested, [6, 6, 0]);
        assert_eq!(world.seconds("load_1m"), (1..=12).collect::<Vec<_>>());
    }
    assert!(cuts >= 4, "only {cuts} cuts");
}

#[test]
fn a_host_that_an_import_adds_may_push_if_it_could_and_one_that_is_known_keeps_its_state() {
    let mut world = World::new();
    let import =
        |n, state| Push { sender: Sender::Imported { id: host(n), name: name(n), state }, ..load(1, 1, 6) };
    for (n, state) in [(1, HostState::Revoked), (2, HostState::Active), (4, HostState::Revoked)] {
        assert_eq!(world.push_listed(import(n, state)), Ok((6, 0, 0)), "{n}");
    }
    // What it says later changes nothing.
    assert_eq!(world.push_listed(import(4, HostState::Active)), Ok((0, 6, 0)));
    world.reopen();
    let push = |n| Push { sender: Sender::Host { id: host(n), claimed: None }, ..load(1, 7, 12) };
    assert_eq!(world.push_listed(push(1)), Ok((6, 0, 0)));
    assert_eq!(world.push_listed(push(2)), Ok((6, 0, 0)));
    assert_eq!(world.push_listed(push(4)), Err(ShardError::RevokedHost));
}

#[test]
fn a_list_is_asked_for_until_it_came_and_belongs_to_its_host() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    assert_eq!(world.push_listed(listless(load(1, 1, 6))), Err(ShardError::UnknownDictionary));
    world.push_listed(load(1, 1, 6)).unwrap();
    assert_eq!(world.push_listed(listless(load(1, 7, 12))), Ok((6, 0, 0)));
    let other = Push { sender: Sender::Host { id: host(2), claimed: None }, ..listless(load(1, 1, 6)) };
    assert_eq!(world.push_listed(other), Err(ShardError::UnknownDictionary));
    let shape = change(listless(load(1, 13, 18)), |listed| listed.newest.push(None));
    assert_eq!(world.push_listed(shape), Err(ShardError::Shape { columns: 2, series: 1 }));
    world.instance.dictionaries = DictionaryCache::new(0);
    assert_eq!(world.push_listed(listless(load(1, 13, 18))), Ok((6, 0, 0)));
}

#[test]
fn a_list_stays_while_the_log_or_a_stream_needs_it_and_goes_with_the_seal_afterwards() {
    let mut world = World::new();
    let (old, new) = (series(&["load_1m"]), series(&["load_1m", "load_5m"]));
    world.push_listed(listed(1, 1, 6, &old)).unwrap();
    world.push_listed(listed(1, 7, 12, &new)).unwrap();
    assert_eq!(world.table_rows("dictionaries"), 2);
    world.reopen();
    world.seal(at(HOUR_MS));
    assert_eq!(world.table_rows("dictionaries"), 1);
    assert_eq!(world.push_listed(listless(listed(1, 13, 18, &old))), Err(ShardError::UnknownDictionary));
    assert_eq!(world.push_listed(listless(listed(1, 13, 18, &new))), Ok((12, 0, 0)));
    assert_eq!(world.seconds("load_1m"), (1..=18).collect::<Vec<_>>());
    // With its host everything goes.
    world.ask(Request::Delete(host(1)), at(0)).unwrap();
    assert_eq!(world.seal(at(2 * HOUR_MS)), 1);
    assert_eq!(["dictionaries", "streams", "host_series"].map(|table| world.table_rows(table)), [0; 3]);
}

#[test]
fn so_many_lists_of_a_host_are_kept_and_samples_under_a_further_one_are_stored_all_the_same() {
    let mut world = World::new();
    let list = |n: usize| series(&["load_1m", &format!("app_{n:03}")]);
    for n in 0..HOST_DICTIONARIES_MAX {
        let reading = n as u64 + 1;
        assert_eq!(world.push_listed(listed(1, reading, reading, &list(n))), Ok((2, 0, 0)));
    }
    let further = HOST_DICTIONARIES_MAX as u64 + 1;
    let push = listed(1, further, further, &list(HOST_DICTIONARIES_MAX));
    assert_eq!(world.push_listed(push.clone()), Ok((2, 0, 0)));
    assert_eq!(world.table_rows("dictionaries"), HOST_DICTIONARIES_MAX as i64);
    assert_eq!(world.push_listed(push.clone()), Ok((0, 2, 0)));
    world.reopen();
    assert_eq!(world.push_listed(push), Ok((0, 2, 0)));
    assert_eq!(world.seconds("load_1m"), (1..=further as i64).collect::<Vec<_>>());
    assert_eq!(world.seconds("app_064"), [further as i64]);
}

#[test]
fn at_the_limit_new_series_are_left_out_and_known_ones_go_on() {
    let mut world = World::new();
    let names: Vec<String> = (0..=HOST_SERIES_MAX).map(|n| format!("app_{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let full = series(&names[..HOST_SERIES_MAX]);
    assert_eq!(world.push_listed(listed(1, 1, 1, &full)), Ok((HOST_SERIES_MAX as u32, 0, 0)));
    // One series goes, another one comes.
    let beyond = series(&names[1..]);
    let kept = HOST_SERIES_MAX as u32 - 1;
    assert_eq!(world.push_listed(listed(1, 2, 2, &beyond)), Ok((kept, 0, 1)));
    assert_eq!(world.seconds("app_04999"), [1, 2]);
    assert_eq!(world.seconds("app_05000"), [0; 0]);
    assert_eq!(world.push_listed(listless(listed(1, 3, 3, &full))), Ok((HOST_SERIES_MAX as u32, 0, 0)));
    assert_eq!(world.counters(true).get(Counter::Refused(RefusalReason::Cardinality)), 1);
    // In JSON a batch is all or nothing.
    let sender = Sender::Host { id: host(1), claimed: None };
    assert_eq!(world.push(sender, at(0), 1, at(0)), Err(ShardError::TooManySeries));
}

#[test]
fn a_push_whose_samples_all_lie_outside_the_window_stores_nothing() {
    let mut world = World::new();
    let rows = world.sql.rows_written();
    let mut push = change(load(1, 1, 6), |listed| {
        (listed.samples, listed.columns) = (0, encode_columns(&[Vec::new()]));
        listed.newest = vec![None];
    });
    push.outside_window = 6;
    assert_eq!(world.push_listed(push), Ok((0, 0, 6)));
    assert_eq!(world.sql.rows_written(), rows);
    // Nor is its list known, which nothing would have stored.
    assert_eq!(world.push_listed(listless(load(1, 7, 12))), Err(ShardError::UnknownDictionary));
}

#[test]
fn what_a_push_leaves_behind_whose_series_found_no_room_survives_a_restart() {
    let mut world = World::new();
    let names: Vec<String> = (0..=HOST_SERIES_MAX).map(|n| format!("app_{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (full, beyond) = (series(&names[..HOST_SERIES_MAX]), series(&names[HOST_SERIES_MAX..]));
    world.push_listed(listed(1, 1, 1, &full)).unwrap();
    for _ in 0..2 {
        assert_eq!(world.push_listed(listed(1, 2, 2, &beyond)), Ok((0, 0, 1)));
        let listless = listless(listed(1, 3, 3, &beyond));
        assert_eq!(world.push_listed(listless), Err(ShardError::UnknownDictionary));
        world.reopen();
    }
    assert_eq!(world.push_listed(listless(listed(1, 2, 2, &full))), Ok((HOST_SERIES_MAX as u32, 0, 0)));
}

#[test]
fn headlines_of_a_compact_push_are_listed() {
    let mut world = World::new();
    let list = series(&["load_1m", "app_x", "uptime_seconds"]);
    world.push_listed(listed(1, 1, 6, &list)).unwrap();
    for _ in 0..2 {
        let newest = world.hosts()[0].newest.clone().unwrap();
        assert_eq!(newest.values, [("load_1m".into(), 6.0), ("uptime_seconds".into(), 6.0)].into());
        world.push_listed(listless(listed(1, 1, 6, &list))).unwrap();
        world.reopen();
    }
}

#[test]
fn a_warm_head_follows_compact_pushes_and_a_cold_push_builds_none() {
    let mut world = World::new();
    world.push_listed(load(1, 1, 6)).unwrap();
    assert_eq!(world.instance.heads.bytes(), 0);
    assert_eq!(world.seconds("load_1m"), [1, 2, 3, 4, 5, 6]);
    let bytes = world.instance.heads.bytes();
    world.push_listed(listless(load(1, 7, 12))).unwrap();
    assert!(world.instance.heads.bytes() > bytes);
    assert_eq!(world.seconds("load_1m"), (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_push_whose_list_is_damaged_is_set_aside_and_the_others_are_sealed() {
    let mut world = World::new();
    let (good, bad) = (series(&["load_1m"]), series(&["load_1m", "load_5m"]));
    world.push_listed(listed(1, 1, 6, &bad)).unwrap();
    world.push_listed(listed(1, 7, 12, &good)).unwrap();
    let id = DictionaryId::of(&encode_series(&bad));
    let values = [Value::Blob(id.0.to_vec())];
    world.sql.exec("UPDATE dictionaries SET series = x'ff' WHERE id = ?1", &values).unwrap();
    world.instance.dictionaries = DictionaryCache::new(1 << 20);
    assert!(matches!(world.read_named("load_1m"), Err(ShardError::Corrupt(_))));
    assert!(world.shard.take_complaints()[0].contains("series list"));
    assert_eq!(world.seal(at(HOUR_MS)), 1);
    assert_eq!(world.seconds("load_1m"), (7..=12).collect::<Vec<_>>());
    assert_eq!(world.table_rows("set_aside"), 1);
    assert_eq!(world.counters(false).get(Counter::SetAside), 1);
}

#[test]
fn a_damaged_list_is_asked_for_again_and_what_was_stored_under_it_is_there_again() {
    for damage in [Vec::new(), vec![0xff; 9], encode_series(&series(&["load_5m"]))] {
        let mut world = World::new();
        world.push_listed(load(1, 1, 6)).unwrap();
        world.sql.exec("UPDATE dictionaries SET series = ?1", &[Value::Blob(damage)]).unwrap();
        world.instance.dictionaries = DictionaryCache::new(0);
        assert_eq!(world.push_listed(listless(load(1, 7, 12))), Err(ShardError::UnknownDictionary));
        assert!(world.shard.take_complaints()[0].starts_with("series list "));
        assert_eq!(world.push_listed(load(1, 7, 12)), Ok((6, 0, 0)));
        assert_eq!(world.push_listed(listless(load(1, 13, 18))), Ok((6, 0, 0)));
        assert_eq!(world.seconds("load_1m"), (1..=18).collect::<Vec<_>>());
        assert_eq!(world.table_rows("dictionaries"), 1);
    }
}

#[test]
fn decoded_lists_are_shared_and_bounded() {
    let mut cache = DictionaryCache::new(1_000);
    let sql = TestSql::new();
    Dictionaries::open(&sql).unwrap();
    let lists: Vec<_> = (0..10).map(|n| series(&[&format!("app_{n}"), "load_1m"])).collect();
    for list in &lists {
        let id = DictionaryId::of(&encode_series(list));
        cache.keep(id, &std::rc::Rc::new(Dictionary::new(list.clone())));
        assert!(cache.bytes() <= 1_000);
        assert!(cache.get(&sql, host(1), id).is_ok(), "the newest is there");
    }
    let first = DictionaryId::of(&encode_series(&lists[0]));
    assert!(cache.get(&sql, host(1), first).is_err());
}
