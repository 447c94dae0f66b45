//! Hosts: listed with what is known of them and how they are doing, revoked at once, deleted.

use edgewatch_e2e::{
    api::PUSH_PATH,
    client::{Client, Request},
    edgewatch::Edgewatch,
    hooks::Faults,
    samples::{labelled, sample},
};
use edgewatch_shared::{
    ErrorCode, HostId, TimestampMs,
    limits::{DOWN_AFTER_MS, STALE_AFTER_MS},
    token::Scope,
    wire::{Facts, HostStatus, MetricsBody},
};
use std::{collections::BTreeMap, sync::LazyLock};

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("hosts"));
    SERVER.client()
}

#[test]
fn a_fresh_server_has_no_hosts_and_says_so_as_a_list() {
    let server = Edgewatch::start("hosts-fresh");
    let api = server.client();
    for path in ["/api/v1/metrics/hosts", "/api/v1/hosts"] {
        let answer = api.send(api.read_request(path)).expect(200);
        assert_eq!(answer.text(), "{\"hosts\":[]}\n", "{path}");
        assert_eq!(answer.header("Content-Type"), "application/json");
    }
}

#[test]
fn a_host_is_listed_with_its_facts_and_newest_values() {
    let facts = |os: &str| Facts { os: os.into(), kernel: "6.1".into(), cpus: 2, ..Facts::default() };
    let before = api().now();
    let at = |ms: i64| before.plus_ms(ms);
    let metrics = vec![
        labelled("cpu.usage_pct", ("core", "0"), at(0), 90.0),
        labelled("cpu.usage_pct", ("core", "total"), at(-1_000), 51.0),
        labelled("cpu.usage_pct", ("core", "total"), at(0), 50.0),
        labelled("disk.used_pct", ("mount", "/"), at(0), 10.0),
        labelled("disk.used_pct", ("mount", "/data"), at(0), 70.0),
        sample("mem.used_pct", at(0), 40.0),
        sample("mem.used_bytes", at(0), 5.0),
    ];
    let push = |facts, metrics| {
        let body = MetricsBody { host: Some("listed".into()), facts, metrics };
        let token = api().mint().scoped(Scope::Push);
        let bytes = serde_json::to_vec(&body).unwrap();
        api().send(Request::post(PUSH_PATH, bytes).with_token(&token)).expect(202);
    };
    push(Some(facts("Debian 12")), metrics);
    let host = api().host("listed");
    assert_eq!((host.status, host.revoked), (HostStatus::Ok, false));
    assert_eq!(host.facts, facts("Debian 12"));
    assert_eq!(host.id, HostId::of_name(&"listed".parse().unwrap()));
    let last_seen = TimestampMs::parse_rfc3339(&host.last_seen.unwrap()).unwrap();
    assert!((before..=api().now()).contains(&last_seen), "{last_seen:?}");
    let newest = [("cpu_usage_pct", 50.0), ("disk_used_pct", 70.0), ("mem_used_pct", 40.0)];
    assert_eq!(host.newest, BTreeMap::from(newest.map(|(name, value)| (name.to_owned(), value))));

    // What a later push does not say stays.
    push(None, vec![sample("mem.used_pct", at(1), 41.0)]);
    let host = api().host("listed");
    assert_eq!((host.newest["mem_used_pct"], host.newest["cpu_usage_pct"]), (41.0, 50.0));
    assert_eq!(host.facts, facts("Debian 12"));
    push(Some(facts("Debian 13")), vec![sample("mem.used_pct", at(2), 41.0)]);
    assert_eq!(api().host("listed").facts, facts("Debian 13"));
}

#[test]
fn a_silent_host_goes_stale_and_then_down_and_comes_back() {
    let server = Edgewatch::start("hosts-silent");
    let api = server.client();
    let host = api.enroll("silent");
    assert_eq!((api.host("silent").status, api.host("silent").last_seen), (HostStatus::Down, None));
    api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
    // Half a minute is more than a test takes; the very millisecond is tested natively.
    for (silent_ms, status) in [
        (0, HostStatus::Ok),
        (STALE_AFTER_MS - 30_000, HostStatus::Ok),
        (STALE_AFTER_MS, HostStatus::Stale),
        (DOWN_AFTER_MS - 30_000, HostStatus::Stale),
        (DOWN_AFTER_MS, HostStatus::Down),
    ] {
        api.set_clock(silent_ms);
        assert_eq!(api.host("silent").status, status, "{silent_ms} ms");
    }
    api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
    assert_eq!(api.host("silent").status, HostStatus::Ok);
}

#[test]
fn names_are_sorted_and_each_is_there_once() {
    let server = Edgewatch::start("hosts-names");
    let api = server.client();
    let metrics = [sample("load_1m", api.now(), 1.0)];
    api.push("b", &metrics);
    api.enroll("c");
    api.enroll("a");
    api.revoke("c");
    api.enroll("c");
    assert_eq!(api.host_names(), ["a", "b", "c"]);
    let listed: Vec<_> = api.hosts().hosts.into_iter().map(|host| (host.name, host.revoked)).collect();
    let expected = [("a", false), ("b", false), ("c", true), ("c", false)];
    assert_eq!(listed.len(), expected.len());
    for (name, revoked) in expected {
        assert!(listed.contains(&(name.to_owned(), revoked)), "{name} {revoked} in {listed:?}");
    }
    assert!(listed.is_sorted_by_key(|(name, _)| name.clone()), "{listed:?}");
}

#[test]
fn a_revoked_host_is_refused_at_once_and_stays_listed_and_readable() {
    let host = api().enroll("revoked");
    let metrics = [sample("load_1m", api().now(), 1.0)];
    api().push_as(&host, &metrics);
    api().revoke("revoked");
    let answer = api().send(api().push_request_of(&host, &metrics));
    assert_eq!(answer.refusal(), (403, ErrorCode::RevokedHost));
    assert!(api().host("revoked").revoked);
    assert!(api().has_samples("revoked", "load_1m"));
    // Once more changes nothing.
    api().revoke(&host.host_id.to_string());
}

#[test]
fn a_deleted_host_is_refused_and_no_longer_listed_and_its_name_is_free() {
    let host = api().enroll("deleted");
    let metrics = [sample("load_1m", api().now(), 1.0)];
    api().push_as(&host, &metrics);
    api().delete("deleted");
    let answer = api().send(api().push_request_of(&host, &metrics));
    assert_eq!(answer.refusal(), (401, ErrorCode::UnknownHost));
    assert!(!api().host_names().contains(&"deleted".to_owned()));
    let id = host.host_id.to_string();
    for (method, path) in
        [("DELETE", format!("/api/v1/hosts/{id}")), ("POST", format!("/api/v1/hosts/{id}/revoke"))]
    {
        let answer = api().send(api().admin_request(method, &path));
        assert_eq!(answer.refusal(), (404, ErrorCode::NotFound), "{method} {path}");
    }
    let again = api().enroll("deleted");
    assert_ne!(again.host_id, host.host_id);
    api().push_as(&again, &metrics);
}

#[test]
fn a_name_that_several_hosts_have_is_no_address() {
    let first = api().enroll("namesake");
    api().revoke("namesake");
    let second = api().enroll("namesake");
    let answer = api().send(api().admin_request("DELETE", "/api/v1/hosts/namesake"));
    assert_eq!(answer.refusal(), (400, ErrorCode::InvalidParameter));
    for id in [first.host_id, second.host_id] {
        assert!(answer.error().error.message.contains(&id.to_string()), "{}", answer.text());
        api().delete(&id.to_string());
    }
}

#[test]
fn a_host_nobody_knows_cannot_be_changed() {
    for path in
        ["/api/v1/hosts/nobody", "/api/v1/hosts/0000a3c1-7e5d-8f00-9c1b-2f4e6a8b0c1d", "/api/v1/hosts/%20"]
    {
        let answer = api().send(api().admin_request("DELETE", path));
        assert_eq!(answer.refusal(), (404, ErrorCode::NotFound), "{path}");
    }
}

#[test]
fn a_name_may_have_spaces_slashes_and_letters_of_any_script() {
    let name = "Käse 1/2 €";
    let host = api().enroll(name);
    api().push_as(&host, &[sample("load_1m", api().now(), 1.0)]);
    assert!(api().has_samples(name, "load_1m"));
    api().revoke(name);
    assert!(api().host(name).revoked);
    api().delete(name);
    assert!(!api().host_names().contains(&name.to_owned()));
}

#[test]
fn a_shard_that_is_silent_hides_no_host_and_makes_none_old_that_is_elsewhere() {
    let server = Edgewatch::start("hosts-silent-shard");
    let api = server.client();
    let (here, moved) = (api.enroll("here"), api.enroll("moved"));
    let now = api.now();
    api.push_as(&here, &[sample("load_1m", now, 1.0)]);
    api.push_as(&moved, &[sample("load_1m", now, 1.0)]);
    let token = api.mint().scoped(Scope::Admin);
    let path = format!("/api/v1/hosts/{}/move", moved.host_id);
    api.send(Request::post(path, r#"{"shard":5}"#).with_token(&token)).expect(204);
    api.push_as(&moved, &[sample("load_1m", now.plus_ms(1), 2.0)]);
    let whole = api.hosts();
    assert_eq!(whole.warnings, [""; 0]);
    for (silent, other, other_name) in [(0, &whole.hosts[1], "moved"), (5, &whole.hosts[0], "here")] {
        api.set_faults(Faults { shard: Some(silent), ..Faults::default() });
        let listed = api.hosts();
        api.set_faults(Faults::default());
        let names: Vec<_> = listed.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["here", "moved"], "shard {silent} is silent");
        let live = listed.hosts.iter().find(|host| host.name == other_name).unwrap();
        assert_eq!((&live.newest, &live.last_seen), (&other.newest, &other.last_seen), "{other_name}");
        let [warning] = listed.warnings.as_slice() else { panic!("{:?}", listed.warnings) };
        assert!(warning.contains(&format!("shard {silent}")), "{warning}");
    }
}
