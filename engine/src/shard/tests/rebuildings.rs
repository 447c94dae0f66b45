//! A shard whose storage was lost, put together again out of R2.

use super::*;
use crate::{
    agenda::{COMPACT_GRACE_MS, REPLACED_GRACE_MS},
    block::BlockIndex,
    recovery,
};
use compactions::large;
use edgewatch_shared::limits::DAY_MS;

impl World {
    /// The storage is gone; R2 is not.
    fn lose_storage(&mut self) {
        self.sql = TestSql::new();
        self.instance = Instance { heads: HeadRegistry::new(1 << 20), ..Instance::default() };
        self.shard = Shard::open(self.sql.clone(), Some(3), &mut self.instance).unwrap();
        self.shard.set_bucket(true);
    }

    /// Gives it the objects that it does not know, in some order; returns how many those were.
    fn adopt_unknown(&mut self, mut order: impl FnMut(&mut Vec<String>)) -> usize {
        let keys = self.r2.keys().cloned().collect();
        let Reply::Objects(mut unknown) = self.ask(Request::UnknownObjects(keys), HOUR).unwrap() else {
            panic!()
        };
        order(&mut unknown);
        for key in &unknown {
            let entry = entry(self, key);
            assert_eq!(self.ask(Request::Adopt(vec![entry]), HOUR), Ok(Reply::Done));
        }
        unknown.len()
    }
}

/// What a rebuild gives a shard of an object.
fn entry(world: &World, key: &str) -> BlockEntry {
    let bytes = &world.r2[key];
    let length = bytes.len() as u64;
    let index = BlockIndex::open(bytes, length, &mut Inflater::default()).unwrap();
    recovery::entry(key, length, &index).unwrap()
}

/// Some hours, one of which was corrected later.
fn filled() -> World {
    let mut world = World::new();
    for hour in 0..3 {
        world.push_from(1, at(hour * HOUR_MS), 5, at(hour * HOUR_MS + 9_000));
        world.seal(at((hour + 1) * HOUR_MS));
    }
    // A second earlier: at each instant the next higher value.
    world.push_from(1, at(-1_000), 5, at(3 * HOUR_MS));
    world.seal(at(4 * HOUR_MS));
    world
}

#[test]
fn everything_sealed_comes_back_and_later_writes_still_count() {
    for compacted in [false, true] {
        let mut world = filled();
        if compacted {
            world.run_due(at(2 * DAY_MS));
        }
        let expected = world.read_all();
        assert_eq!(expected[1], (0, 1.5), "the later one");
        let objects = world.r2.len();
        for (name, order) in [
            ("by name", (|_: &mut Vec<String>| ()) as fn(&mut Vec<String>)),
            ("backwards", |keys| keys.reverse()),
        ] {
            world.lose_storage();
            assert_eq!(world.read_all(), []);
            assert_eq!(world.adopt_unknown(order), objects, "{name}");
            assert_eq!(world.read_all(), expected, "{name}, compacted: {compacted}");
            assert_eq!(world.adopt_unknown(order), 0, "{name}");
            world.reopen();
            assert_eq!(world.read_all(), expected, "{name}, opened again");
        }
        // What comes from now on counts before what was there, and all of it is compacted as before.
        world.enroll(1).unwrap();
        world.push_from(1, at(-2_000), 5, at(5 * HOUR_MS));
        let corrected = world.read_all();
        assert_eq!(corrected[2], (0, 2.5));
        world.seal(at(6 * HOUR_MS));
        assert_eq!(world.read_all(), corrected);
        world.run_due(at(2 * DAY_MS));
        assert_eq!(world.read_all(), corrected);
    }
}

/// When the day of [`HOUR`] is to be compacted.
fn night() -> TimestampMs {
    HOUR.day().end().plus_ms(COMPACT_GRACE_MS + HOUR_MS)
}

#[test]
fn a_day_that_is_being_compacted_is_nothing_to_be_found() {
    let mut world = filled();
    let expected = world.read_all();
    let parts = world.r2.len();
    // Stored, and not recorded when R2 failed.
    while world.r2.len() < parts + 3 {
        assert!(!world.step(JobKind::CompactDay, night()).unwrap());
    }
    world.shard.put_off(JobKind::CompactDay, night()).unwrap();
    assert_eq!(world.adopt_unknown(|_| ()), 0);
    for now in [night().plus_ms(HOUR_MS), night().plus_ms(HOUR_MS + REPLACED_GRACE_MS)] {
        world.run_due(now);
        assert_eq!(world.read_all(), expected);
    }
    assert_eq!(world.r2.len(), 3);
}

#[test]
fn objects_that_two_rebuilds_found_are_listed_once() {
    let mut world = filled();
    let expected = world.read_all();
    world.lose_storage();
    let entries: Vec<BlockEntry> = world.r2.keys().map(|key| entry(&world, key)).collect();
    for _rebuild in 0..2 {
        assert_eq!(world.ask(Request::Adopt(entries.clone()), HOUR), Ok(Reply::Done));
    }
    assert_eq!(block_index::after(&world.sql, 0, 100).unwrap().len(), entries.len());
    assert_eq!(world.read_all(), expected);
    for now in [night(), night().plus_ms(REPLACED_GRACE_MS)] {
        world.run_due(now);
        assert_eq!(world.read_all(), expected);
    }
}

#[test]
fn a_day_of_which_more_is_found_while_it_is_compacted_is_begun_anew() {
    let mut world = large();
    // The second of two parts of the host that is compacted first.
    world.push_from(1, at(3 * HOUR_MS), 5, at(3 * HOUR_MS));
    world.seal(at(4 * HOUR_MS));
    let expected = world.read_all();
    world.lose_storage();
    let second: Vec<String> = world.r2.keys().filter(|key| key.contains("T17/")).cloned().collect();
    let [second] = second.as_slice() else { panic!("{second:?}") };
    let (second, bytes) = world.r2.remove_entry(second).unwrap();
    world.adopt_unknown(|_| ());
    let recorded = |world: &World| block_index::of_day(&world.sql, HOUR.day(), State::Pending).unwrap().len();
    while recorded(&world) == 0 {
        assert!(!world.step(JobKind::CompactDay, night()).unwrap());
    }
    world.r2.insert(second, bytes);
    assert_eq!(world.adopt_unknown(|_| ()), 1);
    assert_eq!(recorded(&world), 0);
    for now in [night(), night().plus_ms(REPLACED_GRACE_MS)] {
        world.run_due(now);
        assert_eq!(world.read_all(), expected);
    }
}

#[test]
fn what_is_of_another_shard_or_still_in_the_log_is_left_alone() {
    let mut world = filled();
    let key = world.r2.keys().next().unwrap().clone();
    // A seal that was cut has stored its object and not dropped its partition.
    world.push_from(1, at(5 * HOUR_MS), 5, at(5 * HOUR_MS));
    let cut = key.replace(&recovery_hour(&key), &at(5 * HOUR_MS).hour().label());
    let foreign = key.replace("/00003/", "/00004/");
    let ours = key.replace("-1-1-0-", "-9-9-0-");
    assert_ne!(ours, key);
    let keys = vec![key, cut, foreign, "metrics/raw/00003/notes.txt".into(), ours.clone()];
    assert_eq!(world.ask(Request::UnknownObjects(keys), HOUR), Ok(Reply::Objects(vec![ours])));
}

fn recovery_hour(key: &str) -> String {
    recovery::named(key).unwrap().part_of.unwrap().label()
}

#[test]
fn only_hosts_that_are_not_known_at_all_are_restored() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    world.ask(Request::Delete(host(2)), HOUR).unwrap();
    let remembered: Vec<HostRecord> = [1, 2, 4]
        .map(|n| {
            HostRecord::new(host(n), format!("old-{n}").parse().unwrap(), Facts::default(), Vec::new(), HOUR)
        })
        .into();
    assert_eq!(world.ask(Request::RestoreHosts(remembered.clone()), HOUR), Ok(Reply::Restored(1)));
    assert_eq!(world.ask(Request::RestoreHosts(remembered), HOUR), Ok(Reply::Restored(0)));
    let names: Vec<_> = world.hosts().into_iter().map(|report| report.record.name.to_string()).collect();
    assert_eq!(names, ["web-1", "old-4"]);
    world.push_from(4, at(0), 1, at(0));
}
