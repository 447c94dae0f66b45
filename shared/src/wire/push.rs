//! The compact push, version 1: what our own agent sends to `POST /api/v1/push`, compressed by zstd.
//!
//! A frame carries all of its state, so that something else than HTTP can carry the same bytes. `docs/wire-format.md`
//! has it byte by byte. As in the rest of [`super`], reading a frame checks its form and its bounds only:
//! [`crate::validate::validate_push`] is the door through which its samples are believed.

mod columns;
mod frame;
mod integers;
mod processes;

use super::Facts;
use crate::{
    code::ErrorCode,
    codec::{CodecError, bits::Reader, names},
    limits::{DICTIONARY_BYTES_MAX, HOST_SERIES_MAX},
    series::Series,
};
pub use columns::{decode_columns, encode_columns};
pub use frame::{decode, encode};
pub use processes::{Process, Processes, decode_processes, encode_processes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The media type of a frame compressed by zstd, which needs no `Content-Encoding` beside it.
pub const MEDIA_TYPE: &str = "application/vnd.edgewatch.batch";

/// A sender's numbering of its readings: a random number, made when the sender begins to count anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

/// Numbers of consecutive readings, counted from 1; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadingRange {
    /// The first reading.
    pub first: u64,
    /// The last reading.
    pub last: u64,
}

/// A series list by its content: the first 16 bytes of SHA-256 over its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DictionaryId(pub [u8; 16]);

impl DictionaryId {
    /// The id of an encoded list ([`encode_series`]).
    pub fn of(encoded: &[u8]) -> Self {
        let mut id = [0; 16];
        id.iter_mut().zip(Sha256::digest(encoded)).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

/// One push.
#[derive(Clone, Debug, PartialEq)]
pub struct PushFrame {
    /// Whose numbering the readings are of.
    pub stream: StreamId,
    /// The oldest reading of the stream that the sender still holds: all below are acknowledged or given up.
    pub floor: u64,
    /// The readings in this push, and the push's identity within the stream.
    pub readings: ReadingRange,
    /// The host's name, where the token does not say whose samples these are.
    pub host: Option<String>,
    /// What is known of the host; sent when it changed.
    pub facts: Option<Facts>,
    /// The samples.
    pub metrics: Option<MetricsSection>,
    /// The host's processes; once a minute.
    pub processes: Option<Processes>,
}

/// The samples of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSection {
    /// The series list that the columns are in the order of.
    pub dictionary: DictionaryId,
    /// The list itself, where the server may not know it.
    pub series: Option<Vec<Series>>,
    /// A column for every series of the list ([`encode_columns`]), as it is stored.
    pub columns: Vec<u8>,
}

impl MetricsSection {
    /// What tells two pushes of the same identity apart: the first 8 bytes, little-endian, of SHA-256 over the
    /// dictionary's id and the columns. The same with and without the list.
    pub fn checksum(&self) -> u64 {
        let hash = Sha256::new().chain_update(self.dictionary.0).chain_update(&self.columns).finalize();
        hash.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Why bytes are not a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Written by a release that this one does not know.
    #[error("a compact push of version {0}; this server reads version {version}", version = frame::VERSION)]
    Version(u8),
    /// A kind of section that this release does not know.
    #[error("a compact push with a section of kind {0}, which this server does not know")]
    Section(u8),
    /// The end is missing.
    #[error("the compact push ends too early")]
    Truncated,
    /// More than is allowed of something.
    #[error("the compact push has more {what} than the allowed {max}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// What is allowed.
        max: usize,
    },
    /// Something else that no encoder writes.
    #[error("malformed compact push: {0}")]
    Malformed(&'static str),
}

impl PushError {
    /// What clients are told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Version(_) | Self::Section(_) => ErrorCode::UnsupportedSection,
            Self::Truncated | Self::Malformed(_) => ErrorCode::MalformedBody,
            Self::TooLarge { what: columns::SAMPLES, .. } => ErrorCode::TooManySamples,
            Self::TooLarge { .. } => ErrorCode::BodyTooLarge,
        }
    }

    /// A fault of the codec, which knows a bound but not its name.
    fn of_codec(error: CodecError, what: &'static str, max: usize) -> Self {
        match error {
            CodecError::TooLarge => Self::TooLarge { what, max },
            CodecError::Truncated => Self::Truncated,
            CodecError::Malformed(why) => Self::Malformed(why),
            CodecError::Version => Self::Malformed("columns of an unknown version"),
        }
    }
}

/// Encodes a series list; sorted and with each series once it is its only encoding.
pub fn encode_series(series: &[Series]) -> Vec<u8> {
    let mut bytes = Vec::new();
    names::encode(series.iter(), &mut bytes);
    bytes
}

/// Decodes a series list of at most [`HOST_SERIES_MAX`] series and [`DICTIONARY_BYTES_MAX`] bytes.
pub fn decode_series(bytes: &[u8]) -> Result<Vec<Series>, PushError> {
    let mut reader = Reader::new(bytes);
    // A count beyond the bound and a text beyond its own are told apart by looking first.
    let count = Reader::new(bytes).varint().map_err(|_| PushError::Truncated)?;
    if count > HOST_SERIES_MAX as u64 {
        return Err(PushError::TooLarge { what: "series", max: HOST_SERIES_MAX });
    }
    let series = names::decode(&mut reader, HOST_SERIES_MAX, DICTIONARY_BYTES_MAX)
        .map_err(|error| PushError::of_codec(error, "bytes of names and labels", DICTIONARY_BYTES_MAX))?;
    if reader.is_empty() { Ok(series) } else { Err(PushError::Malformed("bytes after the series list")) }
}

#[cfg(test)]
mod tests;
