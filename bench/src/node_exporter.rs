//! How much of what Debian's node_exporter tells the agent tells too under `names = "node_exporter"`: the same name, the
//! same labels, and a value within tolerance.

use crate::{
    figure::Figure,
    peers::node_exporter::{NAME, NodeExporter},
};
use anyhow::{Result, ensure};
use edgewatch_agent::{
    clock::Clock,
    collectors::{Collectors, Reading},
    counters::Counters,
    os_clock,
    settings::collection::{Collection, Naming},
};
use std::{collections::BTreeMap, sync::Arc};

/// The families that the preset promises.
const FAMILIES: &[&str] =
    &["node_cpu", "node_memory", "node_filesystem", "node_disk", "node_network", "node_load"];

/// What a value may differ by from the nearer of two scrapes around it, as a share. Reason: memory and free space move
/// between two readings on a machine that is at work.
const TOLERANCE: f64 = 0.05;
/// What it may differ by at least. Reason: a counter of seconds that stood at 0; a flag must be the same.
const TOLERANCE_MIN: f64 = 0.5;

/// A series' name and labels, without empty ones: to Prometheus an empty label is an absent one.
type Key = (String, BTreeMap<String, String>);

/// The share of node_exporter's series that the agent has too, and what it lacks on standard error.
pub fn measure() -> Result<Vec<Figure>> {
    let exporter = NodeExporter::start()?;
    let mut collectors = Collectors::of_this_host(
        &Collection::usual(Naming::NodeExporter, "/nowhere".into()),
        &Arc::new(Clock::new(os_clock::running_ms, os_clock::wall())),
        Arc::new(Counters::default()),
        Box::new(|| 0),
    );
    let before = parse(&exporter.scrape()?);
    let ours: BTreeMap<Key, f64> = collectors.collect().into_iter().map(series).collect();
    let after = parse(&exporter.scrape()?);
    ensure!(!after.is_empty(), "{NAME} tells nothing of {FAMILIES:?}");
    let mut same = 0_u32;
    for (key, last) in &after {
        let first = before.get(key).unwrap_or(last);
        match ours.get(key) {
            Some(value) if is_within(*value, *first, *last) => same += 1,
            Some(value) => eprintln!("{key:?}: {value}, {NAME}: {first} to {last}"),
            None => eprintln!("{key:?}: missing"),
        }
    }
    let share = f64::from(same) / after.len() as f64;
    Ok(vec![
        Figure::new("node_exporter_series_share", share, ""),
        Figure::new("node_exporter_series", after.len() as f64, ""),
    ])
}

fn series(reading: Reading) -> (Key, f64) {
    let labels = reading.labels.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
    ((reading.name.to_owned(), labels), reading.value)
}

/// Whether a value lies between two others, give or take.
fn is_within(value: f64, first: f64, last: f64) -> bool {
    let slack = (first.abs().max(last.abs()) * TOLERANCE).max(TOLERANCE_MIN);
    (first.min(last) - slack..=first.max(last) + slack).contains(&value)
}

/// The series of [`FAMILIES`] in a page of Prometheus' text format; a line that cannot be read is passed over.
fn parse(page: &str) -> BTreeMap<Key, f64> {
    let wanted = |line: &&str| FAMILIES.iter().any(|family| line.starts_with(family));
    page.lines().filter(wanted).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(Key, f64)> {
    let (name_and_labels, value) = line.rsplit_once(' ')?;
    let (name, labels) = name_and_labels.split_once('{').unwrap_or((name_and_labels, "}"));
    let mut labels = labels.strip_suffix('}')?;
    let mut read = BTreeMap::new();
    while let Some((key, rest)) = labels.split_once("=\"") {
        let mut text = String::new();
        let mut characters = rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => match characters.next()? {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
        if !text.is_empty() {
            read.insert(key.to_owned(), text);
        }
        labels = characters.as_str().trim_start_matches(',');
    }
    Some(((name.to_owned(), read), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_labels_and_without_empty_ones() {
        let page = "# HELP node_load1 x\nnode_load1 0.5\ngo_threads 7\n\
            node_disk_info{device=\"a\\\"b\",path=\"\",serial=\"x,y\"} 1.5e+06\nnode_disk_x{device=\"a 1\n";
        let key = |name: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
            (name.to_owned(), labels.collect())
        };
        let expected = BTreeMap::from([
            (key("node_load1", &[]), 0.5),
            (key("node_disk_info", &[("device", "a\"b"), ("serial", "x,y")]), 1_500_000.0),
        ]);
        assert_eq!(parse(page), expected);
    }

    #[test]
    fn a_value_lies_between_two_scrapes_give_or_take() {
        for (value, first, last, within) in [
            (105.0, 100.0, 110.0, true),
            (94.6, 100.0, 110.0, true),
            (94.4, 100.0, 110.0, false),
            (115.4, 110.0, 100.0, true),
            (115.6, 110.0, 100.0, false),
            (0.5, 0.0, 0.0, true),
            (0.6, 0.0, 0.0, false),
        ] {
            assert_eq!(is_within(value, first, last), within, "{value}");
        }
    }
}
