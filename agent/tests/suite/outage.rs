//! Thirty hours without a server, by a clock that the test turns: the real recorder, spool and sender, killed on the way.

use super::fake_server::{host, read_push, ring};
use edgewatch_agent::{
    clock::Clock,
    collectors::Reading,
    counters::Counters,
    facts::untold::Untold,
    pending::Pending,
    push::{
        client::{Answer, NoAnswer},
        identity::Identity,
        sender::{Next, Sender, State},
    },
    recorder::{self, Due, Recorder},
    schedule::Schedule,
    spool::{Limits, Setup, Spool, WhenFull, disk::OsDisk},
};
use edgewatch_shared::{
    TimestampMs,
    keys::Purpose,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS, PUSH_INTERVAL_MS},
    wire::{
        Facts, PushReply,
        push::{PushFrame, ReadingRange, StreamId, decode_columns},
    },
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

/// When the test begins.
const START: TimestampMs = TimestampMs(1_795_248_000_000);
const SECOND_MS: i64 = 1_000;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
}

fn now_ms() -> i64 {
    NOW_MS.get()
}

/// What the server answers at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Takes,
    Away,
    /// It stores what comes, and its answer is lost.
    Mumbles,
}

/// A server that knows streams and readings, as the real one does.
#[derive(Default)]
struct Server {
    mood: Option<Mood>,
    /// The pushes that were stored, and a checksum of each.
    stored: BTreeMap<(StreamId, u64, u64), u64>,
    /// Those of which the agent knows.
    acknowledged: BTreeSet<(StreamId, u64, u64)>,
    floors: BTreeMap<StreamId, u64>,
    /// The values that were stored. The collector counts, so none comes twice.
    values: BTreeSet<u64>,
    /// When the stored pushes came, and the readings in them.
    arrivals: Vec<(i64, StreamId, ReadingRange)>,
}

impl Server {
    fn push(&mut self, body: &[u8]) -> Answer {
        let mood = self.mood.unwrap_or(Mood::Takes);
        if mood == Mood::Away {
            return answer(503, String::new());
        }
        let push = read_push(body);
        let PushFrame { stream, floor, readings, metrics, .. } = push;
        let metrics = metrics.unwrap();
        let key = (stream, readings.first, readings.last);
        assert!(!self.acknowledged.contains(&key), "{readings:?} of {stream:?} were acknowledged");
        let known = self.stored.insert(key, metrics.checksum());
        match known {
            Some(known) => assert_eq!(known, metrics.checksum(), "{readings:?} of {stream:?} changed"),
            None => {
                let settled = self.floors.get(&stream).copied().unwrap_or_default();
                assert!(readings.first >= settled, "{readings:?} were given up");
                let columns = decode_columns(&metrics.columns, 10, 10_000).unwrap();
                for sample in columns.first().unwrap() {
                    assert!(self.values.insert(sample.value as u64), "{} came twice", sample.value);
                }
                self.arrivals.push((now_ms(), stream, readings));
            }
        }
        let known_floor = self.floors.entry(stream).or_default();
        *known_floor = floor.max(*known_floor);
        let reply = PushReply {
            ingested: 1,
            duplicate: 0,
            refused: 0,
            next_push_ms: PUSH_INTERVAL_MS as u64,
            server_ms: START.plus_ms(now_ms()),
        };
        match mood {
            Mood::Mumbles => answer(504, String::new()),
            _ => {
                self.acknowledged.insert(key);
                answer(202, serde_json::to_string(&reply).unwrap())
            }
        }
    }
}

fn answer(status: u16, body: String) -> Answer {
    Answer { status, retry_after_s: None, body: body.into_bytes() }
}

/// An agent's two threads, of which the test makes one: each does what it would do at this instant.
struct Agent {
    recorder: Recorder,
    sender: Sender,
    spool: Arc<Spool>,
    /// When the sender goes on, or after how many batches.
    send_at_ms: i64,
    frozen: u64,
    /// Values that are in no batch yet: what a kill costs.
    unfrozen: Vec<u64>,
}

impl Agent {
    fn start(dir: &Path, stream: u64, server: &Arc<Mutex<Server>>, values: &Arc<Mutex<u64>>) -> Self {
        let clock = Arc::new(Clock::new(now_ms, START.plus_ms(now_ms())));
        let counters = Arc::new(Counters::default());
        let stream = StreamId(stream);
        let limits = Limits { bytes_max: 64 << 20, age_ms_max: 7 * DAY_MS, when_full: WhenFull::DropNewest };
        let setup = Setup {
            dir: dir.join("spool"),
            limits,
            stream,
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            disk: Arc::new(OsDisk),
        };
        let spool = Arc::new(Spool::open(setup).unwrap());
        let schedule = Arc::new(Schedule::new(PUSH_INTERVAL_MS));
        let untold = Arc::new(Untold::default());
        let values = Arc::clone(values);
        let collect = move || {
            let mut last = values.lock().unwrap();
            *last += 1;
            vec![Reading::plain("load_1m", *last as f64), Reading::plain("load_5m", 0.5)]
        };
        let recorder = Recorder {
            collect: Box::new(collect),
            records: None,
            gather_facts: Facts::default,
            untold: Arc::clone(&untold),
            host_in_body: None,
            interval_ms: Arc::new(SECOND_MS.into()),
            clock: Arc::clone(&clock),
            schedule: Arc::clone(&schedule),
            spool: Arc::clone(&spool),
            pending: Pending::new(stream),
            state: recorder::State::default(),
        };
        let server = Arc::clone(server);
        let post =
            move |_: &str, body: &[u8]| -> Result<Answer, NoAnswer> { Ok(server.lock().unwrap().push(body)) };
        let sender = Sender {
            spool: Arc::clone(&spool),
            schedule,
            clock,
            counters,
            untold,
            post: Box::new(post),
            identity: Identity::Enrolled {
                id: host(),
                key: ring().signing(Purpose::Host(host())),
                name: "web-01".into(),
            },
            random: || 0.5,
            rejected_dir: dir.join("rejected"),
            state: State::default(),
        };
        Self { recorder, sender, spool, send_at_ms: i64::MIN, frozen: 0, unfrozen: Vec::new() }
    }

    /// A second passes.
    fn second(&mut self, values: &Arc<Mutex<u64>>) {
        NOW_MS.set(now_ms() + SECOND_MS);
        self.recorder.collect(START.plus_ms(now_ms()));
        self.unfrozen.push(*values.lock().unwrap());
        if self.recorder.freeze_if_due() == Due::Frozen {
            self.unfrozen.clear();
        }
        while now_ms() >= self.send_at_ms || self.spool.frozen() > self.frozen {
            (self.send_at_ms, self.frozen) = match self.sender.step() {
                Next::Step => continue,
                Next::Idle { frozen, at_most_ms } => (now_ms() + at_most_ms, frozen),
                Next::Pause(wait_ms) => {
                    self.spool.sync();
                    (now_ms() + wait_ms as i64, u64::MAX)
                }
                Next::End => unreachable!("nobody told it to stop"),
            };
        }
    }
}

#[test]
fn thirty_hours_without_a_server_and_three_kills_cost_nothing_that_was_frozen() {
    let dir = TempDir::new().unwrap();
    let server = Arc::new(Mutex::new(Server::default()));
    let values = Arc::new(Mutex::new(0));
    let mut agent = Agent::start(dir.path(), 1, &server, &values);
    let mut lost = BTreeSet::new();
    let mut kills = 0;
    let back_ms = 31 * HOUR_MS;
    while now_ms() < 36 * HOUR_MS {
        server.lock().unwrap().mood = Some(match now_ms() {
            at if at < HOUR_MS => Mood::Takes,
            at if at < back_ms => Mood::Away,
            // The third process is killed while an answer is on its way.
            at if (32 * HOUR_MS..32 * HOUR_MS + MINUTE_MS).contains(&at) => Mood::Mumbles,
            _ => Mood::Takes,
        });
        agent.second(&values);
        if [10 * HOUR_MS + 17_000, 20 * HOUR_MS + 31_000, 32 * HOUR_MS + 20_000].contains(&now_ms()) {
            kills += 1;
            lost.extend(std::mem::take(&mut agent.unfrozen));
            drop(agent);
            agent = Agent::start(dir.path(), kills + 1, &server, &values);
        }
    }
    assert_eq!(agent.spool.stats().batches, 0);
    lost.extend(agent.unfrozen);
    let server = server.lock().unwrap();
    let expected: BTreeSet<u64> =
        (1..=*values.lock().unwrap()).filter(|value| !lost.contains(value)).collect();
    assert_eq!(kills, 3);
    assert!(lost.len() <= 4 * 60, "{}", lost.len());
    assert!(server.values == expected, "{} of {}", server.values.len(), expected.len());
    assert_caught_up_with_in_order(&server.arrivals, back_ms);
}

/// The newest first, the past in order within its stream, and never more than twelve batches of it for a fresh one.
fn assert_caught_up_with_in_order(arrivals: &[(i64, StreamId, ReadingRange)], back_ms: i64) {
    let after: Vec<_> = arrivals.iter().filter(|(at_ms, ..)| *at_ms >= back_ms).collect();
    let (at_ms, stream, first) = after[0];
    assert!(*at_ms <= back_ms + MINUTE_MS && *stream == StreamId(3), "{:?}", after[0]);
    let mut last: BTreeMap<StreamId, u64> = BTreeMap::new();
    for (_, stream, readings) in after.iter().filter(|(_, of, _)| *of < *stream) {
        let before = last.insert(*stream, readings.first);
        assert!(before.is_none_or(|before| before < readings.first), "{readings:?} of {stream:?}");
    }
    assert_eq!(last.len(), 2, "what is left of two processes");
    let past = after.iter().filter(|(_, of, readings)| of == stream && readings.first < first.first);
    assert!(past.count() > 100, "the rest of its stream comes later");
    for minute in 0..(4 * HOUR_MS / MINUTE_MS) {
        let start_ms = back_ms + minute * MINUTE_MS;
        let pushes =
            after.iter().filter(|(at_ms, ..)| (start_ms..start_ms + MINUTE_MS).contains(at_ms)).count();
        assert!(pushes <= 15, "{pushes} pushes in minute {minute}");
    }
    let caught_up = after.iter().rev().find(|(_, stream, _)| *stream == StreamId(1)).unwrap().0;
    assert!(caught_up < back_ms + 3 * HOUR_MS, "{caught_up}");
}
