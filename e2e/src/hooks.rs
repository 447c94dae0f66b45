//! What only a test build answers: the clock, faults, jobs, eviction, and a look inside.

use crate::client::{Client, Request};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS};
use serde::Deserialize;

/// From the end of an hour until every shard's log of it is due to be sealed, the shard's own spread included.
const SEAL_DUE_MS: i64 = 5 * MINUTE_MS;

/// A shard from inside.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ShardState {
    /// Hours of the log that are not sealed.
    pub partitions: Vec<String>,
    /// Bytes of decoded heads in the whole instance.
    pub heads_bytes: u64,
    /// When the next job is due; 0 if there is none.
    pub next_due_ms: i64,
    /// When the alarm rings by the real clock; 0 if it is not set.
    pub alarm_ms: i64,
    /// Pushes that wait for their commit.
    pub pushes_waiting: u64,
    /// Commits that are still to fail.
    pub commits_failing: u32,
}

/// Which stores fail or are slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The catalogue.
    pub d1: bool,
    /// Sealed objects.
    pub r2: bool,
    /// Milliseconds that each object takes to be stored.
    pub r2_wait_ms: u64,
    /// A shard that does not answer…
    pub shard: Option<u16>,
    /// …after so many more calls.
    pub spared: u32,
}

impl Client {
    /// Puts the server's clock forward against ours.
    #[track_caller]
    pub fn set_clock(&self, offset_ms: i64) {
        self.hook("POST", &format!("clock?offset_ms={offset_ms}"));
        self.note_clock(offset_ms);
    }

    /// Puts the server's clock to a time.
    #[track_caller]
    pub fn set_time(&self, time: TimestampMs) {
        let offset_ms = self.clock_offset_ms();
        self.set_clock(offset_ms + time.ms_since(self.now()));
    }

    /// Puts the server's clock to the tenth minute of the next hour, so that no hour ends while a test runs, and
    /// returns that hour's start.
    #[track_caller]
    pub fn start_an_hour(&self) -> TimestampMs {
        let start = self.now().hour().end();
        self.set_time(start.plus_ms(10 * MINUTE_MS));
        start
    }

    /// Puts the server's clock to when this hour's log is to be sealed.
    #[track_caller]
    pub fn end_this_hour(&self) {
        self.set_time(self.now().hour().end().plus_ms(SEAL_DUE_MS));
    }

    /// Ends this hour, and does what is due in a shard.
    #[track_caller]
    pub fn seal_this_hour(&self, shard: u16) -> usize {
        self.end_this_hour();
        self.run_jobs(shard)
    }

    /// Makes stores fail or wait from now on, and the others work.
    #[track_caller]
    pub fn set_faults(&self, faults: Faults) {
        let Faults { d1, r2, r2_wait_ms, shard, spared } = faults;
        let shard = shard.map_or_else(String::new, |shard| shard.to_string());
        let shard = format!("shard={shard}&spared={spared}");
        self.hook("POST", &format!("fail?d1={d1}&r2={r2}&r2_wait_ms={r2_wait_ms}&{shard}"));
    }

    /// Lets pushes to a shard wait for their commit, all together, until it is told otherwise.
    #[track_caller]
    pub fn hold_commits(&self, shard: u16) {
        self.hook("POST", &format!("commits?shard={shard}&held=true"));
    }

    /// Makes the next transactions of a shard fail after their last statement; pushes that were held go on.
    #[track_caller]
    pub fn fail_commits(&self, shard: u16, count: u32) {
        self.hook("POST", &format!("commits?shard={shard}&failing={count}"));
    }

    /// Closes a shard, and lets it stay closed the next times that it is to be opened.
    #[track_caller]
    pub fn keep_closed(&self, shard: u16, times: u32) {
        self.hook("POST", &format!("commits?shard={shard}&unopened={times}"));
    }

    /// Lowers the quotas of what pushes spend; `None` puts them back.
    #[track_caller]
    pub fn lower_quotas(&self, max: Option<u64>) {
        let parameter = max.map(|max| format!("?max={max}")).unwrap_or_default();
        self.hook("POST", &format!("quota{parameter}"));
    }

    /// The request to do what is due in a shard, not sent yet.
    pub fn run_jobs_request(&self, shard: u16) -> Request {
        Request::new("POST", format!("/test/run-jobs?shard={shard}"))
    }

    /// Does what is due in a shard; returns how many jobs that were.
    #[track_caller]
    pub fn run_jobs(&self, shard: u16) -> usize {
        let done = self.send(self.run_jobs_request(shard)).expect(200).text();
        done.parse().unwrap_or_else(|_| panic!("not a number of jobs: {done:?}"))
    }

    /// Ends a shard's object, as the platform does when it needs the memory.
    #[track_caller]
    pub fn evict(&self, shard: u16) {
        self.hook("POST", &format!("evict?shard={shard}"));
    }

    /// Bytes of the instance's linear memory.
    #[track_caller]
    pub fn memory_bytes(&self) -> u64 {
        let bytes = self.hook("GET", "memory");
        bytes.parse().unwrap_or_else(|_| panic!("not a number of bytes: {bytes:?}"))
    }

    /// Names of the objects in R2.
    #[track_caller]
    pub fn objects(&self) -> Vec<String> {
        self.hook("GET", "objects").lines().map(ToOwned::to_owned).collect()
    }

    /// A shard from inside.
    #[track_caller]
    pub fn shard(&self, shard: u16) -> ShardState {
        let text = self.hook("GET", &format!("shard?shard={shard}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    #[track_caller]
    fn hook(&self, method: &'static str, verb: &str) -> String {
        self.send(Request::new(method, format!("/test/{verb}"))).expect(200).text()
    }
}
