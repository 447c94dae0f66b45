//! A push as bytes: a version, the identity, then sections of a kind, a length and as many bytes.

use super::{
    DictionaryId, MetricsSection, PushError, PushFrame, ReadingRange, StreamId, decode_processes,
    decode_series, encode_processes, encode_series,
};
use crate::{
    codec::{
        CodecError,
        bits::{Reader, put_varint},
    },
    limits::{BATCH_READINGS_MAX, BODY_DECOMPRESSED_BYTES_MAX, FACTS_BYTES_MAX, HOST_NAME_BYTES_MAX},
    wire::Facts,
};

/// The version that this release writes and reads.
pub const VERSION: u8 = 1;

/// Sections, in the order in which they come, each at most once.
const HOST: u8 = 1;
const FACTS: u8 = 2;
const SERIES: u8 = 3;
const METRICS: u8 = 4;
/// From here on sections are of what a push can do without: whoever does not know one passes over it.
const OPTIONAL: u8 = 128;
const PROCESSES: u8 = 128;

/// Encodes a push, not yet compressed.
pub fn encode(push: &PushFrame) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(push.stream.0.to_le_bytes());
    put_varint(&mut out, push.readings.first);
    put_varint(&mut out, push.readings.last.saturating_sub(push.readings.first));
    put_varint(&mut out, push.readings.first.saturating_sub(push.floor));
    if let Some(host) = &push.host {
        put_section(&mut out, HOST, host.as_bytes());
    }
    if let Some(facts) = &push.facts {
        // Texts and numbers always become JSON.
        put_section(&mut out, FACTS, &serde_json::to_vec(facts).unwrap_or_default());
    }
    if let Some(metrics) = &push.metrics {
        if let Some(series) = &metrics.series {
            put_section(&mut out, SERIES, &encode_series(series));
        }
        let id = &metrics.dictionary.0;
        put_section(&mut out, METRICS, &[id, metrics.columns.as_slice()].concat());
    }
    if let Some(processes) = &push.processes {
        put_section(&mut out, PROCESSES, &encode_processes(processes));
    }
    out
}

fn put_section(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Decodes a push. Takes no more memory than the bytes have, but for the series list, which has its own bound.
pub fn decode(bytes: &[u8]) -> Result<PushFrame, PushError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte().map_err(whole)?;
    if version != VERSION {
        return Err(PushError::Version(version));
    }
    let stream = reader.bytes(8).map_err(whole)?.try_into().map_err(|_| PushError::Truncated)?;
    let (readings, floor) = decode_readings(&mut reader)?;
    let stream = StreamId(u64::from_le_bytes(stream));
    let mut push =
        PushFrame { stream, floor, readings, host: None, facts: None, metrics: None, processes: None };
    let mut series = None;
    let mut last_kind = 0;
    while !reader.is_empty() {
        let kind = reader.byte().map_err(whole)?;
        if !(HOST..=METRICS).contains(&kind) && kind < OPTIONAL {
            return Err(PushError::Section(kind));
        }
        if kind <= last_kind {
            return Err(PushError::Malformed("a section twice or out of order"));
        }
        last_kind = kind;
        let length = reader.length(BODY_DECOMPRESSED_BYTES_MAX).map_err(whole)?;
        let section = reader.bytes(length).map_err(whole)?;
        match kind {
            HOST => push.host = Some(decode_host(section)?),
            FACTS => push.facts = Some(decode_facts(section)?),
            SERIES => series = Some(decode_series(section)?),
            PROCESSES => push.processes = Some(decode_processes(section)?),
            kind if kind >= OPTIONAL => {}
            _ => {
                let (id, columns) = section.split_first_chunk().ok_or(PushError::Truncated)?;
                let columns = columns.to_vec();
                push.metrics =
                    Some(MetricsSection { dictionary: DictionaryId(*id), series: series.take(), columns });
            }
        }
    }
    if series.is_some() {
        return Err(PushError::Malformed("a series list without samples"));
    }
    Ok(push)
}

/// The readings and the floor.
fn decode_readings(reader: &mut Reader<'_>) -> Result<(ReadingRange, u64), PushError> {
    let first = reader.varint().map_err(whole)?;
    let further = reader.varint().map_err(whole)?;
    let above_floor = reader.varint().map_err(whole)?;
    if further >= BATCH_READINGS_MAX {
        return Err(PushError::Malformed("more readings than a push may have"));
    }
    let last = first.checked_add(further).ok_or(PushError::Malformed("readings beyond all numbers"))?;
    let floor = first.checked_sub(above_floor).filter(|floor| *floor > 0);
    let floor = floor.ok_or(PushError::Malformed("readings and the floor count from 1"))?;
    Ok((ReadingRange { first, last }, floor))
}

fn decode_host(section: &[u8]) -> Result<String, PushError> {
    if section.len() > HOST_NAME_BYTES_MAX {
        return Err(PushError::TooLarge { what: "bytes of a host's name", max: HOST_NAME_BYTES_MAX });
    }
    String::from_utf8(section.to_vec()).map_err(|_| PushError::Malformed("a host's name that is not UTF-8"))
}

fn decode_facts(section: &[u8]) -> Result<Facts, PushError> {
    if section.len() > FACTS_BYTES_MAX {
        return Err(PushError::TooLarge { what: "bytes of facts", max: FACTS_BYTES_MAX });
    }
    serde_json::from_slice(section)
        .map_err(|_| PushError::Malformed("facts that are not the JSON they should be"))
}

/// A fault of the frame itself, whose own bound is the body's.
fn whole(error: CodecError) -> PushError {
    PushError::of_codec(error, "bytes", BODY_DECOMPRESSED_BYTES_MAX)
}
