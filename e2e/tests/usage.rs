//! What Edgewatch counts of itself, next to its plan's quotas.

use edgewatch_e2e::{client::Client, edgewatch::Edgewatch, samples::sample};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{DAY_MS, HOUR_MS},
    wire::{ResourceUsage, UsageReply},
};

const PATH: &str = "/api/v1/usage";

fn usage(api: &Client) -> UsageReply {
    api.send(api.read_request(PATH)).expect(200).json()
}

fn resource(api: &Client, name: &str) -> ResourceUsage {
    let found = usage(api).resources.into_iter().find(|resource| resource.resource == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn used(api: &Client, name: &str) -> u64 {
    resource(api, name).used
}

/// Puts the clock to noon of the next day.
fn start_a_day(api: &Client) -> TimestampMs {
    let noon = api.now().day().end().plus_ms(12 * HOUR_MS);
    api.set_time(noon);
    noon
}

#[test]
fn a_days_pushes_are_counted_as_they_are_billed() {
    let server = Edgewatch::start_with("usage-counts", |options| {
        options.vars.insert("PLAN".to_owned(), "free".to_owned());
    });
    let api = server.client();
    let host = api.enroll("enrolled");
    let noon = start_a_day(api);
    // The first push of an hour pays for more than itself, and what a push costs comes with the next one.
    for n in -2..=0 {
        api.push_as(&host, &[sample("load_1m", noon.plus_ms(n), 1.0)]);
    }
    let before = usage(api);
    assert_eq!((before.plan.as_str(), before.day.as_str()), ("free", noon.day().label().as_str()));
    assert_eq!(before.warnings, [""; 0]);
    let count = |usage: &UsageReply, name: &str| {
        let found = usage.resources.iter().find(|resource| resource.resource == name);
        found.unwrap_or_else(|| panic!("no {name}")).used
    };
    for n in 1..=10 {
        api.push_as(&host, &[sample("load_1m", noon.plus_ms(n), 1.0)]);
    }
    let after = usage(api);
    let grown = |name: &str| count(&after, name) - count(&before, name);
    // The look between is counted as well; its own request comes with the call after it.
    assert_eq!(grown("worker_requests"), 11);
    assert_eq!(grown("object_requests"), 11);
    assert_eq!(grown("object_rows_written"), 10);
    assert!(count(&after, "object_gb_s") > 0);
    assert!(count(&after, "d1_rows_read") > 0);
    let bytes = |store: &str| after.stores.iter().find(|usage| usage.store == store).unwrap().bytes;
    assert!(bytes("shards") > 0 && bytes("d1") > 0);
    assert_eq!(bytes("r2"), 0);
    let requests = resource(api, "worker_requests");
    assert_eq!((requests.quota, requests.per.as_str()), (100_000, "day"));
    assert!((requests.used..=requests.used * 2).contains(&requests.projected), "{requests:?}");

    api.seal_this_hour(0);
    let host_push = sample("load_1m", api.now(), 1.0);
    api.push_as(&host, &[host_push]);
    assert_eq!(used(api, "r2_class_a"), 1, "one block");
    assert!(usage(api).stores.iter().any(|usage| usage.store == "r2" && usage.bytes > 0));
}

#[test]
fn a_days_counts_survive_and_end_with_the_day() {
    let mut server = Edgewatch::start("usage-survives");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    let noon = start_a_day(&api);
    for n in 0..20 {
        api.push_as(&host, &[sample("load_1m", noon.plus_ms(n), 1.0)]);
    }
    let mut shown = used(&api, "worker_requests");
    assert!(shown >= 19);
    for round in 0..3 {
        match round {
            0 => api.evict(0),
            1 => server.stop(),
            _ => server.kill(),
        }
        if round > 0 {
            server.resume();
            server.client().set_time(noon.plus_ms(1_000));
        }
        let now = used(server.client(), "worker_requests");
        assert!(now >= shown, "{now} after {shown} in round {round}");
        shown = now;
    }
    let api = server.client();
    api.set_time(noon.plus_ms(DAY_MS));
    api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
    api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
    let next = used(api, "worker_requests");
    assert!((1..shown).contains(&next), "{next} of {shown}");
    assert_eq!(usage(api).day, noon.plus_ms(DAY_MS).day().label());
}

#[test]
fn only_who_may_read_sees_the_usage() {
    let server = Edgewatch::start("usage-access");
    let api = server.client();
    let bare = edgewatch_e2e::client::Request::get(PATH);
    assert_eq!(api.send(bare).refusal(), (401, ErrorCode::MissingToken));
    let pusher = api.mint().scoped(edgewatch_shared::token::Scope::Push);
    let pushers = edgewatch_e2e::client::Request::get(PATH).with_token(&pusher);
    assert_eq!(api.send(pushers).refusal(), (403, ErrorCode::ForbiddenScope));
}
