//! The compact push through the whole server: what is taken, what is refused, the series list and the way back to it.

use edgewatch_e2e::{
    client::{Client, Request},
    compact::{COMPACT_PATH, Readings, compact_body, without_list},
    edgewatch::Edgewatch,
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{HOUR_MS, SAMPLE_AGE_MS_MAX},
    token::Scope,
    wire::{
        Facts, PushReply,
        push::{DictionaryId, MEDIA_TYPE},
    },
};
use std::sync::LazyLock;

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("push"));
    SERVER.client()
}

/// The start of the hour before the last.
fn start() -> TimestampMs {
    api().now().hour().start().plus_ms(-2 * HOUR_MS)
}

/// Values of a metric in the three hours from [`start`], by minute, the last of each.
fn values(host: &str, name: &str) -> Vec<f64> {
    let span = (start(), start().plus_ms(3 * HOUR_MS));
    let points = api().points(host, name, span, &[("agg", "last")]);
    points.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn a_compact_push_is_answered_by_queries_and_listings() {
    let host = api().enroll("compact");
    let readings = Readings::new(1, &["load_1m", "uptime_seconds", "app_x"], start());
    assert_eq!(api().push_compact(&host, &readings.frame(1, 6)), (18, 0, 0));
    assert_eq!(api().push_compact(&host, &readings.listless(7, 12)), (18, 0, 0));
    for name in ["load_1m", "app_x"] {
        assert_eq!(values("compact", name), [6.0, 12.0], "{name}");
    }
    let listed = api().host("compact");
    assert_eq!((listed.newest["load_1m"], listed.newest["uptime_seconds"]), (12.0, 12.0));
}

#[test]
fn a_list_that_the_shard_does_not_know_is_asked_for_and_the_same_readings_are_taken_with_it() {
    let host = api().enroll("listless");
    let readings = Readings::new(2, &["load_1m"], start());
    let answer = api().send(api().compact_request(&host, &readings.listless(1, 6)));
    assert_eq!(answer.refusal(), (409, ErrorCode::UnknownDictionary));
    assert!(answer.error().error.message.contains("send the same readings again, with the list"));
    assert_eq!(api().push_compact(&host, &readings.frame(1, 6)), (6, 0, 0));
    assert_eq!(api().push_compact(&host, &readings.listless(1, 6)), (0, 6, 0));
    // Another host's list is not this one's, though it has the same id.
    let other = api().enroll("listless-2");
    let answer = api().send(api().compact_request(&other, &readings.listless(1, 6)));
    assert_eq!(answer.refusal(), (409, ErrorCode::UnknownDictionary));
}

#[test]
fn facts_and_hosts_by_name_come_along() {
    let readings = Readings::new(3, &["load_1m"], start());
    let mut frame = readings.frame(1, 6);
    let facts = Facts { os: "plan9".into(), ..Facts::default() };
    (frame.host, frame.facts) = (Some("compact-by-name".into()), Some(facts));
    let reply: PushReply = api().send(api().compact_request_by_name(&frame)).expect(202).json();
    assert_eq!(reply.ingested, 6);
    assert_eq!(values("compact-by-name", "load_1m"), [6.0]);
    assert_eq!(api().host("compact-by-name").facts.os, "plan9");
    // With its own token a host is who the token says.
    let host = api().enroll("compact-claims");
    let answer = api().send(api().compact_request(&host, &frame));
    assert_eq!(answer.refusal(), (403, ErrorCode::HostMismatch));
    frame.host = None;
    let answer = api().send(api().compact_request_by_name(&frame));
    assert_eq!(answer.refusal(), (400, ErrorCode::MalformedBody));
}

#[test]
fn samples_outside_the_window_are_counted_and_the_others_are_stored() {
    let host = api().enroll("compact-window");
    let old = api().now().plus_ms(-SAMPLE_AGE_MS_MAX - 65_000);
    let readings = Readings::new(4, &["load_1m"], old);
    // The first six readings are too old, and so is the seventh, by five seconds. The eighth has another five: time enough.
    let (ingested, repeated, refused) = api().push_compact(&host, &readings.frame(1, 60));
    assert_eq!((ingested + refused, repeated), (60, 0));
    assert!((6..12).contains(&refused), "{refused} refused");
    // It is known by what was sent.
    assert_eq!(api().push_compact(&host, &readings.frame(1, 60)).1, 60 - refused);
}

#[test]
fn what_is_no_compact_push_is_refused_with_its_reason() {
    let host = api().enroll("compact-refusals");
    let token = api().mint().of_host(host.host_id, api().now());
    let readings = Readings::new(5, &["load_1m"], start());
    let good = readings.frame(1, 6);
    let request = |body: Vec<u8>| Request::post(COMPACT_PATH, body).with_token(&token);
    let batch = |body: Vec<u8>| request(body).with_header("Content-Type", MEDIA_TYPE);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = edgewatch_shared::wire::push::encode(&good);
        change(&mut bytes);
        zstd::bulk::compress(&bytes, 3).unwrap()
    };
    let mut wrong_id = good.clone();
    wrong_id.metrics.as_mut().unwrap().dictionary = DictionaryId([7; 16]);
    let typo = Readings::new(5, &["load_1mm"], start()).frame(1, 6);
    let mut empty = good.clone();
    empty.metrics = None;
    let cases = [
        ("no type", request(compact_body(&good)), (415, ErrorCode::UnsupportedEncoding)),
        (
            "two encodings",
            batch(compact_body(&good)).with_header("Content-Encoding", "gzip"),
            (415, ErrorCode::UnsupportedEncoding),
        ),
        ("not zstd", batch(b"plain".to_vec()), (400, ErrorCode::MalformedBody)),
        ("version", batch(changed(&|bytes| bytes[0] = 9)), (415, ErrorCode::UnsupportedSection)),
        (
            "a section that it cannot do without",
            batch(changed(&|bytes| bytes.extend([127, 0]))),
            (415, ErrorCode::UnsupportedSection),
        ),
        ("cut", batch(changed(&|bytes| bytes.truncate(20))), (400, ErrorCode::MalformedBody)),
        ("no samples", batch(compact_body(&empty)), (400, ErrorCode::EmptyBatch)),
        ("a list with another id", batch(compact_body(&wrong_id)), (400, ErrorCode::MalformedBody)),
        ("an unknown name", batch(compact_body(&typo)), (400, ErrorCode::InvalidBatch)),
    ];
    for (name, request, expected) in cases {
        assert_eq!(api().send(request).refusal(), expected, "{name}");
    }
    let unauthorized =
        Request::post(COMPACT_PATH, compact_body(&good)).with_header("Content-Type", MEDIA_TYPE);
    assert_eq!(api().send(unauthorized.clone()).refusal(), (401, ErrorCode::MissingToken));
    let reader = unauthorized.with_token(&api().mint().scoped(Scope::Read));
    assert_eq!(api().send(reader).refusal(), (403, ErrorCode::ForbiddenScope));
    assert_eq!(values("compact-refusals", "load_1m"), [0.0; 0]);
    let optional = batch(changed(&|bytes| bytes.extend([200, 0])));
    assert_eq!(api().send(optional).json::<PushReply>().ingested, 6, "a section that it can do without");
}

#[test]
fn another_number_of_columns_than_the_list_has_series_is_refused() {
    let host = api().enroll("compact-shape");
    let two = Readings::new(6, &["load_1m", "load_5m"], start());
    api().push_compact(&host, &two.frame(1, 6));
    let mut frame = without_list(Readings::new(6, &["load_1m"], start()).frame(7, 12));
    frame.metrics.as_mut().unwrap().dictionary = two.frame(1, 6).metrics.unwrap().dictionary;
    let answer = api().send(api().compact_request(&host, &frame));
    assert_eq!(answer.refusal(), (400, ErrorCode::MalformedBody));
    assert_eq!(values("compact-shape", "load_1m"), [6.0]);
}

#[test]
fn a_revoked_host_pushes_nothing() {
    let host = api().enroll("compact-revoked");
    let readings = Readings::new(7, &["load_1m"], start());
    api().push_compact(&host, &readings.frame(1, 6));
    api().revoke("compact-revoked");
    let answer = api().send(api().compact_request(&host, &readings.listless(7, 12)));
    assert_eq!(answer.refusal(), (403, ErrorCode::RevokedHost));
}
