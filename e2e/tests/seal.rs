//! Seals: an hour of the log becomes objects, and no query sees a difference before, during or after.

use edgewatch_e2e::{
    client::Client,
    deadline::eventually,
    edgewatch::Edgewatch,
    hooks::Faults,
    meanwhile::meanwhile,
    samples::{labelled, sample, steps},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS},
    wire::{EnrollReply, QueryReply},
};
use std::{collections::BTreeSet, thread, time::Duration};

/// Stretches of data that arrive in one hour…
const STRETCHES: i64 = 24;
/// …from one to the next, so that they are of a week: so many objects, one after the other, that a seal takes a while.
const APART_MS: i64 = 7 * HOUR_MS;
/// Samples of a series in each of them.
const SAMPLES: i64 = 120;

/// A seal takes a second then: long enough for a lot to happen meanwhile.
const SLOW_R2: Faults = Faults { d1: false, r2: false, r2_wait_ms: 150, shard: None, spared: 0 };

/// Two hosts, one enrolled and one known by name, that pushed in this hour: of this hour, and of the week before it.
fn pushed_hour(api: &Client) -> (TimestampMs, EnrollReply) {
    let hour = api.start_an_hour();
    let host = api.enroll("enrolled");
    for back in 0..STRETCHES {
        let start = hour.plus_ms(-back * APART_MS);
        let values: Vec<f64> = (0..SAMPLES).map(|n| n as f64 / 7.0).collect();
        api.push_as(&host, &steps("load_1m", start, 1_000, &values));
        api.push("named", &steps("net_receive_bytes_total", start, 1_000, &values));
        let cores = (0..10).map(|n| labelled("cpu_usage_pct", ("core", &n.to_string()), start, 1.0));
        api.push("named", &cores.collect::<Vec<_>>());
    }
    // Late, and over again: the later one counts.
    api.push_as(&host, &steps("load_1m", hour.plus_ms(-APART_MS), 1_000, &[1_000.0, 1_001.0]));
    (hour, host)
}

/// What is asked: host, name, bucket and aggregate.
const QUESTIONS: [(&str, &str, &str, &str); 4] = [
    ("enrolled", "load_1m", "1m", "avg"),
    ("enrolled", "load_1m", "1h", "sum"),
    ("named", "net.bytes_in", "5m", "sum"),
    ("named", "cpu.usage_pct", "1h", "count"),
];

/// Asks one question about everything that was pushed.
fn ask(api: &Client, hour: TimestampMs, (host, name, bucket, agg): (&str, &str, &str, &str)) -> QueryReply {
    let from = hour.plus_ms(-(STRETCHES - 1) * APART_MS).0.to_string();
    let to = hour.plus_ms(HOUR_MS).0.to_string();
    let what = [("host", host), ("name", name), ("bucket", bucket), ("agg", agg)];
    api.query(&[&what[..], &[("from", from.as_str()), ("to", to.as_str())]].concat())
}

/// What a seal of it makes objects of: the hour, and every day of late data.
fn spans(hour: TimestampMs) -> Vec<String> {
    let late = (1..STRETCHES).map(|back| hour.plus_ms(-back * APART_MS).day().label());
    late.chain([hour.hour().label()]).collect::<BTreeSet<_>>().into_iter().collect()
}

fn ask_all(api: &Client, hour: TimestampMs) -> Vec<QueryReply> {
    QUESTIONS.into_iter().map(|question| ask(api, hour, question)).collect()
}

/// Seals this hour while somebody asks all the time; every answer must be the one before. Returns how often it was asked.
fn seal_while_asked(api: &Client, hour: TimestampMs) -> usize {
    let before = ask_all(api, hour);
    assert!(before.iter().all(|reply| reply.points.len() as i64 >= STRETCHES), "{before:?}");
    let ask = |round: usize| {
        let at = round % QUESTIONS.len();
        assert_eq!(ask(api, hour, QUESTIONS[at]), before[at], "during the seal");
    };
    let (seals, asked) = meanwhile(|| api.seal_this_hour(0), ask);
    assert_eq!(seals, 1);
    assert_eq!(api.shard(0).partitions, [""; 0]);
    assert_eq!(ask_all(api, hour), before, "after the seal");
    asked
}

#[test]
fn a_sealed_hour_lies_in_r2_and_answers_as_before() {
    let mut server = Edgewatch::start("seal-r2");
    let api = server.client().clone();
    let (hour, _) = pushed_hour(&api);
    assert_eq!(api.shard(0).partitions, [hour.hour().label()]);
    assert_eq!(api.objects(), [""; 0]);
    api.set_faults(SLOW_R2);
    let asked = seal_while_asked(&api, hour);
    assert!(asked >= 10, "asked only {asked} times during the seal");
    let after = ask_all(&api, hour);
    let mut objects = api.objects();
    objects.sort();
    let spans = spans(hour);
    assert_eq!(objects.len(), spans.len(), "{objects:?}");
    for (span, object) in spans.iter().zip(&objects) {
        assert!(object.starts_with(&format!("metrics/raw/00000/{span}/")), "{object}");
    }
    assert_eq!(api.scrape().get("edgewatch_seals_total"), 1.0);
    api.evict(0);
    assert_eq!(ask_all(&api, hour), after, "after an eviction");

    server.stop();
    let blocks = server.catalogued_blocks();
    assert_eq!(blocks.iter().map(|block| block.key.clone()).collect::<Vec<_>>(), objects);
    assert!(blocks.iter().all(|block| block.place == "r2"), "{blocks:?}");
    // What was sent over again is there once.
    assert_eq!(blocks.iter().map(|block| block.samples).sum::<i64>(), STRETCHES * (SAMPLES + SAMPLES + 10));
    server.resume();
    assert_eq!(ask_all(server.client(), hour), after, "after a restart");
}

#[test]
fn without_r2_a_sealed_hour_stays_in_its_shard_and_answers_as_before() {
    let mut server = Edgewatch::start_with("seal-local", |options| options.with_r2 = false);
    let api = server.client().clone();
    let (hour, _) = pushed_hour(&api);
    seal_while_asked(&api, hour);
    let after = ask_all(&api, hour);
    assert_eq!(api.objects(), [""; 0]);
    api.evict(0);
    assert_eq!(ask_all(&api, hour), after, "after an eviction");
    server.stop();
    let blocks = server.catalogued_blocks();
    assert_eq!(blocks.len(), spans(hour).len());
    assert!(blocks.iter().all(|block| block.place == "local"), "{blocks:?}");
    // R2 that is bound later takes what there is, and what comes later.
    server.resume_with(|options| options.with_r2 = true);
    let api = server.client();
    assert_eq!(ask_all(api, hour), after, "after a restart");
    api.set_time(hour.plus_ms(HOUR_MS + 10 * MINUTE_MS));
    api.push("named", &[sample("load_1m", api.now(), 1.0)]);
    api.seal_this_hour(0);
    eventually("all blocks are in R2", Duration::from_secs(20), || {
        api.run_jobs(0);
        (api.objects().len() == blocks.len() + 1).then_some(())
    });
    assert_eq!(ask_all(api, hour), after, "moved");
}

#[test]
fn of_an_instant_sent_in_two_hours_the_later_value_stays() {
    let server = Edgewatch::start("seal-late");
    let api = server.client();
    let hour = api.start_an_hour();
    let day_ago = hour.plus_ms(-DAY_MS);
    let value = || {
        let span = (day_ago, day_ago.plus_ms(HOUR_MS));
        api.points("late", "load_1m", span, &[("agg", "last")])
            .into_iter()
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    let push = |value| api.push("late", &[sample("load_1m", day_ago, value)]);
    push(1.0);
    assert_eq!(api.seal_this_hour(0), 1);
    assert_eq!(value(), [1.0], "a block");
    push(2.0);
    assert_eq!(value(), [2.0], "the log over a block");
    assert_eq!(api.seal_this_hour(0), 1);
    assert_eq!(value(), [2.0], "a later block over an earlier one");
    assert_eq!(api.objects().len(), 2);
}

#[test]
fn an_hour_that_still_runs_is_not_sealed() {
    let server = Edgewatch::start("seal-running");
    let api = server.client();
    let hour = api.start_an_hour();
    api.push("running", &[sample("load_1m", hour, 1.0)]);
    let due_ms = api.shard(0).next_due_ms;
    let rest_ms = due_ms - hour.plus_ms(HOUR_MS).0;
    assert!((MINUTE_MS..=3 * MINUTE_MS).contains(&rest_ms), "due {rest_ms} ms after the hour");
    api.set_time(TimestampMs(due_ms - 30_000));
    assert_eq!(api.run_jobs(0), 0);
    assert_eq!(api.shard(0).partitions, [hour.hour().label()]);
    api.set_time(TimestampMs(due_ms));
    assert_eq!(api.run_jobs(0), 1);
    assert_eq!(api.shard(0).partitions.len(), 0);
    // What comes next is the night.
    assert!(api.shard(0).next_due_ms > hour.day().end().0);
}

#[test]
fn the_alarm_seals_by_itself() {
    let server = Edgewatch::start("seal-alarm");
    let api = server.client();
    let hour = api.start_an_hour();
    api.push("alarmed", &[sample("load_1m", hour, 1.0)]);
    api.set_time(hour.plus_ms(HOUR_MS + 5 * MINUTE_MS));
    // The object wakes to find that a job is overdue, as after an outage.
    api.evict(0);
    assert!(api.has_samples("alarmed", "load_1m"));
    eventually("the alarm seals", Duration::from_secs(10), || {
        api.shard(0).partitions.is_empty().then_some(())
    });
    assert_eq!(api.objects().len(), 1);
    assert!(api.has_samples("alarmed", "load_1m"));
}

#[test]
fn what_is_pushed_during_a_seal_is_not_lost() {
    let server = Edgewatch::start("seal-busy");
    let api = server.client();
    let (hour, host) = pushed_hour(api);
    api.set_time(hour.plus_ms(HOUR_MS + 10 * MINUTE_MS));
    let start = hour.plus_ms(HOUR_MS);
    let push = |round: usize| {
        let time = start.plus_ms(round as i64 * 100);
        api.push_as(&host, &[sample("load_5m", time, round as f64)]);
    };
    api.set_faults(SLOW_R2);
    let (seals, pushed) = meanwhile(|| api.run_jobs(0), push);
    assert_eq!(seals, 1);
    assert!(pushed >= 10, "pushed only {pushed} times during the seal");
    let counted = || {
        let span = (start, start.plus_ms(HOUR_MS));
        api.points("enrolled", "load_5m", span, &[("agg", "count"), ("bucket", "1h")])
    };
    let expected = [(start, pushed as f64)];
    assert_eq!(counted(), expected);
    assert_eq!(api.shard(0).partitions, [start.hour().label()]);
    assert_eq!(api.seal_this_hour(0), 1);
    assert_eq!(counted(), expected);
}

#[test]
fn a_seal_that_is_cut_off_is_made_again_without_a_difference() {
    let mut server = Edgewatch::start("seal-cut-off");
    let api = server.client().clone();
    let (hour, _) = pushed_hour(&api);
    let before = ask_all(&api, hour);
    api.set_faults(SLOW_R2);
    api.end_this_hour();
    thread::scope(|scope| {
        for (stored, is_kill) in [(2, false), (4, true)] {
            // Whoever asked for the seal never hears of its end.
            let sealing = scope
                .spawn(|| api.try_send(api.run_jobs_request(0)).is_ok_and(|answer| answer.status == 200));
            eventually("some objects are stored", Duration::from_secs(20), || {
                (api.objects().len() >= stored).then_some(())
            });
            if is_kill {
                server.kill()
            } else {
                api.evict(0)
            }
            assert!(!sealing.join().unwrap(), "the seal was over before it could be cut off");
        }
    });
    server.resume();
    let api = server.client().clone();
    assert_eq!(api.shard(0).partitions, [hour.hour().label()]);
    assert!(api.objects().len() >= 4, "{:?}", api.objects());
    assert_eq!(ask_all(&api, hour), before, "after the cuts");
    api.set_time(hour.plus_ms(HOUR_MS + 5 * MINUTE_MS));
    api.run_jobs(0);
    // The alarm may have come first.
    eventually("it is sealed", Duration::from_secs(20), || api.shard(0).partitions.is_empty().then_some(()));
    assert_eq!(ask_all(&api, hour), before, "after the seal");
    let mut objects = api.objects();
    objects.sort();
    assert_eq!(objects.len(), spans(hour).len(), "nothing is there twice: {objects:?}");
    server.stop();
    let blocks: Vec<_> = server.catalogued_blocks().into_iter().map(|block| block.key).collect();
    assert_eq!(blocks, objects);
}
