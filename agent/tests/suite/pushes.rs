//! What arrives while all is well.

use super::{
    agent_process::Home,
    fake_server::{
        FakeServer, PUSH, Reply, Request, accepted, accepted_at, acknowledged, host, now, refusal, ring,
        strict,
    },
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    catalogue::find,
    token::{Verified, verify},
    wire::{MetricsBody, push::PushFrame},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

/// The times of the samples of a series without labels, in the order in which they came.
pub fn times(bodies: &[MetricsBody], name: &str) -> Vec<TimestampMs> {
    let samples = bodies.iter().flat_map(|body| &body.metrics);
    samples.filter(|sample| sample.name == name).map(|sample| sample.time.0).collect()
}

#[test]
fn pushes_are_signed_compressed_and_believed() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let _agent = home.run("1s", &[]);
    let received = server.wait_for(3);
    for (request, reply) in &received {
        assert_eq!((request.path.as_str(), reply.status), (PUSH, 202));
        let told = verify(&ring(), request.bearer(), now().seconds());
        assert_eq!(told, Ok(Verified::Host(host())));
    }
    let bodies = acknowledged(&received);
    let facts: Vec<bool> = bodies.iter().map(|body| body.facts.is_some()).collect();
    assert_eq!(facts[..3], [true, false, false], "facts go with the first push");
    assert!(bodies.iter().all(|body| body.host.is_none()), "the token says the host");
    assert!(times(&bodies, "load_1m").is_sorted_by(|a, b| a < b));
}

#[test]
fn readings_are_numbered_from_1_without_a_gap_and_a_restart_begins_a_new_stream() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    server.wait_for(3);
    drop(agent);
    let before = server.received().len();
    let _agent = home.run("1s", &[]);
    let received = server.wait_for(before + 3);
    let mut streams: BTreeMap<u64, Vec<PushFrame>> = BTreeMap::new();
    for (request, _) in &received {
        let push = request.push();
        streams.entry(push.stream.0).or_default().push(push);
    }
    assert_eq!(streams.len(), 2, "what the first run left is still its own");
    for pushes in streams.values_mut() {
        // A run that is killed may not have heard that its last push was taken.
        pushes.dedup_by_key(|push| push.readings);
        let mut next = 1;
        for push in pushes {
            assert_eq!(push.readings.first, next);
            assert_eq!(push.floor, next, "the oldest reading that is held is the one that is sent");
            next = push.readings.last + 1;
        }
    }
}

#[test]
fn the_series_list_goes_along_when_it_is_news_and_when_the_server_asks() {
    let asked = AtomicBool::new(false);
    let server = FakeServer::start(move |request| {
        if !request.has_list() && !asked.swap(true, Ordering::Relaxed) {
            return refusal(409, ErrorCode::UnknownDictionary, None);
        }
        strict(request, now())
    });
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    let is_without = |(request, reply): &(Request, Reply)| !request.has_list() && reply.status == 202;
    let received = server.wait_until(|received| received.iter().any(is_without));
    assert!(received[0].0.has_list(), "the first of a stream");
    let refused = received.iter().position(|(_, reply)| reply.status == 409).unwrap();
    let [refused, again] = [refused, refused + 1].map(|at| received[at].0.push());
    assert_eq!((refused.stream, refused.readings), (again.stream, again.readings));
    let [refused, again] = [refused, again].map(|push| push.metrics.unwrap());
    assert_eq!(refused.checksum(), again.checksum(), "the very same readings");
    assert_eq!((refused.series, again.series.is_some()), (None, true));
    assert_eq!(agent.said("push failed"), 0, "{}", agent.log());
}

#[test]
fn a_push_takes_few_bytes_headers_and_token_included() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let _agent = home.run("1s", &[]);
    let is_without = |(request, _): &&(Request, Reply)| !request.has_list();
    let received = server.wait_until(|received| received.iter().any(|push| is_without(&push)));
    let (request, _) = received.iter().find(is_without).unwrap();
    let names: Vec<&str> = request.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["authorization", "content-length", "content-type", "host", "user-agent"]);
    let head_bytes = request.head_bytes;
    assert!(head_bytes <= 420, "{head_bytes} bytes of line and headers: {:?}", request.headers);
}

#[test]
fn the_first_push_has_every_collectors_readings_with_the_catalogues_labels() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let _agent = home.run("1h", &[]);
    let body = acknowledged(&server.wait_for(1)).remove(0);
    for sample in &body.metrics {
        let labels = sample.labels.clone().unwrap_or_default();
        let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(find(&sample.name).unwrap().label_keys, keys, "{}", sample.name);
    }
    let names: BTreeSet<&str> = body.metrics.iter().map(|sample| sample.name.as_str()).collect();
    for name in [
        "agent_resident_bytes",
        "cpu_usage_pct",
        "disk_used_pct",
        "load_1m",
        "mem_used_pct",
        "uptime_seconds",
    ] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
}

#[test]
fn a_host_with_a_push_token_says_its_name_in_the_body() {
    let server = FakeServer::start(accepted);
    let home = Home::new();
    let url = server.url();
    let env = [("SERVER_URL", url.as_str()), ("AGENT_TOKEN", "t0k3n"), ("AGENT_HOST", "box")];
    let _agent = home.run("1s", &env);
    let (request, _) = server.wait_for(1).remove(0);
    assert_eq!(request.bearer(), "t0k3n");
    assert_eq!(request.metrics().host.as_deref(), Some("box"));
}

#[test]
fn the_servers_pace_goes_before_the_setting() {
    let server = FakeServer::start(|request| accepted_at(request, now(), 1_000));
    let home = Home::enrolled_at(&server);
    let _agent = home.run("1h", &[]);
    server.wait_for(3);
}

#[test]
fn a_wrong_clock_is_corrected_and_what_it_stamped_moves_with_it() {
    const HOUR_MS: i64 = 3_600_000;
    for off_by_ms in [HOUR_MS, -HOUR_MS] {
        let server_now = move || now().plus_ms(off_by_ms);
        let server = FakeServer::start(move |request| strict(request, server_now()));
        let home = Home::enrolled_at(&server);
        let agent = home.run("1s", &[]);
        let received = server.wait_until(|received| acknowledged(received).len() >= 2);
        assert_eq!(received[0].1.status, 401, "the host's own clock signs nothing valid");
        assert_eq!(received[1].1.status, 202, "the next try is signed by the server's clock");
        let bodies = acknowledged(&received);
        assert_eq!(bodies[0].metrics.len(), received[0].0.metrics().metrics.len());
        for time in times(&bodies, "load_1m") {
            let age = server_now().ms_since(time);
            assert!((-1_000..HOUR_MS / 2).contains(&age), "{age} ms old");
        }
        assert_eq!(agent.said("the clock was corrected by"), 1, "{}", agent.log());
        assert_eq!(agent.said("does not let this host in"), 0, "{}", agent.log());
        agent.wait_until_said("the first push was taken");
    }
}

#[test]
fn what_never_left_a_host_whose_clock_is_wrong_moves_with_the_clock_too() {
    const YEARS_MS: i64 = 10 * 365 * 86_400_000;
    let server_now = || now().plus_ms(YEARS_MS);
    let server = FakeServer::start(accepted);
    let home = Home::enrolled_at(&server);
    let address = server.address();
    drop(server);
    let agent = home.run("1s", &[]);
    agent.wait_until_said("push failed");
    // It refuses what is stamped outside its window.
    let server = FakeServer::start_at(address, move |request| strict(request, server_now()));
    let received = server.wait_until(|received| acknowledged(received).len() >= 2);
    let pushes = received.iter().filter(|(_, reply)| reply.status == 202).map(|(request, _)| request.push());
    assert!(pushes.map(|push| push.readings.first).any(|first| first == 1), "{}", agent.log());
}

#[test]
fn the_log_has_a_line_for_a_change_and_none_for_a_push() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    agent.wait_until_said("the first push was taken");
    let lines = agent.log().lines().count();
    server.wait_for(4);
    assert_eq!(agent.log().lines().count(), lines, "{}", agent.log());
}
