//! Every reading is there once: repeated, regrouped, out of order, across evictions, seals, restarts and kills.

use edgewatch_e2e::{
    client::Client,
    compact::{Readings, without_list},
    edgewatch::Edgewatch,
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::HOUR_MS,
    wire::{EnrollReply, push::PushFrame},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often each reading of a host is stored, by its value, over hours from `start`.
fn counted(api: &Client, host: &str, start: TimestampMs, hours: i64) -> (f64, f64) {
    let span = (start, start.plus_ms(hours * HOUR_MS - 1));
    let total = |agg| api.points(host, "app_n", span, &[("agg", agg), ("bucket", "1h")]);
    let sum = |points: Vec<(TimestampMs, f64)>| points.into_iter().map(|(_, value)| value).sum();
    (sum(total("count")), sum(total("sum")))
}

/// Count and sum of the numbers from `first` to `last`.
fn once(first: u64, last: u64) -> (f64, f64) {
    let numbers = first..=last;
    (numbers.clone().count() as f64, numbers.sum::<u64>() as f64)
}

/// The same identity with other content.
fn with_other_content(readings: &Readings, first: u64, last: u64) -> PushFrame {
    let mut frame = readings.listless(first, last);
    let other = Readings { start: readings.start.plus_ms(1), ..readings.clone() };
    frame.metrics.as_mut().unwrap().columns = other.frame(first, last).metrics.unwrap().columns;
    frame
}

#[test]
fn repeats_splits_gaps_and_regrouped_readings_are_there_once() {
    let server = Edgewatch::start("once-order");
    let api = server.client();
    let start = api.start_an_hour().plus_ms(-HOUR_MS);
    let host = api.enroll("once");
    let readings = Readings::new(1, &["app_n"], start);
    let frame = |first, last| readings.frame(first, last);
    let expected = [
        (frame(1, 6), (6, 0, 0)),
        (frame(1, 6), (0, 6, 0)),
        // A gap, and then the halves of what is missing, the later first.
        (frame(13, 18), (6, 0, 0)),
        (frame(10, 12), (3, 0, 0)),
        (frame(7, 9), (3, 0, 0)),
        (frame(7, 12), (0, 6, 0)),
        // Regrouped across what is there, and partly new.
        (frame(4, 15), (0, 12, 0)),
        (frame(16, 24), (9, 0, 0)),
    ];
    for (number, (frame, answer)) in expected.iter().enumerate() {
        assert_eq!(api.push_compact(&host, frame), *answer, "push {number}");
        if number % 3 == 1 {
            api.evict(0);
        }
    }
    assert_eq!(counted(api, "once", start, 2), once(1, 24));
    let answer = api.send(api.compact_request(&host, &with_other_content(&readings, 1, 6)));
    assert_eq!(answer.refusal(), (409, ErrorCode::IdentityConflict));
    assert_eq!(counted(api, "once", start, 2), once(1, 24));
}

#[test]
fn a_backlog_beside_fresh_data_and_a_new_stream_after_a_restart_are_there_once() {
    let server = Edgewatch::start("once-backlog");
    let api = server.client();
    let start = api.start_an_hour().plus_ms(-3 * HOUR_MS);
    let host = api.enroll("backlog");
    let readings = Readings::new(1, &["app_n"], start);
    // Fresh ones first, the backlog from the oldest on, each fresh one repeated.
    for turn in 0..20 {
        let fresh = readings.frame(601 + turn * 6, 606 + turn * 6);
        assert_eq!(api.push_compact(&host, &fresh), (6, 0, 0));
        let old = Readings { floor: 1 + turn * 30, ..readings.clone() };
        assert_eq!(api.push_compact(&host, &old.frame(1 + turn * 30, 30 + turn * 30)), (30, 0, 0));
        assert_eq!(api.push_compact(&host, &fresh), (0, 6, 0));
        if turn % 7 == 3 {
            api.evict(0);
        }
    }
    assert_eq!(counted(api, "backlog", start, 3), once(1, 720));
    // The agent starts anew without its spool: the same numbers mean other readings.
    let anew = Readings::new(2, &["app_n"], readings.time(721));
    assert_eq!(api.push_compact(&host, &anew.frame(1, 6)), (6, 0, 0));
    assert_eq!(counted(api, "backlog", start, 3).0, 726.0);
    // And the old stream is still known.
    assert_eq!(api.push_compact(&host, &readings.frame(715, 720)), (0, 6, 0));
}

#[test]
fn what_was_sealed_is_still_known_after_an_eviction_and_a_restart() {
    let mut server = Edgewatch::start("once-seal");
    let api = server.client().clone();
    let start = api.start_an_hour();
    let host = api.enroll("sealed");
    let readings = Readings::new(1, &["app_n"], start);
    assert_eq!(api.push_compact(&host, &readings.frame(1, 6)), (6, 0, 0));
    api.seal_this_hour(0);
    assert_eq!(api.shard(0).partitions, [""; 0]);
    assert_eq!(api.push_compact(&host, &readings.listless(1, 6)), (0, 6, 0));
    // The list is still there: the stream will use it.
    assert_eq!(api.push_compact(&host, &readings.listless(7, 12)), (6, 0, 0));
    api.evict(0);
    assert_eq!(api.push_compact(&host, &readings.listless(1, 12)), (0, 12, 0));
    let offset_ms = api.now().ms_since(Client::new(api.url(), "0".repeat(32).as_str()).now());
    server.stop();
    server.resume();
    let api = server.client();
    api.set_clock(offset_ms);
    for frame in [readings.listless(1, 6), readings.listless(7, 12), readings.listless(4, 9)] {
        assert_eq!(api.push_compact(&host, &frame).0, 0);
    }
    let conflict = api.send(api.compact_request(&host, &with_other_content(&readings, 1, 6)));
    assert_eq!(conflict.refusal(), (409, ErrorCode::IdentityConflict));
    assert_eq!(counted(api, "sealed", start, 1), once(1, 12));
}

#[test]
fn many_at_once_share_rows_and_each_is_answered_for_itself() {
    let server = Edgewatch::start("once-group");
    let api = server.client();
    let start = api.start_an_hour().plus_ms(-HOUR_MS);
    let hosts: Vec<EnrollReply> = (0..64).map(|n| api.enroll(&format!("group-{n}"))).collect();
    let before = api.scrape();
    thread::scope(|scope| {
        for (n, host) in (0_u64..).zip(&hosts) {
            scope.spawn(move || {
                let readings = Readings::new(n, &["app_n"], start);
                for turn in 0..20 {
                    let (first, last) = (turn * 6 + 1, turn * 6 + 6);
                    // The same push twice at the same time: one is stored, the other waits for it.
                    let twice = thread::scope(|scope| {
                        let push = || api.push_compact(host, &readings.frame(first, last));
                        let other = scope.spawn(push);
                        [push(), other.join().unwrap()]
                    });
                    assert!(twice == [(6, 0, 0), (0, 6, 0)] || twice == [(0, 6, 0), (6, 0, 0)], "{twice:?}");
                    if n % 8 == 0 {
                        // Refused, and that holds up nobody.
                        let wrong = without_list(Readings::new(n, &["app_m"], start).frame(300, 305));
                        let answer = api.send(api.compact_request(host, &wrong));
                        assert_eq!(answer.refusal(), (409, ErrorCode::UnknownDictionary));
                    }
                }
            });
        }
    });
    for n in 0..64 {
        assert_eq!(counted(api, &format!("group-{n}"), start, 2), once(1, 120), "{n}");
    }
    let after = api.scrape();
    let grown = |name| after.get(name) - before.get(name);
    assert_eq!(grown("edgewatch_batches_ingested_total"), 64.0 * 20.0);
    assert_eq!(grown("edgewatch_samples_repeated_total"), 64.0 * 20.0 * 6.0);
}

#[test]
fn pushes_are_stored_while_the_catalogue_and_the_objects_are_down() {
    let server = Edgewatch::start("once-faults");
    let api = server.client();
    let start = api.start_an_hour();
    let host = api.enroll("faults");
    api.set_faults(edgewatch_e2e::hooks::Faults { d1: true, r2: true, ..Default::default() });
    let readings = Readings::new(1, &["app_n"], start);
    for turn in 0..10 {
        assert_eq!(api.push_compact(&host, &readings.frame(turn * 6 + 1, turn * 6 + 6)), (6, 0, 0));
    }
    api.set_faults(edgewatch_e2e::hooks::Faults::default());
    assert_eq!(counted(api, "faults", start, 1), once(1, 60));
}

/// Numbers that look random, out of a seed that is printed.
struct Random(u64);

impl Random {
    /// Below `end` (Knuth's MMIX generator, upper bits).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Kills of the server while agents push.
const KILLS: usize = 20;
/// Agents that push meanwhile.
const AGENTS: u64 = 6;

/// What an agent does: sends its oldest readings until they are acknowledged, now and then regrouped as an agent does that
/// was told to split; returns the last reading that was acknowledged.
fn push_until(
    over: &AtomicBool,
    api: &Mutex<Client>,
    host: &EnrollReply,
    readings: &Readings,
    seed: u64,
) -> u64 {
    let mut random = Random(seed);
    let mut acknowledged = 0;
    let mut with_list = true;
    while !over.load(Ordering::SeqCst) {
        let first = acknowledged + 1;
        let last = first + random.below(6);
        let readings = Readings { floor: first, ..readings.clone() };
        let frame = if with_list { readings.frame(first, last) } else { readings.listless(first, last) };
        // Until its answer arrives the very same bytes are sent again.
        loop {
            let current = api.lock().unwrap().clone();
            match current.try_send(current.compact_request(host, &frame)) {
                Ok(answer) if answer.status == 202 => {
                    acknowledged = last;
                    with_list = false;
                    break;
                }
                Ok(answer) if answer.status == 409 => {
                    assert_eq!(answer.refusal().1, ErrorCode::UnknownDictionary);
                    with_list = true;
                    break;
                }
                Ok(answer) => assert!(answer.status >= 500, "{}: {}", answer.status, answer.text()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
            if over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
    acknowledged
}

#[test]
fn through_twenty_kills_under_load_every_acknowledged_reading_is_there_exactly_once() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut server = Edgewatch::start("once-kills");
    let start = server.client().now().hour().start().plus_ms(-48 * HOUR_MS);
    let hosts: Vec<EnrollReply> =
        (0..AGENTS).map(|n| server.client().enroll(&format!("killed-{n}"))).collect();
    let api = Mutex::new(server.client().clone());
    let over = AtomicBool::new(false);
    let acknowledged: BTreeMap<usize, u64> = thread::scope(|scope| {
        let agents: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(n, host)| {
                let (over, api) = (&over, &api);
                scope.spawn(move || {
                    let readings = Readings::new(n as u64, &["app_n"], start);
                    push_until(over, api, host, &readings, seed + n as u64)
                })
            })
            .collect();
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(50 + random.below(500)));
            server.kill();
            server.resume();
            *api.lock().unwrap() = server.client().clone();
        }
        // A while without a kill, so that everybody gets on.
        thread::sleep(Duration::from_secs(1));
        over.store(true, Ordering::SeqCst);
        agents.into_iter().enumerate().map(|(n, agent)| (n, agent.join().unwrap())).collect()
    });
    println!("acknowledged readings: {acknowledged:?}");
    let api = server.client();
    let mut stored = 0.0;
    for (n, last) in acknowledged {
        assert!(last > KILLS as u64, "agent {n} was hardly ever answered: {last}");
        let host = format!("killed-{n}");
        let readings = Readings::new(n as u64, &["app_n"], start);
        let total = |span, agg| -> f64 {
            let points = api.points(&host, "app_n", span, &[("agg", agg), ("bucket", "1h")]);
            points.into_iter().map(|(_, value)| value).sum()
        };
        let span = (start, readings.time(last));
        assert_eq!((total(span, "count"), total(span, "sum")), once(1, last), "agent {n}");
        stored += total((start, api.now()), "count");
    }
    // A query would show once what was stored twice; this would not.
    assert_eq!(api.scrape().get("edgewatch_samples_ingested_total"), stored);
}
