//! Heads: what the log holds of a host, decoded, for as long as somebody reads it.
//!
//! All heads of a wasm instance live in one registry with a cap, because the
//! instance's memory is shared by all its shards and never given back. A push
//! to a host without a head builds none.

use crate::{call::Read, series_registry::SeriesSpan, wal::Unreadable};
use edgewatch_shared::{HostId, Sample, Series, TimestampMs, series::SeriesSamples};
use std::collections::{BTreeMap, HashMap};

/// The unsealed samples of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostHead {
    series: BTreeMap<Series, Vec<Sample>>,
    /// What of the log is missing, and why.
    missing: Vec<String>,
    bytes: usize,
}

/// What a series costs beside its samples and texts: tree node, vectors, allocator.
const SERIES_OVERHEAD_BYTES: usize = 160;
const SAMPLE_BYTES: usize = size_of::<Sample>();
/// Missing pieces that are named; the others are counted.
const MISSING_NAMED_MAX: usize = 10;

impl HostHead {
    /// Takes in a row. Of two samples at one instant the later row's counts.
    pub fn insert(&mut self, row: Vec<SeriesSamples>) {
        for SeriesSamples { series, samples } in row {
            let text_bytes = series.text_bytes();
            let kept = self.series.entry(series).or_default();
            let mut grown = samples.len().saturating_mul(SAMPLE_BYTES);
            if kept.is_empty() {
                grown = grown.saturating_add(text_bytes).saturating_add(SERIES_OVERHEAD_BYTES);
            }
            self.bytes = self.bytes.saturating_add(grown);
            insert_in_order(kept, samples);
        }
    }

    /// What a read asks for.
    pub fn select(&self, read: &Read) -> Vec<SeriesSamples> {
        self.series
            .iter()
            .filter(|(series, _)| read.wants(series))
            .map(|(series, samples)| SeriesSamples {
                series: series.clone(),
                samples: between(samples, read.from, read.to),
            })
            .filter(|found| !found.samples.is_empty())
            .collect()
    }

    /// Notes what of the log could not be read.
    pub fn note_missing(&mut self, unreadable: &[Unreadable]) {
        self.missing = unreadable.iter().take(MISSING_NAMED_MAX).map(ToString::to_string).collect();
        let further = unreadable.len().saturating_sub(MISSING_NAMED_MAX);
        if further > 0 {
            self.missing.push(format!("{further} more pieces of the log do not decode"));
        }
        let bytes = self.missing.iter().map(String::len).fold(0, usize::saturating_add);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// What of the log is missing, and why.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Everything in it, series in order.
    pub fn into_series(self) -> impl Iterator<Item = SeriesSamples> {
        self.series.into_iter().map(|(series, samples)| SeriesSamples { series, samples })
    }

    /// The series in it, and the hours of their oldest and newest samples.
    pub fn spans(&self) -> impl Iterator<Item = SeriesSpan> {
        self.series.iter().filter_map(|(series, samples)| {
            let (first, last) = (samples.first()?.time.hour(), samples.last()?.time.hour());
            Some(SeriesSpan { series: series.clone(), first, last })
        })
    }

    /// The series in it.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.keys()
    }

    /// Its size by our own account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The samples from `from` to `to`, both included.
pub fn between(samples: &[Sample], from: TimestampMs, to: TimestampMs) -> Vec<Sample> {
    let start = samples.partition_point(|sample| sample.time < from);
    let end = samples.partition_point(|sample| sample.time <= to);
    samples.get(start..end).map(<[Sample]>::to_vec).unwrap_or_default()
}

/// Merges samples in order into samples in order, in one pass; at one instant the new one counts.
fn insert_in_order(kept: &mut Vec<Sample>, new: Vec<Sample>) {
    let Some(first) = new.first() else { return };
    let overlap = kept.partition_point(|sample| sample.time < first.time);
    let mut old = kept.split_off(overlap).into_iter().peekable();
    kept.reserve(old.len().saturating_add(new.len()));
    for sample in new {
        while let Some(earlier) = old.next_if(|old| old.time < sample.time) {
            kept.push(earlier);
        }
        old.next_if(|old| old.time == sample.time);
        kept.push(sample);
    }
    kept.extend(old);
}

/// Number of a shard, unique in the fleet.
pub type ShardNumber = u16;

#[derive(Debug)]
struct Entry {
    head: HostHead,
    last_used: u64,
}

/// All heads of an instance, within a cap; the least recently used one goes first.
#[derive(Debug)]
pub struct HeadRegistry {
    heads: HashMap<(ShardNumber, HostId), Entry>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
}

impl HeadRegistry {
    /// An empty registry that holds at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { heads: HashMap::new(), bytes: 0, bytes_max, uses: 0 }
    }

    /// A host's head, if there is one.
    pub fn get(&mut self, shard: ShardNumber, host: HostId) -> Option<&HostHead> {
        self.uses = self.uses.saturating_add(1);
        let entry = self.heads.get_mut(&(shard, host))?;
        entry.last_used = self.uses;
        Some(&entry.head)
    }

    /// Keeps a head that was just built. One over the cap is not kept.
    pub fn keep(&mut self, shard: ShardNumber, host: HostId, head: HostHead) {
        self.drop_head(shard, host);
        if head.bytes <= self.bytes_max {
            self.make_room_for(head.bytes);
            self.bytes = self.bytes.saturating_add(head.bytes);
            self.heads.insert((shard, host), Entry { head, last_used: self.uses });
        }
    }

    /// Brings a head up to date with a row that is stored; `row` is asked for only if there is a head.
    /// A row that cannot be read drops the head: the next reader builds it again and says what is wrong.
    pub fn update(
        &mut self,
        shard: ShardNumber,
        host: HostId,
        row: impl FnOnce() -> Option<Vec<SeriesSamples>>,
    ) {
        let Some(entry) = self.heads.get_mut(&(shard, host)) else {
            return;
        };
        let Some(row) = row() else {
            return self.drop_head(shard, host);
        };
        let before = entry.head.bytes;
        entry.head.insert(row);
        self.bytes = self.bytes.saturating_add(entry.head.bytes.saturating_sub(before));
        self.make_room_for(0);
    }

    /// Drops heads until so many more bytes fit, or none is left: the least recently used first.
    pub fn make_room_for(&mut self, bytes: usize) {
        while self.bytes.saturating_add(bytes) > self.bytes_max {
            let oldest = self.heads.iter().min_by_key(|(_, entry)| entry.last_used).map(|(key, _)| *key);
            let Some((shard, host)) = oldest else { return };
            self.drop_head(shard, host);
        }
    }

    /// Drops every head of a shard: its log changed under them, or a new incarnation begins.
    pub fn drop_shard(&mut self, shard: ShardNumber) {
        self.heads.retain(|(other, _), _| *other != shard);
        self.bytes = self.heads.values().map(|entry| entry.head.bytes).fold(0, usize::saturating_add);
    }

    /// Bytes of all heads by our own account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a single head may have at most.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn drop_head(&mut self, shard: ShardNumber, host: HostId) {
        if let Some(entry) = self.heads.remove(&(shard, host)) {
            self.bytes = self.bytes.saturating_sub(entry.head.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::Labels;

    fn row(times: &[i64], value: f64) -> Vec<SeriesSamples> {
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let samples = times.iter().map(|ms| Sample { time: TimestampMs(*ms), value }).collect();
        vec![SeriesSamples { series, samples }]
    }

    fn times(head: &HostHead, from: i64, to: i64) -> Vec<(i64, f64)> {
        let read = Read {
            hosts: Vec::new(),
            names: vec!["load_1m".into()],
            labels: Labels::new(),
            from: TimestampMs(from),
            to: TimestampMs(to),
            evaluation: None,
            is_partial: false,
        };
        let found = head.select(&read);
        found
            .into_iter()
            .flat_map(|found| found.samples)
            .map(|sample| (sample.time.0, sample.value))
            .collect()
    }

    fn host(n: u8) -> HostId {
        HostId::new(0, [n; 14])
    }

    #[test]
    fn late_and_repeated_samples_find_their_place() {
        let mut head = HostHead::default();
        head.insert(row(&[10, 30], 1.0));
        head.insert(row(&[20, 30], 2.0));
        assert_eq!(times(&head, 0, 99), [(10, 1.0), (20, 2.0), (30, 2.0)]);
        assert_eq!(times(&head, 20, 20), [(20, 2.0)]);
        assert_eq!(times(&head, 31, 99), []);
    }

    #[test]
    fn over_the_cap_the_least_recently_used_head_goes() {
        let mut head = HostHead::default();
        head.insert(row(&(0..100).collect::<Vec<_>>(), 1.0));
        let mut registry = HeadRegistry::new(head.bytes() * 2);
        registry.keep(0, host(1), head.clone());
        registry.keep(0, host(2), head.clone());
        assert!(registry.get(0, host(1)).is_some());
        registry.keep(0, host(3), head.clone());
        assert!(registry.get(0, host(2)).is_none());
        assert!(registry.get(0, host(1)).is_some() && registry.get(0, host(3)).is_some());
        assert_eq!(registry.bytes(), head.bytes() * 2);
    }

    #[test]
    fn a_head_over_the_cap_is_not_kept() {
        let mut head = HostHead::default();
        head.insert(row(&[1, 2, 3], 1.0));
        let mut registry = HeadRegistry::new(head.bytes() - 1);
        registry.keep(0, host(1), head);
        assert!(registry.get(0, host(1)).is_none());
        assert_eq!(registry.bytes(), 0);
    }

    #[test]
    fn room_is_made_before_a_head_is_built_and_never_more_than_there_is() {
        let mut head = HostHead::default();
        head.insert(row(&(0..100).collect::<Vec<_>>(), 1.0));
        let mut registry = HeadRegistry::new(head.bytes() * 2);
        registry.keep(0, host(1), head.clone());
        registry.keep(0, host(2), head.clone());
        assert!(registry.get(0, host(2)).is_some());
        registry.make_room_for(0);
        assert_eq!(registry.bytes(), head.bytes() * 2);
        registry.make_room_for(1);
        assert!(registry.get(0, host(1)).is_none() && registry.get(0, host(2)).is_some());
        registry.make_room_for(head.bytes() * 3);
        assert_eq!(registry.bytes(), 0);
    }

    #[test]
    fn so_many_missing_pieces_are_named_and_the_others_counted() {
        let unreadable = |seq| Unreadable { hour: TimestampMs(0).hour(), seq, push: None, why: "cut".into() };
        let named = |count: usize| {
            let mut head = HostHead::default();
            head.note_missing(&(0..count as i64).map(unreadable).collect::<Vec<_>>());
            head.missing().to_vec()
        };
        assert_eq!(named(MISSING_NAMED_MAX).len(), MISSING_NAMED_MAX);
        let more = named(MISSING_NAMED_MAX + 2);
        assert_eq!(more.len(), MISSING_NAMED_MAX + 1);
        assert!(more[MISSING_NAMED_MAX].starts_with("2 more"));
    }

    #[test]
    fn only_a_head_that_exists_is_brought_up_to_date() {
        let mut registry = HeadRegistry::new(1 << 20);
        registry.update(0, host(1), || panic!("a cold push decodes nothing"));
        registry.keep(0, host(1), HostHead::default());
        registry.update(0, host(1), || Some(row(&[5], 1.0)));
        assert_eq!(times(registry.get(0, host(1)).unwrap(), 0, 9), [(5, 1.0)]);
        registry.update(0, host(1), || None);
        assert!(registry.get(0, host(1)).is_none());
        assert_eq!(registry.bytes(), 0);
    }

    #[test]
    fn a_new_incarnation_leaves_nothing_of_the_old_one() {
        let mut registry = HeadRegistry::new(1 << 20);
        registry.keep(1, host(1), HostHead::default());
        registry.keep(2, host(1), HostHead::default());
        registry.drop_shard(1);
        assert!(registry.get(1, host(1)).is_none() && registry.get(2, host(1)).is_some());
    }
}
