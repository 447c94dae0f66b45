//! What a day's quota does to pushes: slower near it, refused at it, as before after midnight.

use edgewatch_e2e::{client::Client, edgewatch::Edgewatch, samples::sample};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS, PUSH_INTERVAL_MS, PUSH_INTERVAL_MS_MAX},
    wire::{EnrollReply, HostStatus, UsageReply},
};

/// A server on a plan of its own.
fn start(name: &str, plan: &str) -> Edgewatch {
    Edgewatch::start_with(name, |options| {
        options.vars.insert("PLAN".to_owned(), plan.to_owned());
    })
}

/// Puts the clock to noon of the next day.
fn start_a_day(api: &Client) -> TimestampMs {
    let noon = api.now().day().end().plus_ms(12 * HOUR_MS);
    api.set_time(noon);
    noon
}

/// What has been used of the resource that pushes spend most of.
fn used(api: &Client) -> u64 {
    let usage: UsageReply = api.send(api.read_request("/api/v1/usage")).expect(200).json();
    let spent = usage.resources.iter().filter(|resource| resource.effect.ends_with("refused"));
    spent.map(|resource| resource.used).max().expect("there are such resources")
}

fn push(api: &Client, host: &EnrollReply, n: i64) -> i64 {
    let metrics = [sample("load_1m", api.now(), n as f64)];
    api.push_as(host, &metrics).next_push_ms.cast_signed()
}

#[test]
fn near_a_quota_agents_slow_down_and_at_it_they_wait_for_midnight() {
    let server = start("quotas-day", "free");
    let api = server.client();
    let host = api.enroll("enrolled");
    let noon = start_a_day(api);
    let slot = PUSH_INTERVAL_MS / 2..=PUSH_INTERVAL_MS * 3 / 2;
    for n in 0..10 {
        assert!(slot.contains(&push(api, &host, n)));
    }
    // At noon half of the quota is what a day may have used.
    let spent = used(api);
    api.lower_quotas(Some(spent * 3));
    assert!(slot.contains(&push(api, &host, 10)), "two thirds of it");
    api.lower_quotas(Some(spent * 2));
    let slowed = push(api, &host, 11);
    assert!(slowed > 2 * PUSH_INTERVAL_MS && slowed <= PUSH_INTERVAL_MS_MAX, "{slowed}");
    // Whoever was told to be silent for longer is well nevertheless.
    api.set_time(noon.plus_ms(PUSH_INTERVAL_MS_MAX));
    assert_eq!(api.host("enrolled").status, HostStatus::Ok);

    api.lower_quotas(Some(spent));
    let refused = api.push_request_of(&host, &[sample("load_1m", noon, 99.0)]);
    let refused = api.send(refused);
    assert_eq!(refused.header("Retry-After"), "900");
    assert_eq!(refused.refusal(), (503, ErrorCode::QuotaExhausted));
    let named = api.send(api.push_request("named", &[sample("load_1m", noon, 1.0)]));
    assert_eq!(named.refusal(), (503, ErrorCode::QuotaExhausted));
    assert_eq!(api.scrape().refused("quota"), 2.0);
    let midnight = noon.plus_ms(DAY_MS / 2);
    api.set_time(midnight.plus_ms(-2 * MINUTE_MS));
    let late = api.send(api.push_request_of(&host, &[sample("load_1m", noon, 99.0)]));
    let wait_s: i64 = late.header("Retry-After").parse().expect("a number of seconds");
    assert!((60..=180).contains(&wait_s), "{wait_s}");

    api.set_time(midnight);
    push(api, &host, 12);
    let span = (noon, midnight.plus_ms(HOUR_MS));
    let count: f64 =
        api.points("enrolled", "load_1m", span, &[("agg", "count")]).iter().map(|(_, count)| count).sum();
    assert_eq!(count, 13.0, "what was acknowledged, and nothing else");
}

#[test]
fn on_the_paid_plan_nothing_is_slowed_down_or_refused() {
    let server = start("quotas-paid", "paid");
    let api = server.client();
    let host = api.enroll("enrolled");
    start_a_day(api);
    api.lower_quotas(Some(1));
    for n in 0..5 {
        assert!(push(api, &host, n) <= PUSH_INTERVAL_MS * 3 / 2);
    }
    let usage: UsageReply = api.send(api.read_request("/api/v1/usage")).expect(200).json();
    assert_eq!(usage.plan, "paid");
    assert!(usage.resources.iter().all(|resource| resource.effect == "nothing"));
}

#[test]
fn hosts_of_a_shard_are_called_back_within_the_same_seconds() {
    let server = start("quotas-slots", "free");
    let api = server.client();
    api.start_an_hour();
    let hosts: Vec<_> = (0..20).map(|n| api.enroll(&format!("host-{n}"))).collect();
    let mut slots = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        api.set_time(api.now().plus_ms(n as i64 * 1_000));
        let metrics = [sample("load_1m", api.now(), 1.0)];
        let reply = api.push_as(host, &metrics);
        let next = reply.server_ms.plus_ms(reply.next_push_ms.cast_signed());
        slots.push(next.0.rem_euclid(PUSH_INTERVAL_MS));
    }
    // The reply's clock was read a moment before the shard's.
    let (first, last) = (slots.iter().min().unwrap(), slots.iter().max().unwrap());
    assert!(last - first < 10_000, "{slots:?}");
}
