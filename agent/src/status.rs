//! How the agent is, in a file of its state directory: `run` writes it, `status` reads it. No port is needed for that.
//!
//! It is written anew, as a whole, whenever a push was tried. Whether who wrote it still runs, a reader finds out by itself.

use crate::push::verdict::Verdict;
use edgewatch_shared::TimestampMs;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Its name in the state directory.
const FILE: &str = "status.json";
/// Paces without an acknowledged push after which an agent is not well. Reason: one may fail, and the next be late.
const PACES_MAX: i64 = 3;
/// Milliseconds that are granted beside. Reason: a first try again, after a pause, is no illness.
const GRACE_MS: i64 = 60_000;

/// What pushes come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// None was tried yet.
    #[default]
    Untried,
    /// They are taken.
    Up,
    /// No answer, or none that decides.
    Away,
    /// The server does not let this host in.
    Unauthorized,
    /// The server has refused a batch for good.
    Rejecting,
}

/// How pushes go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushes {
    /// What the last one came to.
    pub link: Link,
    /// Since when they come to that.
    pub since_ms: TimestampMs,
    /// When the last one was taken, in this run.
    pub last_taken_ms: Option<TimestampMs>,
    /// Why the last one was not taken; of one that was taken, nothing.
    pub why: Option<String>,
}

impl Pushes {
    /// Takes note of what became of a push at `now`.
    pub fn note(&mut self, verdict: &Verdict, now: TimestampMs) {
        let (link, why) = match verdict {
            Verdict::Delivered(_) => (Link::Up, None),
            Verdict::Retry { why, .. } => (Link::Away, Some(why)),
            Verdict::Unauthorized { why } => (Link::Unauthorized, Some(why)),
            Verdict::Rejected { why } => (Link::Rejecting, Some(why)),
            // They are asked for again at once, in another shape.
            Verdict::UnknownList { .. } | Verdict::UnknownSection { .. } | Verdict::TooLarge { .. } => return,
        };
        if link != self.link {
            (self.link, self.since_ms) = (link, now);
        }
        if link == Link::Up {
            self.last_taken_ms = Some(now);
        }
        self.why = why.cloned();
    }
}

/// The pushes, as the sending thread notes them and whoever writes the file reads them.
#[derive(Debug, Default)]
pub struct Board(Mutex<Pushes>);

impl Board {
    /// Takes note of what became of a push at `now`.
    pub fn note(&self, verdict: &Verdict, now: TimestampMs) {
        self.lock().note(verdict, now);
    }

    /// How they go.
    pub fn pushes(&self) -> Pushes {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pushes> {
        // Whatever was half noted is noted anew with the next push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits, and what was lost since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Batches that wait for the server.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// How many of the batches are in memory only.
    pub batches_in_memory: usize,
    /// The time of the oldest batch's last reading, about.
    pub oldest_ms: Option<TimestampMs>,
    /// Bytes of the spool's files, what is delivered in them included.
    pub spool_bytes: u64,
    /// Bytes that they may have.
    pub spool_bytes_max: u64,
    /// Whether the disk does not take what it is given.
    pub disk_fails: bool,
    /// Batches dropped for lack of room or for their age.
    pub dropped_batches: u64,
    /// Batches that the server refused for good.
    pub rejected_batches: u64,
    /// Batches, and places in the spool's files, that could not be read.
    pub damaged_batches: u64,
    /// Pushes that failed and were tried again.
    pub push_failures: u64,
}

/// The process that wrote it, told apart from another that got its number later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its start, in the system's ticks since its own, where the system tells. (Which start of the system that was is not the
    /// same in a container and in a sandbox therein.)
    pub start_ticks: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Who wrote this.
    pub process: Process,
    /// When that process began.
    pub started_ms: TimestampMs,
    /// When this was written.
    pub written_ms: TimestampMs,
    /// The server.
    pub url: String,
    /// The host's name.
    pub name: String,
    /// Milliseconds between pushes, as the server and the settings have it.
    pub pace_ms: i64,
    /// How they go.
    pub pushes: Pushes,
    /// What waits and what was lost.
    pub waiting: Waiting,
}

impl Status {
    /// Where it lies in a state directory.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Puts it in its place, in one step.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let path = Self::path(state_dir);
        let temporary = path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(&temporary, &path)
    }

    /// Reads it; `None` if no agent has run here.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(Self::path(state_dir)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether its pushes are taken, at `now`: the last one was taken, and not too long ago.
    pub fn is_well(&self, now: TimestampMs) -> bool {
        let patience_ms = self.pace_ms.saturating_mul(PACES_MAX).saturating_add(GRACE_MS);
        let is_recent = |taken: TimestampMs| now.ms_since(taken) <= patience_ms;
        self.pushes.link == Link::Up && self.pushes.last_taken_ms.is_some_and(is_recent)
    }
}

#[cfg(test)]
pub mod tests {
    //! What is noted, and when that is well.

    use super::*;
    use crate::push::verdict::Fate;
    use edgewatch_shared::wire::PushReply;

    const NOW: TimestampMs = TimestampMs(1_795_248_000_000);

    fn delivered() -> Verdict {
        let (next_push_ms, server_ms) = (60_000, NOW);
        Verdict::Delivered(PushReply { ingested: 1, duplicate: 0, refused: 0, next_push_ms, server_ms })
    }

    /// Of an agent whose last push was taken at [`NOW`].
    pub fn status() -> Status {
        let mut pushes = Pushes::default();
        pushes.note(&delivered(), NOW);
        Status {
            version: "0.1.0".into(),
            process: Process { pid: 7, start_ticks: Some(9) },
            started_ms: NOW.plus_ms(-1_000),
            written_ms: NOW,
            url: "https://watch.example".into(),
            name: "web-01".into(),
            pace_ms: 60_000,
            pushes,
            waiting: Waiting::default(),
        }
    }

    #[test]
    fn a_change_has_its_time_and_a_push_that_is_taken_its_own() {
        let mut pushes = Pushes::default();
        let away =
            |why: &str| Verdict::Retry { why: why.to_owned(), retry_after_s: None, fate: Fate::Unknown };
        let steps = [
            (away("a"), Link::Away, 0, None, Some("a")),
            (away("b"), Link::Away, 0, None, Some("b")),
            (delivered(), Link::Up, 2, Some(2), None),
            (delivered(), Link::Up, 2, Some(3), None),
            (Verdict::TooLarge { why: "c".into(), is_ours: true }, Link::Up, 2, Some(3), None),
            (Verdict::Unauthorized { why: "d".into() }, Link::Unauthorized, 5, Some(3), Some("d")),
        ];
        for ((verdict, link, since, taken, why), now) in steps.into_iter().zip(0..) {
            pushes.note(&verdict, NOW.plus_ms(now));
            let expected = Pushes {
                link,
                since_ms: NOW.plus_ms(since),
                last_taken_ms: taken.map(|ms| NOW.plus_ms(ms)),
                why: why.map(str::to_owned),
            };
            assert_eq!(pushes, expected);
        }
    }

    #[test]
    fn it_is_well_for_three_paces_and_a_minute_after_a_push() {
        let status = status();
        assert!(status.is_well(NOW.plus_ms(4 * 60_000)));
        assert!(!status.is_well(NOW.plus_ms(4 * 60_000 + 1)));
        let mut failing = status.clone();
        failing.pushes.note(&Verdict::Rejected { why: "no".into() }, NOW);
        assert!(!failing.is_well(NOW));
        assert!(!Status { pushes: Pushes::default(), ..status }.is_well(NOW));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Status::read(dir.path()).unwrap(), None);
        status().write(dir.path()).unwrap();
        assert_eq!(Status::read(dir.path()).unwrap(), Some(status()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(Status::path(dir.path()), "{").unwrap();
        assert!(Status::read(dir.path()).is_err());
    }
}
