//! The folder: who has it, and what becomes of it meanwhile.

use super::*;
use std::fs;

#[test]
fn two_agents_do_not_use_one_spool() {
    let dir = TempDir::new().unwrap();
    let _first = Process::start(dir.path(), 1);
    let setup = Setup {
        dir: dir.path().to_owned(),
        limits: LIMITS,
        stream: StreamId(2),
        clock: Arc::new(Clock::new(running_ms, TimestampMs(0))),
        counters: Arc::default(),
        disk: Arc::new(OsDisk),
    };
    let error = Spool::open(setup).err().unwrap().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_tried_again() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("spool");
    // A file is in its place.
    fs::write(&dir, "").unwrap();
    let mut process = Process::start(&dir, 1);
    process.freeze_all(1);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (1, 1, true));
    assert_eq!(process.deliver(), Some((1, 1, 2)), "from memory");
    process.freeze_all(1);
    fs::remove_file(&dir).unwrap();
    pass(10_000);
    process.freeze_all(1);
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (2, 0, false));
    drop(process);
    assert_eq!(Process::start(&dir, 2).deliver_all(), [(1, 3, 4), (1, 5, 6)]);
}

#[test]
fn a_folder_that_another_agent_has_meanwhile_is_waited_for() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("spool");
    fs::write(&dir, "").unwrap();
    let mut first = Process::start(&dir, 1);
    fs::remove_file(&dir).unwrap();
    let mut second = Process::start(&dir, 2);
    second.freeze_all(1);
    let bytes = second.spool.stats().bytes;
    pass(10_000);
    first.freeze_all(1);
    assert_eq!((first.spool.stats().batches_in_memory, first.spool.stats().disk_fails), (1, true));
    assert_eq!(segments(&dir)[0].metadata().unwrap().len(), bytes);
    drop(second);
    pass(10_000);
    first.freeze_all(1);
    assert_eq!((first.spool.stats().batches, first.spool.stats().batches_in_memory), (3, 0));
}

#[cfg(unix)]
#[test]
fn without_a_lock_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    Process::start(dir.path(), 1).freeze_all(1);
    let files = || segments(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = files();
    // Nobody can open it, not even root.
    let lock = dir.path().join("lock");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&lock, &lock).unwrap();
    let mut second = Process::start(dir.path(), 2);
    second.freeze_all(1);
    let stats = second.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (1, 1, true));
    assert_eq!(files(), before);
    fs::remove_file(&lock).unwrap();
    pass(10_000);
    second.freeze_all(1);
    let stats = second.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (3, 0, false));
    assert_eq!(second.deliver_all(), [(2, 1, 2), (2, 3, 4), (1, 1, 2)]);
}

#[test]
fn what_is_new_outlives_files_that_are_taken_away() {
    let take = [|dir: &Path| fs::remove_dir_all(dir), |dir: &Path| fs::remove_file(&segments(dir)[0])];
    for take in take {
        let root = TempDir::new().unwrap();
        let dir = root.path().join("spool");
        let mut process = Process::start(&dir, 1);
        process.freeze_all(2);
        take(&dir).unwrap();
        process.freeze_all(2);
        assert_eq!(segments(&dir).len(), 1);
        assert_eq!(process.deliver(), Some((1, 5, 6)));
        drop(process);
        let process = Process::start(&dir, 2);
        assert_eq!((process.deliver_all(), process.counters.damaged_batches.get()), (vec![(1, 7, 8)], 0));
    }
}

#[test]
fn what_is_taken_away_is_given_up_and_counted() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(2);
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    process.freeze_all(1);
    assert_eq!(process.deliver_all(), [(1, 5, 6)]);
    assert!(process.spool.is_empty());
    assert_eq!((process.spool.stats().batches, process.counters.damaged_batches.get()), (0, 1));
}

#[cfg(unix)]
#[test]
fn what_root_makes_belongs_to_whom_the_state_directory_does() {
    use std::os::unix::fs::{MetadataExt, chown};
    let root = TempDir::new().unwrap();
    if chown(root.path(), Some(4_711), Some(4_712)).is_err() {
        return eprintln!("SKIPPED: this is not root");
    }
    let dir = root.path().join("spool");
    Process::start(&dir, 1).freeze_all(1);
    for path in [dir.clone(), dir.join("lock"), segments(&dir)[0].clone()] {
        let owner = fs::metadata(&path).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (4_711, 4_712), "{}", path.display());
    }
}
