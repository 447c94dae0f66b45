//! What is sent, in which order, and what becomes of what is refused: the real spool against a server of the test.

use super::*;
use crate::{
    batch::tests::{batch, list},
    push::client::Answer,
    spool::{Limits, Setup, WhenFull, disk::Disk},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{BODY_DECOMPRESSED_BYTES_MAX, DAY_MS, PUSH_INTERVAL_MS},
    wire::push::{self, PushFrame, StreamId},
};
use std::{
    cell::Cell,
    fs::File,
    io,
    path::Path,
    sync::{Mutex, mpsc},
    thread,
};
use tempfile::TempDir;

const STREAM: u64 = 7;

thread_local! {
    static RUNNING_MS: Cell<i64> = const { Cell::new(0) };
}

/// The clock of these tests: it stands still, until a test moves it.
fn running_ms() -> i64 {
    RUNNING_MS.get()
}

/// A disk that tells how many batches were written before it was waited for last.
#[derive(Default)]
struct CountingDisk {
    written: Mutex<usize>,
    synced: Mutex<usize>,
}

impl Disk for CountingDisk {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        *self.written.lock().unwrap() += 1;
        io::Write::write_all(&mut file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        *self.synced.lock().unwrap() = *self.written.lock().unwrap();
        file.sync_data()
    }
}

/// A sender and what it sends.
struct Desk {
    sender: Sender,
    spool: Arc<Spool>,
    counters: Arc<Counters>,
    disk: Arc<CountingDisk>,
    next: u64,
}

impl Desk {
    /// One in this directory, whose server answers so.
    fn new(
        dir: &Path,
        mut answer: impl FnMut(&PushFrame) -> Result<Answer, NoAnswer> + Send + 'static,
    ) -> Self {
        // The offset that the batches of these tests are stamped by.
        let clock = Arc::new(Clock::new(running_ms, TimestampMs(running_ms() + 100)));
        let counters = Arc::new(Counters::default());
        let disk = Arc::new(CountingDisk::default());
        let limits = Limits { bytes_max: 64 << 20, age_ms_max: 7 * DAY_MS, when_full: WhenFull::DropNewest };
        let setup = Setup {
            dir: dir.join("spool"),
            limits,
            stream: StreamId(STREAM),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            disk: Arc::clone(&disk) as Arc<dyn Disk>,
        };
        let spool = Arc::new(Spool::open(setup).unwrap());
        let sender = Sender {
            spool: Arc::clone(&spool),
            schedule: Arc::new(Schedule::new(PUSH_INTERVAL_MS)),
            clock,
            counters: Arc::clone(&counters),
            untold: Arc::default(),
            post: Box::new(move |_, body| {
                let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
                let frame = decompressor.decompress(body, BODY_DECOMPRESSED_BYTES_MAX).unwrap();
                answer(&push::decode(&frame).unwrap())
            }),
            identity: Identity::PushToken { token: "t".into(), name: "web-01".parse().unwrap() },
            random: || 0.5,
            rejected_dir: dir.join("rejected"),
            state: State::default(),
        };
        Self { sender, spool, counters, disk, next: 1 }
    }

    /// Freezes a batch of so many readings.
    fn freeze(&mut self, readings: u64) {
        freeze(&self.spool, self.next, readings);
        self.next += readings;
    }
}

fn freeze(spool: &Spool, first: u64, readings: u64) {
    spool.freeze(batch(STREAM, first..=first + readings - 1), &Arc::new(list())).unwrap();
}

fn answer(status: u16, body: &str) -> Result<Answer, NoAnswer> {
    Ok(Answer { status, retry_after_s: None, body: body.as_bytes().to_vec() })
}

fn refusal(status: u16, code: &str) -> Result<Answer, NoAnswer> {
    answer(status, &format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#))
}

#[test]
fn whoever_is_told_to_stop_waits_for_what_is_frozen_last_and_for_the_disk() {
    let dir = TempDir::new().unwrap();
    let (asked, was_asked) = mpsc::channel();
    let mut desk = Desk::new(dir.path(), move |_| {
        asked.send(()).unwrap();
        Ok(Answer { status: 503, retry_after_s: Some(3_600), body: Vec::new() })
    });
    desk.freeze(1);
    let Desk { sender, spool, disk, .. } = desk;
    sender.schedule.stop();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        sender.run();
        end.send(()).unwrap();
    });
    was_asked.recv().unwrap();
    // Enough to have ended, had it nothing to wait for.
    let early = ended.recv_timeout(Duration::from_millis(300));
    assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "something may be frozen yet");
    freeze(&spool, 2, 1);
    let written = *disk.written.lock().unwrap();
    spool.close();
    ended.recv().unwrap();
    assert_eq!((*disk.synced.lock().unwrap(), spool.stats().batches), (written, 2));
}

#[test]
fn what_is_refused_waits_where_it_is_until_it_can_be_set_aside() {
    let dir = TempDir::new().unwrap();
    let mut desk = Desk::new(dir.path(), |_| refusal(400, "invalid_batch"));
    let rejected = dir.path().join("rejected");
    std::fs::write(&rejected, "a file where the folder should be").unwrap();
    desk.freeze(1);
    for _ in 0..2 {
        assert!(matches!(desk.sender.step(), Next::Pause(_)));
        assert_eq!((desk.spool.stats().batches, desk.counters.rejected_batches.get()), (1, 0));
    }
    std::fs::remove_file(&rejected).unwrap();
    assert_eq!(desk.sender.step(), Next::Step);
    assert_eq!((desk.spool.stats().batches, desk.counters.rejected_batches.get()), (0, 1));
    assert_eq!(std::fs::read_dir(&rejected).unwrap().count(), 1);
}

#[test]
fn a_refusal_by_somebody_on_the_way_costs_no_batch() {
    let dir = TempDir::new().unwrap();
    let mut answers =
        [answer(413, "<html>"), answer(404, ""), refusal(405, "method_not_allowed")].into_iter();
    let mut desk = Desk::new(dir.path(), move |_| answers.next().unwrap());
    desk.freeze(1);
    for _ in 0..3 {
        assert!(matches!(desk.sender.step(), Next::Pause(_)));
        assert_eq!((desk.spool.stats().batches, desk.counters.rejected_batches.get()), (1, 0));
    }
}
