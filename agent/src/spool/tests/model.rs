//! Whatever happens in whatever order: the spool does what a list of batches would do.

use super::{
    failing::{FailingDisk, Op},
    *,
};
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
    /// The disk begins to fail at this, or ceases to fail.
    Disk(Option<Op>),
    Sync,
    Wait,
}

const OPS: [Op; 11] = [
    Op::CreateDir,
    Op::Create,
    Op::Open,
    Op::Read,
    Op::Append,
    Op::Write,
    Op::Truncate,
    Op::Sync,
    Op::SyncDir,
    Op::Rename,
    Op::Remove,
];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1u64..6).prop_map(Act::Freeze),
        5 => Just(Act::Deliver),
        1 => Just(Act::Cut),
        1 => Just(Act::Kill),
        1 => prop::option::of(prop::sample::select(&OPS)).prop_map(Act::Disk),
        1 => Just(Act::Sync),
        2 => Just(Act::Wait),
    ]
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// How often it was delivered.
    delivered: u32,
    /// Whether it was in memory only when its process was killed.
    may_be_lost: bool,
}

/// What was frozen.
#[derive(Default)]
struct Model {
    /// Streams and readings of the batches, from the oldest to the newest.
    batches: Vec<(u64, ReadingRange)>,
    readings: BTreeMap<(u64, u64), Fate>,
}

impl Model {
    fn freeze(&mut self, process: &mut Process, readings: u64) {
        if let Some(batch) = process.freeze(readings) {
            self.batches.push((process.stream, batch));
            let readings = (batch.first..=batch.last).map(|number| (process.stream, number));
            self.readings.extend(readings.map(|reading| (reading, Fate::default())));
        }
    }

    fn deliver(&mut self, process: &Process) -> bool {
        let Some((stream, first, last)) = process.deliver() else { return false };
        let delivered = self.of((stream, ReadingRange { first, last })).map(|fate| fate.delivered += 1);
        assert_eq!(delivered.count() as u64, last - first + 1, "nothing that was not frozen");
        true
    }

    /// The process is killed: what was in memory is lost, that is the newest of what is not delivered.
    fn kill(&mut self, process: &Process) {
        let in_memory = process.spool.stats().batches_in_memory;
        let mut waiting = self.batches.clone();
        waiting.retain(|batch| self.of(*batch).any(|fate| fate.delivered == 0 && !fate.may_be_lost));
        for batch in waiting.into_iter().rev().take(in_memory) {
            self.of(batch).for_each(|fate| fate.may_be_lost = true);
        }
    }

    fn of(&mut self, (stream, batch): (u64, ReadingRange)) -> impl Iterator<Item = &mut Fate> {
        self.readings.range_mut((stream, batch.first)..=(stream, batch.last)).map(|(_, fate)| fate)
    }

    fn waiting(&self) -> usize {
        self.readings.values().filter(|fate| fate.delivered == 0).count()
    }
}

/// Does all of it on a spool of small segments, and then delivers what is left.
fn done(acts: &[Act], disk_fails: bool, kills: bool) -> BTreeMap<(u64, u64), Fate> {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let limits = Limits { bytes_max: 16 << 10, when_full: WhenFull::DropNewest, ..LIMITS };
    let start = |stream| {
        let disk: Arc<dyn Disk> = Arc::<FailingDisk>::clone(&disk);
        Process::with(dir.path(), stream, limits, disk)
    };
    let mut process = start(1);
    let mut model = Model::default();
    for act in acts {
        match *act {
            Act::Freeze(readings) => model.freeze(&mut process, readings),
            Act::Deliver => drop(model.deliver(&process)),
            Act::Cut => drop(process.next().map(|waiting| process.spool.cut(&waiting))),
            Act::Kill if kills => {
                model.kill(&process);
                let stream = process.stream + 1;
                drop(process);
                process = start(stream);
            }
            Act::Disk(op) if disk_fails => disk.fail(op.as_slice()),
            Act::Kill | Act::Disk(_) => {}
            Act::Sync => process.spool.sync(),
            Act::Wait => pass(5_000),
        }
        // A disk that was not told of a delivery brings it back with the next process.
        let is_brought_back = disk_fails && kills;
        let waiting = process.spool.stats().batches;
        assert!(is_brought_back || waiting <= model.waiting(), "no more waits than was frozen");
    }
    disk.fail(&[]);
    pass(10_000);
    model.freeze(&mut process, 1);
    while model.deliver(&process) {}
    assert!(process.spool.is_empty());
    assert_eq!(process.spool.stats().batches, 0);
    // Half a record that could not be cut off is a damaged place for the next process.
    assert!(disk_fails && kills || process.counters.damaged_batches.get() == 0);
    model.readings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn on_a_sound_disk_everything_is_delivered_once_over_kills(acts in prop::collection::vec(act(), 0..120)) {
        for (reading, fate) in done(&acts, false, true) {
            prop_assert_eq!(fate.delivered, 1, "{:?}", reading);
        }
    }

    #[test]
    fn on_a_disk_that_fails_now_and_then_a_process_delivers_everything_once(
        acts in prop::collection::vec(act(), 0..120),
    ) {
        for (reading, fate) in done(&acts, true, false) {
            prop_assert_eq!(fate.delivered, 1, "{:?}", reading);
        }
    }

    /// What was in memory only is gone, and what the disk was not told is sent again.
    #[test]
    fn kills_on_a_disk_that_fails_cost_no_more_than_they_must(acts in prop::collection::vec(act(), 0..120)) {
        let kills = acts.iter().filter(|act| matches!(act, Act::Kill)).count() as u32;
        for (reading, Fate { delivered, may_be_lost }) in done(&acts, true, true) {
            prop_assert!(may_be_lost || delivered >= 1, "{:?} is lost", reading);
            prop_assert!(delivered <= 1 + kills, "{:?}", reading);
        }
    }
}
