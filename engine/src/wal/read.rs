//! Samples out of the log: many pushes with one statement, and decoded together where they share their series list.

use super::{Form, PREFIX, Place, RecordPlace, Wal};
use crate::{
    compression::Inflater,
    dictionaries::{Dictionary, DictionaryCache, DictionaryError},
    frame,
    records::Record,
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    HostId, Sample,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    series::SeriesSamples,
    time::Hour,
    wire::push::{DictionaryId, decode_columns},
};
use std::{fmt::Write, ops::ControlFlow, rc::Rc};

/// What decoding needs, and all shards of an instance share.
pub struct Decoding<'a> {
    /// Decompression.
    pub inflater: &'a mut Inflater,
    /// Series lists.
    pub dictionaries: &'a mut DictionaryCache,
}

/// Something in the log that does not decode. It is set aside: the rest goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {seq} of WAL partition {} does not decode: {why}", .hour.label())]
pub struct Unreadable {
    /// The partition.
    pub hour: Hour,
    /// The row.
    pub seq: i64,
    /// Which of its pushes, and whose; `None` if not even that can be read.
    pub push: Option<(HostId, Place)>,
    /// What is wrong with it.
    pub why: String,
}

impl Unreadable {
    /// A push that cannot be used.
    pub fn of(host: HostId, place: Place, why: String) -> Self {
        Self { hour: place.hour, seq: place.seq, push: Some((host, place)), why }
    }
}

/// Takes in samples; breaks off when it has enough.
type Each<'a> = &'a mut dyn FnMut(Vec<SeriesSamples>) -> ControlFlow<()>;

/// Pushes that one statement reads…
const SLICE_PUSHES: usize = 200;
/// …and bytes, about.
const SLICE_BYTES: u32 = 1_000_000;
/// Samples that are put together before they are handed on: 800 KB.
const RUN_SAMPLES: usize = 50_000;

impl Wal {
    /// Hands the samples of a host to `each`, partition by partition, in order of arrival, until it breaks off. Returns
    /// what could not be read.
    pub fn for_each_of_host(
        &self,
        sql: &impl Sql,
        host: HostId,
        decoding: &mut Decoding<'_>,
        each: Each<'_>,
    ) -> Result<Vec<Unreadable>, SqlError> {
        let mut unreadable = Vec::new();
        let mut goes_on = ControlFlow::Continue(());
        for hour in &self.partitions {
            let places = match self.index.places(host, *hour) {
                Some(places) => places,
                None => look_for(sql, host, *hour)?,
            };
            unreadable.extend(self.samples(sql, host, &places, decoding, &mut |samples| {
                goes_on = each(samples);
                goes_on
            })?);
            if goes_on.is_break() {
                break;
            }
        }
        Ok(unreadable)
    }

    /// What cannot be decoded, as it lies there: the samples of a push, or keys and data of a whole row. Empty if it is gone.
    pub fn raw(sql: &impl Sql, unreadable: &Unreadable) -> Result<Vec<u8>, SqlError> {
        if let Some((_, place)) = unreadable.push {
            return Ok(read(sql, &[place])?.pop().flatten().unwrap_or_default());
        }
        let select = format!("SELECT keys, data FROM {PREFIX}{} WHERE seq = ?1", unreadable.hour.0);
        let row = sql.exec(&select, &[Value::Integer(unreadable.seq)])?.into_iter().next();
        let row = row.unwrap_or_default().into_iter().map(Value::blob).collect::<Result<Vec<_>, _>>()?;
        Ok(row.concat())
    }

    /// The record at a place; `None` if it is gone or cut.
    pub fn record(sql: &impl Sql, place: &RecordPlace) -> Result<Option<Record>, SqlError> {
        let RecordPlace { hour, seq, offset, length, time } = *place;
        let select = format!("SELECT substr(data, ?2, ?3) FROM {PREFIX}{} WHERE seq = ?1", hour.0);
        // SQLite counts bytes from 1.
        let place = [seq, i64::from(offset).saturating_add(1), length.into()].map(Value::Integer);
        let Some(row) = sql.exec(&select, &place)?.into_iter().next() else { return Ok(None) };
        let [bytes] = columns(row)?;
        let bytes = bytes.blob()?;
        Ok((u32::try_from(bytes.len()) == Ok(length)).then_some(Record { time, bytes }))
    }

    /// Hands the samples at some places of one host to `each`, several pushes at a time, in the order of the places.
    /// Returns what could not be read.
    pub fn samples(
        &self,
        sql: &impl Sql,
        host: HostId,
        places: &[Place],
        decoding: &mut Decoding<'_>,
        each: Each<'_>,
    ) -> Result<Vec<Unreadable>, SqlError> {
        let mut unreadable = Vec::new();
        let mut run = Run::default();
        for slice in slices(places) {
            for (place, data) in slice.iter().zip(read(sql, slice)?) {
                let result = decode(sql, host, place, data, decoding)?;
                let (finished, samples) = match result {
                    Err(why) => {
                        unreadable.push(Unreadable::of(host, *place, why));
                        continue;
                    }
                    Ok(Decoded::Named(samples)) => (run.take(), Some(samples)),
                    Ok(Decoded::Listed(id, list, columns)) => (run.add(id, &list, columns), None),
                };
                for samples in [finished, samples].into_iter().flatten() {
                    if each(samples).is_break() {
                        return Ok(unreadable);
                    }
                }
            }
        }
        if let Some(samples) = run.take() {
            // Whether it has enough does not matter any more: this is the last of it.
            let _ = each(samples);
        }
        Ok(unreadable)
    }
}

fn look_for(sql: &impl Sql, host: HostId, hour: Hour) -> Result<Vec<Place>, SqlError> {
    let mut places = Vec::new();
    Wal::for_each_push(sql, hour, &mut |push| {
        if push.keys.host == host {
            places.push(push.place);
        }
    })?;
    Ok(places)
}

/// Places of one partition each, as many as a statement may read.
fn slices(places: &[Place]) -> impl Iterator<Item = &[Place]> {
    let (mut pushes, mut bytes): (usize, u32) = (0, 0);
    places.chunk_by(move |before, place| {
        pushes = pushes.saturating_add(1);
        bytes = bytes.saturating_add(before.length);
        let fits = before.hour == place.hour && pushes < SLICE_PUSHES && bytes < SLICE_BYTES;
        if !fits {
            (pushes, bytes) = (0, 0);
        }
        fits
    })
}

/// The bytes at some places of one partition; `None` where there are none.
fn read(sql: &impl Sql, places: &[Place]) -> Result<Vec<Option<Vec<u8>>>, SqlError> {
    let Some(hour) = places.first().map(|place| place.hour) else { return Ok(Vec::new()) };
    let mut list = String::from("[");
    for Place { seq, offset, length, .. } in places {
        let comma = if list.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail; SQLite counts bytes from 1.
        let _ = write!(list, "{comma}[{seq},{},{length}]", offset.saturating_add(1));
    }
    list.push(']');
    let select = format!(
        "SELECT substr(row.data, place.value ->> 1, place.value ->> 2) FROM json_each(?1) AS place \
         LEFT JOIN {PREFIX}{} AS row ON row.seq = place.value ->> 0 ORDER BY place.key",
        hour.0
    );
    let rows = sql.exec(&select, &[Value::Text(list)])?;
    let bytes = |row| {
        let [data] = columns(row)?;
        Ok(match data {
            Value::Null => None,
            data => Some(data.blob()?),
        })
    };
    rows.into_iter().map(bytes).collect()
}

enum Decoded {
    Named(Vec<SeriesSamples>),
    Listed(DictionaryId, Rc<Dictionary>, Vec<Vec<Sample>>),
}

/// Decodes a push. The outer error is the storage's, the inner one says what is wrong with the push.
fn decode(
    sql: &impl Sql,
    host: HostId,
    place: &Place,
    data: Option<Vec<u8>>,
    decoding: &mut Decoding<'_>,
) -> Result<Result<Decoded, String>, SqlError> {
    let whole = |data: &Vec<u8>| u32::try_from(data.len()) == Ok(place.length);
    let Some(data) = data.filter(whole) else { return Ok(Err("its data is gone or cut".into())) };
    let id = match place.form {
        Form::Named => {
            let samples = frame::decode(&data, decoding.inflater);
            return Ok(samples.map(Decoded::Named).map_err(|error| error.to_string()));
        }
        Form::Listed(id) => id,
    };
    let list = match decoding.dictionaries.get(sql, host, id) {
        Ok(list) => list,
        Err(DictionaryError::Sql(error)) => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(match decode_columns(&data, HOST_SERIES_MAX, BATCH_SAMPLES_MAX) {
        Ok(columns) if columns.len() == list.series().len() => Ok(Decoded::Listed(id, list, columns)),
        Ok(columns) => Err(format!("{} columns for {} series", columns.len(), list.series().len())),
        Err(error) => Err(error.to_string()),
    })
}

/// Names columns after the series of their list.
pub fn named(list: &Dictionary, columns: Vec<Vec<Sample>>) -> Vec<SeriesSamples> {
    let filled = list.series().iter().zip(columns).filter(|(_, samples)| !samples.is_empty());
    filled.map(|(series, samples)| SeriesSamples { series: series.clone(), samples }).collect()
}

/// Pushes of one list that follow each other in time: their columns are simply appended.
#[derive(Default)]
struct Run {
    list: Option<(DictionaryId, Rc<Dictionary>)>,
    columns: Vec<Vec<Sample>>,
    samples: usize,
}

impl Run {
    /// Adds a push; returns what was there before, if the push cannot be appended to it.
    fn add(
        &mut self,
        id: DictionaryId,
        list: &Rc<Dictionary>,
        columns: Vec<Vec<Sample>>,
    ) -> Option<Vec<SeriesSamples>> {
        let count = columns.iter().map(Vec::len).fold(0, usize::saturating_add);
        let is_later = |(before, new): (&Vec<Sample>, &Vec<Sample>)| match (before.last(), new.first()) {
            (Some(before), Some(new)) => before.time < new.time,
            _ => true,
        };
        let is_same = self.list.as_ref().is_some_and(|(other, _)| *other == id);
        if is_same
            && self.samples.saturating_add(count) <= RUN_SAMPLES
            && self.columns.iter().zip(&columns).all(is_later)
        {
            self.columns.iter_mut().zip(columns).for_each(|(before, new)| before.extend(new));
            self.samples = self.samples.saturating_add(count);
            return None;
        }
        let finished = self.take();
        *self = Self { list: Some((id, Rc::clone(list))), columns, samples: count };
        finished
    }

    fn take(&mut self) -> Option<Vec<SeriesSamples>> {
        let (_, list) = self.list.take()?;
        self.samples = 0;
        Some(named(&list, std::mem::take(&mut self.columns)))
    }
}
