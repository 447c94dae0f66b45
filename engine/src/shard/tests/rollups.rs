//! Queries are answered from rollups where those are of everything that there is, and by them alone where samples are gone.

use super::*;
use crate::{
    query::{Aggregate, Answer, Bucket, Evaluation},
    rollup::Resolution,
};
use edgewatch_shared::limits::DAY_MS;

type Points = Vec<(TimestampMs, f64)>;

/// What a day is asked for: everything of it, in buckets.
fn asked(bucket: Bucket, counter: Option<&str>) -> Evaluation {
    let day = HOUR.day();
    Evaluation {
        bucket,
        from: day.start(),
        to: day.end().plus_ms(-1),
        counter: counter.map(ToOwned::to_owned),
        coarsest: bucket.rollups(),
    }
}

/// The points of host 1, and the coarsest that they are made of.
fn answer(
    world: &mut World,
    name: &str,
    evaluation: &Evaluation,
    aggregate: Aggregate,
) -> (Points, Resolution) {
    let read = Read {
        hosts: vec![host(1)],
        names: vec![name.into()],
        labels: Labels::new(),
        from: evaluation.from,
        to: evaluation.to,
        evaluation: Some(evaluation.clone()),
        is_partial: false,
    };
    let Reply::Read(reply) = world.ask(Request::Read(read.clone()), HOUR).unwrap() else { panic!() };
    let mut answer = Answer::new(evaluation.clone());
    reply.evaluated.into_iter().for_each(|cells| answer.add_evaluated(cells).unwrap());
    reply.parts.into_iter().for_each(|part| answer.add(part).unwrap());
    for object in reply.objects {
        let bytes = &world.r2[&object.key];
        let parts = read_block(bytes, object.rank, &read, &mut Inflater::default()).unwrap();
        parts.into_iter().for_each(|part| answer.add(part).unwrap());
    }
    (answer.points(aggregate), reply.resolution)
}

/// A host that sent a gauge and a counter in three hours of a day; halves, so that sums are exact in whatever order.
fn pushed(with_r2: bool) -> World {
    let mut world = World::new();
    world.bind_r2(with_r2);
    for part in 0..9 {
        let start = at(part / 3 * HOUR_MS + part % 3 * 5 * MINUTE_MS);
        for name in ["load_1m", "net_receive_bytes_total"] {
            let sender = Sender::Host { id: host(1), claimed: None };
            world.push_named(name, sender, start, 300, start.plus_ms(5_000)).unwrap();
        }
    }
    world
}

/// When the day of [`HOUR`] is compacted.
fn night() -> TimestampMs {
    HOUR.day().end().plus_ms(3 * HOUR_MS)
}

#[test]
fn rollups_answer_as_the_samples_do() {
    for with_r2 in [false, true] {
        let mut world = pushed(with_r2);
        let buckets = [Bucket::FiveMinutes, Bucket::QuarterHour, Bucket::Hour, Bucket::Day];
        let mut answers = |expected: fn(Bucket) -> Resolution| -> Vec<Points> {
            let mut all = Vec::new();
            for bucket in buckets {
                for aggregate in Aggregate::ALL {
                    let (points, resolution) = answer(&mut world, "load_1m", &asked(bucket, None), aggregate);
                    assert_eq!(resolution, expected(bucket), "{bucket:?}");
                    assert!(!points.is_empty());
                    all.push(points);
                }
                let counter = asked(bucket, Some("net_receive_bytes_total"));
                let (points, resolution) =
                    answer(&mut world, "net_receive_bytes_total", &counter, Aggregate::Sum);
                assert_eq!(resolution, expected(bucket), "{bucket:?}");
                all.push(points);
            }
            if expected(Bucket::Hour) == Resolution::Raw {
                assert!(world.run_due(night()).contains(&JobKind::CompactDay));
            }
            all
        };
        let from_samples = answers(|_| Resolution::Raw);
        assert_eq!(answers(Bucket::rollups), from_samples, "with R2: {with_r2}");
    }
}

#[test]
fn a_day_that_is_cut_or_has_late_samples_is_read_from_samples() {
    let mut world = pushed(true);
    world.run_due(night());
    let count = |world: &mut World, evaluation: &Evaluation| {
        let (points, resolution) = answer(world, "load_1m", evaluation, Aggregate::Count);
        (points.iter().map(|(_, count)| *count).sum::<f64>(), resolution)
    };
    let whole = asked(Bucket::Hour, None);
    assert_eq!(count(&mut world, &whole), (2_700.0, Resolution::Hour));
    let cut = Evaluation { from: at(1_000), ..whole.clone() };
    assert_eq!(count(&mut world, &cut), (2_699.0, Resolution::Raw));
    let of_an_hour = Evaluation { from: at(HOUR_MS), ..whole.clone() };
    assert_eq!(count(&mut world, &of_an_hour), (1_800.0, Resolution::Hour));

    let late = night().plus_ms(HOUR_MS);
    world.push_from(1, at(3 * HOUR_MS), 10, late);
    assert_eq!(count(&mut world, &whole), (2_710.0, Resolution::Raw), "in the log");
    world.seal(late.plus_ms(2 * HOUR_MS));
    assert_eq!(count(&mut world, &whole), (2_710.0, Resolution::Raw), "sealed");
    world.run_due(late.day().end().plus_ms(3 * HOUR_MS));
    assert_eq!(count(&mut world, &whole), (2_710.0, Resolution::Hour), "compacted");
}

#[test]
fn where_samples_are_gone_the_finest_rollups_answer() {
    let mut world = pushed(true);
    world.retention = RetentionSettings { raw_days: Some(2), five_minute_days: Some(5), hour_days: None };
    world.shard.set_retention(world.retention).unwrap();
    world.run_due(night());
    let sum = |world: &mut World, bucket| {
        let (points, resolution) = answer(world, "load_1m", &asked(bucket, None), Aggregate::Count);
        (points.len(), points.iter().map(|(_, count)| *count).sum::<f64>(), resolution)
    };
    assert_eq!(sum(&mut world, Bucket::Minute), (45, 2_700.0, Resolution::Raw));
    let gone = HOUR.day().end().plus_ms(2 * DAY_MS);
    world.run_due(gone.plus_ms(2 * HOUR_MS));
    assert_eq!(sum(&mut world, Bucket::Minute), (9, 2_700.0, Resolution::FiveMinutes));
    assert_eq!(sum(&mut world, Bucket::Hour), (3, 2_700.0, Resolution::Hour));
    // What comes late is counted beside the rollups, which do not have it.
    world.push_from(1, at(5 * HOUR_MS), 10, gone.plus_ms(3 * HOUR_MS));
    assert_eq!(sum(&mut world, Bucket::Hour), (4, 2_710.0, Resolution::FiveMinutes));
    world.run_due(gone.plus_ms(4 * DAY_MS));
    assert_eq!(sum(&mut world, Bucket::Minute).2, Resolution::Hour);
}

#[test]
fn what_is_sent_again_after_samples_were_deleted_is_there_once() {
    for with_r2 in [false, true] {
        let mut world = pushed(with_r2);
        world.retention =
            RetentionSettings { raw_days: Some(2), five_minute_days: Some(50), hour_days: None };
        world.shard.set_retention(world.retention).unwrap();
        world.run_due(night());
        let gone = HOUR.day().end().plus_ms(2 * DAY_MS);
        world.run_due(gone.plus_ms(2 * HOUR_MS));
        let gauge = |world: &mut World, aggregate| -> Vec<(Points, Resolution)> {
            let buckets = [Bucket::Minute, Bucket::FiveMinutes, Bucket::Hour, Bucket::Day];
            buckets.map(|bucket| answer(world, "load_1m", &asked(bucket, None), aggregate)).to_vec()
        };
        let sum_of = |answers: &[(Points, Resolution)]| -> Vec<f64> {
            answers.iter().map(|(points, _)| points.iter().map(|(_, value)| *value).sum()).collect()
        };
        let counter = |world: &mut World| {
            let evaluation = asked(Bucket::Hour, Some("net_receive_bytes_total"));
            answer(world, "net_receive_bytes_total", &evaluation, Aggregate::Sum).0
        };
        let rolled_up =
            (gauge(&mut world, Aggregate::Count), gauge(&mut world, Aggregate::Sum), counter(&mut world));
        assert_eq!(sum_of(&rolled_up.0), [2_700.0; 4]);

        // A little of a bucket: what was rolled up is fuller.
        let again = gone.plus_ms(3 * HOUR_MS);
        world.push_from(1, at(5 * MINUTE_MS), 10, again);
        assert_eq!(sum_of(&gauge(&mut world, Aggregate::Count)), [2_700.0; 4], "with R2: {with_r2}");
        // Two hours of three, and all of it.
        for (parts, later_ms) in [(0..6, 0), (0..9, 60_000)] {
            for part in parts {
                let start = at(part / 3 * HOUR_MS + part % 3 * 5 * MINUTE_MS);
                for name in ["load_1m", "net_receive_bytes_total"] {
                    let sender = Sender::Host { id: host(1), claimed: None };
                    world.push_named(name, sender, start, 300, again.plus_ms(later_ms)).unwrap();
                }
            }
            let counts = gauge(&mut world, Aggregate::Count);
            assert_eq!(sum_of(&counts), [2_700.0; 4], "in the log, with R2: {with_r2}");
            assert_eq!(sum_of(&gauge(&mut world, Aggregate::Sum)), sum_of(&rolled_up.1));
            assert_eq!(counter(&mut world), rolled_up.2);
        }
        world.seal(again.plus_ms(2 * HOUR_MS));
        assert_eq!(sum_of(&gauge(&mut world, Aggregate::Count)), [2_700.0; 4], "sealed, with R2: {with_r2}");
        assert_eq!(counter(&mut world), rolled_up.2);
        world.run_due(again.day().end().plus_ms(5 * HOUR_MS));
        assert_eq!(
            sum_of(&gauge(&mut world, Aggregate::Count)),
            [2_700.0; 4],
            "compacted, with R2: {with_r2}"
        );
        assert_eq!(counter(&mut world), rolled_up.2);
    }
}
