//! The bundle that is deployed: small, without test hooks, and it works.

use edgewatch_e2e::{edgewatch::Edgewatch, samples::sample};
use edgewatch_shared::ErrorCode;
use std::fs;
use xtask::build::Bundle;

/// Bytes of the WebAssembly module, at most. Reason: it is fetched and compiled at every cold start. What was done to stay
/// below is in `docs/benchmarks.md`.
const MODULE_BYTES_MAX: usize = 2_000_000;

/// What a module with test hooks has in it, and one without has not.
const MARKS: [&str; 3] = ["/test/", "because a test asked it to", "no such test hook"];

fn has(module: &[u8], mark: &str) -> bool {
    module.windows(mark.len()).any(|window| window == mark.as_bytes())
}

#[test]
fn the_module_is_small_and_has_no_test_hooks() {
    let module = |bundle: Bundle| fs::read(bundle.module()).expect("the bundles are built");
    let (release, test) = (module(Bundle::Release), module(Bundle::TestHooks));
    println!("{} bytes", release.len());
    assert!(release.len() <= MODULE_BYTES_MAX, "{} bytes", release.len());
    for mark in MARKS {
        assert!(has(&test, mark), "{mark:?} would not be found");
        assert!(!has(&release, mark), "{mark:?} is in the release bundle");
    }
}

#[test]
fn a_release_server_serves_and_knows_no_hooks() {
    let server = Edgewatch::start_with("release", |options| options.bundle = Bundle::Release);
    let api = server.client();
    let host = api.enroll("released");
    api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
    assert!(api.has_samples("released", "load_1m"));
    for (method, path) in [
        ("POST", "/test/clock?offset_ms=86400000"),
        ("POST", "/test/fail?d1=true&r2=true"),
        ("POST", "/test/run-jobs?shard=0"),
        ("POST", "/test/evict?shard=0"),
        ("POST", "/test/commits?shard=0&failing=1"),
        ("GET", "/test/memory"),
        ("GET", "/test/objects"),
        ("GET", "/test/shard?shard=0"),
    ] {
        let answer = api.send(api.admin_request(method, path));
        assert_eq!(answer.refusal(), (404, ErrorCode::NotFound), "{method} {path}");
    }
    assert!(api.has_samples("released", "load_1m"));
}
