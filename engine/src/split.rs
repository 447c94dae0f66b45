//! A push of a host whose series are spread over several shards, taken apart: each series goes to the shard that its
//! fingerprint says, every part under the identity of the whole.

use crate::{
    call::{Listed, Named, Payload, Push, ShardError, Way},
    dictionaries::Dictionary,
    frame,
    head::ShardNumber,
    headlines::Headlines,
    series_limit::{Fingerprint, fingerprint},
    shard::Instance,
};
use edgewatch_shared::{
    Sample, Series,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    series::SeriesSamples,
    wire::push::{DictionaryId, decode_columns, encode_columns, encode_series},
};
use std::{collections::BTreeSet, rc::Rc};

/// The place of a series' shard among `shards`.
fn place_of(series: Fingerprint, shards: &[ShardNumber]) -> Option<usize> {
    let count = u64::try_from(shards.len()).ok()?;
    usize::try_from(series.checked_rem(count)?).ok()
}

/// Which part of a host's series each of these shards has, of how many.
pub fn parts_of_series(shards: &[ShardNumber]) -> Vec<(ShardNumber, String)> {
    let part = |(at, shard): (usize, &ShardNumber)| (*shard, format!("{at}/{}", shards.len()));
    shards.iter().enumerate().map(part).collect()
}

/// The parts of a push, by shard; a shard without any of its samples gets none. A push that names a series list which
/// this instance does not know is refused as by a shard: sent again with its list, it is known from then on.
pub fn parts(
    push: Push,
    shards: &[ShardNumber],
    instance: &mut Instance,
) -> Result<Vec<(ShardNumber, Push)>, ShardError> {
    let payloads = match push.payload {
        None => shards.iter().map(|shard| (*shard, None)).collect(),
        Some(Payload::Named(named)) => parts_of_named(&named, shards, instance)?,
        Some(Payload::Listed(listed)) => parts_of_listed(listed, shards, instance)?,
    };
    let (mut outside_window, mut record) = (push.outside_window, push.record);
    let part = |(shard, payload)| {
        // Counted and kept once.
        let (outside_window, record) = (std::mem::take(&mut outside_window), record.take());
        let (sender, facts) = (push.sender.clone(), push.facts.clone());
        (shard, Push { sender, facts, outside_window, payload, record, way: Way::Part })
    };
    Ok(payloads.into_iter().map(part).collect())
}

type Payloads = Vec<(ShardNumber, Option<Payload>)>;

fn parts_of_named(
    batch: &Named,
    shards: &[ShardNumber],
    instance: &mut Instance,
) -> Result<Payloads, ShardError> {
    let corrupt = |error: &dyn std::fmt::Display| ShardError::Corrupt(error.to_string());
    let all = frame::decode(&batch.frame, &mut instance.inflater).map_err(|error| corrupt(&error))?;
    let mut by_shard: Vec<Vec<SeriesSamples>> = shards.iter().map(|_| Vec::new()).collect();
    for entry in all {
        let at = place_of(fingerprint(&entry.series), shards);
        if let Some(series) = at.and_then(|at| by_shard.get_mut(at)) {
            series.push(entry);
        }
    }
    let mut active = BTreeSet::new();
    active.extend(batch.series.iter().copied());
    let part = |(shard, series): (&ShardNumber, Vec<SeriesSamples>)| {
        let headlines = Headlines::of(series.iter().map(|entry| &entry.series));
        let fingerprints = series.iter().map(|entry| fingerprint(&entry.series));
        let newest = headlines.values(|at| Some(series.get(at)?.samples.last()?.value));
        let named = Named {
            samples: count(series.iter().map(|entry| entry.samples.len())),
            series: fingerprints.filter(|fingerprint| active.contains(fingerprint)).collect(),
            newest: if batch.newest.is_empty() { Vec::new() } else { newest },
            frame: frame::encode_series(&series, &mut instance.deflater).map_err(|error| corrupt(&error))?,
        };
        Ok((*shard, Some(Payload::Named(named))))
    };
    shards.iter().zip(by_shard).filter(|(_, series)| !series.is_empty()).map(part).collect()
}

fn parts_of_listed(
    push: Listed,
    shards: &[ShardNumber],
    instance: &mut Instance,
) -> Result<Payloads, ShardError> {
    let list = match push.series {
        Some(series) => {
            let list = Rc::new(Dictionary::new(series));
            instance.dictionaries.keep(push.dictionary, &list);
            list
        }
        None => instance.dictionaries.cached(push.dictionary).ok_or(ShardError::UnknownDictionary)?,
    };
    let columns = decode_columns(&push.columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX)
        .map_err(|error| ShardError::Corrupt(error.to_string()))?;
    if columns.len() != list.series().len() {
        let (columns, series) = (columns.len() as u64, list.series().len() as u64);
        return Err(ShardError::Shape { columns, series });
    }
    let mut by_shard: Vec<(Vec<Series>, Vec<Vec<Sample>>)> =
        shards.iter().map(|_| Default::default()).collect();
    for (series, samples) in list.series().iter().zip(columns) {
        let at = place_of(fingerprint(series), shards);
        if let Some((all_series, all_samples)) = at.and_then(|at| by_shard.get_mut(at)) {
            all_series.push(series.clone());
            all_samples.push(samples);
        }
    }
    let has_samples = |(_, (_, samples)): &(&ShardNumber, (Vec<Series>, Vec<Vec<Sample>>))| {
        samples.iter().any(|samples| !samples.is_empty())
    };
    let part = |(shard, (series, samples)): (&ShardNumber, (Vec<Series>, Vec<Vec<Sample>>))| {
        let listed = Listed {
            samples: count(samples.iter().map(Vec::len)),
            identity: push.identity,
            dictionary: DictionaryId::of(&encode_series(&series)),
            newest: samples.iter().map(|samples| samples.last().map(|sample| sample.value)).collect(),
            columns: encode_columns(&samples),
            series: Some(series),
        };
        (*shard, Some(Payload::Listed(listed)))
    };
    Ok(shards.iter().zip(by_shard).filter(has_samples).map(part).collect())
}

fn count(lengths: impl Iterator<Item = usize>) -> u32 {
    u32::try_from(lengths.fold(0, usize::saturating_add)).unwrap_or(u32::MAX)
}
