//! A spool without room.

use super::*;

const BYTES_MAX: u64 = 8 << 10;

fn small(dir: &Path, when_full: WhenFull) -> Process {
    Process::with(dir, 1, Limits { bytes_max: BYTES_MAX, when_full, ..LIMITS }, Arc::new(OsDisk))
}

fn bytes_on_disk(dir: &Path) -> u64 {
    segments(dir).iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn a_full_spool_keeps_the_rest_in_memory_or_drops_the_oldest() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let dir = TempDir::new().unwrap();
        let mut process = small(dir.path(), when_full);
        process.freeze_all(200);
        let bytes = bytes_on_disk(dir.path());
        assert!(bytes <= BYTES_MAX && bytes > BYTES_MAX / 2, "{bytes}");
        let stats = process.spool.stats();
        assert_eq!(stats.bytes, bytes);
        assert_eq!(stats.batches as u64 + stats.dropped_batches, 200);
        let drops = when_full == WhenFull::DropOldest;
        assert_eq!((stats.dropped_batches > 0, stats.batches_in_memory == 0), (drops, drops));
        let sent: Vec<u64> = process.deliver_all().iter().map(|(_, first, _)| *first).collect();
        assert_eq!((sent.len(), sent.contains(&1)), (stats.batches, !drops));
        assert!(sent.contains(&399));
        process.freeze_all(1);
        assert_eq!(process.spool.stats().batches_in_memory, 0, "there is room again");
        assert_eq!(process.deliver_all(), [(1, 401, 402)]);
    }
}

#[test]
fn a_full_spool_has_the_beginning_of_an_outage_and_what_is_new_goes_at_once_behind_it() {
    let dir = TempDir::new().unwrap();
    let mut process = small(dir.path(), WhenFull::DropNewest);
    while process.counters.dropped_batches.get() < 10 {
        process.freeze(100).unwrap();
    }
    assert!(bytes_on_disk(dir.path()) <= BYTES_MAX);
    // Batches of all sizes, while the past has been caught up with by nothing yet.
    for readings in [100, 150, 90, 200] {
        let frozen = process.freeze(readings).unwrap();
        assert_eq!(process.deliver(), Some((1, frozen.first, frozen.last)));
    }
    let stats = process.spool.stats();
    let sent = process.deliver_all();
    assert_eq!((sent.len(), sent[0]), (stats.batches, (1, 1, 100)));
    let frozen = (process.next - 1 - 540) / 100 + 4;
    assert_eq!(sent.len() as u64 + 4 + stats.dropped_batches, frozen);
}

#[test]
fn a_batch_that_fits_beside_nothing_takes_the_place_of_what_is_written_to() {
    let dir = TempDir::new().unwrap();
    let mut process = small(dir.path(), WhenFull::DropOldest);
    process.freeze_all(1);
    // Beside it there is no room, in its place there is.
    let room = (BYTES_MAX - bytes_on_disk(dir.path())) as usize;
    let mut large = batch(1, 3..=4);
    large.host = Some("x".repeat(room - large.to_bytes().len() - list().encoded.len()));
    process.spool.freeze(large, &process.list).unwrap();
    let stats = process.spool.stats();
    assert_eq!((stats.batches, stats.batches_in_memory, stats.dropped_batches), (1, 0, 1));
    assert!(bytes_on_disk(dir.path()) <= BYTES_MAX);
}
