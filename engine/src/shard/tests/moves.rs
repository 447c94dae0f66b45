//! Hosts on their way between shards, each step done again, too late, or after a restart.

use super::*;
use crate::{
    call::Listed,
    moves::{Destination, Luggage},
    split,
    streams::Identity,
};
use edgewatch_shared::{
    Sample, Series,
    series::SeriesSamples,
    wire::push::{DictionaryId, ReadingRange, StreamId, decode_columns, encode_columns, encode_series},
};

/// Another shard than that of [`World::new`], without hosts.
fn other(number: ShardNumber) -> World {
    let sql = TestSql::new();
    let mut instance = Instance::default();
    let shard = Shard::open(sql.clone(), Some(number), &mut instance).unwrap();
    World {
        sql,
        instance,
        shard,
        r2: BTreeMap::new(),
        with_r2: true,
        retention: RetentionSettings::default(),
    }
}

fn leave(world: &mut World, to: Destination) -> Result<Option<Luggage>, ShardError> {
    leave_at(world, host(1), to, HOUR)
}

fn leave_at(
    world: &mut World,
    host: HostId,
    to: Destination,
    now: TimestampMs,
) -> Result<Option<Luggage>, ShardError> {
    match world.ask(Request::Leave { host, to }, now)? {
        Reply::Left(luggage) => Ok(luggage),
        other => panic!("{other:?}"),
    }
}

fn arrive(world: &mut World, luggage: &Luggage) {
    let to = Destination::Shard(world.shard.number());
    assert_eq!(world.ask(Request::Arrive { luggage: luggage.clone(), to }, HOUR), Ok(Reply::Done));
}

/// The same, of a host that is spread over these shards.
fn arrive_spread(world: &mut World, luggage: &Luggage, shards: &[ShardNumber]) {
    let to = Destination::Shards(shards.to_vec());
    assert_eq!(world.ask(Request::Arrive { luggage: luggage.clone(), to }, HOUR), Ok(Reply::Done));
}

/// Those samples of a push that belong to a shard.
fn part(push: Push, shards: &[ShardNumber], shard: ShardNumber) -> Push {
    let parts = split::parts(push, shards, &mut Instance::default()).unwrap();
    parts.into_iter().find(|(of, _)| *of == shard).unwrap().1
}

const NAMES: [&str; 6] = ["app_a", "app_b", "app_c", "app_d", "app_e", "app_f"];

/// A numbered push of `names`, one sample each.
fn listed(names: &[&str], reading: u64) -> Push {
    let series = names.iter().map(|name| Series { name: (*name).into(), labels: Labels::new() });
    let series: Vec<Series> = series.collect();
    let sample = Sample { time: HOUR.plus_ms(reading as i64 * 10_000), value: reading as f64 };
    let identity = Identity {
        stream: StreamId(1),
        floor: 1,
        readings: ReadingRange { first: reading, last: reading },
        checksum: reading,
    };
    let listed = Listed {
        samples: names.len() as u32,
        identity,
        dictionary: DictionaryId::of(&encode_series(&series)),
        newest: vec![Some(sample.value); names.len()],
        columns: encode_columns(&vec![vec![sample]; names.len()]),
        series: Some(series),
    };
    let sender = Sender::Host { id: host(1), claimed: None };
    let payload = Some(Payload::Listed(listed));
    Push { sender, facts: None, outside_window: 0, payload, record: None, way: Way::Direct }
}

/// Samples that are new, and those that came again.
fn pushed(world: &mut World, push: Push) -> Result<(u32, u32), ShardError> {
    match world.ask(Request::Push(push), HOUR)? {
        Reply::Pushed(pushed) => Ok((pushed.ingested, pushed.repeated)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_leaves_with_what_makes_its_pushes_known() {
    let (mut old, mut new) = (World::new(), other(5));
    assert_eq!(pushed(&mut old, listed(&["app_a"], 1)), Ok((1, 0)));
    let luggage = leave(&mut old, Destination::Shard(5)).unwrap().unwrap();
    old.reopen();
    assert_eq!(leave(&mut old, Destination::Shard(5)), Ok(Some(luggage.clone())), "the same again");
    assert_eq!(leave(&mut old, Destination::Shard(6)), Err(ShardError::Moved(5)));
    assert_eq!(pushed(&mut old, listed(&["app_a"], 1)), Err(ShardError::Moved(5)));
    assert_eq!(old.ask(Request::Revoke(host(1)), HOUR), Err(ShardError::Moved(5)));
    assert_eq!(old.hosts(), []);
    assert_eq!(pushed(&mut new, listed(&["app_a"], 2)), Err(ShardError::UnknownHost), "not yet");
    arrive(&mut new, &luggage);
    new.reopen();
    assert_eq!(pushed(&mut new, listed(&["app_a"], 1)), Ok((0, 1)));
    assert_eq!(pushed(&mut new, listed(&["app_a"], 2)), Ok((1, 0)));
    // A step that comes too late changes nothing.
    arrive(&mut new, &luggage);
    assert_eq!(pushed(&mut new, listed(&["app_a"], 2)), Ok((0, 1)));
    assert_eq!(new.hosts().len(), 1);
    assert_eq!(leave(&mut new, Destination::Shard(5)), Ok(None), "it is there");
}

#[test]
fn a_host_comes_back_and_goes_on_and_late_steps_change_nothing() {
    let (mut home, mut second, mut third) = (World::new(), other(5), other(6));
    let out = leave(&mut home, Destination::Shard(5)).unwrap().unwrap();
    arrive(&mut second, &out);
    assert_eq!(pushed(&mut second, listed(&["app_a"], 1)), Ok((1, 0)));
    let back = leave(&mut second, Destination::Shard(3)).unwrap().unwrap();
    arrive(&mut second, &out);
    assert_eq!(pushed(&mut second, listed(&["app_a"], 2)), Err(ShardError::Moved(3)), "it has gone on");
    arrive(&mut home, &back);
    assert_eq!(pushed(&mut home, listed(&["app_a"], 1)), Ok((0, 1)));
    let away = leave(&mut home, Destination::Shard(6)).unwrap().unwrap();
    let first = out.number;
    assert_eq!((away.number, away.trail.as_slice()), (first + 2, &[5, 3][..]));
    arrive(&mut third, &away);
    // The second shard still sends to the first one; it learns of the shortest way.
    let redirect = |number, to| Request::Redirect { host: host(1), number, to };
    second.ask(redirect(first + 2, 6), HOUR).unwrap();
    second.ask(redirect(first + 1, 9), HOUR).unwrap();
    assert_eq!(pushed(&mut second, listed(&["app_a"], 2)), Err(ShardError::Moved(6)));
    third.ask(redirect(first + 9, 9), HOUR).unwrap();
    assert_eq!(pushed(&mut third, listed(&["app_a"], 1)), Ok((0, 1)));
    assert_eq!(third.ask(Request::Locate(host(1)), HOUR), Ok(Reply::Located(first + 2)));
}

#[test]
fn a_shard_names_the_others_that_hold_samples_and_sends_its_own_as_they_are() {
    let (mut old, mut new) = (World::new(), other(5));
    assert_eq!(pushed(&mut old, listed(&["app_a"], 1)), Ok((1, 0)));
    let luggage = leave(&mut old, Destination::Shard(5)).unwrap().unwrap();
    arrive(&mut new, &luggage);
    for (world, elsewhere) in [(&mut old, 5), (&mut new, 3)] {
        let read = Read {
            hosts: vec![host(1), host(2)],
            names: Vec::new(),
            labels: Labels::new(),
            from: HOUR,
            to: HOUR.plus_ms(HOUR_MS),
            evaluation: None,
            is_partial: false,
        };
        let Reply::Read(reply) = world.ask(Request::Read(read), HOUR).unwrap() else { panic!() };
        assert_eq!(reply.elsewhere, [(elsewhere, host(1))]);
    }
}

#[test]
fn a_named_host_is_not_made_anew_where_it_was_moved_to_and_has_not_arrived() {
    let mut new = other(5);
    let push = |way| Push { way, sender: Sender::Named(name(7)), ..listed(&["app_a"], 1) };
    assert_eq!(pushed(&mut new, push(Way::SentOn)), Err(ShardError::UnknownHost));
    assert_eq!(pushed(&mut new, push(Way::Direct)), Ok((1, 0)));
}

#[test]
fn series_are_spread_over_shards_and_each_part_is_known_by_the_whole() {
    let (mut home, mut second) = (World::new(), other(5));
    assert_eq!(pushed(&mut home, listed(&NAMES, 1)), Ok((6, 0)));
    let to = Destination::Shards(vec![3, 5]);
    let luggage = leave(&mut home, to.clone()).unwrap().unwrap();
    assert_eq!(leave(&mut home, to), Ok(Some(luggage.clone())));
    arrive_spread(&mut home, &luggage, &[3, 5]);
    arrive_spread(&mut second, &luggage, &[3, 5]);
    let split = Err(ShardError::Split(vec![3, 5]));
    assert_eq!(pushed(&mut home, listed(&NAMES, 2)), split);
    assert_eq!(home.hosts().len(), 1, "it is still listed where its pushes come first");
    for (reading, expected) in [(1, (0, 6)), (2, (6, 0)), (2, (0, 6))] {
        let parts = split::parts(listed(&NAMES, reading), &[3, 5], &mut Instance::default()).unwrap();
        assert_eq!(parts.len(), 2);
        let mut sum = (0, 0);
        for (shard, part) in parts {
            let world = if shard == 3 { &mut home } else { &mut second };
            let (ingested, repeated) = pushed(world, part).unwrap();
            sum = (sum.0 + ingested, sum.1 + repeated);
        }
        assert_eq!(sum, expected, "reading {reading}");
    }
}

#[test]
fn a_host_that_is_spread_is_refused_where_its_pushes_come_first() {
    let (mut home, mut second) = (World::new(), other(5));
    let shards = [3, 5];
    leave(&mut home, Destination::Shards(shards.into())).unwrap().unwrap();
    // Revoked before it arrived at the second shard.
    assert_eq!(home.ask(Request::Revoke(host(1)), HOUR), Ok(Reply::Done));
    assert_eq!(second.ask(Request::Revoke(host(1)), HOUR), Err(ShardError::UnknownHost));
    for reopened in [false, true] {
        assert_eq!(pushed(&mut home, listed(&NAMES, 1)), Err(ShardError::RevokedHost), "{reopened}");
        home.reopen();
    }
    let now_known = leave(&mut home, Destination::Shards(shards.into())).unwrap().unwrap();
    arrive_spread(&mut second, &now_known, &shards);
    let its_part = part(listed(&NAMES, 1), &shards, 5);
    assert_eq!(pushed(&mut second, its_part), Err(ShardError::RevokedHost));
    assert_eq!(home.ask(Request::Locate(host(1)), HOUR), Err(ShardError::Split(shards.into())));
    assert_eq!(home.ask(Request::Delete(host(1)), HOUR), Ok(Reply::Done));
    assert_eq!(pushed(&mut home, listed(&NAMES, 1)), Err(ShardError::UnknownHost));
}

#[test]
fn a_moved_host_is_spread_also_over_the_shard_that_its_pushes_come_to_first() {
    let (mut home, mut second) = (World::new(), other(5));
    let shards = [3, 5];
    assert_eq!(pushed(&mut home, listed(&NAMES, 1)), Ok((6, 0)));
    let moved = leave(&mut home, Destination::Shard(5)).unwrap().unwrap();
    arrive(&mut second, &moved);
    assert_eq!(pushed(&mut second, listed(&NAMES, 2)), Ok((6, 0)));
    let spread = leave(&mut second, Destination::Shards(shards.into())).unwrap().unwrap();
    arrive_spread(&mut home, &spread, &shards);
    for _again in 0..2 {
        for world in [&mut home, &mut second] {
            assert_eq!(pushed(world, listed(&NAMES, 3)), Err(ShardError::Split(shards.into())));
            world.reopen();
        }
        // The move of before, too late.
        arrive(&mut second, &moved);
    }
    let mut sum = (0, 0);
    for (reading, expected) in [(1, (0, 6)), (2, (0, 12)), (3, (6, 12))] {
        for (world, shard) in [(&mut home, 3), (&mut second, 5)] {
            let (ingested, repeated) = pushed(world, part(listed(&NAMES, reading), &shards, shard)).unwrap();
            sum = (sum.0 + ingested, sum.1 + repeated);
        }
        assert_eq!(sum, expected, "reading {reading}");
    }
    assert_eq!([home.hosts().len(), second.hosts().len()], [1, 1], "each lists it");
}

#[test]
fn a_host_comes_back_from_a_shard_that_lost_what_it_knew_of_its_moves() {
    let mut home = World::new();
    let mut second = other(5);
    let out = leave(&mut home, Destination::Shard(5)).unwrap().unwrap();
    arrive(&mut second, &out);
    // Its storage is gone, and it is given back its hosts.
    let mut second = other(5);
    assert_eq!(second.ask(Request::RestoreHosts(vec![out.record.clone()]), HOUR), Ok(Reply::Restored(1)));
    let later = HOUR.plus_ms(1);
    let back = leave_at(&mut second, host(1), Destination::Shard(3), later).unwrap().unwrap();
    arrive(&mut home, &back);
    assert_eq!(pushed(&mut home, listed(&["app_a"], 1)), Ok((1, 0)));
    assert_eq!(pushed(&mut second, listed(&["app_a"], 2)), Err(ShardError::Moved(3)));
}

#[test]
fn a_named_host_that_was_deleted_comes_back_where_it_was_moved_to() {
    let (mut home, mut second) = (World::new(), other(5));
    let id = HostId::of_name(&name(7));
    let push = |way, reading| {
        let sender = Sender::Named(name(7));
        Push { way, sender, ..listed(&NAMES, reading) }
    };
    assert_eq!(pushed(&mut home, push(Way::Direct, 1)), Ok((6, 0)));
    let luggage = leave_at(&mut home, id, Destination::Shard(5), HOUR).unwrap().unwrap();
    arrive(&mut second, &luggage);
    assert_eq!(second.ask(Request::Delete(id), HOUR), Ok(Reply::Done));
    assert_eq!(second.hosts(), []);
    assert_eq!(pushed(&mut second, push(Way::SentOn, 2)), Ok((6, 0)));
    assert_eq!(second.hosts().len(), 1);
    // And where its series are spread, in each of the shards, and where they are spread from.
    let mut third = other(6);
    let shards = [5, 6];
    let luggage = leave_at(&mut second, id, Destination::Shards(shards.into()), HOUR).unwrap().unwrap();
    arrive_spread(&mut third, &luggage, &shards);
    for world in [&mut second, &mut third] {
        assert_eq!(world.ask(Request::Delete(id), HOUR), Ok(Reply::Done));
    }
    assert_eq!(pushed(&mut second, push(Way::SentOn, 3)), Err(ShardError::Split(shards.into())));
    for (world, shard) in [(&mut second, 5), (&mut third, 6)] {
        let (ingested, _) = pushed(world, part(push(Way::SentOn, 3), &shards, shard)).unwrap();
        assert!(ingested > 0);
        assert_eq!(world.hosts().len(), 1, "{shard}");
        world.reopen();
        assert_eq!(world.hosts().len(), 1, "{shard}");
    }
}

#[test]
fn a_push_taken_apart_is_the_same_samples() {
    const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let shards = [1, 2, 3, 4];
    let mut instance = Instance::default();
    let whole = listed(&NAMES, 4);
    let listless = |push: &Push| {
        let Some(Payload::Listed(listed)) = push.payload.clone() else { panic!() };
        let payload = Some(Payload::Listed(Listed { series: None, ..listed }));
        Push { payload, ..push.clone() }
    };
    let unknown = split::parts(listless(&whole), &shards, &mut instance);
    assert_eq!(unknown, Err(ShardError::UnknownDictionary));
    let parts = split::parts(whole.clone(), &shards, &mut instance).unwrap();
    assert_eq!(
        split::parts(listless(&whole), &shards, &mut instance),
        Ok(parts.clone()),
        "the list is known now"
    );
    let mut names = Vec::new();
    for (_, part) in &parts {
        let Some(Payload::Listed(part)) = &part.payload else { panic!() };
        let columns = decode_columns(&part.columns, 100, 100).unwrap();
        assert_eq!((columns.len(), columns.concat().len()), (part.newest.len(), part.samples as usize));
        names.extend(part.series.as_ref().unwrap().iter().map(|series| series.name.clone()));
    }
    names.sort();
    assert_eq!(names, NAMES);

    let batch = batch("app_a", HOUR, 3);
    let frame = Frame::encode(&batch, &mut Deflater::default()).unwrap().into_bytes();
    let named =
        Named { samples: 3, series: vec![fingerprint(&batch.series()[0].series)], newest: Vec::new(), frame };
    let push = Push { payload: Some(Payload::Named(named.clone())), outside_window: 2, ..whole };
    let parts = split::parts(push, &shards, &mut instance).unwrap();
    let [(_, Push { payload: Some(Payload::Named(part)), outside_window: 2, .. })] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    let read = |named: &Named| -> Vec<SeriesSamples> {
        frame::decode(&named.frame, &mut Inflater::default()).unwrap()
    };
    assert_eq!((read(part), part.samples), (read(&named), 3));
}
