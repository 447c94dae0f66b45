//! Enrolment: a token becomes a host with a key of its own, as often as the token says and once a name.

use edgewatch_e2e::{
    answer::Answer,
    api::ENROLL_PATH,
    client::{Client, Request},
    edgewatch::Edgewatch,
    samples::sample,
};
use edgewatch_shared::{
    ErrorCode,
    keys::Key,
    limits::{FACTS_BYTES_MAX, HOST_NAME_BYTES_MAX, SHARD_HOSTS_MAX, TAG_BYTES_MAX, TAGS_MAX},
    token::{Claims, Scope, sign_host},
    wire::{EnrollReply, Facts},
};
use serde_json::{Value, json};
use std::{sync::LazyLock, thread};

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("enroll"));
    SERVER.client()
}

/// An enrolment token that is counted apart from all others.
fn token(jti: &str, change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = api().mint().claims(Scope::Enroll);
    claims.jti = jti.to_owned();
    change(&mut claims);
    api().mint().minted(&claims)
}

fn enroll(token: &str, body: &Value) -> Answer {
    api().send(Request::post(ENROLL_PATH, body.to_string()).with_token(token))
}

#[test]
fn an_enrolled_host_pushes_with_the_key_it_was_given() {
    let token = token("key", |_| ());
    let host: EnrollReply = enroll(&token, &json!({ "name": "enroll-key" })).expect(201).json();
    assert_eq!(host.name, "enroll-key");
    let key = Key::from_text(&host.host_key).expect("the reply has a key");
    let signed = sign_host(&key, &Claims::for_host(host.host_id, host.server_ms.seconds()));
    let now = api().now();
    let push = api().push_request_of(&host, &[sample("load_1m", now, 1.0)]);
    // The harness derives the same key from the server's secret.
    assert_eq!(signed, api().mint().of_host(host.host_id, host.server_ms));
    api().send(push).expect(202);
    assert!(api().has_samples("enroll-key", "load_1m"));
}

#[test]
fn a_token_enrols_as_many_hosts_as_it_says_and_one_by_default() {
    for (jti, uses, good_for) in [("uses", Some(2), 2), ("once", None, 1)] {
        let token = token(jti, |claims| claims.uses = uses);
        for n in 0..good_for {
            enroll(&token, &json!({ "name": format!("enroll-{jti}-{n}") })).expect(201);
        }
        let answer = enroll(&token, &json!({ "name": format!("enroll-{jti}-more") }));
        assert_eq!(answer.refusal(), (403, ErrorCode::EnrollmentExhausted), "{jti}");
        assert!(answer.error().error.message.contains(&format!("good for {good_for} hosts")), "{jti}");
        assert!(!api().host_names().contains(&format!("enroll-{jti}-more")));
    }
}

#[test]
fn of_many_at_once_only_as_many_enrol_as_the_token_says() {
    let token = token("crowd", |claims| claims.uses = Some(3));
    let statuses = at_once(8, |n| enroll(&token, &json!({ "name": format!("enroll-crowd-{n}") })));
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 5, "{statuses:?}");
}

#[test]
fn of_many_at_once_only_one_gets_a_name() {
    let token = token("race", |claims| claims.uses = Some(100));
    for round in 0..5 {
        let name = format!("enroll-race-{round}");
        let statuses = at_once(6, |_| enroll(&token, &json!({ "name": name })));
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 5, "{statuses:?}");
        let listed = api().hosts().hosts.into_iter().filter(|host| host.name == name).count();
        assert_eq!(listed, 1, "what lost leaves nothing");
    }
}

fn at_once(count: usize, ask: impl Fn(usize) -> Answer + Sync) -> Vec<u16> {
    thread::scope(|scope| {
        let ask = &ask;
        let asked: Vec<_> = (0..count).map(|n| scope.spawn(move || ask(n).status)).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_name_that_is_taken_is_refused_and_costs_no_use() {
    let first = api().enroll("enroll-taken");
    let token = token("taken", |_| ());
    let answer = enroll(&token, &json!({ "name": "enroll-taken" }));
    assert_eq!(answer.refusal(), (409, ErrorCode::HostExists));
    enroll(&token, &json!({ "name": "enroll-not-taken" })).expect(201);
    api().push_as(&first, &[sample("load_1m", api().now(), 1.0)]);
}

#[test]
fn a_revoked_host_leaves_its_name_to_another() {
    let old = api().enroll("enroll-again");
    api().push_as(&old, &[sample("load_1m", api().now().plus_ms(-300_000), 1.0)]);
    api().revoke("enroll-again");
    let new = api().enroll("enroll-again");
    assert_ne!(old.host_id, new.host_id);
    let now = api().now();
    api().push_as(&new, &[sample("load_1m", now, 2.0)]);
    // By the name both answer, by an id only its own.
    let span = (now.plus_ms(-600_000), now);
    let values = |asked: &str| -> Vec<f64> {
        api().points(asked, "load_1m", span, &[]).into_iter().map(|(_, value)| value).collect()
    };
    assert_eq!(values("enroll-again"), [1.0, 2.0]);
    assert_eq!(values(&old.host_id.to_string()), [1.0]);
    assert_eq!(values(&new.host_id.to_string()), [2.0]);
    let revoked = api().send(api().push_request_of(&old, &[sample("load_1m", now, 3.0)]));
    assert_eq!(revoked.refusal(), (403, ErrorCode::RevokedHost));
}

#[test]
fn tags_of_the_token_and_the_body_and_the_facts_are_listed() {
    let token = token("tags", |claims| claims.tags = vec!["web".into(), "eu".into()]);
    let facts = Facts { os: "Debian".into(), cpus: 4, memory_bytes: 8 << 30, ..Facts::default() };
    let body = json!({ "name": "enroll-tags", "facts": facts, "tags": ["blue", "eu"] });
    enroll(&token, &body).expect(201);
    let host = api().host("enroll-tags");
    assert_eq!(host.tags, ["blue", "eu", "web"]);
    assert_eq!(host.facts, facts);
}

#[test]
fn what_is_wrong_with_an_enrolment_is_said() {
    let good = token("wrong", |_| ());
    let expired = token("expired", |claims| claims.exp = claims.iat);
    let uncounted = token("", |_| ());
    let named = |name: &str| json!({ "name": name });
    let tagged = |tags: Value| json!({ "name": "enroll-wrong", "tags": tags });
    let many_tags: Vec<_> = (0..=TAGS_MAX).map(|n| n.to_string()).collect();
    let facts = json!({ "name": "enroll-wrong", "facts": { "os": "x".repeat(FACTS_BYTES_MAX) } });
    let huge = json!({ "name": "enroll-wrong", "more": "x".repeat(16 << 10) });
    use ErrorCode as C;
    for (name, token, body, status, code) in [
        ("expired", &expired, named("enroll-wrong"), 401, C::ExpiredToken),
        ("without jti", &uncounted, named("enroll-wrong"), 401, C::InvalidToken),
        ("no name", &good, json!({}), 400, C::MalformedBody),
        ("an empty name", &good, named(""), 400, C::InvalidParameter),
        ("a long name", &good, named(&"n".repeat(HOST_NAME_BYTES_MAX + 1)), 400, C::InvalidParameter),
        ("a name in two lines", &good, named("a\nb"), 400, C::InvalidParameter),
        ("an empty tag", &good, tagged(json!([""])), 400, C::InvalidParameter),
        ("a long tag", &good, tagged(json!(["t".repeat(TAG_BYTES_MAX + 1)])), 400, C::InvalidParameter),
        ("too many tags", &good, tagged(json!(many_tags)), 400, C::InvalidParameter),
        ("too many facts", &good, facts, 400, C::InvalidParameter),
        ("too large", &good, huge, 413, C::BodyTooLarge),
    ] {
        let answer = enroll(token, &body);
        assert_eq!(answer.refusal(), (status, code), "{name}: {}", answer.text());
    }
    assert!(!api().host_names().contains(&"enroll-wrong".to_owned()));
    // None of it has cost the token its use.
    enroll(&good, &named("enroll-right")).expect(201);
}

#[test]
fn a_full_shard_takes_no_more_hosts_and_the_next_one_does() {
    let server = Edgewatch::start("enroll-full");
    let api = server.client();
    for n in 0..SHARD_HOSTS_MAX {
        assert_eq!(api.enroll(&format!("host-{n:03}")).host_id.home_shard(), 0);
    }
    let next = api.enroll("host-next");
    assert_eq!(next.host_id.home_shard(), 1);
    let metrics = [sample("load_1m", api.now(), 1.0)];
    api.push_as(&next, &metrics);
    // Hosts that are known by name only have no other shard.
    let answer = api.send(api.push_request("by-name", &metrics));
    assert_eq!(answer.refusal(), (503, ErrorCode::ShardFull));
    assert_eq!(api.scrape().refused("cardinality"), 1.0);
    let listed = api.hosts();
    assert_eq!((listed.hosts.len(), listed.warnings.len()), (SHARD_HOSTS_MAX + 1, 0));
    api.revoke("host-007");
    assert_eq!(api.enroll("host-eight").host_id.home_shard(), 0, "a revoked host makes room");
}

#[test]
fn a_host_can_be_enrolled_under_a_name_that_was_pushed_and_is_answered_for_alone() {
    let name = "enroll-shared-name";
    let time = api().now();
    api().push(name, &[sample("load_1m", time, 99.0)]);
    let host = api().enroll(name);
    api().push_as(&host, &[sample("load_1m", time, 1.0)]);
    api().push(name, &[sample("load_1m", time.plus_ms(-1), 99.0)]);
    let last_hour = [("host", name), ("name", "load_1m"), ("agg", "max")];
    let values: Vec<f64> = api().query(&last_hour).points.iter().map(|point| point.value).collect();
    assert_eq!(values, [1.0]);
    api().revoke(name);
    let refused = api().send(api().push_request_of(&host, &[sample("load_1m", time, 2.0)]));
    assert_eq!(refused.refusal(), (403, ErrorCode::RevokedHost));
}
