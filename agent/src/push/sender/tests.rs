//! What is sent, in which order, and what becomes of what is refused: the real spool against a server of the test.

use super::*;
use crate::{
    batch::tests::{batch, list},
    clock::standing::{pass, running_ms},
    push::client::Answer,
    spool::{Limits, Setup, WhenFull, disk::Disk},
};
use edgewatch_shared::{
    TimestampMs,
    limits::{BODY_DECOMPRESSED_BYTES_MAX, DAY_MS, PUSH_INTERVAL_MS},
    wire::push::{self, PushFrame},
};
use std::{
    fs::File,
    io,
    path::Path,
    sync::{Mutex, mpsc},
    thread,
};
use tempfile::TempDir;

const STREAM: u64 = 7;

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
    fn new(dir: &Path, answer: impl FnMut(&PushFrame) -> Result<Answer, NoAnswer> + Send + 'static) -> Self {
        Self::of(STREAM, dir, answer)
    }

    /// The same of a process whose stream is another.
    fn of(
        stream: u64,
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
            stream: StreamId(stream),
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

fn taken() -> Result<Answer, NoAnswer> {
    answer(202, r#"{"ingested":1,"duplicate":0,"refused":0,"next_push_ms":60000,"server_ms":0}"#)
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

/// The first readings of the pushes that came, in order.
type Came = Arc<Mutex<Vec<u64>>>;

/// A desk with seven batches of the past, of one reading each, and a server that answers so.
fn with_a_past(
    dir: &Path,
    mut told: impl FnMut(u64) -> Result<Answer, NoAnswer> + Send + 'static,
) -> (Desk, Came) {
    let came = Came::default();
    let coming = Arc::clone(&came);
    let mut desk = Desk::new(dir, move |push| {
        coming.lock().unwrap().push(push.readings.first);
        told(push.readings.first)
    });
    (0..7).for_each(|_| desk.freeze(1));
    (desk, came)
}

/// A fresh batch is frozen, and all is sent that goes at once: as many times, a minute apart.
fn minutes(desk: &mut Desk, count: usize) {
    for _ in 0..count {
        desk.freeze(1);
        while desk.sender.step() == Next::Step {}
        pass(60_000);
    }
}

#[test]
fn a_batch_that_is_always_failed_at_or_refused_is_set_aside_and_the_others_go_on() {
    let faults: [fn() -> Result<Answer, NoAnswer>; 2] = [|| answer(500, ""), || answer(400, "<html>")];
    for fault in faults {
        let dir = TempDir::new().unwrap();
        let (mut desk, came) =
            with_a_past(dir.path(), move |first| if first == 1 { fault() } else { taken() });
        minutes(&mut desk, FAILURES_MAX as usize - 1);
        assert_eq!((desk.counters.rejected_batches.get(), desk.spool.stats().batches), (0, 7));
        minutes(&mut desk, 1);
        assert_eq!((desk.counters.rejected_batches.get(), desk.spool.stats().batches), (1, 6));
        assert_eq!(std::fs::read_dir(dir.path().join("rejected")).unwrap().count(), 1);
        minutes(&mut desk, 7);
        assert_eq!((desk.counters.rejected_batches.get(), desk.spool.stats().batches), (1, 0));
        let tries = came.lock().unwrap().iter().filter(|first| **first == 1).count();
        assert_eq!(tries, FAILURES_MAX as usize);
    }
}

#[test]
fn a_server_that_fails_at_everything_or_is_not_well_costs_no_batch() {
    let faults: [fn(u64) -> Result<Answer, NoAnswer>; 4] = [
        |_| answer(500, ""),
        |_| answer(404, "<html>"),
        |first| if first < 7 { refusal(503, "overloaded") } else { taken() },
        |first| if first < 7 { Err(NoAnswer { why: "reset".into(), has_left: true }) } else { taken() },
    ];
    for fault in faults {
        let dir = TempDir::new().unwrap();
        let (mut desk, _) = with_a_past(dir.path(), fault);
        minutes(&mut desk, 3 * FAILURES_MAX as usize);
        assert_eq!((desk.counters.rejected_batches.get(), desk.counters.dropped_batches.get()), (0, 0));
        assert!(desk.spool.stats().batches >= 6);
    }
}

#[test]
fn the_past_has_its_turn_where_there_is_always_a_fresh_batch() {
    let dir = TempDir::new().unwrap();
    let (mut desk, came) = with_a_past(dir.path(), |_| taken());
    for _ in 0..14 {
        // A push takes longer than a pace.
        desk.freeze(1);
        assert_eq!(desk.sender.step(), Next::Step);
        pass(6_250);
    }
    let came = came.lock().unwrap();
    assert_eq!(came[0], 8, "what is fresh goes first");
    let past: Vec<u64> = came.iter().copied().filter(|first| *first < 8).collect();
    assert_eq!(past, [1, 2, 3, 4, 5, 6, 7], "{came:?}");
}

#[test]
fn samples_that_are_refused_of_a_batch_that_is_taken_are_counted() {
    let dir = TempDir::new().unwrap();
    let mut refused = [2, 0, 3].into_iter();
    let mut desk = Desk::new(dir.path(), move |_| {
        let refused = refused.next().unwrap();
        answer(202, &format!(r#"{{"ingested":1,"refused":{refused},"next_push_ms":60000,"server_ms":0}}"#))
    });
    for expected in [2, 2, 5] {
        desk.freeze(1);
        assert_eq!(desk.sender.step(), Next::Step);
        assert_eq!((desk.counters.refused_samples.get(), desk.spool.stats().batches), (expected, 0));
    }
}

#[test]
fn records_are_tried_again_after_a_day_and_with_new_settings() {
    let dir = TempDir::new().unwrap();
    let had = Arc::new(Mutex::new(Vec::new()));
    let having = Arc::clone(&had);
    let mut desk = Desk::new(dir.path(), move |push| {
        having.lock().unwrap().push(push.processes.is_some());
        if push.processes.is_some() { refusal(415, "unsupported_section") } else { taken() }
    });
    let came = |desk: &mut Desk| {
        let processes = Some(push::Processes { time: TimestampMs(1_000), count: 1, ..Default::default() });
        let batch = batch(STREAM, desk.next..=desk.next).with_processes(processes);
        desk.next += 1;
        desk.spool.freeze(batch, &Arc::new(list())).unwrap();
        while desk.sender.step() == Next::Step {}
        std::mem::take(&mut *had.lock().unwrap())
    };
    assert_eq!(came(&mut desk), [true, false]);
    pass(BARE_MS - 1);
    assert_eq!(came(&mut desk), [false]);
    pass(1);
    assert_eq!(came(&mut desk), [true, false]);
    desk.sender.schedule.set(PUSH_INTERVAL_MS);
    assert_eq!(came(&mut desk), [true, false]);
    assert_eq!(desk.counters.rejected_batches.get(), 0);
}

#[test]
fn parts_that_are_too_large_go_in_parts_again_in_spite_of_a_kill_before_the_first() {
    let dir = TempDir::new().unwrap();
    let came = Arc::new(Mutex::new(Vec::new()));
    let serving = || {
        let came = Arc::clone(&came);
        move |push: &PushFrame| {
            let readings = push.readings;
            came.lock().unwrap().push((readings.first, readings.last));
            if readings.last - readings.first > 1 { refusal(413, "body_too_large") } else { taken() }
        }
    };
    let mut desk = Desk::new(dir.path(), serving());
    desk.freeze(8);
    assert_eq!(desk.sender.step(), Next::Step);
    drop(desk);
    let mut desk = Desk::of(STREAM + 1, dir.path(), serving());
    while desk.spool.stats().batches > 0 {
        match desk.sender.step() {
            Next::Step => {}
            Next::Idle { at_most_ms, .. } => pass(at_most_ms),
            other => panic!("{other:?}"),
        }
    }
    let parts = [(1, 8), (1, 4), (1, 2), (3, 4), (5, 8), (5, 6), (7, 8)];
    assert_eq!(*came.lock().unwrap(), parts, "in order, and none twice");
    assert_eq!(desk.counters.rejected_batches.get(), 0);
}
