//! What is wrong is refused with its status, code and a message that helps; nothing of it is stored, and it is counted.

use edgewatch_e2e::{
    api::{PUSH_PATH, query_string},
    client::{Client, Request},
    edgewatch::Edgewatch,
    samples::{body, sample, steps},
};
use edgewatch_shared::{
    ErrorCode, RefusalReason, TimestampMs,
    limits::{
        BATCH_SAMPLES_MAX, BODY_BYTES_MAX, BODY_DECOMPRESSED_BYTES_MAX, FACTS_BYTES_MAX, FAULTS_NAMED_MAX,
        LABEL_VALUE_BYTES_MAX, LABELS_MAX, MINUTE_MS, QUERY_POINTS_MAX, URL_BYTES_MAX,
    },
    token::Scope,
    wire::{MetricSample, PushReply},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, sync::LazyLock};

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("refusals"));
    SERVER.client()
}

/// A push that is refused.
struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    code: ErrorCode,
    /// Part of the message.
    says: &'static str,
}

fn case(name: &'static str, request: Request, status: u16, code: ErrorCode, says: &'static str) -> Case {
    Case { name, request, status, code, says }
}

fn post(bytes: impl Into<Vec<u8>>) -> Request {
    Request::post(PUSH_PATH, bytes)
}

/// A body that is sent only if the server wants it: one that is refused by its length is not read, and the connection
/// of whoever sends it all the same breaks before the answer is read.
fn announced(bytes: Vec<u8>) -> Request {
    post(bytes).with_header("Expect", "100-continue")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

/// A good body of exactly this many bytes: JSON may end with white space.
fn padded(host: &str, now: TimestampMs, length: usize) -> Vec<u8> {
    let mut bytes = body(Some(host), &[sample("load_1m", now, 1.0)]);
    bytes.resize(length, b' ');
    bytes
}

fn many(now: TimestampMs, count: usize) -> Vec<MetricSample> {
    steps("app_n", now.plus_ms(-MINUTE_MS), 1, &vec![1.0; count])
}

/// A batch of one good sample with some of its fields changed.
fn with_sample(changes: Value) -> Request {
    let mut sample = json!({ "time": 1, "name": "load_1m", "value": 1.0 });
    let fields = sample.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    post(json!({ "host": "refused", "metrics": [sample] }).to_string())
}

fn bodies_that_cannot_be_read(now: TimestampMs) -> Vec<Case> {
    use ErrorCode::MalformedBody;
    let malformed = |name, request, says| case(name, request, 400, MalformedBody, says);
    let plain = |name, text: &str, says| malformed(name, post(text), says);
    let good = padded("refused", now, 200);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 5].to_vec();
    let deep = format!(r#"{{"host":"refused","extra":{},"metrics":[]}}"#, "[".repeat(100_000));
    vec![
        plain("nothing", "", "EOF"),
        plain("half an object", r#"{"host":"refused","metrics":["#, "EOF"),
        plain("another form", r#"["refused"]"#, "invalid"),
        plain("no metrics", r#"{"host":"refused"}"#, "missing field `metrics`"),
        plain("NaN", r#"{"host":"refused","metrics":[{"time":1,"name":"load_1m","value":NaN}]}"#, "line 1"),
        plain("too deep", &deep, "not the JSON"),
        malformed("no UTF-8", post(b"{\"host\":\"\xff\xfe\",\"metrics\":[]}".as_slice()), "not the JSON"),
        malformed("NaN as text", with_sample(json!({ "value": "NaN" })), "invalid type"),
        malformed("no value", with_sample(json!({ "value": null })), "invalid type"),
        plain("over f64", r#"{"metrics":[{"time":1,"name":"load_1m","value":1e999}]}"#, "out of range"),
        malformed("a vague time", with_sample(json!({ "time": "yesterday" })), "RFC 3339"),
        malformed("gzip that is none", post("{}").with_header("Content-Encoding", "gzip"), "gzip"),
        malformed("half a gzip", post(cut(gzip(&good))).with_header("Content-Encoding", "gzip"), "gzip"),
        malformed("zstd that is none", post("{}").with_header("Content-Encoding", "zstd"), "zstd"),
        malformed("half a zstd", post(cut(zstd(&good))).with_header("Content-Encoding", "zstd"), "zstd"),
        malformed("no host", post(body(None, &[sample("load_1m", now, 1.0)])), "whose samples"),
        malformed("an empty host", post(body(Some(""), &[sample("load_1m", now, 1.0)])), "1 to 253 bytes"),
        malformed("a host of two lines", post(body(Some("a\nb"), &[sample("load_1m", now, 1.0)])), "control"),
        case("no samples", post(body(Some("refused"), &[])), 400, ErrorCode::EmptyBatch, "no samples"),
        case(
            "an encoding nobody asked for",
            post(good).with_header("Content-Encoding", "br"),
            415,
            ErrorCode::UnsupportedEncoding,
            "zstd, gzip or identity",
        ),
    ]
}

fn bodies_that_are_too_large(now: TimestampMs) -> Vec<Case> {
    use ErrorCode::{BodyTooLarge, DecompressedTooLarge, TooManySamples};
    let over = padded("refused", now, BODY_BYTES_MAX + 1);
    let bomb = padded("refused", now, BODY_DECOMPRESSED_BYTES_MAX + 1);
    let encoded = |bytes: Vec<u8>, encoding| post(bytes).with_header("Content-Encoding", encoding);
    let facts = json!({ "os": "x".repeat(FACTS_BYTES_MAX) });
    let with_facts = json!({ "host": "refused", "facts": facts, "metrics": [] }).to_string();
    vec![
        case(
            "too many samples",
            post(body(Some("refused"), &many(now, BATCH_SAMPLES_MAX + 1))),
            413,
            TooManySamples,
            "more than 10000 samples",
        ),
        case("announced", announced(over.clone()), 413, BodyTooLarge, "1048576 bytes"),
        case("in chunks", Request::post_chunked(PUSH_PATH, over), 413, BodyTooLarge, "1048576 bytes"),
        case("a little gzip bomb", encoded(gzip(&bomb), "gzip"), 413, DecompressedTooLarge, "8388608 bytes"),
        case("a little zstd bomb", encoded(zstd(&bomb), "zstd"), 413, DecompressedTooLarge, "8388608 bytes"),
        case(
            "a gzip bomb",
            encoded(gzip(&vec![b' '; 64 << 20]), "gzip"),
            413,
            DecompressedTooLarge,
            "8388608",
        ),
        case(
            "a zstd bomb",
            encoded(zstd(&vec![b' '; 64 << 20]), "zstd"),
            413,
            DecompressedTooLarge,
            "8388608",
        ),
        case("too many facts", post(with_facts), 413, BodyTooLarge, "the facts have"),
    ]
}

fn samples_at_fault() -> Vec<Case> {
    let invalid = |name, changes, says| case(name, with_sample(changes), 400, ErrorCode::InvalidBatch, says);
    let labels = |labels: Value| json!({ "labels": labels });
    let too_many: serde_json::Map<_, _> = (0..=LABELS_MAX).map(|n| (format!("l{n}"), json!("v"))).collect();
    vec![
        invalid("a typo", json!({ "name": "cpu.usage_pc" }), r#"did you mean "cpu_usage_pct""#),
        invalid("an illegal name", json!({ "name": "9lives" }), "a name matches"),
        invalid("no name", json!({ "name": "" }), "must not be empty"),
        invalid("another host", json!({ "host": "other" }), "host \"other\""),
        invalid("an illegal label", labels(json!({ "a.b": "v" })), "label \"a.b\""),
        invalid("a reserved label", labels(json!({ "host": "v" })), "reserved"),
        invalid("a label of Prometheus' own", labels(json!({ "__name__": "v" })), "reserved"),
        invalid("an empty label", labels(json!({ "a": "" })), "1 to 1024 bytes"),
        invalid(
            "a long label",
            labels(json!({ "a": "v".repeat(LABEL_VALUE_BYTES_MAX + 1) })),
            "1 to 1024 bytes",
        ),
        invalid("too many labels", json!({ "labels": too_many }), "more than 32 labels"),
    ]
}

fn senders_at_fault() -> Vec<Case> {
    let good = || post(padded("refused", TimestampMs(1), 200));
    vec![
        case("nobody", good(), 401, ErrorCode::MissingToken, "Authorization: Bearer"),
        // Who may not push gets no further than the header: the body is not looked at.
        case(
            "nobody, at length",
            announced(vec![0; BODY_BYTES_MAX + 1]),
            401,
            ErrorCode::MissingToken,
            "Bearer",
        ),
        case("somebody else", good().with_token("a.b.c"), 401, ErrorCode::InvalidToken, "JWT"),
    ]
}

#[test]
fn a_push_that_is_refused_says_why_is_counted_and_leaves_nothing() {
    let server = Edgewatch::start("refusals-counted");
    let api = server.client();
    let now = api.now();
    let token = api.mint().scoped(Scope::Push);
    let with_token = [bodies_that_cannot_be_read(now), bodies_that_are_too_large(now), samples_at_fault()];
    let with_token = with_token.into_iter().flatten();
    let with_token = with_token.map(|case| Case { request: case.request.clone().with_token(&token), ..case });
    let mut expected: BTreeMap<&str, f64> = BTreeMap::new();
    for case in with_token.chain(senders_at_fault()) {
        let answer = api.send(case.request);
        assert_eq!(answer.refusal(), (case.status, case.code), "{}: {}", case.name, answer.text());
        let message = answer.error().error.message;
        assert!(message.contains(case.says), "{}: {message}", case.name);
        assert!(answer.error().server_ms.is_some(), "{} does not tell the clock", case.name);
        *expected.entry(RefusalReason::of(case.code).as_str()).or_default() += 1.0;
    }
    let scrape = api.scrape();
    for reason in RefusalReason::ALL {
        let expected = expected.get(reason.as_str()).copied().unwrap_or_default();
        assert_eq!(scrape.refused(reason.as_str()), expected, "{}", reason.as_str());
    }
    assert_eq!(scrape.get("edgewatch_samples_ingested_total"), 0.0);
    assert_eq!(scrape.get("edgewatch_batches_ingested_total"), 0.0);
    assert_eq!(api.host_names(), [""; 0]);
    assert_eq!(api.shard(0).partitions, [""; 0]);
}

#[test]
fn what_lies_on_the_edge_is_taken() {
    let now = api().now();
    let token = api().mint().scoped(Scope::Push);
    let whole = |length| padded("edge", now, length);
    let encoded = |bytes, encoding| post(bytes).with_header("Content-Encoding", encoding);
    let at_most = BODY_DECOMPRESSED_BYTES_MAX;
    for (name, request, ingested) in [
        ("samples", post(body(Some("edge"), &many(now, BATCH_SAMPLES_MAX))), BATCH_SAMPLES_MAX as u64),
        ("announced", post(whole(BODY_BYTES_MAX)), 1),
        ("in chunks", Request::post_chunked(PUSH_PATH, whole(BODY_BYTES_MAX)), 1),
        ("gzip", encoded(gzip(&whole(at_most)), "gzip"), 1),
        ("zstd", encoded(zstd(&whole(at_most)), "zstd"), 1),
    ] {
        let reply: PushReply = api().send(request.with_token(&token)).expect(202).json();
        assert_eq!(reply.ingested, ingested, "{name}");
    }
}

#[test]
fn one_faulty_sample_refuses_the_whole_batch_and_ten_are_named() {
    let now = api().now();
    let good = sample("load_1m", now, 1.0);
    let bad = |n: usize| sample(&format!("nonsense_{n}"), now, 1.0);
    let count = FAULTS_NAMED_MAX + 2;
    let metrics: Vec<_> = (0..count).flat_map(|n| [good.clone(), bad(n)]).collect();
    let answer = api().send(api().push_request("ten-faults", &metrics));
    assert_eq!(answer.refusal(), (400, ErrorCode::InvalidBatch));
    let error = answer.error().error;
    assert!(error.message.starts_with("12 samples are at fault, nothing was stored"), "{}", error.message);
    let named: Vec<_> = error.details.iter().map(|fault| (fault.index, fault.reason.as_str())).collect();
    let expected: Vec<_> = (0..FAULTS_NAMED_MAX).map(|n| (2 * n + 1, "unknown_name")).collect();
    assert_eq!(named, expected);
    assert!(!api().has_samples("ten-faults", "load_1m"));
    assert!(!api().host_names().contains(&"ten-faults".to_owned()));
}

#[test]
fn bombs_do_not_grow_the_memory() {
    let server = Edgewatch::start("refusals-bombs");
    let api = server.client();
    let token = api.mint().scoped(Scope::Push);
    let bomb = vec![b' '; 64 << 20];
    let send = |bytes: &[u8], encoding| {
        let request = post(bytes).with_header("Content-Encoding", encoding).with_token(&token);
        assert_eq!(api.send(request).status, 413);
    };
    // The smallest samples, as many as fit what a body may decompress to.
    let tiny = r#"{"time":1,"name":"a","value":1}"#;
    let tiny = vec![tiny; BODY_DECOMPRESSED_BYTES_MAX / (tiny.len() + 1) - 2].join(",");
    let tiny = zstd(format!(r#"{{"host":"refused","metrics":[{tiny}]}}"#).as_bytes());
    let (gzip, zstd) = (gzip(&bomb), zstd(&bomb));
    send(&gzip, "gzip");
    send(&zstd, "zstd");
    send(&tiny, "zstd");
    let after_one = api.memory_bytes();
    for _ in 0..10 {
        send(&gzip, "gzip");
        send(&zstd, "zstd");
        send(&tiny, "zstd");
    }
    assert_eq!(api.memory_bytes(), after_one);
    // A buffer of what is allowed, the other one growing by doubling, and what the instance is without them.
    let most = 5 * BODY_DECOMPRESSED_BYTES_MAX as u64;
    assert!(after_one <= most, "{after_one} bytes");
}

#[test]
fn a_query_that_makes_no_sense_says_why() {
    use ErrorCode::{InvalidParameter, QueryTooLarge, UnknownName};
    let too_long = (QUERY_POINTS_MAX * MINUTE_MS).to_string();
    let just_right = (QUERY_POINTS_MAX * MINUTE_MS - 1).to_string();
    for (parameters, status, code, says) in [
        (vec![("name", "load_1m")], 400, InvalidParameter, "`host` is missing"),
        (vec![("host", "h")], 400, InvalidParameter, "`name` is missing"),
        (vec![("host", ""), ("name", "load_1m")], 400, InvalidParameter, "`host` is missing"),
        (vec![("host", "h"), ("name", "9")], 400, InvalidParameter, "a name matches"),
        (vec![("host", "h"), ("name", "mem.used_pc")], 400, UnknownName, "did you mean \"mem_used_pct\""),
        (vec![("host", " h"), ("name", "load_1m")], 400, InvalidParameter, "no space at either end"),
        (vec![("bucket", "2m")], 400, InvalidParameter, "1m, 5m, 15m, 1h, 1d"),
        (vec![("agg", "median")], 400, InvalidParameter, "avg, min, max, sum, count, last"),
        (vec![("from", "yesterday")], 400, InvalidParameter, "`from` is not an RFC 3339 time"),
        (vec![("to", "2026-11-21T08:00:00")], 400, InvalidParameter, "with a zone"),
        (vec![("to", "2026-11-21T08:00:00 02:00")], 400, InvalidParameter, "%2B"),
        (vec![("from", "5"), ("to", "5")], 400, InvalidParameter, "`from` must be before `to`"),
        (vec![("from", "6"), ("to", "5")], 400, InvalidParameter, "`from` must be before `to`"),
        (vec![("from", "0"), ("to", &too_long)], 422, QueryTooLarge, "11001 buckets of 1m"),
    ] {
        // What a case does not say is right.
        let mut asked = parameters.clone();
        if parameters.iter().all(|(key, _)| !["host", "name"].contains(key)) {
            asked.extend([("host", "h"), ("name", "load_1m")]);
        }
        let answer = api().ask(&asked);
        assert_eq!(answer.refusal(), (status, code), "{parameters:?}: {}", answer.text());
        let message = answer.error().error.message;
        assert!(message.contains(says), "{parameters:?}: {message}");
    }
    let widest = [("host", "h"), ("name", "load_1m"), ("from", "0"), ("to", &just_right)];
    assert_eq!(api().query(&widest).points, []);
}

#[test]
fn a_path_or_method_that_does_not_exist_is_told_apart() {
    for (method, path, status, code, says) in [
        ("GET", "/", 404, ErrorCode::NotFound, "no such path"),
        ("GET", "/api/v1/nothing", 404, ErrorCode::NotFound, "no such path"),
        ("GET", "/api/v1/hosts/", 404, ErrorCode::NotFound, "no such path"),
        ("GET", "/api/v1/metrics", 405, ErrorCode::MethodNotAllowed, "takes POST"),
        ("PUT", "/api/v1/metrics", 405, ErrorCode::MethodNotAllowed, "takes POST"),
        ("POST", "/api/v1/metrics/query", 405, ErrorCode::MethodNotAllowed, "takes GET"),
        ("GET", "/api/v1/hosts/web-01", 405, ErrorCode::MethodNotAllowed, "takes DELETE"),
    ] {
        let answer = api().send(api().admin_request(method, path));
        assert_eq!(answer.refusal(), (status, code), "{method} {path}: {}", answer.text());
        let message = answer.error().error.message;
        assert!(message.contains(says), "{method} {path}: {message}");
    }
}

#[test]
fn an_overlong_url_is_refused() {
    let parameters = |length: usize| {
        let query = query_string(&[("host", "h"), ("name", "load_1m"), ("label.a", "")]);
        let path = format!("/api/v1/metrics/query?{query}");
        let padding = "v".repeat(length - api().url().len() - path.len());
        api().read_request(&format!("{path}{padding}"))
    };
    assert_eq!(api().send(parameters(URL_BYTES_MAX)).status, 200);
    assert_eq!(api().send(parameters(URL_BYTES_MAX + 1)).refusal(), (414, ErrorCode::UrlTooLong));
}
