//! Samples that are pushed are answered by queries: names, times, labels, encodings, buckets, aggregates.

use edgewatch_e2e::{
    api::{PUSH_PATH, points_of},
    client::{Client, Request},
    edgewatch::Edgewatch,
    samples::{body, labelled, sample, steps},
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS, SAMPLE_AGE_MS_MAX, SAMPLE_AHEAD_MS_MAX},
    token::Scope,
    wire::{MetricSample, PushReply, SeriesEntry, SeriesReply},
};
use flate2::{Compression, write::GzEncoder};
use std::{collections::BTreeMap, io::Write, sync::LazyLock};

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("metrics"));
    SERVER.client()
}

/// The start of an hour, `hours` before this one.
fn hours_ago(hours: i64) -> TimestampMs {
    api().now().hour().start().plus_ms(-hours * HOUR_MS)
}

/// `start` and the last instant of the `hours` after it.
fn span(start: TimestampMs, hours: i64) -> (TimestampMs, TimestampMs) {
    (start, start.plus_ms(hours * HOUR_MS - 1))
}

/// A naive answer: samples as (time, rank among equals, value), by bucket, oldest first.
fn aggregated(samples: &[(i64, usize, f64)], width_ms: i64, aggregate: &str) -> Vec<(TimestampMs, f64)> {
    let mut buckets: BTreeMap<i64, Vec<(i64, usize, f64)>> = BTreeMap::new();
    for sample in samples {
        buckets.entry(sample.0 / width_ms * width_ms).or_default().push(*sample);
    }
    let value = |mut samples: Vec<(i64, usize, f64)>| {
        samples.sort_by_key(|(time, rank, _)| (*time, *rank));
        let values: Vec<f64> = samples.iter().map(|(_, _, value)| *value).collect();
        let sum: f64 = values.iter().sum();
        match aggregate {
            "avg" => sum / values.len() as f64,
            "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
            "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "sum" => sum,
            "count" => values.len() as f64,
            "last" => values[values.len() - 1],
            other => panic!("{other}"),
        }
    };
    buckets.into_iter().map(|(start, samples)| (TimestampMs(start), value(samples))).collect()
}

#[test]
fn every_aggregate_over_every_bucket_is_what_it_is_called() {
    let start = TimestampMs((api().now().0 / DAY_MS - 3) * DAY_MS);
    let mut pushed = Vec::new();
    let mut expected = Vec::new();
    for step in 0..300_i64 {
        for core in 0..2_usize {
            // Halves, so that sums are exact in whatever order.
            let value = (step * 37 % 101) as f64 - 20.0 + core as f64 * 0.5;
            let time = start.plus_ms(step * 7 * MINUTE_MS + step % 3 * 1_000);
            pushed.push(labelled("app_load", ("core", &core.to_string()), time, value));
            expected.push((time.0, core, value));
        }
    }
    api().push("aggregates", &pushed);
    let widths =
        [("1m", MINUTE_MS), ("5m", 5 * MINUTE_MS), ("15m", 15 * MINUTE_MS), ("1h", HOUR_MS), ("1d", DAY_MS)];
    for (bucket, width_ms) in widths {
        for aggregate in ["avg", "min", "max", "sum", "count", "last"] {
            let asked = [("bucket", bucket), ("agg", aggregate)];
            let points = api().points("aggregates", "app_load", span(start, 48), &asked);
            assert_eq!(points, aggregated(&expected, width_ms, aggregate), "{aggregate} over {bucket}");
        }
    }
}

#[test]
fn points_come_newest_first_at_the_start_of_their_bucket() {
    let start = hours_ago(2);
    api().push("order", &steps("load_1m", start.plus_ms(90_000), 10 * MINUTE_MS, &[1.0, 2.0, 3.0]));
    let (from, to) = (start.to_rfc3339(), start.plus_ms(HOUR_MS).to_rfc3339());
    let reply = api().query(&[("host", "order"), ("name", "load_1m"), ("from", &from), ("to", &to)]);
    let times: Vec<_> = reply.points.iter().map(|point| point.time.clone()).collect();
    let expected = [21, 11, 1].map(|minute| start.plus_ms(minute * MINUTE_MS).to_rfc3339());
    assert_eq!(times, expected);
    assert_eq!(reply.points[0].value, 3.0);
}

#[test]
fn a_body_of_miniobserv_is_taken_as_it_is() {
    let start = hours_ago(3);
    let body = format!(
        r#"{{"host":"mini-01","metrics":[
            {{"time":"{}","host":"mini-01","name":"cpu.usage_pct","value":12.34,"labels":{{"core":"total"}}}},
            {{"time":"{}","host":"mini-01","name":"mem.used_pct","value":41}}]}}"#,
        start.to_rfc3339(),
        start.plus_ms(MINUTE_MS).to_rfc3339().replace('Z', "+00:00"),
    );
    let token = api().mint().scoped(Scope::Push);
    let request = Request::post(PUSH_PATH, body).with_token(&token);
    let reply: PushReply = api().send(request).expect(202).json();
    assert_eq!((reply.ingested, reply.refused), (2, 0));
    assert_eq!(api().points("mini-01", "cpu.usage_pct", span(start, 1), &[]), [(start, 12.34)]);
    let later = start.plus_ms(MINUTE_MS);
    assert_eq!(api().points("mini-01", "mem.used_pct", span(start, 1), &[]), [(later, 41.0)]);
}

#[test]
fn a_batch_that_names_its_host_in_its_samples_only_is_of_that_host() {
    let start = hours_ago(3);
    let body =
        format!(r#"{{"metrics":[{{"time":{},"host":"mini-02","name":"load.1m","value":3}}]}}"#, start.0);
    let token = api().mint().scoped(Scope::Push);
    api().send(Request::post(PUSH_PATH, body).with_token(&token)).expect(202);
    assert_eq!(api().points("mini-02", "load_1m", span(start, 1), &[]), [(start, 3.0)]);
}

#[test]
fn a_time_is_the_same_in_milliseconds_and_in_any_zone_of_rfc_3339() {
    let start = hours_ago(3);
    let local = start.plus_ms(2 * HOUR_MS + 60_500).to_rfc3339().replace('Z', "+02:00");
    let body = format!(
        r#"{{"host":"times","metrics":[{{"time":{},"name":"load_1m","value":1}},
            {{"time":"{local}","name":"load_1m","value":2}}]}}"#,
        start.0
    );
    let token = api().mint().scoped(Scope::Push);
    api().send(Request::post(PUSH_PATH, body).with_token(&token)).expect(202);
    let expected = [(start, 1.0), (start.plus_ms(MINUTE_MS), 2.0)];
    assert_eq!(api().points("times", "load_1m", span(start, 1), &[]), expected);
    // The query takes both forms too, and both ends belong to it.
    let at = start.plus_ms(60_500);
    for (from, to, found) in [
        (at.0.to_string(), (at.0 + 1).to_string(), 1),
        (at.to_rfc3339(), at.plus_ms(1).to_rfc3339(), 1),
        ((at.0 - 1).to_string(), at.0.to_string(), 1),
        ((at.0 + 1).to_string(), (at.0 + 2).to_string(), 0),
        ((at.0 - 2).to_string(), (at.0 - 1).to_string(), 0),
    ] {
        let asked = [("host", "times"), ("name", "load_1m"), ("from", &from), ("to", &to)];
        assert_eq!(api().query(&asked).points.len(), found, "{from} to {to}");
    }
}

#[test]
fn a_name_is_answered_as_it_was_asked() {
    let start = hours_ago(2);
    api().push("alias", &[sample("mem.used_pct", start, 40.0), sample("mem_total_bytes", start, 8e9)]);
    for (name, value) in
        [("mem.used_pct", 40.0), ("mem_used_pct", 40.0), ("mem.total.bytes", 8e9), ("mem_total_bytes", 8e9)]
    {
        let from = start.0.to_string();
        let reply = api().query(&[("host", "alias"), ("name", name), ("from", &from)]);
        assert_eq!((reply.host.as_str(), reply.name.as_str()), ("alias", name));
        assert_eq!(points_of(&reply), [(start, value)], "{name}");
    }
}

#[test]
fn bytes_since_the_last_reading_are_answered_from_the_counter() {
    let start = hours_ago(2);
    // It starts anew before its last reading.
    let values = [1_000.0, 1_500.0, 1_500.0, 300.0];
    api().push("counter", &steps("net_receive_bytes_total", start, MINUTE_MS, &values));
    let minute = |n: i64| start.plus_ms(n * MINUTE_MS);
    let differences = [(minute(1), 500.0), (minute(2), 0.0), (minute(3), 300.0)];
    assert_eq!(api().points("counter", "net.bytes_in", span(start, 1), &[]), differences);
    // The reading before `from` is where the first difference begins.
    assert_eq!(api().points("counter", "net.bytes_in", span(minute(1), 1), &[]), differences);
    assert_eq!(
        api().points("counter", "net_receive_bytes_total", span(start, 1), &[]),
        [0, 1, 2, 3].map(|n| (minute(n), values[n as usize]))
    );
}

#[test]
fn bytes_that_were_stored_as_differences_are_answered_as_they_are() {
    let start = hours_ago(2);
    api().push("gauge", &steps("net.bytes_in", start, MINUTE_MS, &[7.0, 5.0]));
    let expected = [(start, 7.0), (start.plus_ms(MINUTE_MS), 5.0)];
    assert_eq!(api().points("gauge", "net.bytes_in", span(start, 1), &[]), expected);
    // A host that changed from one agent to the other has both.
    let counter = [100.0, 130.0];
    api().push("gauge", &steps("net_receive_bytes_total", start.plus_ms(2 * MINUTE_MS), MINUTE_MS, &counter));
    let all = [expected[0], expected[1], (start.plus_ms(3 * MINUTE_MS), 30.0)];
    assert_eq!(api().points("gauge", "net.bytes_in", span(start, 1), &[]), all);
}

#[test]
fn a_label_selects_its_series() {
    let start = hours_ago(2);
    let of_core = |core, value| labelled("cpu_usage_pct", ("core", core), start, value);
    api().push("labels", &[of_core("total", 20.0), of_core("0", 10.0), of_core("1", 30.0)]);
    let count = ("agg", "count");
    for (label, expected) in [
        (vec![], vec![(start, 3.0)]),
        (vec![("label.core", "total")], vec![(start, 1.0)]),
        (vec![("label.core", "2")], vec![]),
        (vec![("label.mount", "/")], vec![]),
    ] {
        let asked = [vec![count], label.clone()].concat();
        assert_eq!(api().points("labels", "cpu.usage_pct", span(start, 1), &asked), expected, "{label:?}");
    }
    let total = api().points("labels", "cpu.usage_pct", span(start, 1), &[("label.core", "total")]);
    assert_eq!(total, [(start, 20.0)]);
}

#[test]
fn a_body_may_be_plain_gzip_or_zstd() {
    let start = hours_ago(2);
    let metrics = steps("load_1m", start, MINUTE_MS, &[1.0, 2.0]);
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let plain = |bytes: &[u8]| bytes.to_vec();
    type Encode<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, &str, Encode); 5] = [
        ("plain", "", &plain),
        ("identity", "identity", &plain),
        ("gzip", "gzip", &gzip),
        ("zstd", "zstd", &zstd),
        ("shouted", "ZSTD", &zstd),
    ];
    for (host, encoding, encode) in cases {
        let bytes = encode(&body(Some(host), &metrics));
        let token = api().mint().scoped(Scope::Push);
        for request in [Request::post(PUSH_PATH, bytes.clone()), Request::post_chunked(PUSH_PATH, bytes)] {
            let request = request.with_token(&token);
            let request =
                if encoding.is_empty() { request } else { request.with_header("Content-Encoding", encoding) };
            let reply: PushReply = api().send(request).expect(202).json();
            assert_eq!(reply.ingested, 2, "{host}");
        }
        assert_eq!(api().points(host, "load_1m", span(start, 1), &[("agg", "count")]).len(), 2, "{host}");
    }
}

#[test]
fn samples_outside_the_window_are_counted_and_the_others_kept() {
    let now = api().now();
    let at = |ms: i64| sample("load_1m", now.plus_ms(ms), 1.0);
    // A minute is more than a test takes.
    let inside = [at(-SAMPLE_AGE_MS_MAX + MINUTE_MS), at(SAMPLE_AHEAD_MS_MAX - MINUTE_MS)];
    let outside = [at(-SAMPLE_AGE_MS_MAX - MINUTE_MS), at(SAMPLE_AHEAD_MS_MAX + MINUTE_MS)];
    let reply = api().push("window", &[inside, outside.clone()].concat());
    assert_eq!((reply.ingested, reply.refused), (2, 2));
    let span = (now.plus_ms(-10 * DAY_MS), now.plus_ms(DAY_MS));
    let count = [("bucket", "1d"), ("agg", "count")];
    let stored: f64 = api().points("window", "load_1m", span, &count).iter().map(|(_, count)| count).sum();
    assert_eq!(stored, 2.0);
    let reply = api().push("window-missed", &outside);
    assert_eq!((reply.ingested, reply.refused), (0, 2));
    assert!(!api().has_samples("window-missed", "load_1m"));
}

#[test]
fn a_reply_tells_the_clock_and_when_to_push_again() {
    let before = api().now();
    let reply = api().push("pace", &[sample("load_1m", before, 1.0)]);
    assert!((before..=api().now()).contains(&reply.server_ms), "{before:?} {reply:?}");
    // The host's slot of the next minute or the one after it.
    assert!((30_000..=90_000).contains(&reply.next_push_ms), "{reply:?}");
}

#[test]
fn a_query_that_says_nothing_means_the_last_hour_by_minute_averaged() {
    let now = api().now();
    let at = |ms: i64, value| sample("load_1m", now.plus_ms(ms), value);
    let old = at(-HOUR_MS - MINUTE_MS, 99.0);
    let minute = now.0 / MINUTE_MS * MINUTE_MS - now.0 - 10 * MINUTE_MS;
    api().push("defaults", &[old, at(minute, 1.0), at(minute + 1, 2.0)]);
    let reply = api().query(&[("host", "defaults"), ("name", "load_1m")]);
    assert_eq!((reply.bucket.as_str(), reply.agg.as_str()), ("1m", "avg"));
    assert_eq!(points_of(&reply), [(now.plus_ms(minute), 1.5)]);
}

#[test]
fn a_host_is_asked_by_name_or_by_id() {
    let host = api().enroll("by-id");
    let start = hours_ago(2);
    api().push_as(&host, &[sample("load_1m", start, 4.0)]);
    for asked in ["by-id", &host.host_id.to_string()] {
        assert_eq!(api().points(asked, "load_1m", span(start, 1), &[]), [(start, 4.0)], "{asked}");
    }
}

#[test]
fn a_host_that_nobody_knows_has_no_points() {
    let answer = api().ask(&[("host", "nobody"), ("name", "load_1m")]).expect(200);
    assert!(answer.text().contains(r#""points":[]"#), "{}", answer.text());
}

#[test]
fn a_sample_sent_twice_counts_once_and_the_later_one_stays() {
    let start = hours_ago(2);
    let push = |value| api().push("twice", &[sample("load_1m", start, value)]);
    push(1.0);
    // With a decoded head from here on.
    assert_eq!(api().points("twice", "load_1m", span(start, 1), &[]), [(start, 1.0)]);
    push(2.0);
    for (aggregate, value) in [("sum", 2.0), ("count", 1.0)] {
        let points = api().points("twice", "load_1m", span(start, 1), &[("agg", aggregate)]);
        assert_eq!(points, [(start, value)], "{aggregate}");
    }
}

#[test]
fn values_survive_to_the_last_bit() {
    let start = hours_ago(2);
    let edges = [f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0, 0.1 + 0.2, 9_007_199_254_740_993.0];
    // And quotients without an end, of seventeen digits each.
    let values: Vec<f64> = edges.into_iter().chain((1..50).map(|n| f64::from(n * 1_000) / 103.0)).collect();
    let pushed: Vec<MetricSample> = steps("app_bits", start, MINUTE_MS, &values);
    api().push("bits", &pushed);
    let found = api().points("bits", "app_bits", span(start, 1), &[("agg", "last")]);
    let found: Vec<u64> = found.iter().map(|(_, value)| value.to_bits()).collect();
    assert_eq!(found, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
}

#[test]
fn series_are_listed_from_the_log_and_from_what_is_sealed() {
    let server = Edgewatch::start("metrics-series");
    let api = server.client();
    let hour = api.start_an_hour();
    api.push("lister", &[labelled("app_load", ("core", "1"), hour, 1.0), sample("load_1m", hour, 1.0)]);
    assert_eq!(api.seal_this_hour(0), 1);
    let next = api.start_an_hour();
    api.push("lister", &[labelled("app_load", ("core", "0"), next, 1.0), sample("load_1m", next, 1.0)]);
    let listed = |query: &str| -> Vec<(String, String, TimestampMs, TimestampMs)> {
        let path = format!("/api/v1/metrics/series?{query}");
        let reply: SeriesReply = api.send(api.read_request(&path)).expect(200).json();
        let time = |text: &str| TimestampMs::parse_rfc3339(text).unwrap();
        let labels = |entry: &SeriesEntry| entry.labels.values().cloned().collect::<String>();
        let series = reply.series.iter();
        series
            .map(|entry| (entry.name.clone(), labels(entry), time(&entry.first), time(&entry.last)))
            .collect()
    };
    let load = ("load_1m".to_owned(), String::new(), hour, next);
    let app = |core: &str, hour| ("app_load".to_owned(), core.to_owned(), hour, hour);
    assert_eq!(listed("host=lister"), [app("0", next), app("1", hour), load.clone()]);
    assert_eq!(listed("host=lister&name=load.1m"), [load]);
    assert_eq!(listed("host=lister&name=app_load&label.core=1"), [app("1", hour)]);
    assert_eq!(listed("host=nobody"), []);
    let refused =
        |query: &str| api.send(api.read_request(&format!("/api/v1/metrics/series?{query}"))).refusal();
    assert_eq!(refused(""), (400, ErrorCode::InvalidParameter));
    assert_eq!(refused("host=lister&name=9"), (400, ErrorCode::InvalidParameter));
}
