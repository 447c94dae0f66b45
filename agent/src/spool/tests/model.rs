//! Whatever happens in whatever order: the spool does what a list of batches would do.

use super::{failing::FailingDisk, *};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Act {
    Freeze(u64),
    Deliver,
    /// The server finds the next batch too large.
    Cut,
    /// The process is killed, and another one starts.
    Kill,
    /// The disk begins or ceases to fail.
    Disk {
        writes_fail: bool,
        syncs_fail: bool,
    },
    Sync,
    Wait,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1u64..6).prop_map(Act::Freeze),
        5 => Just(Act::Deliver),
        1 => Just(Act::Cut),
        1 => Just(Act::Kill),
        1 => (any::<bool>(), any::<bool>())
            .prop_map(|(writes_fail, syncs_fail)| Act::Disk { writes_fail, syncs_fail }),
        1 => Just(Act::Sync),
        2 => Just(Act::Wait),
    ]
}

/// How often each reading was delivered; those that were frozen only are there, too.
type Readings = BTreeMap<(u64, u64), u32>;

/// Does all of it on a spool of small segments, and then delivers what is left.
fn done(acts: &[Act], disk_fails: bool, kills: bool) -> Readings {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let limits = Limits { bytes_max: 16 << 10, when_full: WhenFull::DropNewest, ..LIMITS };
    let start = |stream| {
        let disk: Arc<dyn Disk> = Arc::<FailingDisk>::clone(&disk);
        Process::with(dir.path(), stream, limits, disk)
    };
    let mut process = start(1);
    let mut readings = Readings::new();
    let deliver = |process: &Process, readings: &mut Readings| {
        let sent = process.deliver();
        for number in sent.map(|(_, first, last)| first..=last).into_iter().flatten() {
            *readings.get_mut(&(sent.unwrap().0, number)).unwrap() += 1;
        }
        sent.is_some()
    };
    for act in acts {
        match *act {
            Act::Freeze(count) => {
                for number in
                    process.freeze(count).map(|frozen| frozen.first..=frozen.last).into_iter().flatten()
                {
                    readings.insert((process.stream, number), 0);
                }
            }
            Act::Deliver => drop(deliver(&process, &mut readings)),
            Act::Cut => drop(process.next().map(|waiting| process.spool.cut(&waiting))),
            Act::Kill if kills => {
                let stream = process.stream + 1;
                drop(process);
                process = start(stream);
            }
            Act::Disk { writes_fail, syncs_fail } if disk_fails => disk.set(writes_fail, syncs_fail),
            Act::Kill | Act::Disk { .. } => {}
            Act::Sync => process.spool.sync(),
            Act::Wait => pass(5_000),
        }
        let held = readings.values().filter(|delivered| **delivered == 0).count();
        // A disk that was not told of a delivery brings it back with the next process.
        let is_brought_back = disk_fails && kills;
        assert!(is_brought_back || process.spool.stats().batches <= held, "no more waits than was frozen");
    }
    while deliver(&process, &mut readings) {}
    assert_eq!(process.spool.stats().batches, 0);
    assert_eq!(process.counters.damaged_batches.get(), 0);
    readings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn on_a_sound_disk_everything_is_delivered_once_over_kills(acts in prop::collection::vec(act(), 0..120)) {
        for (reading, delivered) in done(&acts, false, true) {
            prop_assert_eq!(delivered, 1, "{:?}", reading);
        }
    }

    #[test]
    fn on_a_disk_that_fails_now_and_then_a_process_delivers_everything_once(
        acts in prop::collection::vec(act(), 0..120),
    ) {
        for (reading, delivered) in done(&acts, true, false) {
            prop_assert_eq!(delivered, 1, "{:?}", reading);
        }
    }

    /// What was in memory only is gone, and what the disk was not told is sent again; nothing crashes.
    #[test]
    fn kills_on_a_disk_that_fails_cost_no_more_than_they_must(acts in prop::collection::vec(act(), 0..120)) {
        let kills = acts.iter().filter(|act| matches!(act, Act::Kill)).count() as u32;
        for (reading, delivered) in done(&acts, true, true) {
            prop_assert!(delivered <= 1 + kills, "{:?}", reading);
        }
    }
}
