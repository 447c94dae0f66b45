//! What was lost and is put back together: the catalogue out of the shards, a shard out of the catalogue and R2.

use edgewatch_e2e::{
    client::{Client, Request},
    edgewatch::Edgewatch,
    samples::{sample, steps},
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
    token::Scope,
    wire::{EnrollReply, HostEntry, RebuildReply, RebuildShards, Retention, SeriesReply},
};
use std::fs;

const PATH: &str = "/api/v1/catalogue/rebuild";
const RETENTION: &str = "/api/v1/settings/retention";
/// Hours that are pushed and sealed.
const HOURS: i64 = 3;

/// Rebuilds every shard that is known of; returns what it came to.
fn rebuild(api: &Client) -> RebuildReply {
    let post = |parameters: String| api.send(api.admin_request("POST", &format!("{PATH}{parameters}")));
    let known: RebuildShards = post(String::new()).expect(200).json();
    let mut total = RebuildReply::default();
    for shard in known.shards {
        let mut step = String::new();
        loop {
            let slice: RebuildReply = post(format!("?shard={shard}{step}")).expect(200).json();
            total.hosts_restored += slice.hosts_restored;
            total.hosts_told += slice.hosts_told;
            total.blocks_adopted += slice.blocks_adopted;
            total.blocks_told += slice.blocks_told;
            total.warnings.extend(slice.warnings);
            let Some(next) = slice.next else { break };
            step = format!("&step={}", next.replace('=', "%3D").replace('+', "%2B"));
        }
    }
    total
}

/// Some hours of two hosts, sealed, and a little that is not.
fn fill(api: &Client) -> (EnrollReply, TimestampMs) {
    // Tomorrow: a day that ends on the way is compacted.
    api.set_time(api.now().day().end());
    let start = api.start_an_hour();
    let host = api.enroll("enrolled");
    for hour in 0..HOURS {
        let at = start.plus_ms(hour * HOUR_MS);
        api.set_time(at.plus_ms(10 * MINUTE_MS));
        api.push_as(&host, &steps("load_1m", at, MINUTE_MS, &[hour as f64; 10]));
        api.push("named", &steps("load_1m", at, MINUTE_MS, &[1.0; 5]));
        api.seal_this_hour(0);
    }
    let open = start.plus_ms(HOURS * HOUR_MS);
    api.push_as(&host, &steps("load_1m", open, MINUTE_MS, &[9.0; 5]));
    (host, start)
}

fn samples(api: &Client, host: &str, start: TimestampMs) -> Vec<(TimestampMs, f64)> {
    api.points(host, "load_1m", (start, start.plus_ms((HOURS + 1) * HOUR_MS)), &[])
}

fn without_newest(mut hosts: Vec<HostEntry>) -> Vec<HostEntry> {
    for host in &mut hosts {
        host.newest.clear();
        host.last_seen = None;
        host.status = edgewatch_shared::wire::HostStatus::Down;
    }
    hosts
}

#[test]
fn a_lost_catalogue_is_told_everything_again() {
    let mut server = Edgewatch::start("rebuild-d1");
    let api = server.client().clone();
    let (host, start) = fill(&api);
    api.delete("named");
    api.push("other", &steps("load_1m", start, MINUTE_MS, &[4.0]));
    api.send(
        Request::put(RETENTION, r#"{"raw_days":400,"five_minute_days":null,"hour_days":null}"#)
            .with_token(&api.mint().scoped(Scope::Admin)),
    )
    .expect(200);
    // With the blocks of the next hour the shard hears of the retention.
    api.seal_this_hour(0);
    let (hosts, pushed) = (api.hosts(), samples(&api, "enrolled", start));
    assert_eq!(pushed.len() as i64, HOURS * 10 + 5);
    let now = api.now();
    server.stop();
    let blocks = server.catalogued_blocks();
    assert!(blocks.len() as i64 > HOURS, "{blocks:?}");
    server.lose_catalogue();
    server.resume();
    let api = server.client().clone();
    api.set_time(now);
    // By its id a host is found all the same; by its name it is said why it is not.
    let id = host.host_id.to_string();
    assert_eq!(samples(&api, &id, start), pushed);
    let by_name = api.query(&[("host", "enrolled"), ("name", "load_1m")]);
    assert_eq!(by_name.points, []);
    assert!(by_name.warnings[0].contains("rebuild-catalogue"), "{:?}", by_name.warnings);
    assert!(api.hosts().warnings[0].contains("rebuild-catalogue"), "{:?}", api.hosts().warnings);
    assert_eq!(api.push_as(&host, &steps("load_1m", start, MINUTE_MS, &[0.0])).ingested, 1);

    let told = rebuild(&api);
    assert_eq!((told.hosts_restored, told.blocks_adopted, told.warnings), (0, 0, Vec::new()));
    assert_eq!((told.hosts_told, told.blocks_told as usize), (2, blocks.len()));
    assert_eq!(api.hosts().warnings, [""; 0]);
    assert_eq!(without_newest(api.hosts().hosts), without_newest(hosts.hosts));
    assert_eq!(samples(&api, "enrolled", start), pushed);
    let retention: Retention = api.send(api.admin_request("GET", RETENTION)).expect(200).json();
    assert_eq!(retention.raw_days, Some(400));
    // The name is taken again, and done twice is done once.
    let taken = Request::post(edgewatch_e2e::api::ENROLL_PATH, r#"{"name":"enrolled"}"#)
        .with_token(&api.mint().scoped(Scope::Admin));
    assert_eq!(api.send(taken).refusal(), (409, ErrorCode::HostExists));
    assert_eq!(rebuild(&api).blocks_told as usize, blocks.len());
    server.stop();
    assert_eq!(server.catalogued_blocks(), blocks);
}

#[test]
fn a_host_that_moved_is_found_on_all_of_its_shards_once_the_catalogue_is_told_again() {
    let mut server = Edgewatch::start("rebuild-moved");
    let api = server.client().clone();
    let start = api.start_an_hour();
    let host = api.enroll("mover");
    let token = api.mint().scoped(Scope::Admin);
    // At one instant another value on each shard, and a series that only it has.
    for (shard, series) in [(0, "app_a"), (5, "app_b"), (9, "app_c")] {
        let path = format!("/api/v1/hosts/{}/move", host.host_id);
        let body = format!(r#"{{"shard":{shard}}}"#);
        api.send(Request::post(path, body).with_token(&token)).expect(204);
        api.push_as(&host, &[sample("load_1m", start, f64::from(shard)), sample(series, start, 1.0)]);
    }
    let series = |api: &Client, host: &str| -> Vec<String> {
        let path = format!("/api/v1/metrics/series?host={host}");
        let reply: SeriesReply = api.send(api.read_request(&path)).expect(200).json();
        reply.series.into_iter().map(|entry| entry.name).collect()
    };
    let all = ["app_a", "app_b", "app_c", "load_1m"];
    let newest = |api: &Client, host: &str| samples(api, host, start);
    assert_eq!(series(&api, "mover"), all);
    assert_eq!(newest(&api, "mover"), [(start, 9.0)]);
    let ingested = |api: &Client| api.scrape().get("edgewatch_samples_ingested_total");
    assert_eq!(ingested(&api), 6.0);
    let now = api.now();
    server.stop();
    server.lose_catalogue();
    server.resume();
    let api = server.client().clone();
    api.set_time(now);
    assert_eq!(series(&api, &host.host_id.to_string()), all);
    // The first time shard 0 says where the host went.
    rebuild(&api);
    rebuild(&api);
    assert_eq!(series(&api, "mover"), all);
    assert_eq!(newest(&api, "mover"), [(start, 9.0)]);
    assert_eq!(ingested(&api), 6.0, "of shards, too, that every host has left");
    assert_eq!(api.host_names(), ["mover"]);
}

#[test]
fn a_shard_that_lost_its_storage_gets_back_what_is_elsewhere() {
    let mut server = Edgewatch::start("rebuild-shard");
    let api = server.client().clone();
    let (host, start) = fill(&api);
    let hosts = api.hosts();
    let sealed: Vec<_> = samples(&api, "enrolled", start)
        .into_iter()
        .filter(|(time, _)| *time < start.plus_ms(HOURS * HOUR_MS))
        .collect();
    assert_eq!(sealed.len() as i64, HOURS * 10);
    let now = api.now();
    server.stop();
    server.lose_shards();
    server.resume();
    let api = server.client().clone();
    api.set_time(now);
    let more = steps("load_1m", start.plus_ms(HOURS * HOUR_MS), MINUTE_MS, &[5.0]);
    assert_eq!(api.send(api.push_request_of(&host, &more)).refusal(), (401, ErrorCode::UnknownHost));

    let given_back = rebuild(&api);
    assert_eq!(given_back.warnings, [""; 0]);
    assert_eq!((given_back.hosts_restored, given_back.blocks_adopted as i64), (2, HOURS));
    assert_eq!(without_newest(api.hosts().hosts), without_newest(hosts.hosts));
    assert_eq!(samples(&api, "enrolled", start), sealed);
    assert_eq!(samples(&api, "named", start).len() as i64, HOURS * 5);

    // It goes on: what is sealed from now on counts before what was there.
    api.push_as(&host, &steps("load_1m", start, MINUTE_MS, &[77.0]));
    assert_eq!(samples(&api, "enrolled", start)[0].1, 77.0);
    api.seal_this_hour(0);
    assert_eq!(samples(&api, "enrolled", start)[0].1, 77.0);
    let again = rebuild(&api);
    assert_eq!((again.hosts_restored, again.blocks_adopted), (0, 0));
    assert_eq!(samples(&api, "enrolled", start).len(), sealed.len());
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_left_out() {
    let mut server = Edgewatch::start("rebuild-damaged");
    let api = server.client().clone();
    let (_, start) = fill(&api);
    let now = api.now();
    server.stop();
    server.lose_shards();
    let damaged = &server.blob_files()[0];
    let mut bytes = fs::read(damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(damaged, bytes).unwrap();
    server.resume();
    let api = server.client();
    api.set_time(now);
    let given_back = rebuild(api);
    assert_eq!(given_back.blocks_adopted as i64, HOURS - 1);
    let [warning] = given_back.warnings.as_slice() else { panic!("{:?}", given_back.warnings) };
    assert!(api.objects().iter().any(|object| warning.contains(object)), "{warning}");
    assert_eq!(samples(api, "enrolled", start).len() as i64, (HOURS - 1) * 10);
}

#[test]
fn only_an_administrator_rebuilds_and_says_what_there_is() {
    let server = Edgewatch::start("rebuild-refusals");
    let api = server.client();
    let reader = Request::new("POST", PATH).with_token(&api.mint().scoped(Scope::Read));
    assert_eq!(api.send(reader).refusal(), (403, ErrorCode::ForbiddenScope));
    for bad in ["?shard=x", "?shard=65536", "?shard=0&step=else"] {
        let answer = api.send(api.admin_request("POST", &format!("{PATH}{bad}")));
        assert_eq!(answer.refusal(), (400, ErrorCode::InvalidParameter), "{bad}");
    }
    let nothing = rebuild(api);
    assert_eq!(nothing, RebuildReply::default());
}
