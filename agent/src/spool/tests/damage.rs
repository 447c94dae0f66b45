//! Files that were cut off, changed, or are none of ours: the rest is delivered.

use super::*;
use proptest::prelude::*;
use std::{collections::BTreeSet, fs};

/// A segment in which five batches lie, of which the second was delivered; and where each of its records ends.
fn segment() -> (Vec<u8>, Vec<(usize, Option<Sent>)>) {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(2);
    let first = process.next().unwrap();
    process.freeze_all(3);
    process.settle(&first);
    drop(process);
    let bytes = fs::read(&segments(dir.path())[0]).unwrap();
    let mut records = Vec::new();
    let mut at = segment::HEAD.len();
    while let record::Found::Record(found, next) = record::read(&bytes, at) {
        let sent = match *found {
            record::Record::Batch(batch) => Some((1, batch.readings.first, batch.readings.last)),
            _ => None,
        };
        records.push((next, sent));
        at = next;
    }
    assert_eq!((at, records.len()), (bytes.len(), 8), "a snapshot, a list, five batches and a note");
    (bytes, records)
}

/// What a process delivers of a spool with this one segment.
fn delivered(bytes: &[u8]) -> (BTreeSet<Sent>, u64) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("00000001.segment"), bytes).unwrap();
    let mut process = Process::start(dir.path(), 2);
    process.freeze_all(1);
    let mut sent: BTreeSet<Sent> = BTreeSet::new();
    while let Some(waiting) = process.next() {
        let Batch { stream, readings, .. } = waiting.batch;
        assert!(sent.insert((stream.0, readings.first, readings.last)), "twice");
        // Whose list cannot be read is the server's to know.
        assert!(process.spool.list(&waiting).unwrap().is_none_or(|told| told == list()));
        process.spool.settle(&waiting);
    }
    assert!(sent.remove(&(2, 1, 2)), "what is new is delivered whatever lies there");
    assert_eq!(process.spool.stats().batches, 0);
    (sent, process.counters.damaged_batches.get())
}

#[test]
fn a_segment_that_ends_anywhere_has_all_batches_before() {
    let (bytes, records) = segment();
    let note = records.last().unwrap().0;
    for end in 0..=bytes.len() {
        let whole = records.iter().filter(|(record_end, _)| *record_end <= end);
        let mut expected: BTreeSet<Sent> = whole.filter_map(|(_, sent)| *sent).collect();
        if end >= note {
            expected.remove(&(1, 1, 2));
        }
        assert_eq!(delivered(&bytes[..end]), (expected, 0), "cut at {end}");
    }
}

#[test]
fn behind_a_segment_that_ends_anywhere_more_is_written() {
    let (bytes, _) = segment();
    for end in (0..40).chain([bytes.len() - 1]) {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("00000001.segment"), &bytes[..end]).unwrap();
        Process::start(dir.path(), 2).freeze_all(1);
        let process = Process::start(dir.path(), 3);
        assert!(process.deliver_all().contains(&(2, 1, 2)), "cut at {end}");
        assert_eq!(process.counters.damaged_batches.get(), 0, "cut at {end}");
    }
}

#[test]
fn a_changed_byte_costs_one_record_at_the_most_and_is_counted() {
    let (bytes, records) = segment();
    let all: BTreeSet<Sent> = records.iter().filter_map(|(_, sent)| *sent).collect();
    let last_start = records[records.len() - 2].0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        // Another version is another format.
        if at == segment::HEAD.len() - 1 {
            assert_eq!(delivered(&changed), (BTreeSet::new(), 1));
            continue;
        }
        let (sent, damaged) = delivered(&changed);
        let hit = records.iter().find(|(end, _)| at < *end && at >= segment::HEAD.len());
        let mut expected = all.clone();
        if at < last_start {
            expected.remove(&(1, 1, 2));
        }
        if let Some((_, Some(lost))) = hit {
            expected.remove(lost);
        }
        assert_eq!(sent, expected, "byte {at}");
        // What is wrong at the very end cannot be told from a write that was cut off.
        assert_eq!(damaged, u64::from(at < last_start), "byte {at}");
    }
}

#[test]
fn a_batch_that_becomes_unreadable_while_the_agent_runs_holds_up_nothing() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    process.freeze_all(8);
    assert_eq!(process.deliver(), Some((1, 15, 16)));
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(path, bytes).unwrap();
    let sent = process.deliver_all();
    assert_eq!(sent.len(), 6, "{sent:?}");
    assert_eq!((process.counters.damaged_batches.get(), process.spool.stats().batches), (1, 0));
    process.freeze_all(1);
    let waiting = process.next().unwrap();
    assert_eq!(process.spool.floor(&waiting), 17, "the server may forget what is lost");
}

#[test]
fn a_batch_that_cannot_be_parted_holds_up_nothing() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), 1);
    let mut misshapen = batch(1, 1..=2);
    misshapen.readings.last = 6;
    process.spool.freeze(misshapen, &process.list).unwrap();
    process.next = 7;
    process.freeze_all(FRESH_BATCHES_MAX);
    process.deliver().unwrap();
    let waiting = process.spool.backlog().unwrap();
    assert!(process.spool.cut(&waiting));
    let next = process.spool.backlog().map(|waiting| waiting.batch.readings.first);
    assert_eq!((next, process.counters.damaged_batches.get()), (Some(7), 1));
    assert_eq!(process.spool.stats().batches, FRESH_BATCHES_MAX - 1);
}

#[test]
fn a_segment_of_which_nothing_can_be_read_is_passed_over() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { bytes_max: 8 << 10, ..LIMITS };
    Process::with(dir.path(), 1, limits, Arc::new(OsDisk)).freeze_all(40);
    let files = segments(dir.path());
    assert!(files.len() > 3, "{files:?}");
    fs::write(&files[1], vec![0xed; 1_000]).unwrap();
    fs::write(dir.path().join("00000000.segment"), vec![0; 100]).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let process = Process::with(dir.path(), 2, limits, Arc::new(OsDisk));
    let sent = process.deliver_all();
    assert!(sent.is_sorted() && sent.len() > 20 && sent.len() < 40, "{sent:?}");
    assert_eq!(process.counters.damaged_batches.get(), 2);
    assert!(dir.path().join("notes.txt").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_lies_there_what_is_new_is_delivered(
        begins_as_one_of_ours in any::<bool>(),
        noise in prop::collection::vec(any::<u8>(), 0..400),
        swapped in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
    ) {
        let mut bytes = if begins_as_one_of_ours { segment().0 } else { Vec::new() };
        bytes.extend(noise);
        bytes.push(0);
        for (at, byte) in swapped {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        delivered(&bytes);
    }
}
