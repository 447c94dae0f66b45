//! What a row says of its pushes: a version byte, then a postcard list. Samples lie beside it, one push after the other.

use super::{Place, PushHead, RecordPlace, WalError};
use crate::{records::Record, sql::SqlError, streams::Identity};
use edgewatch_shared::{HostId, TimestampMs, limits::ROW_BYTES_MAX, time::Hour, wire::push::DictionaryId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Version of the rows. What was written before version 3 began with the time of arrival, whose first byte is 128 or more.
const VERSION: u8 = 4;
/// The version before: no push has a record.
const VERSION_WITHOUT_RECORDS: u8 = 3;
/// Bytes of a row's keys beside the keys of its pushes: the version, and how many there are.
const LIST_BYTES: usize = 6;

/// How the samples of a push are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// With their names ([`crate::chunk`]).
    Named,
    /// Columns in the order of a series list ([`edgewatch_shared::wire::push::decode_columns`]).
    Listed(DictionaryId),
}

impl Form {
    /// The series list that it needs.
    pub fn list(self) -> Option<DictionaryId> {
        match self {
            Self::Named => None,
            Self::Listed(id) => Some(id),
        }
    }
}

/// What a row says of a push beside its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PushKeys {
    /// Whose it is.
    #[serde(serialize_with = "host_to_bytes", deserialize_with = "host_from_bytes")]
    pub host: HostId,
    /// When it arrived.
    pub received: TimestampMs,
    /// Samples in it.
    pub samples: u32,
    /// Values for listings of hosts: stored name and newest value.
    pub newest: Vec<(String, f64)>,
    /// What it is known by, if its sender numbers its readings.
    pub identity: Option<Identity>,
    /// How its samples are encoded.
    pub form: Form,
    /// The record that it brings to the log. Of a push that lies there [`PushHead::record`] says where that is.
    #[serde(skip)]
    pub record: Option<Record>,
}

/// What a row says of a push's record: when it was true, and its bytes, which lie behind the samples.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct RecordKeys {
    time: TimestampMs,
    length: u32,
}

/// As text, which it is elsewhere, an id would take 36 bytes.
fn host_to_bytes<S: Serializer>(host: &HostId, serializer: S) -> Result<S::Ok, S::Error> {
    host.as_bytes().serialize(serializer)
}

fn host_from_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostId, D::Error> {
    HostId::from_bytes(&<[u8; 16]>::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A row to be.
pub struct Row {
    pub keys: Vec<u8>,
    pub data: Vec<u8>,
    /// Of its pushes, in order.
    pub extents: Vec<Extent>,
}

/// A push within a row.
pub struct Extent {
    offset: u32,
    length: u32,
    samples: u32,
    form: Form,
    record: Option<RecordKeys>,
}

impl Extent {
    /// Its place in the log.
    pub fn at(&self, hour: Hour, seq: i64) -> Place {
        let Self { offset, length, samples, form, record: _ } = *self;
        Place { hour, seq, offset, length, samples, form }
    }

    /// Where its record is.
    pub fn record_at(&self, hour: Hour, seq: i64) -> Option<RecordPlace> {
        let RecordKeys { time, length } = self.record?;
        Some(RecordPlace { hour, seq, offset: self.offset.saturating_add(self.length), length, time })
    }

    /// The first byte after it.
    fn end(&self) -> u32 {
        let record = self.record.map_or(0, |record| record.length);
        self.offset.saturating_add(self.length).saturating_add(record)
    }
}

/// Puts pushes into as few rows of at most `bytes_max` as their order allows.
pub fn rows(pushes: &[(PushKeys, Vec<u8>)], bytes_max: usize) -> Result<Vec<Row>, WalError> {
    let mut rows: Vec<(Row, u32)> = Vec::new();
    for (keys, data) in pushes {
        let length_of =
            |data: &[u8]| u32::try_from(data.len()).map_err(|_| WalError::RowTooLarge(data.len()));
        let length = length_of(data)?;
        let record = match &keys.record {
            Some(Record { time, bytes }) => Some(RecordKeys { time: *time, length: length_of(bytes)? }),
            None => None,
        };
        let record_bytes = keys.record.as_ref().map_or(&[][..], |record| &record.bytes);
        let encoded =
            postcard::to_allocvec(&(keys, length, record)).map_err(|error| SqlError(error.to_string()))?;
        let bytes = encoded.len().saturating_add(data.len()).saturating_add(record_bytes.len());
        let alone = bytes.saturating_add(LIST_BYTES);
        if alone > bytes_max {
            return Err(WalError::RowTooLarge(alone.saturating_add(ROW_BYTES_MAX.saturating_sub(bytes_max))));
        }
        let fits =
            |row: &Row| row.keys.len().saturating_add(row.data.len()).saturating_add(alone) <= bytes_max;
        if !rows.last().is_some_and(|(row, _)| fits(row)) {
            rows.push((Row { keys: Vec::new(), data: Vec::new(), extents: Vec::new() }, 0));
        }
        if let Some((row, count)) = rows.last_mut() {
            let offset = u32::try_from(row.data.len()).unwrap_or(u32::MAX);
            row.extents.push(Extent { offset, length, samples: keys.samples, form: keys.form, record });
            row.keys.extend(encoded);
            row.data.extend(data);
            row.data.extend(record_bytes);
            *count = count.saturating_add(1);
        }
    }
    let finished = |(row, count): (Row, u32)| {
        let mut keys = vec![VERSION];
        keys.extend(postcard::to_allocvec(&count).map_err(|error| SqlError(error.to_string()))?);
        keys.extend(&row.keys);
        Ok(Row { keys, ..row })
    };
    rows.into_iter().map(finished).collect()
}

/// The pushes of a row.
pub fn decode(hour: Hour, seq: i64, keys: &[u8]) -> Result<Vec<PushHead>, String> {
    let (version, list) = keys.split_first().ok_or("it is empty")?;
    let malformed = |error: postcard::Error| error.to_string();
    let list: Vec<(PushKeys, u32, Option<RecordKeys>)> = match *version {
        VERSION => postcard::from_bytes(list).map_err(malformed)?,
        VERSION_WITHOUT_RECORDS => {
            let list: Vec<(PushKeys, u32)> = postcard::from_bytes(list).map_err(malformed)?;
            list.into_iter().map(|(keys, length)| (keys, length, None)).collect()
        }
        other => return Err(format!("it is of version {other}, this release reads {VERSION}")),
    };
    let mut offset: u32 = 0;
    let head = |(keys, length, record): (PushKeys, u32, Option<RecordKeys>)| {
        let extent = Extent { offset, length, samples: keys.samples, form: keys.form, record };
        offset = extent.end();
        PushHead { place: extent.at(hour, seq), record: extent.record_at(hour, seq), keys }
    };
    Ok(list.into_iter().map(head).collect())
}
