//! Self-metrics: what the Worker says of itself, in Prometheus' text format, at no cost to who is not asked for it.

use edgewatch_e2e::{
    client::{Client, Request},
    edgewatch::Edgewatch,
    hooks::Faults,
    samples::{sample, steps},
    self_metrics::Scrape,
};
use edgewatch_shared::{
    ErrorCode,
    limits::{MINUTE_MS, SAMPLE_AGE_MS_MAX},
};
use std::collections::BTreeSet;

fn anonymous(api: &Client) -> Scrape {
    Scrape::parse(&api.send(Request::get("/metrics")).expect(200).text())
}

#[test]
fn requests_and_samples_are_counted_exactly() {
    let server = Edgewatch::start("self-counts");
    let api = server.client();
    // The server's own start has asked for its health.
    let asked = api.scrape();
    let now = api.now();
    api.push("counted", &steps("load_1m", now, 1, &[1.0; 7]));
    api.push(
        "counted",
        &[sample("load_1m", now, 1.0), sample("load_1m", now.plus_ms(-SAMPLE_AGE_MS_MAX - MINUTE_MS), 1.0)],
    );
    api.send(Request::post("/api/v1/metrics", "{}")).expect(401);
    api.send(Request::get("/nowhere")).expect(404);
    api.send(Request::get("/healthz")).expect(200);
    api.query(&[("host", "counted"), ("name", "load_1m")]);
    let scrape = api.scrape();
    let moved = |series: &str| scrape.get(series) - asked.get(series);
    let requests = |method: &str, route: &str, status: u16| {
        moved(&format!(
            "edgewatch_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(requests("POST", "/api/v1/metrics", 202), 2.0);
    assert_eq!(requests("POST", "/api/v1/metrics", 401), 1.0);
    assert_eq!(requests("GET", "/api/v1/metrics/query", 200), 1.0);
    assert_eq!(requests("GET", "/healthz", 200), 1.0);
    assert_eq!(requests("", "unmatched", 404), 1.0);
    assert_eq!(moved("edgewatch_samples_ingested_total"), 8.0);
    assert_eq!(moved("edgewatch_batches_ingested_total"), 2.0);
    let refused = |reason| scrape.refused(reason) - asked.refused(reason);
    assert_eq!((refused("outside_window"), refused("unauthorized")), (1.0, 1.0));
}

#[test]
fn who_has_no_token_cannot_make_us_write() {
    let server = Edgewatch::start("self-anonymous");
    let api = server.client();
    api.push("pushed", &[sample("load_1m", api.now(), 1.0)]);
    let shown = api.scrape();
    let by_push_token =
        Request::get("/metrics").with_token(&api.mint().scoped(edgewatch_shared::token::Scope::Push));
    for _ in 0..10 {
        // Requests are counted meanwhile, but not made durable for this.
        let seen = anonymous(api);
        assert_eq!(seen.rows_written(), shown.rows_written());
        api.send(by_push_token.clone()).expect(200);
        assert_eq!(seen.jumped_back_since(&shown), [""; 0]);
    }
    // The look before has cost its row, and this one has not been counted yet.
    let (shard_rows, _) = shown.rows_written();
    assert_eq!(api.scrape().rows_written().0, shard_rows + 1.0);
}

#[test]
fn without_a_token_the_shards_are_asked_twice_a_minute_at_most() {
    let server = Edgewatch::start("self-kept");
    let api = server.client();
    let now = api.now();
    let ingested = |scrape: Scrape| scrape.get("edgewatch_samples_ingested_total");
    api.push("pushed", &[sample("load_1m", now, 1.0)]);
    assert_eq!(ingested(anonymous(api)), 1.0);
    api.push("pushed", &[sample("load_1m", now.plus_ms(1), 1.0)]);
    let calls = |api: &Client| api.scrape().get("edgewatch_object_requests_total");
    let before = calls(api);
    for _ in 0..20 {
        assert_eq!(ingested(anonymous(api)), 1.0);
    }
    assert_eq!(calls(api) - before, 1.0, "its own");
    assert_eq!(ingested(api.scrape()), 2.0, "a reader sees what is");
    api.set_clock(30_000);
    assert_eq!(ingested(anonymous(api)), 2.0);
    // What does not answer is not asked again at once either.
    api.set_clock(60_000);
    api.set_faults(Faults { shard: Some(0), ..Faults::default() });
    let anonymous = || api.send(Request::get("/metrics"));
    assert_eq!(anonymous().refusal(), (503, ErrorCode::ShardUnavailable));
    api.set_faults(Faults::default());
    assert_eq!(anonymous().refusal(), (503, ErrorCode::ShardUnavailable));
    api.set_clock(90_000);
    anonymous().expect(200);
}

#[test]
fn every_family_has_its_help_and_type_and_every_line_a_family() {
    let server = Edgewatch::start("self-format");
    let api = server.client();
    api.push("pushed", &[sample("load_1m", api.now(), 1.0)]);
    let answer = api.send(api.read_request("/metrics")).expect(200);
    assert_eq!(answer.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let names = |start: &str| -> Vec<String> {
        let words = text.lines().filter_map(|line| line.strip_prefix(start));
        words.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let (helped, typed) = (names("# HELP "), names("# TYPE "));
    assert_eq!(helped, typed);
    let families: BTreeSet<_> = typed.iter().map(String::as_str).collect();
    assert_eq!(families.len(), typed.len(), "each family once");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(families.contains(name), "{line}");
        assert!(name.starts_with("edgewatch_"), "{line}");
    }
}
