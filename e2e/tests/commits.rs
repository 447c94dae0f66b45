//! Commits that fail: nobody is acknowledged, nothing is seen of what they held, and the next try stores it once.

use edgewatch_e2e::{
    client::{Client, Request},
    compact::Readings,
    deadline::eventually,
    edgewatch::Edgewatch,
    meanwhile::meanwhile,
};
use edgewatch_shared::{
    ErrorCode, Labels, Sample, Series, TimestampMs,
    limits::{HOUR_MS, PENDING_BYTES_MAX},
    wire::{
        EnrollReply,
        push::{
            DictionaryId, MetricsSection, PushFrame, ReadingRange, StreamId, encode_columns, encode_series,
        },
    },
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Hosts that push at once.
const HOSTS: usize = 48;
/// Pushes that are larger together than what may wait for its commit…
const LARGE_PUSHES: usize = 12;
/// …and the series of each, of some 200 bytes.
const LARGE_SERIES: usize = 4_500;
const _: () = assert!(LARGE_PUSHES * LARGE_SERIES * 200 > PENDING_BYTES_MAX);

/// How often each reading of a series is stored, by its value.
fn counted(api: &Client, host: &str, name: &str, start: TimestampMs) -> (f64, f64) {
    let span = (start, start.plus_ms(HOUR_MS - 1));
    let total = |agg| api.points(host, name, span, &[("agg", agg), ("bucket", "1h")]);
    let sum = |points: Vec<(TimestampMs, f64)>| points.into_iter().map(|(_, value)| value).sum();
    (sum(total("count")), sum(total("sum")))
}

/// Count and sum of the numbers from `first` to `last`.
fn once(first: u64, last: u64) -> (f64, f64) {
    let numbers = first..=last;
    (numbers.clone().count() as f64, numbers.sum::<u64>() as f64)
}

/// A host and its stream.
struct Pushing {
    name: String,
    host: EnrollReply,
    readings: Readings,
}

impl Pushing {
    fn new(api: &Client, n: u64, start: TimestampMs) -> Self {
        let name = format!("commit-{n}");
        let host = api.enroll(&name);
        Self { name, host, readings: Readings::new(n, &["load_1m"], start) }
    }

    /// Readings 7 to 12; of every second host under a list that the shard has never seen.
    fn next(&self) -> PushFrame {
        if self.brings_a_list() { self.relisted().frame(7, 12) } else { self.readings.listless(7, 12) }
    }

    fn relisted(&self) -> Readings {
        Readings { names: vec!["load_1m", "load_5m"], ..self.readings.clone() }
    }

    fn brings_a_list(&self) -> bool {
        self.readings.stream % 2 == 1
    }
}

/// Every host does something at the same time.
fn at_once<T: Send>(hosts: &[Pushing], work: impl Fn(&Pushing) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = hosts.iter().map(|host| scope.spawn(move || work(host))).collect();
        all.into_iter().map(|one| one.join().expect("it holds")).collect()
    })
}

/// Pushes of all hosts wait for one commit, which fails; each must be told so.
fn fail_together(api: &Client, hosts: &[Pushing]) {
    api.hold_commits(0);
    thread::scope(|scope| {
        let pushing =
            scope.spawn(|| at_once(hosts, |host| api.send(api.compact_request(&host.host, &host.next()))));
        eventually("all wait for one commit", Duration::from_secs(20), || {
            (api.shard(0).pushes_waiting == HOSTS as u64).then_some(())
        });
        api.fail_commits(0, 1);
        for answer in pushing.join().expect("pushes are answered") {
            assert_eq!(answer.refusal(), (503, ErrorCode::ShardUnavailable));
            assert_eq!(answer.header("Retry-After"), "5");
        }
    });
    assert_eq!(api.shard(0).commits_failing, 0, "it was that commit");
}

#[test]
fn a_commit_that_fails_is_everybodys_503_and_the_same_pushes_again_are_there_once() {
    let server = Edgewatch::start("commit-fails");
    let api = server.client();
    let start = api.start_an_hour();
    let hosts: Vec<_> = (0..HOSTS as u64).map(|n| Pushing::new(api, n, start)).collect();
    // The very first commit makes a table; without it there is none.
    let first = &hosts[0];
    api.fail_commits(0, 1);
    let answer = api.send(api.compact_request(&first.host, &first.readings.frame(1, 6)));
    assert_eq!(answer.refusal(), (503, ErrorCode::ShardUnavailable));
    assert_eq!(api.shard(0).partitions, [""; 0]);
    for host in &hosts {
        assert_eq!(api.push_compact(&host.host, &host.readings.frame(1, 6)), (6, 0, 0), "{}", host.name);
        // Somebody looks at it: there is a head that must not run ahead.
        assert_eq!(counted(api, &host.name, "load_1m", start), once(1, 6), "{}", host.name);
    }
    assert!(api.shard(0).heads_bytes > 0);
    let before = api.scrape();

    fail_together(api, &hosts);
    for host in &hosts {
        assert_eq!(counted(api, &host.name, "load_1m", start), once(1, 6), "{}", host.name);
        assert_eq!(counted(api, &host.name, "load_5m", start), (0.0, 0.0), "{}", host.name);
    }
    let listed = api.hosts().hosts;
    assert!(listed.iter().all(|host| host.newest["load_1m"] == 6.0), "{listed:?}");
    let failed = api.scrape();
    let grown =
        |scrape: &edgewatch_e2e::self_metrics::Scrape, name: &str| scrape.get(name) - before.get(name);
    let [ingested, batches, repeated] = ["samples_ingested", "batches_ingested", "samples_repeated"]
        .map(|name| format!("edgewatch_{name}_total"));
    assert_eq!(failed.jumped_back_since(&before), [""; 0]);
    assert_eq!([&ingested, &batches, &repeated].map(|name| grown(&failed, name)), [0.0; 3]);
    assert_eq!(failed.refused("unavailable") - before.refused("unavailable"), HOSTS as f64);

    // The shard has none of the new lists, and says so.
    for host in hosts.iter().filter(|host| host.brings_a_list()) {
        let listless = host.relisted().listless(7, 12);
        let answer = api.send(api.compact_request(&host.host, &listless));
        assert_eq!(answer.refusal(), (409, ErrorCode::UnknownDictionary), "{}", host.name);
    }
    let samples = |host: &Pushing| if host.brings_a_list() { 12 } else { 6 };
    for (host, answer) in hosts.iter().zip(at_once(&hosts, |host| api.push_compact(&host.host, &host.next())))
    {
        assert_eq!(answer, (samples(host), 0, 0), "{}", host.name);
    }
    for (host, answer) in hosts.iter().zip(at_once(&hosts, |host| api.push_compact(&host.host, &host.next())))
    {
        assert_eq!(answer, (0, samples(host), 0), "{}", host.name);
    }
    let stored = api.scrape();
    let all: u64 = hosts.iter().map(samples).sum();
    let expected = [all as f64, HOSTS as f64, all as f64];
    assert_eq!([&ingested, &batches, &repeated].map(|name| grown(&stored, name)), expected);
    // As memory has it, and as it is read back.
    for is_evicted in [false, true] {
        if is_evicted {
            api.evict(0);
        }
        for host in &hosts {
            assert_eq!(counted(api, &host.name, "load_1m", start), once(1, 12), "{}", host.name);
            let new = if host.brings_a_list() { once(7, 12) } else { (0.0, 0.0) };
            assert_eq!(counted(api, &host.name, "load_5m", start), new, "{}", host.name);
        }
        let listed = api.hosts().hosts;
        assert!(listed.iter().all(|host| host.newest["load_1m"] == 12.0), "{listed:?}");
        assert_eq!(api.scrape().jumped_back_since(&stored), [""; 0]);
    }
    // The lists are there: the streams go on without them.
    for host in hosts.iter().filter(|host| host.brings_a_list()) {
        assert_eq!(
            api.push_compact(&host.host, &host.relisted().listless(13, 13)),
            (2, 0, 0),
            "{}",
            host.name
        );
    }
}

#[test]
fn a_seal_whose_commit_fails_is_made_again_and_no_query_sees_a_difference() {
    let server = Edgewatch::start("commit-fails-seal");
    let api = server.client();
    let hour = api.start_an_hour();
    let host = Pushing::new(api, 0, hour);
    assert_eq!(api.push_compact(&host.host, &host.readings.frame(1, 30)), (30, 0, 0));
    let check = || assert_eq!(counted(api, &host.name, "load_1m", hour), once(1, 30));
    check();
    api.end_this_hour();
    let runs = 2;
    for run in 1..=runs {
        api.fail_commits(0, 1);
        meanwhile(|| api.run_jobs(0), |_| check());
        let shard = api.shard(0);
        assert_eq!((shard.commits_failing, shard.partitions), (0, vec![hour.hour().label()]), "run {run}");
        assert_eq!(api.scrape().get("edgewatch_seal_failures_total"), f64::from(run));
        // Its object is there already; the list of blocks does not name it yet.
        assert_eq!(api.objects().len(), 1, "run {run}");
        check();
        // Again, but not at once.
        assert_eq!(api.run_jobs(0), 0, "run {run}");
        api.set_time(TimestampMs(shard.next_due_ms));
    }
    assert_eq!(api.push_compact(&host.host, &host.readings.listless(25, 30)), (0, 6, 0));
    meanwhile(|| assert!(api.run_jobs(0) >= 1), |_| check());
    assert_eq!(api.shard(0).partitions, [""; 0]);
    assert_eq!(api.objects().len(), 1, "it is the same object");
    let scrape = api.scrape();
    let seals = ["seals", "seal_failures"].map(|name| scrape.get(&format!("edgewatch_{name}_total")));
    assert_eq!(seals, [1.0, f64::from(runs)]);
    api.evict(0);
    check();
    assert_eq!(api.push_compact(&host.host, &host.readings.listless(25, 30)), (0, 6, 0));
    assert_eq!(api.push_compact(&host.host, &host.readings.listless(31, 31)), (1, 0, 0));
}

/// A push that is as large as its series list may be: of so many series, with a value each that does not compress well.
fn large(start: TimestampMs, stream: u64) -> PushFrame {
    let mut state = stream;
    let mut digits = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let mut series: Vec<Series> = (0..LARGE_SERIES)
        .map(|_| {
            let value: String = (0..12).map(|_| digits()).collect();
            Series { name: "app_n".into(), labels: Labels::from([("id".to_owned(), value)]) }
        })
        .collect();
    series.sort();
    let columns = vec![vec![Sample { time: start, value: 1.0 }]; series.len()];
    PushFrame {
        stream: StreamId(stream),
        floor: 1,
        readings: ReadingRange { first: 1, last: 1 },
        host: None,
        facts: None,
        metrics: Some(MetricsSection {
            dictionary: DictionaryId::of(&encode_series(&series)),
            series: Some(series),
            columns: encode_columns(&columns),
        }),
        processes: None,
    }
}

#[test]
fn more_than_may_wait_for_their_commit_are_told_so_and_taken_later() {
    let server = Edgewatch::start("commit-overloaded");
    let api = server.client();
    let start = api.start_an_hour();
    let pushes: Vec<_> = (1..=LARGE_PUSHES as u64)
        .map(|n| {
            let host = api.enroll(&format!("large-{n}"));
            api.compact_request(&host, &large(start, n))
        })
        .collect();
    api.hold_commits(0);
    let refused = AtomicUsize::new(0);
    let push = |push: &Request| {
        let answer = api.send(push.clone());
        refused.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
        answer
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let push = &push;
        let sent: Vec<_> = pushes.iter().map(|one| scope.spawn(move || push(one))).collect();
        eventually("all are refused or wait", Duration::from_secs(60), || {
            let waiting = usize::try_from(api.shard(0).pushes_waiting).unwrap_or_default();
            (waiting + refused.load(Ordering::Relaxed) == LARGE_PUSHES).then_some(())
        });
        api.fail_commits(0, 0);
        sent.into_iter().map(|one| one.join().expect("it is answered")).collect()
    });
    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.iter().zip(&pushes).partition(|(answer, _)| answer.status == 202);
    assert!(!taken.is_empty() && !refused.is_empty(), "{} of {LARGE_PUSHES} were taken", taken.len());
    for (answer, push) in refused {
        assert_eq!(answer.refusal(), (503, ErrorCode::Overloaded));
        assert!(!answer.header("Retry-After").is_empty());
        api.send(push.clone()).expect(202);
    }
    let stored = api.scrape().get("edgewatch_samples_ingested_total");
    assert_eq!(stored, (LARGE_PUSHES * LARGE_SERIES) as f64);
}
