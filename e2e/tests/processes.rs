//! Records of a host's processes: the newest is there, through evictions, restarts, seals, moves and splits.

use edgewatch_e2e::{
    client::{Client, Request},
    compact::Readings,
    edgewatch::Edgewatch,
};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    limits::{PROCESS_TEXT_BYTES_MAX, PROCESSES_NAMED_MAX, SAMPLE_AGE_MS_MAX},
    token::Scope,
    wire::{
        EnrollReply, ProcessByCpu, ProcessByMemory, ProcessesReply,
        push::{Process, Processes, PushFrame},
    },
};

fn process(pid: u32, uses: u64) -> Process {
    Process { pid, name: format!("process-{pid}"), user: "root".into(), uses }
}

/// A push of one reading, and the record of a process of the reading's number.
fn recorded(readings: &Readings, reading: u64) -> PushFrame {
    let pid = u32::try_from(reading).expect("a test has few readings");
    let processes = Processes {
        time: readings.time(reading),
        count: 100 + reading,
        by_cpu: vec![process(pid, 9_812)],
        by_memory: vec![process(pid, 4_096), process(1, 1_024)],
    };
    PushFrame { processes: Some(processes), ..readings.frame(reading, reading) }
}

/// What is answered once the record of a reading is the newest.
fn expected(host: &EnrollReply, readings: &Readings, reading: u64) -> ProcessesReply {
    let pid = u32::try_from(reading).expect("a test has few readings");
    let memory = |pid: u32, resident_bytes| ProcessByMemory {
        pid,
        name: format!("process-{pid}"),
        user: "root".into(),
        resident_bytes,
    };
    ProcessesReply {
        host_id: host.host_id,
        time: Some(readings.time(reading).to_rfc3339()),
        count: 100 + reading,
        by_cpu: vec![ProcessByCpu {
            pid,
            name: format!("process-{pid}"),
            user: "root".into(),
            cpu_pct: 98.12,
        }],
        by_memory: vec![memory(pid, 4_096), memory(1, 1_024)],
    }
}

#[test]
fn the_newest_record_is_answered_through_evictions_restarts_and_seals() {
    let mut server = Edgewatch::start("processes");
    let api = server.client().clone();
    let start = api.start_an_hour();
    let host = api.enroll("recorded");
    let id = host.host_id.to_string();
    let nothing = api.processes(&id);
    assert_eq!((nothing.time, nothing.by_cpu, nothing.by_memory), (None, Vec::new(), Vec::new()));
    let readings = Readings::new(1, &["load_1m"], start);
    for reading in [1, 3, 2] {
        assert_eq!(api.push_compact(&host, &recorded(&readings, reading)), (1, 0, 0));
    }
    // By id and by name; the second reading came late.
    assert_eq!(api.processes(&id), expected(&host, &readings, 3));
    assert_eq!(api.processes("recorded"), expected(&host, &readings, 3));
    api.evict(0);
    assert_eq!(api.processes(&id), expected(&host, &readings, 3), "after an eviction");
    let offset_ms = api.now().ms_since(Client::new(api.url(), "0".repeat(32).as_str()).now());
    server.stop();
    server.resume();
    let api = server.client();
    api.set_clock(offset_ms);
    assert_eq!(api.processes(&id), expected(&host, &readings, 3), "after a restart");
    assert_eq!(api.seal_this_hour(0), 1);
    assert_eq!(api.processes(&id), expected(&host, &readings, 3), "after a seal");
    api.evict(0);
    assert_eq!(api.processes(&id), expected(&host, &readings, 3), "after a seal and an eviction");
    assert_eq!(api.push_compact(&host, &recorded(&readings, 4)), (1, 0, 0));
    assert_eq!(api.processes(&id), expected(&host, &readings, 4));
    api.delete(&id);
    let gone = api.send(api.read_request(&format!("/api/v1/hosts/{id}/processes")));
    assert_eq!(gone.refusal(), (404, ErrorCode::NotFound));
}

#[test]
fn a_host_that_moves_or_is_spread_is_asked_where_it_is() {
    let server = Edgewatch::start("processes-moved");
    let api = server.client();
    let start = api.start_an_hour();
    let change = |host: &EnrollReply, verb: &str, body: &str| {
        let token = api.mint().scoped(Scope::Admin);
        let path = format!("/api/v1/hosts/{}/{verb}", host.host_id);
        api.send(Request::post(path, body).with_token(&token)).expect(204);
    };
    let names: Vec<&str> = vec!["app_a", "app_b", "app_c", "app_d", "app_e", "app_f", "app_g", "app_h"];
    for (stream, name, verb, body) in
        [(1, "moved", "move", r#"{"shard":5}"#), (2, "spread", "split", r#"{"shards":[0,7,8]}"#)]
    {
        let host = api.enroll(name);
        let readings = Readings::new(stream, &names, start);
        api.push_compact(&host, &recorded(&readings, 1));
        assert_eq!(api.processes(name), expected(&host, &readings, 1), "{name}");
        change(&host, verb, body);
        for reading in 2..4 {
            let answer = api.push_compact(&host, &recorded(&readings, reading));
            assert_eq!(answer, (names.len() as u64, 0, 0), "{name}");
            assert_eq!(api.processes(name), expected(&host, &readings, reading), "{name}");
        }
    }
}

#[test]
fn a_record_within_its_limits_is_taken_and_one_beyond_is_refused() {
    let server = Edgewatch::start("processes-limits");
    let api = server.client();
    let readings = Readings::new(1, &["load_1m"], api.start_an_hour());
    let host = api.enroll("limited");
    let long =
        |bytes: usize| Process { name: "é".repeat(bytes / 2), user: "u".repeat(bytes), ..process(7, 1) };
    let with = |reading, list: Vec<Process>, time: TimestampMs| {
        let processes = Processes { time, by_memory: list.clone(), by_cpu: list, ..Processes::default() };
        PushFrame { processes: Some(processes), ..readings.frame(reading, reading) }
    };
    let largest = vec![long(PROCESS_TEXT_BYTES_MAX); PROCESSES_NAMED_MAX];
    assert_eq!(api.push_compact(&host, &with(1, largest.clone(), api.now())), (1, 0, 0));
    let stored = api.processes("limited");
    assert_eq!(
        (stored.by_cpu.len(), stored.by_cpu[4].name.len()),
        (PROCESSES_NAMED_MAX, PROCESS_TEXT_BYTES_MAX)
    );
    let one_more = vec![process(1, 1); PROCESSES_NAMED_MAX + 1];
    for list in [one_more, vec![long(PROCESS_TEXT_BYTES_MAX + 2)]] {
        let answer = api.send(api.compact_request(&host, &with(2, list, api.now())));
        assert_eq!(answer.refusal(), (413, ErrorCode::BodyTooLarge));
    }
    // Of a time that no sample may be of: the samples are taken, it is not.
    let old = with(2, vec![process(9, 1)], api.now().plus_ms(-SAMPLE_AGE_MS_MAX - 60_000));
    assert_eq!(api.push_compact(&host, &old), (1, 0, 1));
    assert_eq!(api.processes("limited"), stored);
    let answer = api.send(api.read_request("/api/v1/hosts/nobody/processes"));
    assert_eq!(answer.refusal(), (404, ErrorCode::NotFound));
    let without_right =
        Request::get("/api/v1/hosts/limited/processes").with_token(&api.mint().scoped(Scope::Push));
    assert_eq!(api.send(without_right).refusal(), (403, ErrorCode::ForbiddenScope));
}
