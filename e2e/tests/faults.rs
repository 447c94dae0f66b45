//! Stores that fail: ingest goes on, queries say what is missing, and nothing is lost once they are back.

use edgewatch_e2e::{
    api::ENROLL_PATH,
    client::{Client, Request},
    deadline::eventually,
    edgewatch::Edgewatch,
    hooks::Faults,
    samples::{sample, steps},
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
    token::Scope,
    wire::EnrollReply,
};
use std::{fs, thread, time::Duration};

const NONE: Faults = Faults { d1: false, r2: false, r2_wait_ms: 0, shard: None, spared: 0 };
const NO_D1: Faults = Faults { d1: true, ..NONE };
const NO_R2: Faults = Faults { r2: true, ..NONE };

/// Thirty samples from the start of this hour.
fn push_hour(api: &Client, host: &EnrollReply) -> TimestampMs {
    let hour = api.start_an_hour();
    api.push_as(host, &steps("load_1m", hour, 10_000, &[1.0; 30]));
    hour
}

/// The number of samples of an hour, or how the query for it is refused.
fn counted(api: &Client, host: &str, hour: TimestampMs) -> Result<f64, (u16, ErrorCode)> {
    let (from, to) = (hour.0.to_string(), hour.plus_ms(HOUR_MS - 1).0.to_string());
    let span = [("from", from.as_str()), ("to", to.as_str())];
    let what = [("host", host), ("name", "load_1m"), ("bucket", "1h"), ("agg", "count")];
    let answer = api.ask(&[&what[..], &span].concat());
    if answer.status != 200 {
        assert_eq!(answer.header("Retry-After"), if answer.status == 503 { "5" } else { "" });
        return Err(answer.refusal());
    }
    Ok(edgewatch_e2e::api::points_of(&answer.json()).iter().map(|(_, count)| count).sum())
}

#[test]
fn without_d1_hosts_push_and_are_read_by_id() {
    let server = Edgewatch::start("faults-d1");
    let api = server.client();
    let host = api.enroll("enrolled");
    let hour = push_hour(api, &host);
    api.set_faults(NO_D1);
    let more = steps("load_1m", hour.plus_ms(6 * MINUTE_MS), 10_000, &[1.0; 10]);
    assert_eq!(api.push_as(&host, &more).ingested, 10);
    assert_eq!(api.push("named", &more).ingested, 10);
    let unavailable = (503, ErrorCode::CatalogueUnavailable);
    assert_eq!(counted(api, "enrolled", hour), Err(unavailable));
    assert_eq!(counted(api, "named", hour), Err(unavailable));
    assert_eq!(counted(api, &host.host_id.to_string(), hour), Ok(40.0));
    for path in ["/api/v1/hosts", "/api/v1/metrics/hosts", "/metrics"] {
        assert_eq!(api.send(api.read_request(path)).refusal(), unavailable, "{path}");
    }
    let token = api.mint().scoped(Scope::Admin);
    let enrolment = Request::post(ENROLL_PATH, r#"{"name":"late"}"#).with_token(&token);
    assert_eq!(api.send(enrolment).refusal(), unavailable);
    // A stolen key can be stopped all the same.
    api.revoke(&host.host_id.to_string());
    assert_eq!(api.send(api.push_request_of(&host, &more)).refusal(), (403, ErrorCode::RevokedHost));

    api.set_faults(NONE);
    assert_eq!(counted(api, "enrolled", hour), Ok(40.0));
    assert_eq!(counted(api, "named", hour), Ok(10.0));
    assert_eq!(api.host_names(), ["enrolled", "named"]);
}

#[test]
fn what_d1_missed_it_is_told_later() {
    let server = Edgewatch::start("faults-d1-late");
    let api = server.client();
    let hour = api.start_an_hour();
    // It has never been reached: not even its schema is there.
    api.set_faults(NO_D1);
    api.push("named", &[sample("load_1m", hour, 1.0)]);
    api.set_faults(NONE);
    // The catalogue knows no such host yet, so its name is no address.
    let delete = || api.send(api.admin_request("DELETE", "/api/v1/hosts/named")).status;
    assert_eq!(delete(), 404);
    assert!(api.scrape().get("edgewatch_catalogue_failures_total") >= 1.0);
    api.set_time(api.now().plus_ms(2 * MINUTE_MS));
    assert_eq!(api.run_jobs(0), 1);
    assert_eq!(delete(), 204);
}

#[test]
fn without_d1_an_hour_is_sealed_and_told_later() {
    let mut server = Edgewatch::start("faults-d1-seal");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    let hour = push_hour(&api, &host);
    api.set_faults(NO_D1);
    api.seal_this_hour(0);
    assert_eq!(api.shard(0).partitions, [""; 0]);
    assert_eq!(counted(&api, &host.host_id.to_string(), hour), Ok(30.0));
    api.set_faults(NONE);
    api.set_time(api.now().plus_ms(20 * MINUTE_MS));
    api.run_jobs(0);
    assert_eq!(counted(&api, "enrolled", hour), Ok(30.0));
    let objects = api.objects();
    server.stop();
    let blocks: Vec<_> = server.catalogued_blocks().into_iter().map(|block| block.key).collect();
    assert_eq!((blocks.len(), blocks), (1, objects));
}

#[test]
fn without_r2_a_seal_is_put_off_and_nothing_is_missing() {
    let server = Edgewatch::start("faults-r2-seal");
    let api = server.client();
    let host = api.enroll("enrolled");
    let hour = push_hour(api, &host);
    api.set_faults(NO_R2);
    api.seal_this_hour(0);
    assert_eq!(api.shard(0).partitions, [hour.hour().label()], "it is still in the log");
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
    let scrape = api.scrape();
    let seals = |name: &str| scrape.get(&format!("edgewatch_{name}_total"));
    assert_eq!((seals("seals"), seals("seal_failures")), (0.0, 1.0));
    let next = hour.plus_ms(HOUR_MS);
    api.push_as(&host, &[sample("load_1m", next, 1.0)]);
    assert_eq!(api.shard(0).partitions, [hour.hour().label(), next.hour().label()]);
    // Not at once, and again only after a wait.
    assert_eq!(api.run_jobs(0), 0);
    api.set_time(TimestampMs(api.shard(0).next_due_ms));
    api.run_jobs(0);
    assert_eq!(api.scrape().get("edgewatch_seal_failures_total"), 2.0);

    api.set_faults(NONE);
    api.set_time(TimestampMs(api.shard(0).next_due_ms));
    api.run_jobs(0);
    assert_eq!(api.shard(0).partitions, [next.hour().label()]);
    assert_eq!(api.objects().len(), 1);
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
    assert_eq!(counted(api, "enrolled", next), Ok(1.0));
}

#[test]
fn without_r2_only_what_lies_there_cannot_be_read() {
    let server = Edgewatch::start("faults-r2-query");
    let api = server.client();
    let host = api.enroll("enrolled");
    let sealed = push_hour(api, &host);
    assert_eq!(api.seal_this_hour(0), 1);
    let open = push_hour(api, &host);
    assert_eq!(api.shard(0).partitions, [open.hour().label()]);
    api.set_faults(NO_R2);
    assert_eq!(counted(api, "enrolled", sealed), Err((503, ErrorCode::BlobsUnavailable)));
    assert_eq!(counted(api, "enrolled", open), Ok(30.0));
    assert_eq!(api.push_as(&host, &[sample("load_1m", open.plus_ms(1), 1.0)]).ingested, 1);
    api.set_faults(NONE);
    assert_eq!(counted(api, "enrolled", sealed), Ok(30.0));
    assert_eq!(counted(api, "enrolled", open), Ok(31.0));
}

#[test]
fn a_damaged_object_is_named_and_never_silently_left_out() {
    let mut server = Edgewatch::start("faults-corrupt");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    let hour = push_hour(&api, &host);
    assert_eq!(api.seal_this_hour(0), 1);
    let objects = api.objects();
    server.stop();
    let files = server.blob_files();
    assert_eq!(files.len(), 1);
    let good = fs::read(&files[0]).unwrap();
    for (what, at) in [("its beginning", 0), ("its middle", good.len() / 2), ("its end", good.len() - 1)] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&files[0], &bad).unwrap();
        server.resume();
        assert_corrupt(server.client(), hour, &objects[0], what);
        server.stop();
    }
    fs::write(&files[0], &good).unwrap();
    server.resume();
    assert_eq!(counted(server.client(), "enrolled", hour), Ok(30.0));
}

#[test]
fn a_damaged_part_of_an_object_hurts_only_the_host_whose_it_is() {
    let mut server = Edgewatch::start("faults-corrupt-part");
    let api = server.client().clone();
    let hour = api.start_an_hour();
    let mut hosts = ["left", "right"].map(|name| (api.enroll(name), name));
    for (host, _) in &hosts {
        api.push_as(host, &steps("load_1m", hour, 10_000, &[1.0; 30]));
    }
    assert_eq!(api.seal_this_hour(0), 1);
    server.stop();
    let files = server.blob_files();
    assert_eq!(files.len(), 1, "both hosts are in one object");
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[10] ^= 0x40;
    fs::write(&files[0], &bytes).unwrap();
    server.resume();
    // Chunks lie in the order of the hosts' ids: the first one's is damaged.
    hosts.sort_by_key(|(host, _)| host.host_id);
    let [(damaged, damaged_name), (_, sound_name)] = hosts;
    let api = server.client();
    assert_eq!(counted(api, sound_name, hour), Ok(30.0));
    assert_eq!(counted(api, damaged_name, hour), Err((500, ErrorCode::CorruptBlock)));
    // The server that was started again is an hour behind.
    let (from, to) = (hour.0.to_string(), hour.plus_ms(HOUR_MS).0.to_string());
    let answer = api.ask(&[("host", damaged_name), ("name", "load_1m"), ("from", &from), ("to", &to)]);
    assert!(answer.error().error.message.contains(&damaged.host_id.to_string()), "{}", answer.text());
    assert!(api.scrape().get("edgewatch_corrupt_blocks_total") >= 1.0);
}

fn assert_corrupt(api: &Client, hour: TimestampMs, object: &str, what: &str) {
    assert_eq!(counted(api, "enrolled", hour), Err((500, ErrorCode::CorruptBlock)), "{what}");
    let from = hour.0.to_string();
    let to = hour.plus_ms(HOUR_MS).0.to_string();
    let answer = api.ask(&[("host", "enrolled"), ("name", "load_1m"), ("from", &from), ("to", &to)]);
    assert!(answer.error().error.message.contains(object), "{what}: {}", answer.text());
}

/// The number of samples of an hour that are still found, and what is said to be missing.
fn counted_partly(api: &Client, hour: TimestampMs) -> (f64, Vec<String>) {
    let (from, to) = (hour.0.to_string(), hour.plus_ms(4 * HOUR_MS - 1).0.to_string());
    let span = [("from", from.as_str()), ("to", to.as_str()), ("partial", "true")];
    let what = [("host", "enrolled"), ("name", "load_1m"), ("bucket", "1h"), ("agg", "count")];
    let reply = api.query(&[&what[..], &span].concat());
    (edgewatch_e2e::api::points_of(&reply).iter().map(|(_, count)| count).sum(), reply.warnings)
}

#[test]
fn a_caller_may_take_what_is_left_and_is_told_what_is_missing() {
    let mut server = Edgewatch::start("faults-partial");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    let sealed = push_hour(&api, &host);
    assert_eq!(api.seal_this_hour(0), 1);
    push_hour(&api, &host);
    assert_eq!(counted_partly(&api, sealed), (60.0, Vec::new()));

    api.set_faults(NO_R2);
    let (count, warnings) = counted_partly(&api, sealed);
    assert_eq!((count, warnings.len()), (30.0, 1), "{warnings:?}");
    api.set_faults(Faults { shard: Some(0), ..NONE });
    let answer = api.ask(&[("host", "enrolled"), ("name", "load_1m")]);
    assert_eq!(answer.refusal(), (503, ErrorCode::ShardUnavailable));
    assert!(answer.error().error.message.contains("shard 0"), "{}", answer.text());
    let (count, warnings) = counted_partly(&api, sealed);
    assert_eq!((count, warnings.len()), (0.0, 1));
    assert!(warnings[0].contains("shard 0"), "{warnings:?}");
    api.set_faults(NONE);

    let object = api.objects().remove(0);
    server.stop();
    let file = server.blob_files().remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 0x40;
    fs::write(&file, &bytes).unwrap();
    server.resume();
    let (count, warnings) = counted_partly(server.client(), sealed);
    assert_eq!((count, warnings.len()), (30.0, 1));
    assert!(warnings[0].contains(&object), "{warnings:?}");
}

#[test]
fn a_bucket_that_is_no_longer_bound_is_said_to_be() {
    let mut server = Edgewatch::start("faults-unbound");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    let hour = push_hour(&api, &host);
    assert_eq!(api.seal_this_hour(0), 1);
    server.stop();
    server.resume_with(|options| options.with_r2 = false);
    assert_eq!(counted(server.client(), "enrolled", hour), Err((500, ErrorCode::Misconfigured)));
}

#[test]
fn an_r2_that_never_answers_holds_up_no_job_for_ever() {
    let server = Edgewatch::start("faults-r2-hangs");
    let api = server.client();
    let host = api.enroll("enrolled");
    let hour = push_hour(api, &host);
    api.set_faults(Faults { r2_wait_ms: HOUR_MS.unsigned_abs(), ..NONE });
    api.end_this_hour();
    thread::scope(|scope| {
        scope.spawn(|| api.try_send(api.run_jobs_request(0)));
        eventually("the seal is put off", Duration::from_secs(120), || {
            (api.scrape().get("edgewatch_seal_failures_total") >= 1.0).then_some(())
        });
    });
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
    api.set_faults(NONE);
    api.set_time(hour.plus_ms(HOUR_MS + 30 * MINUTE_MS));
    eventually("it is sealed", Duration::from_secs(20), || {
        api.run_jobs(0);
        api.shard(0).partitions.is_empty().then_some(())
    });
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
}

#[test]
fn a_shard_that_does_not_open_when_its_alarm_rings_is_tried_again_soon() {
    let server = Edgewatch::start("faults-alarm");
    let api = server.client();
    let host = api.enroll("enrolled");
    let hour = push_hour(api, &host);
    let to_be_sealed = api.shard(0).alarm_ms;
    assert!(to_be_sealed > 0);
    // Once for the jobs, once for the alarm after them.
    api.keep_closed(0, 2);
    assert_eq!(api.run_jobs(0), 0);
    let again = api.shard(0).alarm_ms;
    assert!(again > 0 && again < to_be_sealed, "{again}, and to be sealed {to_be_sealed}");
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
    assert_eq!(api.seal_this_hour(0), 1);
    assert_eq!(counted(api, "enrolled", hour), Ok(30.0));
}
