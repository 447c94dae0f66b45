//! Rows written a push, all tables and alarms counted by the storage itself: what a fleet pays for.

use edgewatch_e2e::{client::Client, edgewatch::Edgewatch, samples::sample};
use edgewatch_shared::{limits::MINUTE_MS, wire::EnrollReply};

/// Rows a push over an hour, at most.
const ROWS_A_PUSH_MAX: f64 = 1.1;
/// The same of a host that is alone on its shard, and alone pays for alarm, seal and summaries.
const ROWS_A_PUSH_ALONE_MAX: f64 = 1.3;
/// Pushes of a host in an hour.
const PUSHES: i64 = 60;

/// One push of `count` series, as an agent sends them every minute.
fn push(api: &Client, host: &EnrollReply, count: usize) {
    let now = api.now();
    let metrics: Vec<_> = (0..count).map(|n| sample(&format!("app_{n}"), now, n as f64)).collect();
    assert_eq!(api.push_as(host, &metrics).ingested, count as u64);
}

/// An hour of pushes by all hosts, and what falls due meanwhile: the seal of the hour before.
fn hour_of_pushes(api: &Client, hosts: &[EnrollReply], samples: usize) {
    let hour = api.now().hour().end();
    for minute in 0..PUSHES {
        api.set_time(hour.plus_ms(minute * MINUTE_MS));
        for host in hosts {
            push(api, host, samples);
        }
        // The alarm rings for what is due, and not otherwise: to set it costs a row.
        if (1..=api.now().0).contains(&api.shard(0).next_due_ms) {
            api.run_jobs(0);
        }
    }
    assert_eq!(api.shard(0).partitions, [hour.hour().label()], "the hour before is sealed");
}

/// Rows a push over the first hour of new hosts, which seals nothing, and over the next one.
fn rows_a_push(name: &str, host_count: usize, samples: usize) -> [f64; 2] {
    let server = Edgewatch::start(name);
    let api = server.client();
    let hosts: Vec<_> = (0..host_count).map(|n| api.enroll(&format!("host-{n}"))).collect();
    let rows = || {
        // What D1 was written is counted by the call after it.
        api.scrape();
        let (shard, d1) = api.scrape().rows_written();
        println!("{name}: {shard} rows in the shard, {d1} in D1");
        shard + d1
    };
    [0, 1].map(|_| {
        let before = rows();
        hour_of_pushes(api, &hosts, samples);
        // The looks themselves make counters durable: one of those before and one of those after fall in between.
        (rows() - before - 2.0) / (PUSHES as f64 * host_count as f64)
    })
}

#[test]
fn ten_hosts_write_hardly_more_than_a_row_a_push_whatever_the_number_of_samples() {
    for samples in [10, 1_000] {
        let [first, next] = rows_a_push(&format!("rows-{samples}"), 10, samples);
        println!("rows a push of {samples} samples: {first:.3} in the first hour, {next:.3} in the next");
        assert!(first <= ROWS_A_PUSH_MAX, "{first} rows a push of {samples} samples in the first hour");
        assert!(next <= ROWS_A_PUSH_MAX, "{next} rows a push of {samples} samples in the next hour");
    }
}

#[test]
fn a_host_alone_on_its_shard_pays_for_it_little() {
    let [first, next] = rows_a_push("rows-alone", 1, 10);
    println!("rows a push of a host alone: {first:.3} in the first hour, {next:.3} in the next");
    assert!(first <= ROWS_A_PUSH_ALONE_MAX, "{first} rows a push in the first hour");
    assert!(next <= ROWS_A_PUSH_ALONE_MAX, "{next} rows a push in the next hour");
}
