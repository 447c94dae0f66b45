//! Compaction and what follows it: days become day blocks, what they replace is deleted, what is too old goes, blocks
//! move to R2 once it is bound; and no query sees a difference.

use edgewatch_e2e::{
    client::{Client, Request},
    deadline::eventually,
    edgewatch::Edgewatch,
    hooks::Faults,
    meanwhile::meanwhile,
    samples::steps,
};
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS},
    time::Day,
    token::Scope,
    wire::QueryReply,
};
use std::{collections::BTreeSet, time::Duration};

/// Each object takes a while then: long enough for a lot to happen meanwhile.
const SLOW_R2: Faults = Faults { d1: false, r2: false, r2_wait_ms: 150, shard: None, spared: 0 };
/// Hours of pushes, each sealed when it is over.
const HOURS: i64 = 3;
/// Samples of a series in each of them.
const SAMPLES: i64 = 120;

/// Pushes in some hours and seals each; returns the first of them. The last one says some of it over again.
fn sealed_hours(api: &Client) -> TimestampMs {
    let first = api.start_an_hour();
    for n in 0..HOURS {
        let hour = first.plus_ms(n * HOUR_MS);
        api.set_time(hour.plus_ms(HOUR_MS / 6));
        let values: Vec<f64> = (0..SAMPLES).map(|n| n as f64 / 7.0).collect();
        for host in ["one", "two"] {
            api.push(host, &steps("load_1m", hour, 1_000, &values));
            api.push(host, &steps("net_receive_bytes_total", hour, 1_000, &values));
        }
        if n + 1 == HOURS {
            api.push("one", &steps("load_1m", first, 1_000, &[1_000.0, 1_001.0]));
        }
        assert_eq!(api.seal_this_hour(0), 1);
    }
    first
}

/// The days that they are of.
fn days(first: TimestampMs) -> Vec<Day> {
    let days: BTreeSet<_> = (0..HOURS).map(|n| first.plus_ms(n * HOUR_MS).day()).collect();
    days.into_iter().collect()
}

/// When the last of them is to be compacted.
fn night(first: TimestampMs) -> TimestampMs {
    first.plus_ms(HOURS * HOUR_MS).day().end().plus_ms(3 * HOUR_MS)
}

fn ask(api: &Client, first: TimestampMs, round: usize) -> QueryReply {
    let (from, to) = (first.0.to_string(), first.plus_ms(HOURS * HOUR_MS).0.to_string());
    let questions = [
        ("one", "load_1m", "sum"),
        ("two", "load_1m", "count"),
        ("one", "net.bytes_in", "sum"),
        ("one", "load_1m", "last"),
    ];
    let (host, name, agg) = questions[round % questions.len()];
    api.query(&[("host", host), ("name", name), ("bucket", "1m"), ("agg", agg), ("from", &from), ("to", &to)])
}

fn ask_all(api: &Client, first: TimestampMs) -> Vec<QueryReply> {
    (0..4).map(|round| ask(api, first, round)).collect()
}

/// Runs jobs until nothing of today is left to do, while somebody asks all the time.
fn work_while_asked(api: &Client, first: TimestampMs) -> usize {
    let before = ask_all(api, first);
    assert!(before.iter().all(|reply| !reply.points.is_empty()), "{before:?}");
    let work = || {
        eventually("everything is done", Duration::from_secs(60), || {
            api.run_jobs(0);
            let due_ms = api.shard(0).next_due_ms;
            (due_ms == 0 || due_ms > api.now().0).then_some(())
        });
    };
    let ask = |round: usize| assert_eq!(ask(api, first, round).points, before[round % 4].points);
    let ((), asked) = meanwhile(work, ask);
    asked
}

fn objects(api: &Client, resolution: &str) -> Vec<String> {
    let prefix = format!("metrics/{resolution}/");
    let mut objects = api.objects();
    objects.retain(|key| key.starts_with(&prefix));
    objects.sort();
    objects
}

#[test]
fn a_day_is_sealed_compacted_and_deleted_under_a_loop_of_queries() {
    let mut server = Edgewatch::start("compaction-day");
    let api = server.client().clone();
    let first = sealed_hours(&api);
    let parts = api.objects();
    let before = ask_all(&api, first);
    api.set_faults(SLOW_R2);
    api.set_time(night(first));
    let asked = work_while_asked(&api, first);
    assert!(asked >= 5, "asked only {asked} times");
    let compacted: Vec<_> = objects(&api, "raw").into_iter().filter(|key| !parts.contains(key)).collect();
    let days = days(first);
    let of_days = |resolution: &str| -> Vec<String> {
        days.iter().map(|day| format!("metrics/{resolution}/00000/{}/", day.label())).collect()
    };
    let folders = |keys: &[String]| -> Vec<String> {
        keys.iter().map(|key| key[..=key.rfind('/').unwrap()].to_owned()).collect()
    };
    assert_eq!(folders(&compacted), of_days("raw"));
    assert_eq!(folders(&objects(&api, "5m")), of_days("5m"));
    assert_eq!(folders(&objects(&api, "1h")), of_days("1h"));
    // Whoever was told of the old objects may still read them; an hour later nobody does.
    assert!(parts.iter().all(|part| api.objects().contains(part)));
    api.set_time(night(first).plus_ms(2 * HOUR_MS));
    work_while_asked(&api, first);
    assert_eq!(objects(&api, "raw"), compacted);
    api.evict(0);
    assert_eq!(ask_all(&api, first), before, "after an eviction");
    let scrape = api.scrape();
    assert_eq!(scrape.get("edgewatch_compactions_total"), days.len() as f64);
    assert_eq!(scrape.get("edgewatch_blocks_deleted_total"), parts.len() as f64);

    server.stop();
    let catalogued: Vec<_> = server.catalogued_blocks().into_iter().map(|block| block.key).collect();
    server.resume();
    let api = server.client();
    let mut lie = api.objects();
    lie.sort();
    assert_eq!(catalogued, lie, "the catalogue lists what there is");
    assert_eq!(ask_all(api, first), before, "after a restart");
}

#[test]
fn without_r2_days_are_compacted_in_the_shard_and_move_once_r2_is_bound() {
    let mut server = Edgewatch::start_with("compaction-local", |options| options.with_r2 = false);
    let api = server.client().clone();
    let first = sealed_hours(&api);
    let before = ask_all(&api, first);
    api.set_time(night(first));
    work_while_asked(&api, first);
    api.set_time(night(first).plus_ms(2 * HOUR_MS));
    work_while_asked(&api, first);
    assert_eq!(api.objects(), [""; 0]);
    let time = api.now();
    server.stop();
    let blocks = server.catalogued_blocks();
    assert_eq!(blocks.len(), 3 * days(first).len(), "{blocks:?}");
    assert!(blocks.iter().all(|block| block.place == "local"), "{blocks:?}");
    server.resume_with(|options| options.with_r2 = true);
    let api = server.client().clone();
    api.set_time(time);
    assert_eq!(ask_all(&api, first), before, "R2 is bound");
    api.set_faults(SLOW_R2);
    work_while_asked(&api, first);
    let mut moved: Vec<_> = blocks.into_iter().map(|block| block.key).collect();
    let mut lie = api.objects();
    moved.sort();
    lie.sort();
    assert_eq!(lie, moved);
    assert_eq!(ask_all(&api, first), before, "moved");
    server.stop();
    assert!(server.catalogued_blocks().iter().all(|block| block.place == "r2"));
}

#[test]
fn samples_and_rollups_go_when_the_retention_that_is_set_says_so_and_not_before() {
    let server = Edgewatch::start("compaction-retention");
    let api = server.client();
    let first = sealed_hours(api);
    api.set_time(night(first).plus_ms(2 * HOUR_MS));
    work_while_asked(api, first);
    let hours = objects(api, "1h");
    let token = api.mint().scoped(Scope::Admin);
    let retention = r#"{"raw_days":10,"five_minute_days":20,"hour_days":null}"#;
    api.send(Request::put("/api/v1/settings/retention", retention).with_token(&token)).expect(200);
    // Shards hear of it when they tell the catalogue of their next hour.
    api.push("one", &steps("load_1m", api.now(), 1_000, &[1.0]));
    api.seal_this_hour(0);
    let (oldest, newest) = (days(first)[0].end(), days(first)[days(first).len() - 1].end());
    let kept = |time: TimestampMs| {
        for time in [time, time.plus_ms(HOUR_MS + MINUTE_MS)] {
            api.set_time(time);
            eventually("everything is done", Duration::from_secs(60), || {
                api.run_jobs(0);
                {
                    let due_ms = api.shard(0).next_due_ms;
                    (due_ms == 0 || due_ms > api.now().0).then_some(())
                }
            });
        }
        let of_first =
            |key: &String| days(first).iter().any(|day| key.contains(&format!("/{}/", day.label())));
        ["raw", "5m", "1h"].map(|resolution| objects(api, resolution).into_iter().filter(of_first).count())
    };
    let all = hours.len();
    assert_eq!(kept(oldest.plus_ms(10 * DAY_MS - 2 * HOUR_MS)), [all, all, all]);
    assert_eq!(kept(newest.plus_ms(10 * DAY_MS + MINUTE_MS)), [0, all, all]);
    assert_eq!(kept(oldest.plus_ms(20 * DAY_MS - 2 * HOUR_MS)), [0, all, all]);
    assert_eq!(kept(newest.plus_ms(20 * DAY_MS + MINUTE_MS)), [0, 0, all]);
    assert_eq!(kept(newest.plus_ms(400 * DAY_MS)), [0, 0, all]);
}

#[test]
fn days_that_are_compacted_answer_from_rollups_and_say_so() {
    let server = Edgewatch::start("compaction-rollups");
    let api = server.client();
    let first = sealed_hours(api);
    let day = first.day();
    let ask = |bucket: &str, agg: &str| {
        let (from, to) =
            (day.start().0.to_string(), first.plus_ms(HOURS * HOUR_MS).day().end().plus_ms(-1).0.to_string());
        let asked = [("host", "two"), ("name", "load_1m"), ("bucket", bucket), ("agg", agg)];
        api.query(&[&asked[..], &[("from", from.as_str()), ("to", to.as_str())]].concat())
    };
    let all =
        || ["count", "min", "max", "last"].map(|agg| ["1m", "5m", "1h", "1d"].map(|bucket| ask(bucket, agg)));
    let before = all();
    assert!(before.iter().flatten().all(|reply| reply.resolution == "raw" && !reply.points.is_empty()));
    api.set_time(night(first));
    eventually("the days are compacted", Duration::from_secs(60), || {
        api.run_jobs(0);
        (objects(api, "1h").len() == days(first).len()).then_some(())
    });
    for (after, before) in all().iter().flatten().zip(before.iter().flatten()) {
        let resolution = match after.bucket.as_str() {
            "1m" => "raw",
            "5m" => "5m",
            _ => "1h",
        };
        assert_eq!(after.resolution, resolution, "{} of {}", after.agg, after.bucket);
        assert_eq!(after.points, before.points, "{} of {}", after.agg, after.bucket);
    }
}
