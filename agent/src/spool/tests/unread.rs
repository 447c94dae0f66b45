//! What cannot be read is not gone.

use super::{
    failing::{FailingDisk, Op, on},
    *,
};
use std::fs;

#[test]
fn what_cannot_be_read_now_waits_until_it_can() {
    for op in [Op::Open, Op::Read] {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(FailingDisk::default());
        let mut process = on(&disk, dir.path(), 1);
        process.freeze_all(FRESH_BATCHES_MAX + 2);
        let waiting = process.next().unwrap();
        disk.fail(&[op]);
        assert!(process.deliver().is_none() && process.spool.list(&waiting).is_err());
        assert!(process.spool.oldest_in_memory().is_none());
        process.freeze_all(1);
        assert!(process.deliver().is_none() && !process.spool.is_empty());
        disk.fail(&[]);
        assert_eq!(process.spool.stats().batches, FRESH_BATCHES_MAX + 3);
        assert_eq!(process.deliver_all().len(), FRESH_BATCHES_MAX + 3);
        assert!(process.spool.is_empty());
        assert_eq!(process.counters.damaged_batches.get(), 0);
    }
}

/// Puts a folder where a segment was: it can be opened, but not read. Returns where the segment went.
fn hide(segment: &Path) -> PathBuf {
    let hidden = segment.with_extension("hidden");
    fs::rename(segment, &hidden).unwrap();
    fs::create_dir(segment).unwrap();
    hidden
}

fn show(segment: &Path) {
    fs::remove_dir(segment).unwrap();
    fs::rename(segment.with_extension("hidden"), segment).unwrap();
}

#[test]
fn a_segment_that_cannot_be_read_now_holds_up_no_other() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { bytes_max: 8 << 10, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::new(OsDisk));
    process.freeze_all(40);
    let first = segments(dir.path())[0].clone();
    hide(&first);
    let sent = process.deliver_all();
    assert!(sent.len() > 20 && sent.len() < 40, "{sent:?}");
    show(&first);
    let rest = process.deliver_all();
    assert_eq!((rest[0], sent.len() + rest.len()), ((1, 1, 2), 40));
    assert_eq!(process.counters.damaged_batches.get(), 0);
}

#[test]
fn a_segment_that_a_start_cannot_read_is_kept_for_the_next_one() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    on(&disk, dir.path(), 1).freeze_all(3);
    disk.fail(&[Op::Open]);
    let mut second = on(&disk, dir.path(), 2);
    second.freeze_all(1);
    let stats = second.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (1, 1, true));
    assert_eq!(second.deliver_all(), [(2, 1, 2)]);
    drop(second);
    disk.fail(&[]);
    let third = on(&disk, dir.path(), 3);
    assert_eq!(third.deliver_all(), [(1, 1, 2), (1, 3, 4), (1, 5, 6)]);
    assert_eq!(third.counters.damaged_batches.get(), 0);
}

#[test]
fn a_segment_that_could_not_be_read_at_the_start_is_read_once_it_can_be() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    on(&disk, dir.path(), 1).freeze_all(3);
    disk.fail(&[Op::Read]);
    let mut second = on(&disk, dir.path(), 2);
    second.freeze_all(1);
    disk.fail(&[]);
    pass(10_000);
    second.freeze_all(1);
    let stats = second.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.disk_fails), (5, 0, false));
    assert_eq!(second.deliver_all(), [(2, 1, 2), (2, 3, 4), (1, 1, 2), (1, 3, 4), (1, 5, 6)]);
}

#[test]
fn a_segment_that_can_never_be_read_is_put_out_of_the_way() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    Process::start(dir.path(), 1).freeze_all(1);
    let first = segments(dir.path())[0].clone();
    hide(&first);
    let mut process = on(&disk, dir.path(), 2);
    let mut try_so_often = |times| {
        for _ in 0..times {
            pass(10_000);
            process.freeze_all(1);
        }
        (process.spool.stats().disk_fails, process.counters.damaged_batches.get())
    };
    assert_eq!(try_so_often(HOPEFUL_TRIES - 2), (true, 0));
    disk.fail(&[Op::Rename]);
    assert_eq!(try_so_often(2), (true, 0), "nothing is written behind it");
    assert!(first.exists());
    disk.fail(&[]);
    assert_eq!(try_so_often(1), (false, 1));
    assert!(!first.exists() && first.with_extension("segment.unreadable").exists());
    assert_eq!(process.deliver_all().len(), HOPEFUL_TRIES as usize + 1);
}
