//! The collectors together: against the catalogue, and when one of them fails.

use super::*;
use edgewatch_shared::catalogue::{CATALOGUE, DIFFERENCES, find};
use std::collections::BTreeSet;

/// Stands in for a collector.
struct Canned(fn() -> (Vec<Reading>, Result<(), CollectError>));

impl Collector for Canned {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let (mut canned, result) = (self.0)();
        readings.append(&mut canned);
        result
    }
}

fn collectors(second: fn() -> (Vec<Reading>, Result<(), CollectError>)) -> (Collectors, Arc<Counters>) {
    let healthy = || (vec![Reading::plain("load_1m", 1.0)], Ok(()));
    let counters = Arc::new(Counters::default());
    let collectors = Collectors {
        all: std::array::from_fn(|index| {
            Box::new(Canned(if index == 1 { second } else { healthy })) as Box<dyn Collector>
        }),
        failing: [false; NOUNS.len()],
        counters: Arc::clone(&counters),
    };
    (collectors, counters)
}

#[test]
fn every_described_name_is_in_the_catalogue_and_every_entry_is_described_once() {
    let described: Vec<&str> = DESCRIBED.concat();
    let known: BTreeSet<&str> = CATALOGUE
        .iter()
        .map(|metric| metric.name)
        // What MiniObserv's agents send; ours sends the counters behind them.
        .filter(|name| DIFFERENCES.iter().all(|(difference, _)| difference != name))
        .collect();
    assert_eq!(described.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(described.len(), known.len());
}

#[test]
fn this_hosts_readings_are_described_and_have_the_catalogues_labels() {
    let mut collectors = Collectors::of_this_host(Arc::new(Counters::default()), Box::new(|| 0));
    let readings = collectors.collect();
    assert!(!readings.is_empty());
    for reading in readings {
        assert!(DESCRIBED.concat().contains(&reading.name), "{}", reading.name);
        let keys: Vec<&str> = reading.labels.iter().map(|(key, _)| *key).collect();
        assert_eq!(find(reading.name).unwrap().label_keys, keys, "{}", reading.name);
    }
}

#[test]
fn a_failing_collector_costs_itself_only_and_is_counted() {
    let (mut collectors, counters) = collectors(|| (Vec::new(), Err(CollectError::Absurd("broken"))));
    for round in 1..=2 {
        assert_eq!(collectors.collect().len(), NOUNS.len() - 1);
        let failures: Vec<u64> = counters.collector_failures().map(|(_, count)| count).collect();
        assert_eq!(failures, [0, round, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn what_was_read_before_an_error_counts() {
    let (mut collectors, _) =
        collectors(|| (vec![Reading::plain("load_5m", 1.0)], Err(CollectError::Absurd("half broken"))));
    assert_eq!(collectors.collect().len(), NOUNS.len());
}

#[test]
fn a_reading_that_would_cost_its_batch_is_dropped_and_counted() {
    let illegal: [fn() -> Reading; 4] = [
        || Reading::plain("load_5m", f64::NAN),
        || Reading::plain("load_5m", f64::INFINITY),
        || Reading::labelled("disk_used_pct", "mount", "", 1.0),
        || Reading::labelled("disk_used_pct", "mount", &"m".repeat(LABEL_VALUE_BYTES_MAX + 1), 1.0),
    ];
    for reading in illegal {
        let mut readings = vec![Reading::plain("load_1m", 1.0), reading()];
        assert_eq!(drop_illegal(&mut readings, 1), Some(reading().name));
        assert_eq!(readings, [Reading::plain("load_1m", 1.0)]);
    }
    let (mut collectors, counters) = collectors(|| (vec![Reading::plain("load_5m", f64::NAN)], Ok(())));
    assert_eq!(collectors.collect().len(), NOUNS.len() - 1);
    assert_eq!(counters.collector_failures().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn the_longest_label_is_kept() {
    let longest = Reading::labelled("disk_used_pct", "mount", &"m".repeat(LABEL_VALUE_BYTES_MAX), 1.0);
    assert!(longest.is_legal());
}
