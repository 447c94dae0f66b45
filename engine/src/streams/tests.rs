//! Streams against a naive model: sets of reading numbers.

use super::*;
use crate::rusqlite_sql::TestSql;
use edgewatch_shared::limits::DAY_MS;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn host() -> HostId {
    HostId::new(0, [1; 14])
}

fn push(first: u64, last: u64) -> Identity {
    of_stream(7, first, last)
}

fn of_stream(stream: u64, first: u64, last: u64) -> Identity {
    let readings = ReadingRange { first, last };
    Identity { stream: StreamId(stream), floor: 1, readings, checksum: u64::MAX - first * 1_000 - last }
}

fn record(streams: &mut Streams, push: &Identity) {
    streams.record(host(), push, None, TimestampMs(0));
}

#[test]
fn a_repeat_is_known_and_other_content_under_its_name_is_a_conflict() {
    let mut streams = Streams::default();
    record(&mut streams, &push(1, 6));
    assert_eq!(streams.judge(host(), &push(1, 6)), Arrival::Repeat);
    assert_eq!(streams.judge(host(), &Identity { checksum: 0, ..push(1, 6) }), Arrival::Conflict);
    assert_eq!(streams.judge(host(), &push(7, 12)), Arrival::New);
    assert_eq!(streams.judge(HostId::new(0, [2; 14]), &push(1, 6)), Arrival::New);
    assert_eq!(streams.judge(host(), &of_stream(8, 1, 6)), Arrival::New);
}

#[test]
fn regrouped_readings_are_repeats_as_soon_as_all_of_them_are_there() {
    let mut streams = Streams::default();
    for halves in [push(1, 3), push(4, 6), push(10, 12)] {
        record(&mut streams, &halves);
    }
    let cases = [
        (push(1, 6), Arrival::Repeat),
        (push(2, 5), Arrival::Repeat),
        (push(5, 7), Arrival::New),
        (push(6, 10), Arrival::New),
        (push(1, 12), Arrival::New),
        (push(11, 12), Arrival::Repeat),
    ];
    for (push, expected) in cases {
        assert_eq!(streams.judge(host(), &push), expected, "{push:?}");
    }
}

#[test]
fn what_lies_below_the_floor_is_settled() {
    let mut streams = Streams::default();
    record(&mut streams, &Identity { floor: 100, ..push(100, 105) });
    assert_eq!(streams.judge(host(), &push(1, 99)), Arrival::Repeat);
    assert_eq!(streams.judge(host(), &push(98, 105)), Arrival::Repeat);
    assert_eq!(streams.judge(host(), &push(98, 106)), Arrival::New);
    // A floor never sinks.
    record(&mut streams, &Identity { floor: 2, ..push(106, 107) });
    assert_eq!(streams.judge(host(), &push(3, 4)), Arrival::Repeat);
}

#[test]
fn a_push_below_the_floor_is_still_compared_while_its_range_is_kept() {
    let mut streams = Streams::default();
    record(&mut streams, &push(1, 6));
    record(&mut streams, &Identity { floor: 7, ..push(7, 12) });
    assert_eq!(streams.judge(host(), &Identity { checksum: 0, ..push(1, 6) }), Arrival::Conflict);
}

#[test]
fn as_many_ranges_are_kept_as_may_be_and_then_those_that_touch_become_one() {
    let mut streams = Streams::default();
    for n in 0..STREAM_RANGES_MAX as u64 {
        record(&mut streams, &push(n * 2 + 1, n * 2 + 2));
    }
    let first_with_other_content = Identity { checksum: 0, ..push(1, 2) };
    assert_eq!(streams.judge(host(), &first_with_other_content), Arrival::Conflict);
    let next = STREAM_RANGES_MAX as u64 * 2 + 1;
    record(&mut streams, &push(next, next + 1));
    assert_eq!(streams.judge(host(), &first_with_other_content), Arrival::Repeat);
    for n in 1..next {
        assert_eq!(streams.judge(host(), &push(n, n + 1)), Arrival::Repeat, "{n}");
    }
}

#[test]
fn a_host_has_so_many_streams_and_with_one_more_the_silent_one_goes() {
    let mut streams = Streams::default();
    for n in 0..HOST_STREAMS_MAX as u64 {
        streams.record(host(), &of_stream(n, 1, 6), None, TimestampMs(n as i64));
    }
    assert_eq!(streams.judge(host(), &of_stream(0, 1, 6)), Arrival::Repeat);
    streams.record(host(), &of_stream(99, 1, 6), None, TimestampMs(0));
    assert_eq!(streams.judge(host(), &of_stream(0, 1, 6)), Arrival::New);
    assert_eq!(streams.judge(host(), &of_stream(1, 1, 6)), Arrival::Repeat);
    assert_eq!(streams.judge(host(), &of_stream(99, 1, 6)), Arrival::Repeat);
}

#[test]
fn a_stream_is_kept_for_as_long_as_a_spool_may_live_and_a_day_more() {
    let mut streams = Streams::default();
    record(&mut streams, &push(1, 6));
    streams.expire(TimestampMs(9 * DAY_MS), |_| true);
    assert_eq!(streams.judge(host(), &push(1, 6)), Arrival::Repeat);
    streams.expire(TimestampMs(9 * DAY_MS + 1), |_| true);
    assert_eq!(streams.judge(host(), &push(1, 6)), Arrival::New);
}

#[test]
fn the_snapshot_comes_back_and_shrinks_with_what_it_holds() {
    let sql = TestSql::new();
    let mut streams = Streams::open(&sql).unwrap();
    let rows = sql.rows_written();
    streams.store(&sql).unwrap();
    assert_eq!(sql.rows_written(), rows, "nothing to store costs no row");
    let dictionary = DictionaryId([3; 16]);
    // 250 hosts with 16 streams each of 30 ranges: more than one part.
    for n in 0..250u8 {
        for stream in 0..HOST_STREAMS_MAX as u64 {
            for range in 0..30 {
                let host = HostId::new(0, [n; 14]);
                let push = of_stream(stream, range * 2 + 1, range * 2 + 1);
                streams.record(host, &push, Some(dictionary), TimestampMs(0));
            }
        }
    }
    streams.store(&sql).unwrap();
    assert!(streams.parts > 1);
    assert_eq!(Streams::open(&sql).unwrap(), streams);
    assert!(streams.refers_to(host(), dictionary));
    streams.expire(TimestampMs(0), |known| known == host());
    streams.store(&sql).unwrap();
    assert_eq!(streams.parts, 1);
    let again = Streams::open(&sql).unwrap();
    assert_eq!(again, streams);
    assert_eq!(again.judge(host(), &of_stream(0, 1, 1)), Arrival::Repeat);
}

/// What a stream should know, by reading.
#[derive(Default)]
struct Model {
    settled_below: u64,
    readings: BTreeSet<u64>,
    contents: BTreeMap<(u64, u64), u64>,
}

impl Model {
    fn judge(&self, push: &Identity) -> Arrival {
        let ReadingRange { first, last } = push.readings;
        match self.contents.get(&(first, last)) {
            Some(checksum) if *checksum != push.checksum => return Arrival::Conflict,
            Some(_) => return Arrival::Repeat,
            None => {}
        }
        let is_settled = |reading| reading < self.settled_below || self.readings.contains(&reading);
        if (first..=last).all(is_settled) { Arrival::Repeat } else { Arrival::New }
    }

    fn record(&mut self, push: &Identity) {
        let ReadingRange { first, last } = push.readings;
        self.contents.entry((first, last)).or_insert(push.checksum);
        self.readings.extend(first..=last);
        self.settled_below = self.settled_below.max(push.floor);
    }
}

prop_compose! {
    fn any_push()(first in 1u64..60, length in 0u64..10, back in 0u64..20, checksum in 0u64..2) -> Identity {
        let readings = ReadingRange { first, last: first + length };
        Identity { stream: StreamId(1), floor: first.saturating_sub(back).max(1), readings, checksum }
    }
}

proptest! {
    #[test]
    fn any_pushes_are_judged_as_by_a_set_of_their_readings(
        pushes in proptest::collection::vec((any_push(), 0u8..8), 0..STREAM_RANGES_MAX)
    ) {
        let (mut streams, mut model) = (Streams::default(), Model::default());
        let sql = TestSql::new();
        Streams::open(&sql).unwrap();
        for (push, chance) in pushes {
            let arrival = streams.judge(host(), &push);
            prop_assert_eq!(arrival, model.judge(&push), "{:?}", push);
            if arrival == Arrival::New {
                record(&mut streams, &push);
                model.record(&push);
                // Recovery takes the same push in again.
                record(&mut streams, &push);
            }
            if chance == 0 {
                streams.store(&sql).unwrap();
                streams = Streams::open(&sql).unwrap();
            }
        }
    }

    #[test]
    fn in_order_or_with_gaps_no_reading_is_stored_twice_however_many_there_are(
        gaps in proptest::collection::vec(0u64..2, 1..400)
    ) {
        let mut streams = Streams::default();
        let mut first = 1;
        for gap in gaps {
            first += gap;
            let push = Identity { floor: first.saturating_sub(20).max(1), ..push(first, first + 2) };
            prop_assert_eq!(streams.judge(host(), &push), Arrival::New);
            record(&mut streams, &push);
            prop_assert_eq!(streams.judge(host(), &push), Arrival::Repeat);
            first += 3;
        }
    }
}
