//! Recorded samples: what a real host measured, read from JSON lines under zstd.
//!
//! A line `{"series": ["name{label=\"value\",…}", …]}` says which series follow, until another says so; every other
//! line is a round: `{"t": <ms since the epoch>, "v": [<value, or its text>, …]}`, in the order of the series.

use anyhow::{Context, Result, ensure};
use edgewatch_shared::{Labels, Sample, Series, TimestampMs, series::SeriesSamples, time::Hour};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};
use xtask::project;

/// Rounds of a second in a step of ten.
const STEP: i64 = 10;

/// A host's samples.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What it is called in the names of figures.
    pub set: &'static str,
    /// Sorted by series, each with its samples in order of time.
    pub series: Vec<SeriesSamples>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Series { series: Vec<String> },
    Round { t: i64, v: Vec<Value> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Text(String),
}

impl Recording {
    /// Our own agent's readings, 10 s apart (`bench/data/README.md`).
    pub fn of_agent() -> Result<Self> {
        Self::read("agent", &project::root().join("bench/data/agent_metrics.jsonl.zst"), 1)
    }

    /// The same of an agent with all its default collectors, which rounds memory.
    pub fn of_agent_with_defaults() -> Result<Self> {
        Self::read("agent_defaults", &project::root().join("bench/data/agent_defaults.jsonl.zst"), 1)
    }

    /// A node_exporter's, taken once a second: every tenth round, for true steps of 10 s.
    pub fn of_node_exporter(path: &Path) -> Result<Self> {
        Self::read("recorded", path, usize::try_from(STEP)?)
    }

    /// The same recording whole: its ten series of every tenth round one after the other, 16 hours in all. Counters begin
    /// anew at each of the nine seams.
    pub fn of_node_exporter_in_turn(path: &Path) -> Result<Self> {
        let mut recording = Self::read("recorded_16h", path, 1)?;
        for series in &mut recording.series {
            let rounds = i64::try_from(series.samples.len())? / STEP;
            for (sample, round) in series.samples.iter_mut().zip(0..) {
                sample.time = sample.time.plus_ms((round % STEP) * (rounds * STEP - 1) * 1_000);
            }
            series.samples.truncate(usize::try_from(rounds * STEP)?);
            series.samples.sort_by_key(|sample| sample.time);
        }
        Ok(recording)
    }

    /// Reads every `step`-th round.
    fn read(set: &'static str, path: &Path, step: usize) -> Result<Self> {
        let context = || format!("reading {}", path.display());
        let lines = BufReader::new(zstd::Decoder::new(File::open(path).with_context(context)?)?).lines();
        let mut names: Vec<Series> = Vec::new();
        let mut found: BTreeMap<Series, Vec<Sample>> = BTreeMap::new();
        let mut rounds = 0_usize;
        for line in lines {
            match serde_json::from_str(&line.with_context(context)?).with_context(context)? {
                Line::Series { series } => {
                    names = series.iter().map(|text| series_of(text)).collect::<Result<_>>()?;
                }
                Line::Round { t, v } => {
                    ensure!(v.len() == names.len(), "a round of {} values for {}", v.len(), names.len());
                    if rounds.is_multiple_of(step) {
                        for (series, value) in names.iter().zip(v) {
                            let sample = Sample { time: TimestampMs(t), value: value.parse()? };
                            found.entry(series.clone()).or_default().push(sample);
                        }
                    }
                    rounds += 1;
                }
            }
        }
        ensure!(!found.is_empty(), "no samples in {}", path.display());
        let series = found.into_iter().map(|(series, samples)| SeriesSamples { series, samples }).collect();
        Ok(Self { set, series })
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }
}

impl Value {
    fn parse(self) -> Result<f64> {
        match self {
            Self::Number(value) => Ok(value),
            Self::Text(text) => text.parse().with_context(|| format!("the value {text:?}")),
        }
    }
}

/// Where the node_exporter's recording lies: said, in the environment, or beside the project.
pub fn node_exporter_path(said: Option<PathBuf>) -> PathBuf {
    said.or_else(|| std::env::var_os("EDGEWATCH_BENCH_DATA").map(PathBuf::from))
        .unwrap_or_else(|| project::root().join("../shared/data/node_metrics.jsonl.zst"))
}

/// Reads `name{label="value",…}` as Prometheus prints it.
fn series_of(text: &str) -> Result<Series> {
    let (name, mut rest) = match text.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').with_context(|| format!("the series {text}"))?),
        None => (text, ""),
    };
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"").with_context(|| format!("the labels of {text}"))?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next().with_context(|| format!("the end of a label of {text}"))? {
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped)) => value.push(escaped),
                    None => anyhow::bail!("the end of a label of {text}"),
                },
                (at, '"') => break at,
                (_, character) => value.push(character),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = quoted[end + 1..].trim_start_matches(',');
    }
    Ok(Series { name: name.to_owned(), labels })
}

/// Samples by the hour they were taken in: what a block of an hour is made of.
pub fn by_hour(series: &[SeriesSamples]) -> BTreeMap<Hour, Vec<SeriesSamples>> {
    let mut hours: BTreeMap<Hour, Vec<SeriesSamples>> = BTreeMap::new();
    for SeriesSamples { series, samples } in series {
        for of_one_hour in samples.chunk_by(|a, b| a.time.hour() == b.time.hour()) {
            let found = SeriesSamples { series: series.clone(), samples: of_one_hour.to_vec() };
            hours.entry(of_one_hour[0].time.hour()).or_default().push(found);
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_as_prometheus_prints_them() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Labels>()
        };
        for (text, name, expected) in [
            ("up", "up", labels(&[])),
            ("up{}", "up", labels(&[])),
            ("a{b=\"c\",d=\"\"}", "a", labels(&[("b", "c"), ("d", "")])),
            (r#"a{b="x\"y,\\\n}"}"#, "a", labels(&[("b", "x\"y,\\\n}")])),
        ] {
            let series = series_of(text).unwrap();
            assert_eq!((series.name.as_str(), series.labels), (name, expected), "{text}");
        }
        for text in ["a{b}", "a{b=\"c}", "a{b=\"c\""] {
            assert!(series_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_agents_recordings_have_steps_of_ten_seconds() {
        for recording in [Recording::of_agent().unwrap(), Recording::of_agent_with_defaults().unwrap()] {
            assert!(recording.series.len() >= 60, "{} series", recording.series.len());
            let steps = recording.series.iter().flat_map(|series| series.samples.windows(2));
            let steps: Vec<i64> = steps.map(|pair| pair[1].time.0 - pair[0].time.0).collect();
            let even = steps.iter().filter(|step| (9_900..=10_100).contains(*step)).count();
            assert!(even * 100 >= steps.len() * 99, "{even} of {}", steps.len());
        }
    }
}
