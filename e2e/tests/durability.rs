//! What was acknowledged stays, through evictions, restarts and kills; so do counters, and memory does not grow.

use edgewatch_e2e::{
    client::Client,
    deadline::eventually,
    edgewatch::Edgewatch,
    meanwhile::meanwhile,
    samples::{sample, steps},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Evictions after which an instance has grown as far as it will.
const CYCLES_TO_SETTLE: usize = 5;
/// Evictions in all.
const CYCLES: usize = 20;

fn values(api: &Client, host: &str, hour: TimestampMs) -> Vec<f64> {
    let span = (hour, hour.plus_ms(HOUR_MS - 1));
    api.points(host, "load_1m", span, &[]).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn an_eviction_between_push_and_query_loses_nothing() {
    let server = Edgewatch::start("durability-evict");
    let api = server.client();
    let hour = api.start_an_hour();
    let host = api.enroll("enrolled");
    for minute in 0..6 {
        let metrics = [sample("load_1m", hour.plus_ms(minute * 60_000), minute as f64)];
        api.push_as(&host, &metrics);
        api.evict(0);
        api.push("named", &metrics);
        if minute % 2 == 0 {
            // With a head that the eviction takes along.
            assert_eq!(values(api, "named", hour).len() as i64, minute + 1);
            api.evict(0);
        }
    }
    for host in ["enrolled", "named"] {
        assert_eq!(values(api, host, hour), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{host}");
        assert_eq!(api.host(host).newest["load_1m"], 5.0, "{host}");
    }
}

#[test]
fn a_restart_loses_nothing() {
    let mut server = Edgewatch::start("durability-restart");
    let api = server.client().clone();
    let hour = api.now().hour().start().plus_ms(-2 * HOUR_MS);
    let host = api.enroll("enrolled");
    api.push_as(&host, &steps("load_1m", hour, 60_000, &[1.0, 2.0]));
    let listed = api.host("enrolled");
    server.stop();
    server.resume();
    let api = server.client();
    assert_eq!(values(api, "enrolled", hour), [1.0, 2.0]);
    assert_eq!(api.host("enrolled"), listed);
    api.push_as(&host, &steps("load_1m", hour.plus_ms(120_000), 60_000, &[3.0]));
    assert_eq!(values(api, "enrolled", hour), [1.0, 2.0, 3.0]);
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut server = Edgewatch::start("durability-kill");
    let host = server.client().enroll("enrolled");
    // A minute for each push, so that one query shows them all.
    let start = TimestampMs((server.client().now().0 / MINUTE_MS - 5_000) * MINUTE_MS);
    let acknowledged = Mutex::new(BTreeSet::new());
    let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut next = 0;
    for kill in 1..=3 {
        let api = server.client().clone();
        let wait_and_kill = || {
            eventually("pushes are acknowledged", Duration::from_secs(20), || {
                (count() >= kill * 30).then_some(())
            });
            server.kill();
        };
        let push = |_| {
            let metrics = [sample("app_n", start.plus_ms(next * MINUTE_MS), next as f64)];
            let answer = api.try_send(api.push_request_of(&host, &metrics));
            if answer.is_ok_and(|answer| answer.status == 202) {
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(next);
            }
            next += 1;
        };
        meanwhile(wait_and_kill, push);
        server.resume();
    }
    let span = (start, start.plus_ms(next * MINUTE_MS));
    let found: BTreeSet<i64> = server
        .client()
        .points("enrolled", "app_n", span, &[])
        .into_iter()
        .inspect(|(time, value)| assert_eq!(*time, start.plus_ms(*value as i64 * MINUTE_MS)))
        .map(|(_, value)| value as i64)
        .collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.is_subset(&found), "lost: {:?}", acknowledged.difference(&found));
}

#[test]
fn counters_never_jump_back() {
    let mut server = Edgewatch::start("durability-counters");
    let mut shown = server.client().scrape();
    for round in 0..6 {
        let api = server.client().clone();
        for n in 0..5 {
            api.push("named", &[sample("load_1m", api.now().plus_ms(n), 1.0)]);
            api.send(api.push_request("", &[])).expect(400);
        }
        api.host_names();
        let scrape = api.scrape();
        assert_eq!(scrape.jumped_back_since(&shown), [""; 0], "round {round}");
        let ingested = "edgewatch_samples_ingested_total";
        assert_eq!(scrape.get(ingested), shown.get(ingested) + 5.0, "round {round}");
        assert_eq!(scrape.refused("malformed"), shown.refused("malformed") + 5.0, "round {round}");
        // These are counted and not yet shown when it happens.
        api.send(api.push_request("", &[])).expect(400);
        match round % 3 {
            0 => api.evict(0),
            1 => server.stop(),
            _ => server.kill(),
        }
        if round % 3 > 0 {
            server.resume();
        }
        let after = server.client().scrape();
        assert_eq!(after.jumped_back_since(&scrape), [""; 0], "after round {round}");
        shown = after;
        // The next round counts from here: what is lost with an instance was never shown.
    }
}

#[test]
fn evictions_do_not_grow_the_memory() {
    let server = Edgewatch::start("durability-memory");
    let api = server.client();
    let hour = api.start_an_hour();
    let hosts: Vec<_> = (0..20).map(|n| format!("host-{n}")).collect();
    for host in &hosts {
        let values: Vec<f64> = (0..5_000).map(|n| f64::from(n) / 3.0).collect();
        api.push(host, &steps("load_1m", hour, 60, &values));
    }
    let cycle = || {
        for host in &hosts {
            assert_eq!(values(api, host, hour).len(), 5, "{host}");
        }
        let heads_bytes = api.shard(0).heads_bytes;
        api.evict(0);
        (api.memory_bytes(), heads_bytes)
    };
    let cycles: Vec<_> = (0..CYCLES).map(|_| cycle()).collect();
    println!("linear memory and heads by cycle: {cycles:?}");
    let (settled, heads_bytes) = cycles[CYCLES_TO_SETTLE - 1];
    assert!(heads_bytes > 20 * 5_000 * 16, "heads are built: {heads_bytes} bytes");
    assert!(cycles.iter().all(|(_, bytes)| *bytes == heads_bytes), "{cycles:?}");
    // An instance may come to need a page more of its allocator. Heads that stay behind would be a hundred.
    let grown = cycles[CYCLES - 1].0 - settled;
    assert!(grown < heads_bytes / 2, "{grown} bytes more: {cycles:?}");
}
