//! Samples of one host as bytes: what a log row and a block are made of.
//!
//! Layout, version 3: one version byte, the length of the compressed head as u32 LE,
//! the head as a zstd frame with the series that everybody sends as its dictionary, the body as it is ([`edgewatch_shared::codec`]).

use crate::compression::{DeflateError, Deflater, InflateError, Inflater};
use edgewatch_shared::{
    codec::{self, CodecError, Columns, TEXT_BYTES_MAX},
    series::{Sample, Series, SeriesSamples},
};

const VERSION: u8 = 3;
/// What the head of a chunk may decompress to: its text, and short columns of 100,000 samples.
const HEAD_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

/// Why samples have no chunk, or a chunk no samples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Written by a release that this one does not know, or cut.
    #[error("not a chunk of version {VERSION}")]
    Version,
    /// The head does not decompress.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// The head could not be compressed.
    #[error(transparent)]
    Deflate(#[from] DeflateError),
    /// What was encoded does not read back bit by bit: a fault of ours, noticed before anything is acknowledged or dropped.
    #[error("the samples do not survive their encoding")]
    NotReadable,
    /// The columns do not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Encodes series, their head compressed at `level`. What is returned has been read back once.
pub fn encode(series: &[SeriesSamples], level: i32, deflater: &mut Deflater) -> Result<Vec<u8>, ChunkError> {
    let columns = codec::encode(series);
    if !reads_back(&columns, series) {
        return Err(ChunkError::NotReadable);
    }
    let head = deflater.deflate_names(&columns.head, level)?;
    let head_bytes = u32::try_from(head.len()).map_err(|_| CodecError::TooLarge)?;
    let mut bytes = vec![VERSION];
    bytes.extend(head_bytes.to_le_bytes());
    bytes.extend(head);
    bytes.extend(columns.body);
    Ok(bytes)
}

/// Whether columns give the samples back, to the last bit.
fn reads_back(columns: &Columns<Vec<u8>>, series: &[SeriesSamples]) -> bool {
    let samples = series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add);
    let bits = |sample: &Sample| (sample.time, sample.value.to_bits());
    let is_same = |read: &SeriesSamples, written: &SeriesSamples| {
        read.series == written.series && read.samples.iter().map(bits).eq(written.samples.iter().map(bits))
    };
    let mut written = series.iter();
    let mut are_same = true;
    let read = codec::decode_each(
        Columns { head: &columns.head, body: &columns.body },
        samples,
        &mut |_| true,
        &mut |read| are_same &= written.next().is_some_and(|written| is_same(&read, written)),
    );
    read.is_ok() && are_same && written.next().is_none()
}

/// Decodes a chunk of at most `samples_max` samples.
pub fn decode(
    bytes: &[u8],
    samples_max: usize,
    inflater: &mut Inflater,
) -> Result<Vec<SeriesSamples>, ChunkError> {
    let mut found = Vec::new();
    decode_each(bytes, samples_max, inflater, &mut |_| true, &mut |series| found.push(series))?;
    Ok(found)
}

/// Decodes the same and hands each series that is `wanted` to `each` ([`codec::decode_each`]).
pub fn decode_each(
    bytes: &[u8],
    samples_max: usize,
    inflater: &mut Inflater,
    wanted: &mut dyn FnMut(&Series) -> bool,
    each: &mut dyn FnMut(SeriesSamples),
) -> Result<(), ChunkError> {
    let (&version, rest) = bytes.split_first().ok_or(ChunkError::Version)?;
    let (head_bytes, rest) = rest.split_first_chunk::<4>().ok_or(ChunkError::Version)?;
    let head_bytes = usize::try_from(u32::from_le_bytes(*head_bytes)).map_err(|_| CodecError::TooLarge)?;
    let (head, body) = rest.split_at_checked(head_bytes).ok_or(CodecError::Truncated)?;
    if version != VERSION {
        return Err(ChunkError::Version);
    }
    let head = inflater.inflate_names(head, HEAD_BYTES_MAX)?;
    Ok(codec::decode_each(Columns { head, body }, samples_max, wanted, each)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{Labels, TimestampMs};

    fn series() -> Vec<SeriesSamples> {
        let samples =
            (0..500i64).map(|n| Sample { time: TimestampMs(n * 10_000), value: (n * n % 97) as f64 });
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        vec![SeriesSamples { series, samples: samples.collect() }]
    }

    #[test]
    fn samples_survive_their_chunk_up_to_what_is_allowed() {
        let chunk = encode(&series(), 1, &mut Deflater::default()).unwrap();
        let mut inflater = Inflater::default();
        assert_eq!(decode(&chunk, 500, &mut inflater), Ok(series()));
        assert_eq!(decode(&chunk, 499, &mut inflater), Err(CodecError::TooLarge.into()));
    }

    #[test]
    fn only_what_is_wanted_is_handed_over() {
        let named = |name: &str| SeriesSamples {
            series: Series { name: name.into(), labels: Labels::new() },
            samples: series().remove(0).samples,
        };
        let chunk = encode(&[named("a"), named("b"), named("c")], 1, &mut Deflater::default()).unwrap();
        let mut found = Vec::new();
        let mut wanted = |series: &Series| series.name != "b";
        decode_each(&chunk, 1_500, &mut Inflater::default(), &mut wanted, &mut |series| found.push(series))
            .unwrap();
        assert_eq!(found, [named("a"), named("c")]);
    }

    #[test]
    fn a_chunk_of_another_version_or_a_cut_one_is_refused() {
        let chunk = encode(&series(), 1, &mut Deflater::default()).unwrap();
        let mut inflater = Inflater::default();
        let other = [&[VERSION + 1], &chunk[1..]].concat();
        assert_eq!(decode(&other, 500, &mut inflater), Err(ChunkError::Version));
        for cut in 0..chunk.len() {
            assert!(decode(&chunk[..cut], 500, &mut inflater).is_err(), "{cut}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(0u8.., 0..300)) {
            let _ = decode(&bytes, 10_000, &mut Inflater::default());
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let _ = decode(&bytes, 10_000, &mut Inflater::default());
        }
    }
}
