//! The spool as its users see it: what is frozen arrives, once, whatever happens to the process and to the files.

mod damage;
mod failing;
mod folder;
mod full;
mod lanes;
mod model;
mod unread;

use super::{disk::OsDisk, *};
use crate::{
    batch::tests::{batch, list},
    clock::standing::{pass, running_ms},
};
use std::path::Path;
use tempfile::TempDir;

const LIMITS: Limits = Limits { bytes_max: 64 << 20, age_ms_max: i64::MAX, when_full: WhenFull::DropNewest };

/// A spool of a process, with what belongs to it.
struct Process {
    spool: Spool,
    clock: Arc<Clock>,
    counters: Arc<Counters>,
    stream: u64,
    next: u64,
    list: Arc<SeriesList>,
}

impl Process {
    fn start(dir: &Path, stream: u64) -> Self {
        Self::with(dir, stream, LIMITS, Arc::new(OsDisk))
    }

    fn with(dir: &Path, stream: u64, limits: Limits, disk: Arc<dyn Disk>) -> Self {
        // The offset that the batches of these tests are stamped by.
        let clock = Arc::new(Clock::new(running_ms, TimestampMs(running_ms() + 100)));
        let counters = Arc::new(Counters::default());
        let setup = Setup {
            dir: dir.to_owned(),
            limits,
            stream: StreamId(stream),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            disk,
        };
        Self { spool: Spool::open(setup).unwrap(), clock, counters, stream, next: 1, list: Arc::new(list()) }
    }

    /// Freezes a batch of so many readings; returns its readings if there was room.
    fn freeze(&mut self, readings: u64) -> Option<ReadingRange> {
        let (first, last) = (self.next, self.next + readings - 1);
        self.next += readings;
        let frozen = self.spool.freeze(batch(self.stream, first..=last), &self.list);
        frozen.is_ok().then_some(ReadingRange { first, last })
    }

    fn freeze_all(&mut self, batches: usize) {
        for _ in 0..batches {
            self.freeze(2).unwrap();
        }
    }

    fn next(&self) -> Option<Waiting> {
        self.spool.fresh().or_else(|| self.spool.backlog())
    }

    /// Delivers one batch, as it is sent; returns its stream and readings.
    fn deliver(&self) -> Option<Sent> {
        let waiting = self.next()?;
        Some(self.settle(&waiting))
    }

    fn settle(&self, waiting: &Waiting) -> Sent {
        let Batch { stream, readings, .. } = waiting.batch;
        assert_eq!(waiting.batch, batch(stream.0, readings.first..=readings.last), "as it was frozen");
        // Whose list cannot be read now may be known to the server.
        assert!(self.spool.list(waiting).map_or(true, |told| told == Some(list())));
        assert!(self.spool.floor(waiting) <= readings.first);
        self.spool.settle(waiting);
        (stream.0, readings.first, readings.last)
    }

    fn deliver_all(&self) -> Vec<Sent> {
        std::iter::from_fn(|| self.deliver()).collect()
    }
}

type Sent = (u64, u64, u64);

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect();
    files.sort();
    files
}

#[test]
fn what_is_frozen_is_delivered_in_order_and_then_gone() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 7);
    process.freeze_all(3);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.samples, stats.batches_in_memory), (3, 9, 0));
    assert_eq!(stats.oldest, Some(TimestampMs(2_000)));
    assert_eq!(process.deliver_all(), [(7, 1, 2), (7, 3, 4), (7, 5, 6)]);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.samples, stats.oldest), (0, 0, None));
}

#[test]
fn what_waits_survives_its_process_and_what_was_delivered_is_not_sent_again() {
    let dir = TempDir::new().unwrap();
    let mut first = Process::start(dir.path(), 1);
    first.freeze_all(3);
    assert_eq!(first.deliver(), Some((1, 1, 2)));
    drop(first);
    let mut second = Process::start(dir.path(), 2);
    assert_eq!(second.spool.stats().batches, 2);
    second.freeze_all(1);
    assert_eq!(second.deliver(), Some((2, 1, 2)), "what is fresh goes first");
    drop(second);
    let third = Process::start(dir.path(), 3);
    assert_eq!(third.deliver_all(), [(1, 3, 4), (1, 5, 6)]);
    drop(third);
    assert_eq!(Process::start(dir.path(), 4).spool.stats().batches, 0);
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn what_is_too_old_is_dropped_once_a_server_has_told_the_time() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { age_ms_max: 60_000, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::new(OsDisk));
    process.freeze_all(3);
    pass(64_000);
    assert_eq!(process.spool.backlog().map(|waiting| waiting.batch.readings.first), None);
    assert_eq!(process.spool.stats().batches, 3, "nobody has told the time");
    let (sent_ms, server) = (running_ms(), process.clock.now());
    process.clock.correct(crate::clock::Exchange { sent_ms, received_ms: sent_ms, server });
    process.next = 7;
    process.freeze_all(1);
    // It is 64.1 s: what was read at 2 s and 4 s is older than a minute, what was read at 6 s is not.
    assert_eq!(process.counters.dropped_batches.get(), 2);
    assert_eq!(process.deliver_all(), [(1, 5, 6), (1, 7, 8)]);
}

#[test]
fn a_batch_that_is_dropped_on_its_way_is_counted_once() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { age_ms_max: 60_000, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::new(OsDisk));
    process.freeze_all(3);
    let on_its_way = process.spool.fresh().unwrap();
    step(&process, 0);
    pass(64_000);
    process.freeze_all(1);
    assert_eq!((process.counters.dropped_batches.get(), process.spool.stats().batches), (2, 2));
    process.spool.settle(&on_its_way);
    assert_eq!((process.spool.stats().batches, process.deliver_all().len()), (2, 2));
}

#[test]
fn a_batch_in_parts_is_sent_in_the_same_parts_by_the_next_process() {
    let dir = TempDir::new().unwrap();
    let mut first = Process::start(dir.path(), 1);
    first.freeze(10).unwrap();
    first.freeze(1).unwrap();
    let whole = first.next().unwrap();
    assert!(first.spool.cut(&whole));
    let half = first.next().unwrap();
    assert!(first.spool.cut(&half));
    assert_eq!(first.deliver(), Some((1, 1, 2)));
    drop(first);
    let second = Process::start(dir.path(), 2);
    assert_eq!(second.deliver(), Some((1, 3, 5)));
    assert_eq!(second.spool.stats().batches, 2);
    drop(second);
    let third = Process::start(dir.path(), 3);
    assert_eq!(third.deliver_all(), [(1, 6, 10), (1, 11, 11)]);
}

#[test]
fn one_reading_is_not_cut() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze(1).unwrap();
    assert!(!process.spool.cut(&process.next().unwrap()));
}

/// Puts the clock of a process forward.
fn step(process: &Process, by_ms: i64) {
    let (now_ms, server) = (running_ms(), process.clock.now().plus_ms(by_ms));
    process.clock.correct(crate::clock::Exchange { sent_ms: now_ms, received_ms: now_ms, server });
}

#[test]
fn stamps_of_a_wrong_clock_are_mended_until_the_server_may_have_them() {
    let dir = TempDir::new().unwrap();
    let mut first = Process::start(dir.path(), 1);
    first.freeze_all(4);
    let sent = first.next().unwrap();
    first.spool.may_be_stored(&sent);
    step(&first, 1_000);
    let moved = |waiting: Waiting| {
        let Batch { stream, readings, .. } = waiting.batch;
        let frozen = batch(stream.0, readings.first..=readings.last);
        waiting.batch.newest.ms_since(frozen.newest)
    };
    let again = first.next().unwrap();
    assert_eq!((again.batch.readings, moved(again.clone())), (sent.batch.readings, 0));
    first.spool.settle(&again);
    let second = first.next().unwrap();
    assert_eq!((second.batch.readings.first, moved(second.clone())), (3, 1_000));
    first.spool.settle(&second);
    let third = first.next().unwrap();
    assert_eq!(moved(third.clone()), 1_000);
    // It was sent so, and is sent so again, by whichever process.
    first.spool.may_be_stored(&third);
    step(&first, 5_000);
    assert_eq!(moved(first.next().unwrap()), 1_000);
    drop(first);
    let other = Process::start(dir.path(), 2);
    let third = other.next().unwrap();
    assert_eq!((third.batch.readings.first, moved(third.clone())), (5, 1_000));
    other.spool.settle(&third);
    assert_eq!(moved(other.next().unwrap()), 0, "its process ended before it knew");
}
