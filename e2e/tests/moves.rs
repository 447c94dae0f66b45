//! A host that moves to another shard, or whose series are spread over several, keeps all of its samples, each once.

use edgewatch_e2e::{
    answer::Answer,
    client::{Client, Request},
    compact::{Readings, without_list},
    edgewatch::Edgewatch,
    hooks::Faults,
    meanwhile::meanwhile,
    samples::{sample, steps},
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{HOUR_MS, SPLIT_SHARDS_MAX},
    token::Scope,
    wire::{EnrollReply, PushReply, SeriesReply, push::PushFrame},
};

fn admin(api: &Client, host: &str, verb: &str, body: &str) -> Answer {
    let token = api.mint().scoped(Scope::Admin);
    api.send(Request::post(format!("/api/v1/hosts/{host}/{verb}"), body).with_token(&token))
}

#[track_caller]
fn move_to(api: &Client, host: &EnrollReply, shard: u16) {
    admin(api, &host.host_id.to_string(), "move", &format!(r#"{{"shard":{shard}}}"#)).expect(204);
}

/// Pushes as an agent does: with its list where the server asks for it.
#[track_caller]
fn push(api: &Client, host: &EnrollReply, frame: &PushFrame) -> (u64, u64) {
    let first = api.send(api.compact_request(host, &without_list(frame.clone())));
    let answer = if first.status == 409 { api.send(api.compact_request(host, frame)) } else { first };
    let reply: PushReply = answer.expect(202).json();
    (reply.ingested, reply.duplicate)
}

/// How many samples of a metric a host has in a day, and their sum.
fn counted(api: &Client, host: &str, name: &str, start: TimestampMs) -> (f64, f64) {
    let span = (start, start.plus_ms(24 * HOUR_MS - 1));
    let total = |agg| api.points(host, name, span, &[("agg", agg), ("bucket", "1h")]);
    let sum = |points: Vec<(TimestampMs, f64)>| points.into_iter().map(|(_, value)| value).sum();
    (sum(total("count")), sum(total("sum")))
}

/// Count and sum of the numbers up to `last`.
fn once(last: u64) -> (f64, f64) {
    (last as f64, (1..=last).sum::<u64>() as f64)
}

#[test]
fn a_host_that_moves_there_and_back_keeps_everything_once() {
    let server = Edgewatch::start("moves-there");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("mover");
    let readings = Readings::new(1, &["app_n"], start);
    assert_eq!(push(api, &host, &readings.frame(1, 6)), (6, 0));
    assert_eq!(push(api, &host, &readings.frame(7, 12)), (6, 0));
    for (at, shard) in [(2, 5), (3, 5), (4, 9), (5, 0), (6, 5)] {
        move_to(api, &host, shard);
        let last = at * 6;
        assert_eq!(
            push(api, &host, &readings.frame(last - 5, last)),
            if at == 2 { (0, 6) } else { (6, 0) },
            "{at}"
        );
        // What was acknowledged before the move is known after it.
        assert_eq!(push(api, &host, &readings.frame(last - 11, last)), (0, 12), "{at}");
        assert_eq!(counted(api, "mover", "app_n", start), once(last), "{at}");
    }
    assert_eq!(api.shard(9).partitions.len(), 1, "it has been there");
    assert_eq!(api.host_names(), ["mover"]);
    let id = host.host_id.to_string();
    for shard in [0, 5, 9] {
        api.evict(shard);
        api.end_this_hour();
        api.run_jobs(shard);
        assert_eq!(counted(api, "mover", "app_n", start), once(36), "{shard}");
    }
    assert_eq!(push(api, &host, &readings.frame(25, 36)), (0, 12));
    // Without the catalogue, the shards name each other.
    api.set_faults(Faults { d1: true, ..Faults::default() });
    assert_eq!(counted(api, &id, "app_n", start), once(36));
    assert_eq!(push(api, &host, &readings.frame(37, 42)), (6, 0));
    api.set_faults(Faults::default());
    assert_eq!(counted(api, "mover", "app_n", start), once(42));
    // A key that is revoked is dead wherever its host lives.
    api.revoke("mover");
    let late = api.compact_request(&host, &readings.frame(43, 48));
    assert_eq!(api.send(late).refusal(), (403, ErrorCode::RevokedHost));
    assert!(api.host("mover").revoked);
}

#[test]
fn a_host_may_move_while_it_pushes() {
    let server = Edgewatch::start("moves-load");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("mover");
    let named = "pushed-by-name";
    api.push(named, &[sample("load_1m", start, 0.0)]);
    let id = api.host(named).id;
    let readings = Readings::new(1, &["app_n"], start);
    let ((), rounds) = meanwhile(
        || {
            for shard in [1, 2, 0, 2, 1] {
                move_to(api, &host, shard);
                admin(api, &id.to_string(), "move", &format!(r#"{{"shard":{shard}}}"#)).expect(204);
            }
        },
        |round| {
            let last = (round as u64 + 1) * 3;
            assert_eq!(push(api, &host, &readings.frame(last - 2, last)), (3, 0), "{round}");
            let value = steps("load_1m", start.plus_ms(last as i64 * 1_000), 1_000, &[1.0]);
            assert_eq!(api.push(named, &value).ingested, 1);
        },
    );
    assert_eq!(counted(api, "mover", "app_n", start), once(rounds as u64 * 3));
    assert_eq!(counted(api, named, "load_1m", start), (rounds as f64 + 1.0, rounds as f64));
}

#[test]
fn a_move_that_was_cut_off_is_carried_on() {
    let server = Edgewatch::start("moves-cut");
    let api = server.client();
    let start = api.start_an_hour();
    let readings = Readings::new(1, &["app_n"], start);
    let hosts = [api.enroll("pushes-on"), api.enroll("is-moved-again"), api.enroll("is-moved-elsewhere")];
    for host in &hosts {
        assert_eq!(push(api, host, &readings.frame(1, 6)), (6, 0));
    }
    // The host leaves, and does not arrive: shard 5 says that it has room, and is gone.
    for host in &hosts {
        api.set_faults(Faults { shard: Some(5), spared: 1, ..Faults::default() });
        let id = host.host_id.to_string();
        assert_eq!(admin(api, &id, "move", r#"{"shard":5}"#).refusal(), (503, ErrorCode::ShardUnavailable));
    }
    api.set_faults(Faults::default());
    move_to(api, &hosts[1], 5);
    move_to(api, &hosts[2], 6);
    for host in &hosts {
        assert_eq!(push(api, host, &readings.frame(1, 6)), (0, 6), "{}", host.name);
        assert_eq!(push(api, host, &readings.frame(1, 12)), (12, 0), "{}", host.name);
        assert_eq!(counted(api, &host.name, "app_n", start), once(12), "{}", host.name);
    }
    assert_eq!(api.host_names().len(), 3);
}

#[test]
fn series_that_are_spread_over_shards_are_there_once() {
    let server = Edgewatch::start("moves-split");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("large");
    const NAMES: [&str; 8] = ["app_a", "app_b", "app_c", "app_d", "app_e", "app_f", "app_g", "app_h"];
    let readings = Readings::new(1, &NAMES, start);
    assert_eq!(push(api, &host, &readings.frame(1, 6)), (48, 0));
    for _again in 0..2 {
        admin(api, "large", "split", r#"{"shards":[0,3,4]}"#).expect(204);
    }
    assert_eq!(push(api, &host, &readings.frame(1, 6)), (0, 48));
    assert_eq!(push(api, &host, &readings.frame(7, 12)), (48, 0));
    assert_eq!(push(api, &host, &readings.frame(7, 12)), (0, 48));
    // One of the shards is away: the whole push is sent again, and is there once.
    api.set_faults(Faults { shard: Some(3), ..Faults::default() });
    let part = api.send(api.compact_request(&host, &readings.frame(13, 18)));
    assert_eq!(part.refusal(), (503, ErrorCode::ShardUnavailable));
    assert!(part.error().error.message.contains("shard 3"), "{}", part.text());
    api.set_faults(Faults::default());
    let (ingested, repeated) = push(api, &host, &readings.frame(13, 18));
    assert_eq!(ingested + repeated, 48);
    api.push_as(&host, &NAMES.map(|name| sample(name, readings.time(19), 19.0)));
    for name in NAMES {
        assert_eq!(counted(api, "large", name, start), once(19), "{name}");
    }
    for shard in [3, 4] {
        assert_eq!(api.shard(shard).partitions.len(), 1, "shard {shard} has its share");
    }
    assert_eq!(api.host_names(), ["large"]);
    let split = (400, ErrorCode::InvalidParameter);
    assert_eq!(admin(api, "large", "split", r#"{"shards":[0,3]}"#).refusal(), split);
    assert_eq!(admin(api, "large", "move", r#"{"shard":3}"#).refusal(), split);
    api.delete("large");
    assert_eq!(api.host_names(), [""; 0]);
    let late = api.compact_request(&host, &readings.frame(19, 24));
    assert_eq!(api.send(late).refusal(), (401, ErrorCode::UnknownHost));
}

const SPREAD: [&str; 6] = ["app_a", "app_b", "app_c", "app_d", "app_e", "app_f"];

#[test]
fn the_key_of_a_spread_host_dies_at_once_wherever_its_series_go() {
    let server = Edgewatch::start("moves-split-revoked");
    let api = server.client();
    let readings = Readings::new(1, &SPREAD, api.start_an_hour());
    let [whole, cut] = ["whole", "cut"].map(|name| api.enroll(name));
    admin(api, "whole", "split", r#"{"shards":[0,3,4]}"#).expect(204);
    // The other one has not come to shard 3.
    api.set_faults(Faults { shard: Some(3), spared: 1, ..Faults::default() });
    let unreached = (503, ErrorCode::ShardUnavailable);
    assert_eq!(admin(api, "cut", "split", r#"{"shards":[0,3]}"#).refusal(), unreached);
    api.set_faults(Faults::default());
    assert_eq!(push(api, &whole, &readings.frame(1, 6)), (36, 0));
    // It takes no catalogue.
    api.set_faults(Faults { d1: true, ..Faults::default() });
    for host in [&whole, &cut] {
        admin(api, &host.host_id.to_string(), "revoke", "").expect(204);
        let late = api.compact_request(host, &readings.frame(7, 12));
        assert_eq!(api.send(late).refusal(), (403, ErrorCode::RevokedHost), "{}", host.name);
    }
    api.set_faults(Faults::default());
    // Carried on, the split brings what is known of the host by now.
    admin(api, "cut", "split", r#"{"shards":[0,3]}"#).expect(204);
    for host in [&whole, &cut] {
        let late = api.compact_request(host, &readings.frame(7, 12));
        assert_eq!(api.send(late).refusal(), (403, ErrorCode::RevokedHost), "{}", host.name);
        assert!(api.host(&host.name).revoked);
    }
}

#[test]
fn a_moved_host_is_spread_also_over_the_shard_that_it_came_from() {
    let server = Edgewatch::start("moves-then-split");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("large");
    let readings = Readings::new(1, &SPREAD, start);
    assert_eq!(push(api, &host, &readings.frame(1, 6)), (36, 0));
    move_to(api, &host, 5);
    assert_eq!(push(api, &host, &readings.frame(7, 12)), (36, 0));
    admin(api, "large", "split", r#"{"shards":[0,5]}"#).expect(204);
    assert_eq!(push(api, &host, &readings.frame(1, 12)), (0, 72));
    assert_eq!(push(api, &host, &readings.frame(13, 18)), (36, 0));
    // Each has its share: without one of them no push is whole.
    api.set_faults(Faults { shard: Some(5), ..Faults::default() });
    let part = api.send(api.compact_request(&host, &readings.frame(19, 24)));
    assert_eq!(part.refusal(), (503, ErrorCode::ShardUnavailable));
    api.set_faults(Faults::default());
    let (ingested, repeated) = push(api, &host, &readings.frame(19, 24));
    assert_eq!(ingested + repeated, 36);
    for name in SPREAD {
        assert_eq!(counted(api, "large", name, start), once(24), "{name}");
    }
    assert_eq!(api.host_names(), ["large"]);
    api.revoke("large");
    let late = api.compact_request(&host, &readings.frame(25, 30));
    assert_eq!(api.send(late).refusal(), (403, ErrorCode::RevokedHost));
}

#[test]
fn the_series_of_a_moved_host_are_listed_whole() {
    let server = Edgewatch::start("moves-series");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("mover");
    api.push_as(&host, &[sample("app_before", start, 1.0), sample("app_both", start, 1.0)]);
    move_to(api, &host, 5);
    let later = start.plus_ms(HOUR_MS);
    api.set_time(later);
    api.push_as(&host, &[sample("app_after", later, 1.0), sample("app_both", later, 1.0)]);
    let path = "/api/v1/metrics/series?host=mover";
    let series = api.send(api.read_request(path)).expect(200).json::<SeriesReply>().series;
    let found: Vec<_> = series.iter().map(|series| (series.name.as_str(), series.first.as_str())).collect();
    let (start, later) = (start.hour().start().to_rfc3339(), later.hour().start().to_rfc3339());
    assert_eq!(found, [("app_after", &*later), ("app_before", &*start), ("app_both", &*start)]);
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let server = Edgewatch::start("moves-refused");
    let api = server.client();
    let host = api.enroll("here");
    let id = host.host_id.to_string();
    let not_found = (404, ErrorCode::NotFound);
    assert_eq!(admin(api, "nobody", "move", r#"{"shard":1}"#).refusal(), not_found);
    assert_eq!(admin(api, &id.replace(&id[30..], "ffffff"), "move", r#"{"shard":1}"#).refusal(), not_found);
    for body in ["", "{}", r#"{"shard":-1}"#, r#"{"shard":65536}"#] {
        assert_eq!(admin(api, "here", "move", body).refusal(), (400, ErrorCode::MalformedBody), "{body}");
    }
    let shards = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let split = |list: &str| admin(api, "here", "split", &format!(r#"{{"shards":[{list}]}}"#));
    for list in ["", "1", "1,1", &shards(SPLIT_SHARDS_MAX + 1)] {
        assert_eq!(split(list).refusal(), (400, ErrorCode::InvalidParameter), "{list}");
    }
    split(&shards(SPLIT_SHARDS_MAX)).expect(204);
    let token = api.mint().scoped(Scope::Read);
    let by_reader = Request::post("/api/v1/hosts/here/move", r#"{"shard":1}"#).with_token(&token);
    assert_eq!(api.send(by_reader).refusal(), (403, ErrorCode::ForbiddenScope));
}
