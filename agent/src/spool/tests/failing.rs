//! A disk that is full, cannot be written, or does not keep what it was given.

use super::*;
use edgewatch_shared::Sample;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
};

/// What a disk can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    CreateDir,
    Create,
    Open,
    Read,
    Append,
    Write,
    Truncate,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// A disk that fails at what a test says.
#[derive(Debug, Default)]
pub struct FailingDisk {
    failing: Mutex<Vec<Op>>,
    /// The folders that were made durable.
    synced_dirs: Mutex<Vec<PathBuf>>,
}

impl FailingDisk {
    /// From now on it fails at these, and at nothing else.
    pub fn fail(&self, ops: &[Op]) {
        *self.failing.lock().unwrap() = ops.to_vec();
    }

    fn fails(&self, op: Op) -> bool {
        self.failing.lock().unwrap().contains(&op)
    }

    fn ask<T>(&self, op: Op, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.fails(op) { Err(io::ErrorKind::StorageFull.into()) } else { act() }
    }
}

impl Disk for FailingDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::CreateDir, || OsDisk.create_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.ask(Op::Create, || OsDisk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        // Nobody reads a file that was opened to write to it.
        let writes = self.fails(Op::Read);
        self.ask(Op::Open, || OpenOptions::new().read(!writes).append(writes).open(path))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<File> {
        self.ask(Op::Append, || OsDisk.open_to_append(path))
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        // It fails halfway through.
        let half = &bytes[..bytes.len() / 2];
        let written = self.ask(Op::Write, || file.write_all(bytes));
        written.or_else(|error| file.write_all(half).and(Err(error)))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.ask(Op::Truncate, || OsDisk.truncate(path, bytes))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.ask(Op::Sync, || OsDisk.sync(file))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::SyncDir, || OsDisk.sync_dir(path))?;
        self.synced_dirs.lock().unwrap().push(path.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(Op::Rename, || OsDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::Remove, || OsDisk.remove(path))
    }
}

pub fn on(disk: &Arc<FailingDisk>, dir: &Path, stream: u64) -> Process {
    let disk: Arc<dyn Disk> = Arc::<FailingDisk>::clone(disk);
    Process::with(dir, stream, LIMITS, disk)
}

#[test]
fn what_a_full_disk_does_not_take_waits_in_memory_and_is_written_when_it_does() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let mut process = on(&disk, dir.path(), 1);
    process.freeze_all(3);
    disk.fail(&[Op::Write]);
    process.freeze_all(3);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (6, 3, true));
    let in_memory = process.spool.oldest_in_memory().unwrap();
    assert_eq!(in_memory.batch.readings.first, 7);
    disk.fail(&[]);
    process.freeze_all(1);
    assert!(process.spool.stats().disk_fails, "a disk that failed is given some time");
    pass(10_000);
    process.freeze_all(1);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (8, 0, false));
    drop(process);
    let sent = Process::start(dir.path(), 2).deliver_all();
    assert!(sent.is_sorted() && sent.len() == 8, "{sent:?}");
}

#[test]
fn what_is_delivered_while_the_disk_is_full_is_known_once_it_is_not() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let mut process = on(&disk, dir.path(), 1);
    process.freeze_all(2);
    disk.fail(&[Op::Write]);
    process.freeze_all(2);
    assert_eq!(process.deliver(), Some((1, 1, 2)));
    assert_eq!(process.spool.fresh().unwrap().batch.readings.first, 3);
    let in_memory = process.spool.oldest_in_memory().unwrap();
    assert!(process.spool.cut(&in_memory));
    let half = process.spool.oldest_in_memory().unwrap();
    assert_eq!(process.settle(&half), (1, 5, 5));
    disk.fail(&[]);
    pass(10_000);
    process.freeze_all(1);
    drop(process);
    let sent = Process::start(dir.path(), 2).deliver_all();
    assert_eq!(sent, [(1, 3, 4), (1, 6, 6), (1, 7, 8), (1, 9, 10)]);
}

#[test]
fn what_waits_in_memory_is_written_as_far_as_there_is_room() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let limits = Limits { bytes_max: 8 << 10, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::<FailingDisk>::clone(&disk));
    disk.fail(&[Op::Write]);
    process.freeze_all(200);
    disk.fail(&[]);
    pass(10_000);
    process.freeze_all(1);
    let stats = process.spool.stats();
    assert!(stats.bytes <= limits.bytes_max && stats.bytes > limits.bytes_max / 2, "{stats:?}");
    assert_eq!((stats.batches, stats.disk_fails), (201, false));
    assert_eq!(process.deliver(), Some((1, 401, 402)));
    let sent = process.deliver_all();
    assert!(sent.is_sorted() && sent.len() == 200, "{sent:?}");
}

#[test]
fn memory_is_bounded_too() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(FailingDisk::default());
        disk.fail(&[Op::Write]);
        let mut process = Process::with(dir.path(), 1, Limits { when_full, ..LIMITS }, disk);
        let frozen = (0..10_000).filter(|_| process.freeze(2).is_some()).count();
        let stats = process.spool.stats();
        assert_eq!(stats.batches as u64 + stats.dropped_batches, 10_000);
        assert_eq!((frozen == 10_000, stats.dropped_batches > 0), (when_full == WhenFull::DropOldest, true));
        let newest = process.deliver().unwrap();
        assert_eq!(newest.2 == 20_000, when_full == WhenFull::DropOldest);
    }
}

#[test]
fn what_a_disk_may_have_lost_is_written_again() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let mut process = on(&disk, dir.path(), 1);
    process.freeze_all(2);
    process.spool.sync();
    process.freeze_all(2);
    disk.fail(&[Op::Sync]);
    process.spool.sync();
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (4, 2, true));
    // The disk has lost what it was given since it was synchronised.
    let kept = segments(dir.path());
    disk.fail(&[]);
    pass(10_000);
    process.freeze_all(1);
    process.spool.sync();
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (5, 0, false));
    let all = segments(dir.path());
    assert_eq!((kept.len(), all.len()), (1, 2), "elsewhere");
    drop(process);
    let first = fs::read(&all[0]).unwrap();
    fs::write(&all[0], &first[..first.len() - 50]).unwrap();
    let sent = Process::start(dir.path(), 2).deliver_all();
    assert_eq!(sent, [(1, 1, 2), (1, 3, 4), (1, 5, 6), (1, 7, 8), (1, 9, 10)]);
}

#[test]
fn a_disk_that_keeps_nothing_does_not_fill_the_memory() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let mut process = on(&disk, dir.path(), 1);
    disk.fail(&[Op::Sync]);
    // A thousand series of one reading, of which nothing can be left out.
    let sample = |series| Sample { time: TimestampMs(1_000), value: f64::from(series).sqrt() };
    let columns: Vec<Vec<Sample>> = (0..1_000).map(|series| vec![sample(series)]).collect();
    for number in 1..=200 {
        let readings = ReadingRange { first: number, last: number };
        let batch = Batch::freeze(StreamId(1), readings, None, list().id, &columns, 100);
        let bytes = batch.to_bytes().len();
        process.spool.freeze(batch, &process.list).unwrap();
        if number % 20 == 0 {
            process.spool.sync();
            let in_memory = process.spool.stats().batches_in_memory;
            assert_eq!(in_memory as u64, number.min((MEMORY_BYTES_MAX / bytes) as u64));
            pass(10_000);
        }
    }
    assert_eq!(process.spool.stats().batches, 200);
    disk.fail(&[]);
    process.next = 201;
    process.freeze_all(1);
    let sent = std::iter::from_fn(|| {
        let waiting = process.next()?;
        process.spool.settle(&waiting);
        Some(waiting.batch.readings.first)
    });
    assert_eq!(sent.collect::<Vec<u64>>(), [201].into_iter().chain(1..=200).collect::<Vec<_>>());
    assert_eq!(process.counters.dropped_batches.get(), 0);
}

#[test]
fn a_file_that_is_begun_while_the_disk_is_waited_for_is_made_durable_by_the_next_wait() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let limits = Limits { bytes_max: 8 << 10, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::<FailingDisk>::clone(&disk));
    let log = |process: &Process, act: &dyn Fn(&mut Log)| act(process.spool.lock().log.as_mut().unwrap());
    process.freeze_all(1);
    let waited_for = std::cell::Cell::new(None);
    log(&process, &|log| waited_for.set(log.take_unsynced()));
    process.freeze_all(30);
    assert!(segments(dir.path()).len() > 1);
    let waited_for = waited_for.take().unwrap();
    waited_for.sync(disk.as_ref()).unwrap();
    log(&process, &|log| log.synced(&waited_for));
    process.spool.sync();
    let with_the_one_above = [dir.path(), dir.path().parent().unwrap()].map(Path::to_owned);
    assert_eq!(*disk.synced_dirs.lock().unwrap(), [with_the_one_above.clone(), with_the_one_above].concat());
}

#[test]
fn what_is_written_while_it_is_on_its_way_is_settled_where_it_lies() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let mut process = on(&disk, dir.path(), 1);
    disk.fail(&[Op::Write]);
    process.freeze_all(1);
    let on_its_way = process.next().unwrap();
    disk.fail(&[]);
    pass(10_000);
    process.freeze_all(1);
    assert_eq!(process.spool.stats().batches_in_memory, 0);
    assert_eq!(process.settle(&on_its_way), (1, 1, 2));
    assert_eq!(process.spool.stats().batches, 1);
    drop(process);
    assert_eq!(Process::start(dir.path(), 2).deliver_all(), [(1, 3, 4)]);
}
