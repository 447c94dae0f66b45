//! What is exported and imported again is the same, to the last bit and the last byte.

use edgewatch_e2e::{
    answer::Answer,
    api::query_string,
    client::{Client, Request},
    deadline::eventually,
    edgewatch::Edgewatch,
    hooks::Faults,
    samples::{labelled, sample, steps},
};
use edgewatch_shared::{
    ErrorCode, HostId, Labels, Sample, Series, TimestampMs,
    limits::{DAY_MS, EXPORT_DAYS_MAX, HOST_SERIES_MAX, HOUR_MS, SAMPLE_AGE_MS_MAX},
    token::Scope,
    wire::export::{ExportLine, ImportReply},
};
use std::{io::Read, time::Duration};

const EXPORT_PATH: &str = "/api/v1/export";
const IMPORT_PATH: &str = "/api/v1/import";

const TOLD_WITHIN: Duration = Duration::from_secs(60);

fn export_request(api: &Client, from: TimestampMs, to: TimestampMs, extra: &[(&str, &str)]) -> Request {
    let (from, to) = (from.0.to_string(), to.0.to_string());
    let parameters = [&[("from", from.as_str()), ("to", to.as_str())], extra].concat();
    api.read_request(&format!("{EXPORT_PATH}?{}", query_string(&parameters)))
}

#[track_caller]
fn export(api: &Client, from: TimestampMs, to: TimestampMs, extra: &[(&str, &str)]) -> String {
    let answer = api.send(export_request(api, from, to, extra)).expect(200);
    assert_eq!(answer.header("Content-Type"), "application/zstd");
    let mut text = String::new();
    zstd::Decoder::new(&answer.body[..]).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn import(api: &Client, scope: Scope, lines: &str) -> Answer {
    let body = zstd::bulk::compress(lines.as_bytes(), 3).unwrap();
    let token = api.mint().scoped(scope);
    api.send(Request::post(IMPORT_PATH, body).with_token(&token).with_header("Content-Encoding", "zstd"))
}

fn line(id: HostId, host: &str, samples: &[(TimestampMs, f64)]) -> String {
    let series = Series { name: "load_1m".into(), labels: Labels::new() };
    let samples: Vec<_> = samples.iter().map(|(time, value)| Sample { time: *time, value: *value }).collect();
    serde_json::to_string(&ExportLine::new(id, host, &series, &samples)).unwrap() + "\n"
}

/// Values that a careless printer or reader would change.
const AWKWARD: [f64; 7] = [-0.0, 0.1 + 0.2, 5e-324, f64::MAX, 1e21, 123_456_789.123_456_79, -1.0 / 3.0];

#[test]
fn an_export_imported_into_a_fresh_server_is_exported_the_same() {
    let source = Edgewatch::start("export-source");
    let api = source.client();
    let hour = api.start_an_hour();
    let host = api.enroll("enrolled");
    api.push_as(&host, &steps("load_1m", hour, 10_000, &AWKWARD));
    api.push_as(&host, &[labelled("cpu_usage_pct", ("core", "total"), hour.plus_ms(-3 * DAY_MS), 1.5)]);
    api.push("named", &steps("app_jobs", hour.plus_ms(-HOUR_MS), 70_000, &[1.0; 60]));
    // Older than any push may be.
    let old = hour.plus_ms(-30 * DAY_MS);
    import(api, Scope::Admin, &line(host.host_id, "enrolled", &[(old, 7.0)])).expect(200);
    api.seal_this_hour(0);
    let next = api.start_an_hour();
    api.push_as(&host, &steps("load_1m", next, 10_000, &[2.0; 3]));
    let (from, to) = (old, next.plus_ms(HOUR_MS));
    let exported = export(api, from, to, &[]);
    assert_eq!(exported.lines().count(), 6, "{exported}");

    let fresh = Edgewatch::start("export-fresh");
    let other = fresh.client();
    other.set_time(api.now());
    for _again in 0..2 {
        let reply: ImportReply = import(other, Scope::Admin, &exported).expect(200).json();
        assert_eq!(reply, ImportReply { imported: 7 + 1 + 60 + 1 + 3, refused: 0 });
    }
    // The catalogue is told of the hosts in the background.
    eventually("an export finds all", TOLD_WITHIN, || {
        (export(other, from, to, &[]).len() == exported.len()).then_some(())
    });
    assert_eq!(export(other, from, to, &[]), exported);
    // Cut anywhere, the pieces are the whole.
    let noon = old.plus_ms(15 * DAY_MS);
    let pieces: String = ["enrolled", "named"]
        .map(|name| {
            export(other, from, noon, &[("host", name)])
                + &export(other, noon.plus_ms(1), to, &[("host", name)])
        })
        .concat();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&pieces), sorted(&exported));
    let only = export(other, from, to, &[("name", "cpu.usage_pct"), ("label.core", "total")]);
    assert_eq!(only.lines().count(), 1, "{only}");
    assert_eq!(export(other, from, to, &[("host", "nobody")]), "");
}

#[test]
fn whose_key_was_revoked_may_not_push_where_its_samples_are_imported() {
    let source = Edgewatch::start("export-revoked");
    let api = source.client();
    let hour = api.start_an_hour();
    let [active, leaked, silent] = ["active", "leaked", "silent"].map(|name| api.enroll(name));
    for host in [&active, &leaked, &silent] {
        api.push_as(host, &[sample("load_1m", hour, 1.0)]);
    }
    api.revoke("leaked");
    let exported = eventually("the catalogue knows of the key", TOLD_WITHIN, || {
        let text = export(api, hour, hour, &[]);
        text.contains(r#""revoked":true"#).then_some(text)
    });
    // As another tool would write it.
    let says_nothing = |line: &str| {
        let line =
            if line.contains("silent") { line.replace(r#""revoked":false,"#, "") } else { line.into() };
        line + "\n"
    };
    let lines: String = exported.lines().map(says_nothing).collect();

    let fresh = Edgewatch::start("export-revoked-fresh");
    let other = fresh.client();
    other.set_time(api.now());
    for _again in 0..2 {
        import(other, Scope::Admin, &lines).expect(200);
        let pushed = |host| other.send(other.push_request_of(host, &[sample("load_1m", hour, 2.0)]));
        pushed(&active).expect(202);
        for host in [&leaked, &silent] {
            assert_eq!(pushed(host).refusal(), (403, ErrorCode::RevokedHost), "{}", host.name);
            assert!(other.has_samples(&host.host_id.to_string(), "load_1m"), "{}", host.name);
        }
    }
    // Its name is free: enrolled again, it goes on with a key of its own.
    let again = other.enroll("leaked");
    other.push_as(&again, &[sample("load_1m", hour.plus_ms(1_000), 2.0)]);
}

#[test]
fn the_history_of_a_host_may_have_more_series_than_it_may_send() {
    let server = Edgewatch::start("export-churn");
    let api = server.client();
    let host = api.enroll("churning");
    let lines = |time: TimestampMs, from: usize| -> String {
        let line = |at: usize| {
            line(host.host_id, "churning", &[(time, 1.0)]).replace("load_1m", &format!("app_{at}"))
        };
        (from..from + HOST_SERIES_MAX).map(line).collect()
    };
    let hour = api.now().plus_ms(-2 * HOUR_MS);
    for from in [0, HOST_SERIES_MAX] {
        let reply: ImportReply = import(api, Scope::Admin, &lines(hour, from)).expect(200).json();
        assert_eq!(reply.imported, HOST_SERIES_MAX as u64);
    }
    // What it sends now counts.
    import(api, Scope::Admin, &lines(api.now(), 0)).expect(200);
    let further = import(api, Scope::Admin, &lines(api.now(), 1));
    assert_eq!(further.refusal(), (422, ErrorCode::SeriesLimit));
}

#[test]
fn refused_imports_and_their_refused_samples_are_counted() {
    let server = Edgewatch::start("export-counted");
    let api = server.client();
    let (name, now) = ("named".parse().unwrap(), api.now());
    let old = now.plus_ms(-SAMPLE_AGE_MS_MAX - HOUR_MS);
    let named = line(HostId::of_name(&name), "named", &[(old, 1.0), (now, 2.0)]);
    import(api, Scope::Push, &named).expect(200);
    import(api, Scope::Push, &line(HostId::of_name(&name), "named", &[(old, 1.0)])).expect(200);
    import(api, Scope::Push, "{}").expect(400);
    import(api, Scope::Read, &named).expect(403);
    let scrape = api.scrape();
    let refused = ["outside_window", "malformed", "unauthorized"].map(|reason| scrape.refused(reason));
    assert_eq!(refused, [2.0, 1.0, 1.0]);
}

#[test]
fn who_may_import_what() {
    let server = Edgewatch::start("export-scopes");
    let api = server.client();
    let host = api.enroll("enrolled");
    let now = api.now();
    let ours = line(host.host_id, "enrolled", &[(now, 1.0)]);
    assert_eq!(import(api, Scope::Push, &ours).refusal(), (403, ErrorCode::ForbiddenScope));
    assert_eq!(import(api, Scope::Read, &ours).refusal(), (403, ErrorCode::ForbiddenScope));
    let name = "named".parse().unwrap();
    let times = [(now.plus_ms(-SAMPLE_AGE_MS_MAX - HOUR_MS), 1.0), (now, 2.0)];
    let named = line(HostId::of_name(&name), "named", &times);
    let reply = |scope| import(api, scope, &named).expect(200).json::<ImportReply>();
    assert_eq!(reply(Scope::Push), ImportReply { imported: 1, refused: 1 });
    assert_eq!(reply(Scope::Admin), ImportReply { imported: 2, refused: 0 });
    // A revoked host's history may be completed, a deleted one stays away.
    api.revoke(&host.host_id.to_string());
    import(api, Scope::Admin, &ours).expect(200);
    api.delete(&host.host_id.to_string());
    assert_eq!(import(api, Scope::Admin, &ours).refusal(), (401, ErrorCode::UnknownHost));
    let token = api.mint().scoped(Scope::Push);
    let export = Request::get(format!("{EXPORT_PATH}?from=0&to=1")).with_token(&token);
    assert_eq!(api.send(export).refusal(), (403, ErrorCode::ForbiddenScope));
}

#[test]
fn what_is_at_fault_is_named_and_nothing_of_it_is_stored() {
    let server = Edgewatch::start("export-faults");
    let api = server.client();
    let now = api.now();
    let name = "named".parse().unwrap();
    let good = line(HostId::of_name(&name), "named", &[(now, 1.0)]);
    let misspelt = good.replace("load_1m", "lode_1m");
    let answer = import(api, Scope::Push, &(good.clone() + &misspelt));
    assert_eq!(answer.refusal(), (400, ErrorCode::InvalidBatch));
    assert_eq!(answer.error().error.details[0].index, 1);
    for bad in
        ["{}", "[]", r#"{"metric":{},"values":[1],"timestamps":[1]}"#, &good.replace("[1.0]", "[1.0,2.0]")]
    {
        assert_eq!(
            import(api, Scope::Push, &(good.clone() + bad)).refusal(),
            (400, ErrorCode::MalformedBody),
            "{bad}"
        );
    }
    assert!(!api.has_samples("named", "load_1m"));
    let refused = |query: &str| api.send(api.read_request(&format!("{EXPORT_PATH}?{query}"))).refusal();
    for query in ["", "from=0", "to=0", "from=1&to=0", "from=0&to=1&name=9", "from=soon&to=1"] {
        assert_eq!(refused(query), (400, ErrorCode::InvalidParameter), "{query}");
    }
    let days = |days: i64| format!("from=0&to={}", days * DAY_MS);
    assert_eq!(refused(&(days(EXPORT_DAYS_MAX) + "1")), (422, ErrorCode::QueryTooLarge));
    api.send(api.read_request(&format!("{EXPORT_PATH}?{}", days(EXPORT_DAYS_MAX)))).expect(200);
}

#[test]
fn an_export_that_cannot_go_on_is_cut_off() {
    let server = Edgewatch::start("export-cut");
    let api = server.client();
    let mut hosts = [api.enroll("a"), api.enroll("b")];
    hosts.sort_by_key(|host| host.host_id);
    let hour = api.start_an_hour();
    api.push_as(&hosts[1], &[sample("load_1m", hour, 1.0)]);
    assert_eq!(api.seal_this_hour(0), 1);
    let next = api.start_an_hour();
    api.push_as(&hosts[0], &[sample("load_1m", next, 1.0)]);
    assert_eq!(export(api, hour, next, &[]).lines().count(), 2);
    api.set_faults(Faults { r2: true, ..Faults::default() });
    // The first host is in the log, the second one is not.
    let both = api.try_send(export_request(api, hour, next, &[]));
    assert!(both.is_err(), "{}", both.unwrap().status);
    let second = export_request(api, hour, next, &[("host", &hosts[1].host_id.to_string())]);
    assert_eq!(api.send(second).refusal(), (503, ErrorCode::BlobsUnavailable));
}
