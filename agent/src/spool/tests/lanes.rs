//! What goes first.

use super::*;

#[test]
fn after_an_outage_the_newest_goes_first_and_the_past_in_order() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(FRESH_BATCHES_MAX + 3);
    let newest = 2 * (FRESH_BATCHES_MAX as u64 + 3);
    let waiting = process.spool.fresh().unwrap();
    assert_eq!((waiting.is_fresh, process.settle(&waiting)), (true, (1, newest - 1, newest)));
    assert!(process.spool.fresh().is_none());
    let past = process.spool.backlog().unwrap();
    assert_eq!((past.is_fresh, process.spool.floor(&past)), (false, 1));
    assert_eq!(process.settle(&past), (1, 1, 2));
    process.freeze_all(1);
    let fresh = process.spool.fresh().unwrap();
    assert_eq!(process.spool.floor(&fresh), 3, "the oldest that is held");
    assert_eq!(process.settle(&fresh), (1, newest + 1, newest + 2));
    let rest: Vec<u64> = process.deliver_all().iter().map(|(_, first, _)| *first).collect();
    assert!(rest.iter().copied().eq((3..newest - 1).step_by(2)), "{rest:?}");
}

#[test]
fn a_few_batches_stay_in_order() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(FRESH_BATCHES_MAX);
    assert!(process.spool.backlog().is_none(), "all of them are fresh");
    let order = process.deliver_all();
    assert!(order.is_sorted() && order.len() == FRESH_BATCHES_MAX);
}

#[test]
fn a_second_outage_begins_before_the_first_is_caught_up_with() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(10);
    assert_eq!(process.deliver(), Some((1, 19, 20)));
    assert_eq!(process.deliver(), Some((1, 1, 2)));
    process.freeze_all(10);
    assert_eq!(process.deliver(), Some((1, 39, 40)));
    let rest: Vec<u64> = process.deliver_all().iter().map(|(_, first, _)| *first).collect();
    assert!(rest.iter().copied().eq((3..39).step_by(2).filter(|first| *first != 19)), "{rest:?}");
}

#[test]
fn each_stream_is_delivered_under_its_own_floor_and_in_order() {
    let dir = TempDir::new().unwrap();
    for stream in [5, 3, 9] {
        Process::start(dir.path(), stream).freeze_all(2);
    }
    let process = Process::start(dir.path(), 1);
    let floors = std::iter::from_fn(|| {
        let waiting = process.next()?;
        let floor = process.spool.floor(&waiting);
        process.settle(&waiting);
        Some((waiting.batch.stream.0, waiting.batch.readings.first, floor))
    });
    assert_eq!(
        floors.collect::<Vec<_>>(),
        [(5, 1, 1), (5, 3, 3), (3, 1, 1), (3, 3, 3), (9, 1, 1), (9, 3, 3)]
    );
}

#[test]
fn whoever_waits_is_woken_by_a_batch_and_by_the_end() {
    let dir = TempDir::new().unwrap();
    let Process { spool, .. } = Process::start(dir.path(), 1);
    let long = Duration::from_secs(600);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            spool.wait(0, long);
            let woken_by_a_batch = spool.frozen();
            spool.wait(1, long);
            (woken_by_a_batch, spool.is_closed())
        });
        spool.freeze(batch(1, 1..=1), &Arc::new(list())).unwrap();
        // Not before it has seen the batch.
        while spool.frozen() == 0 {}
        spool.close();
        assert_eq!(waiting.join().unwrap(), (1, true));
    });
}

#[test]
fn many_batches_lie_in_many_segments_that_go_one_by_one() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { bytes_max: 512 << 10, ..LIMITS };
    let mut process = Process::with(dir.path(), 1, limits, Arc::new(OsDisk));
    process.freeze_all(2_000);
    let before = segments(dir.path());
    assert!(before.len() > 2, "{before:?}");
    for _ in 0..1_000 {
        process.deliver().unwrap();
    }
    let after = segments(dir.path());
    assert!(!after.contains(&before[0]) && after.contains(&before[2]), "{after:?} of {before:?}");
    drop(process);
    let process = Process::with(dir.path(), 2, limits, Arc::new(OsDisk));
    assert_eq!(process.spool.stats().batches, 1_000);
    assert_eq!(process.deliver_all().len(), 1_000);
    assert_eq!(segments(dir.path()).len(), 1);
}
