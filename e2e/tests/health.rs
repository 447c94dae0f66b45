//! Health: whether the Worker is there, whether all it needs answers, and what its replies never say by themselves.

use edgewatch_e2e::{
    client::{Client, Request},
    edgewatch::Edgewatch,
    hooks::Faults,
};
use edgewatch_shared::TimestampMs;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The version that all crates share.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Milliseconds for which an answer about readiness is kept.
const CACHED_MS: i64 = 30_000;

const NONE: Faults = Faults { d1: false, r2: false, r2_wait_ms: 0, shard: None, spared: 0 };

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("health"));
    SERVER.client()
}

fn readiness(api: &Client) -> (u16, Value) {
    let answer = api.send(Request::get("/readyz"));
    (answer.status, answer.json())
}

fn ready(d1: &str, r2: &str) -> (u16, Value) {
    let is_ready = d1 == "ok" && r2 != "unavailable";
    let (status, word) = if is_ready { (200, "ready") } else { (503, "not ready") };
    let checks = json!({ "d1": d1, "r2": r2, "shard": "ok" });
    (status, json!({ "status": word, "version": VERSION, "checks": checks }))
}

#[test]
fn the_worker_says_that_it_is_there_which_version_and_what_time_it_is() {
    let before = api().now();
    let answer = api().send(Request::get("/healthz")).expect(200);
    let told: Value = answer.json();
    assert_eq!((&told["status"], &told["version"]), (&json!("ok"), &json!(VERSION)));
    let server = TimestampMs(told["server_ms"].as_i64().unwrap());
    assert!((before..=api().now()).contains(&server), "{before:?} {told}");
    for (header, value) in [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        assert_eq!(answer.header(header), value, "{header}");
    }
}

#[test]
fn readiness_names_what_does_not_answer_and_is_kept_for_half_a_minute() {
    let server = Edgewatch::start("health-ready");
    let api = server.client();
    assert_eq!(readiness(api), ready("ok", "ok"));
    let mut clock_ms = 0;
    for (faults, before, after) in [
        (Faults { d1: true, ..NONE }, ready("ok", "ok"), ready("unavailable", "ok")),
        (
            Faults { d1: true, r2: true, ..NONE },
            ready("unavailable", "ok"),
            ready("unavailable", "unavailable"),
        ),
        (Faults { r2: true, ..NONE }, ready("unavailable", "unavailable"), ready("ok", "unavailable")),
        (NONE, ready("ok", "unavailable"), ready("ok", "ok")),
    ] {
        api.set_faults(faults);
        assert_eq!(readiness(api), before, "{faults:?} is not known yet");
        clock_ms += CACHED_MS;
        api.set_clock(clock_ms);
        assert_eq!(readiness(api), after, "{faults:?} is known");
        assert_eq!(api.send(Request::get("/healthz")).status, 200, "{faults:?}");
    }
}

#[test]
fn without_a_bucket_the_worker_is_ready_all_the_same() {
    let server = Edgewatch::start_with("health-local", |options| options.with_r2 = false);
    assert_eq!(readiness(server.client()), ready("ok", "not bound"));
}

#[test]
fn head_is_get_without_the_body() {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let head = api().send(Request::new("HEAD", path)).expect(200);
        let get = api().send(Request::get(path)).expect(200);
        assert_eq!(head.body, b"", "{path}");
        assert!(!get.body.is_empty(), "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
    }
    assert_eq!(api().send(Request::new("HEAD", "/api/v1/hosts")).status, 401);
}

#[test]
fn no_page_may_call_unless_a_setting_says_so() {
    let origin = "https://watch.example";
    for (method, path) in [("GET", "/healthz"), ("GET", "/api/v1/hosts"), ("OPTIONS", "/api/v1/hosts")] {
        let answer = api().send(Request::new(method, path).with_header("Origin", origin));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), "", "{method} {path}");
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), "", "{method} {path}");
    }
    let server = Edgewatch::start_with("health-cors", |options| {
        options.vars.insert("CORS_ORIGINS".to_owned(), format!("https://other.example, {origin}"));
    });
    for (asked, allowed) in [
        (origin, origin),
        ("https://other.example", "https://other.example"),
        ("https://evil.example", ""),
        ("https://watch.example.evil.example", ""),
        ("null", ""),
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = Request::new(method, "/api/v1/hosts").with_header("Origin", asked);
            let answer = server.client().send(request);
            assert_eq!(answer.header("Access-Control-Allow-Origin"), allowed, "{method} {asked}");
            assert_eq!(answer.header("Vary"), "Origin", "{method} {asked}");
        }
    }
}
