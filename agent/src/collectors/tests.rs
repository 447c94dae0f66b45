//! The collectors together: against the catalogue, and when one of them fails.

use super::*;
use edgewatch_shared::{
    TimestampMs,
    catalogue::{CATALOGUE, DIFFERENCES, find},
};
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

/// Two collectors, of which the second is `second`.
fn collectors(second: fn() -> (Vec<Reading>, Result<(), CollectError>)) -> (Collectors, Arc<Counters>) {
    let healthy = || (vec![Reading::plain("load_1m", 1.0)], Ok(()));
    let counters = Arc::new(Counters::default());
    let running = |(noun, _): (&'static str, _), canned| Running {
        noun,
        collector: Box::new(Canned(canned)),
        is_failing: false,
        room: 0,
    };
    let collectors = Collectors {
        running: vec![running(NOUNS[0], healthy), running(NOUNS[1], second)],
        naming: Naming::Edgewatch,
        exclude: Patterns::default(),
        counters: Arc::clone(&counters),
    };
    (collectors, counters)
}

fn of_this_host(collection: &Collection) -> Collectors {
    let clock = Arc::new(Clock::new(|| 0, TimestampMs(0)));
    Collectors::of_this_host(collection, &clock, Arc::new(Counters::default()), Box::new(|| 0))
}

fn described() -> Vec<&'static str> {
    NOUNS.iter().flat_map(|(_, names)| names.iter().copied()).collect()
}

/// Whether the labels are the catalogue's. What an `_info` does not know is absent.
fn has_legal_labels(reading: &Reading) -> bool {
    let known = find(reading.name).unwrap().label_keys;
    let mut keys: Vec<&str> = reading.labels.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys == known || (reading.name.ends_with("_info") && keys.iter().all(|key| known.contains(key)))
}

#[test]
fn every_described_name_is_in_the_catalogue_and_every_entry_is_described_once() {
    let described = described();
    let known: BTreeSet<&str> = CATALOGUE
        .iter()
        .map(|metric| metric.name)
        // What MiniObserv's agents send; ours sends the counters behind them.
        .filter(|name| DIFFERENCES.iter().all(|(difference, _)| difference != name))
        .collect();
    assert_eq!(described.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(described.len(), known.len());
    for (noun, names) in NOUNS {
        assert!(names.is_sorted(), "{noun}");
    }
}

#[test]
fn other_systems_emit_nothing_else() {
    let described = described();
    for (noun, names) in portable::NOUNS {
        assert!(names.iter().all(|name| described.contains(name)), "{noun}");
    }
}

#[test]
fn this_hosts_readings_are_described_and_have_the_catalogues_labels() {
    let readings = of_this_host(&Collection::usual(Naming::Edgewatch, "/nowhere".into())).collect();
    assert!(!readings.is_empty());
    for reading in readings {
        assert!(described().contains(&reading.name), "{}", reading.name);
        assert!(has_legal_labels(&reading), "{reading:?}");
    }
}

#[test]
fn under_node_exporters_names_every_series_is_known_and_there_once() {
    let readings = of_this_host(&Collection::usual(Naming::NodeExporter, "/nowhere".into())).collect();
    let mut series = BTreeSet::new();
    for reading in readings {
        assert!(has_legal_labels(&reading), "{reading:?}");
        assert!(series.insert((reading.name, reading.labels.clone())), "{reading:?} is there twice");
    }
    let names: BTreeSet<&str> = series.iter().map(|(name, _)| *name).collect();
    for name in ["node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_load1", "mem_used_pct"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(!names.contains("cpu_mode_seconds_total") && !names.contains("net_receive_bytes_total"));
}

#[test]
fn what_is_switched_off_is_not_read_and_what_is_left_out_is_not_sent() {
    let collection = Collection {
        off: Patterns::parse("cpu, memory"),
        metrics_exclude: Patterns::parse("load_*, !load_1m, disk_*, !disk_*{mount=/}"),
        ..Collection::usual(Naming::Edgewatch, "/nowhere".into())
    };
    let names: BTreeSet<&str> =
        of_this_host(&collection).collect().iter().map(|reading| reading.name).collect();
    assert!(names.iter().all(|name| !name.starts_with("cpu_") && !name.starts_with("mem_")), "{names:?}");
    assert!(names.contains("load_1m") && !names.contains("load_5m"));
    assert!(names.contains("disk_used_pct") && !names.contains("disk_reads_total"));
}

#[test]
fn a_failing_collector_costs_itself_only_and_is_counted() {
    let (mut collectors, counters) = collectors(|| (Vec::new(), Err(CollectError::Absurd("broken"))));
    for round in 1..=2 {
        assert_eq!(collectors.collect().len(), 1);
        let failures: Vec<u64> = counters.collector_failures().map(|(_, count)| count).collect();
        assert_eq!((failures[1], failures.iter().sum::<u64>()), (round, round));
    }
}

#[test]
fn a_noun_with_too_many_series_costs_itself_only_and_is_counted() {
    // As a host with so many processors has them under node_exporter's names.
    let many = || (vec![Reading::plain("load_5m", 1.0); HOST_SERIES_MAX], Ok(()));
    let (mut cut, counters) = collectors(many);
    let readings = cut.collect();
    assert_eq!((readings.len(), readings[0].name), (HOST_SERIES_MAX, "load_1m"));
    let failures: Vec<u64> = counters.collector_failures().map(|(_, count)| count).collect();
    assert_eq!((failures[0], failures[1]), (0, 1));
    let (mut whole, counters) =
        collectors(|| (vec![Reading::plain("load_5m", 1.0); HOST_SERIES_MAX - 1], Ok(())));
    assert_eq!(whole.collect().len(), HOST_SERIES_MAX);
    assert_eq!(counters.collector_failures().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn who_has_little_keeps_it_and_the_others_share_the_rest() {
    for (counts, share) in [
        (&[][..], 10),
        (&[10], 10),
        (&[11], 10),
        (&[3, 7], 10),
        (&[3, 8], 7),
        (&[9, 1, 9], 4),
        (&[1, 2, 7, 90], 3),
        (&[1; 11], 0),
    ] {
        assert_eq!(fair_share(counts, 10), share, "{counts:?}");
    }
}

#[test]
fn what_was_read_before_an_error_counts() {
    let (mut collectors, _) =
        collectors(|| (vec![Reading::plain("load_5m", 1.0)], Err(CollectError::Absurd("half broken"))));
    assert_eq!(collectors.collect().len(), 2);
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
        assert_eq!(drop_illegal(&mut readings), Some(reading().name));
        assert_eq!(readings, [Reading::plain("load_1m", 1.0)]);
    }
    let (mut collectors, counters) = collectors(|| (vec![Reading::plain("load_5m", f64::NAN)], Ok(())));
    assert_eq!(collectors.collect().len(), 1);
    assert_eq!(counters.collector_failures().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn the_longest_label_is_kept() {
    let longest = Reading::labelled("disk_used_pct", "mount", &"m".repeat(LABEL_VALUE_BYTES_MAX), 1.0);
    assert!(longest.is_legal());
}
