//! Saved state: what a server of some release had stored, kept to see that later ones open it.
//!
//! `cargo run -p edgewatch-e2e --bin save-state` writes `e2e/fixtures/state-<date>.tar.zst`; `e2e/tests/saved_state.rs`
//! opens every one that there is. One is added whenever a format changes, and none is ever removed or written anew.

use crate::{
    api::points_of,
    client::{Client, Request},
    compact::Readings,
    edgewatch::{Edgewatch, scratch_dir},
    samples::steps,
};
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS},
    token::Scope,
    wire::{
        EnrollReply, HostNamesReply, ProcessesReply,
        push::{Process, Processes, PushFrame},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What is in a saved state beside the stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The server's clock when it was stopped.
    pub at: TimestampMs,
    /// The first instant of which something is stored.
    pub from: TimestampMs,
    /// A host that pushed compactly.
    pub host: EnrollReply,
    /// A host that was revoked.
    pub revoked: EnrollReply,
    /// Names of all hosts that are listed.
    pub names: Vec<String>,
    /// What is stored.
    pub series: Vec<SavedSeries>,
    /// The newest record of processes of the host that pushed compactly; there were none at first.
    #[serde(default)]
    pub processes: Option<ProcessesReply>,
}

/// A metric of a host, minute by minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSeries {
    /// The host's name.
    pub host: String,
    /// The metric's.
    pub name: String,
    /// Minute, number of samples and their sum.
    pub minutes: Vec<(TimestampMs, f64, f64)>,
}

/// Readings of the compact stream in an hour.
const READINGS: u64 = 120;
/// Names that it has.
const NAMES: [&str; 3] = ["load_1m", "uptime_seconds", "app_x"];

/// The compact stream, whose hours follow each other.
pub fn readings(saved_from: TimestampMs) -> Readings {
    Readings::new(11, &NAMES, saved_from)
}

/// Fills a fresh server with something of everything: days that were compacted, late samples, hours that were sealed,
/// an hour that was not, hosts of every kind.
#[track_caller]
pub fn fill(api: &Client) -> Saved {
    let forever = r#"{"raw_days":null,"five_minute_days":null,"hour_days":null}"#;
    let admin = api.mint().scoped(Scope::Admin);
    api.send(Request::put("/api/v1/settings/retention", forever).with_token(&admin)).expect(200);
    let from = api.now().day().end().plus_ms(9 * HOUR_MS);
    api.set_time(from);
    let host = api.enroll("enrolled");
    let [revoked, deleted] = ["revoked", "deleted"].map(|name| api.enroll(name));
    for other in [&revoked, &deleted] {
        api.push_as(other, &steps("load_1m", from, MINUTE_MS, &[1.0, 2.0]));
    }
    api.revoke("revoked");
    api.delete("deleted");
    let stream = readings(from);
    let mut next = 1;
    let mut push_hour = |hour: TimestampMs| {
        api.set_time(hour.plus_ms(25 * MINUTE_MS));
        let last = next + READINGS - 1;
        let busiest = Process { pid: 4_711, name: "postgres".into(), user: "postgres".into(), uses: last };
        let processes =
            Processes { time: stream.time(last), count: last, by_cpu: vec![busiest], by_memory: Vec::new() };
        api.push_compact(&host, &PushFrame { processes: Some(processes), ..stream.frame(next, last) });
        next += READINGS;
        api.push("named", &steps("load_1m", hour, MINUTE_MS, &[0.1, 0.2, 0.3]));
    };
    // The stream goes on where it was, whatever the time.
    for n in 0..3 {
        push_hour(from.plus_ms(n * HOUR_MS));
        api.seal_this_hour(0);
    }
    let next_day = from.day().end();
    api.set_time(next_day.plus_ms(3 * HOUR_MS));
    while api.run_jobs(0) > 0 {}
    // Late for a day that was compacted.
    api.push("named", &steps("load_1m", from.plus_ms(30 * MINUTE_MS), MINUTE_MS, &[0.4, 0.5]));
    push_hour(next_day.plus_ms(3 * HOUR_MS));
    api.seal_this_hour(0);
    push_hour(next_day.plus_ms(4 * HOUR_MS));
    describe(api, from, host, revoked)
}

fn describe(api: &Client, from: TimestampMs, host: EnrollReply, revoked: EnrollReply) -> Saved {
    let mut series = Vec::new();
    for (host, name) in
        NAMES.map(|name| ("enrolled", name)).into_iter().chain([("named", "load_1m"), ("revoked", "load_1m")])
    {
        series.push(SavedSeries {
            host: host.into(),
            name: name.into(),
            minutes: minutes(api, host, name, from),
        });
    }
    let processes = Some(api.processes(&host.host_id.to_string()));
    Saved { at: api.now(), from, host, revoked, names: api.host_names(), series, processes }
}

/// Minute, number of samples and their sum, of two days.
#[track_caller]
pub fn minutes(api: &Client, host: &str, name: &str, from: TimestampMs) -> Vec<(TimestampMs, f64, f64)> {
    let of = |agg: &str| {
        let mut points = Vec::new();
        for day in 0..2 {
            let start = from.day().start().plus_ms(day * DAY_MS);
            let (start, end) = (start.0.to_string(), start.plus_ms(DAY_MS - 1).0.to_string());
            let what = [("host", host), ("name", name), ("agg", agg), ("from", &start), ("to", &end)];
            points.extend(points_of(&api.query(&what)));
        }
        points
    };
    let (counts, sums) = (of("count"), of("sum"));
    assert_eq!(counts.len(), sums.len());
    counts.into_iter().zip(sums).map(|((time, count), (_, sum))| (time, count, sum)).collect()
}

/// The names that a server lists.
#[track_caller]
pub fn names(api: &Client) -> Vec<String> {
    api.send(api.read_request("/api/v1/metrics/hosts")).expect(200).json::<HostNamesReply>().hosts
}

/// Fills a server and saves what it stored.
pub fn save(file: &Path) -> io::Result<()> {
    let mut server = Edgewatch::start("save-state");
    let saved = fill(server.client());
    server.stop();
    let dir = server.state_dir();
    fs::write(dir.join("saved.json"), serde_json::to_vec(&saved)?)?;
    let tar = Command::new("tar")
        .args(["--create", "--sort=name", "--exclude=*-shm", "--owner=0", "--group=0", "--numeric-owner"])
        .arg("--directory")
        .arg(dir)
        .args(["secret", "saved.json", "storage/d1", "storage/do", "storage/r2"])
        .output()?;
    if !tar.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&tar.stderr).into_owned()));
    }
    fs::write(file, zstd::bulk::compress(&tar.stdout, 19)?)
}

/// Unpacks a saved state into an empty folder of this name, and says what it has.
#[track_caller]
pub fn unpack(file: &Path, name: &str) -> (PathBuf, Saved) {
    let dir = scratch_dir(name);
    let compressed = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    #[expect(clippy::disallowed_methods, reason = "the file is ours")]
    let bytes = zstd::decode_all(compressed).expect("a saved state is compressed with zstd");
    let mut tar = Command::new("tar")
        .args(["--extract", "--directory"])
        .arg(&dir)
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is tar");
    tar.stdin.take().expect("it is piped").write_all(&bytes).expect("tar reads");
    assert!(tar.wait().expect("tar ends").success());
    let saved = fs::read(dir.join("saved.json")).expect("it says what it has");
    (dir, serde_json::from_slice(&saved).expect("it is JSON of its form"))
}

/// Every saved state that there is, oldest first.
pub fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut found: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).collect();
    found.sort();
    found
}
