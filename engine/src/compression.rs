//! zstd with memory under control: contexts and buffers are kept and used again,
//! and grow by what arrives, never to the limit.
//!
//! A wasm instance never gives memory back, so a buffer of the limit's size for
//! every body would stay for ever, once for every request that was in flight.

use edgewatch_shared::codec::known_names;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::LazyLock,
};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

/// Why bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not zstd, or broken.
    #[error("not a valid zstd stream: {0}")]
    Invalid(&'static str),
    /// The end is missing.
    #[error("the zstd stream ends too early")]
    Truncated,
    /// More than the caller allows.
    #[error("decompresses to more than {max_bytes} bytes")]
    TooLarge {
        /// What is allowed.
        max_bytes: usize,
    },
}

/// Names that heads of chunks are likely to have: their dictionary.
static KNOWN_NAMES: LazyLock<Vec<u8>> = LazyLock::new(known_names);

/// Decompresses into one buffer that is used again.
pub struct Inflater {
    context: DCtx<'static>,
    /// Made when the first names come.
    names_context: Option<DCtx<'static>>,
    buffer: Vec<u8>,
}

/// First size of the buffer: holds a usual push.
const FIRST_BUFFER_BYTES: usize = 64 << 10;
/// 2^23 = 8 MiB: a stream that asks for a larger window than any body may have is refused before memory is taken.
const WINDOW_LOG_MAX: u32 = 23;

impl Default for Inflater {
    fn default() -> Self {
        Self { context: context(), names_context: None, buffer: Vec::new() }
    }
}

fn context() -> DCtx<'static> {
    let mut context = DCtx::create();
    // Refused only for values outside 10..=31, and this one is a constant.
    let _ = context.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX));
    context
}

fn invalid(code: usize) -> InflateError {
    InflateError::Invalid(zstd::zstd_safe::get_error_name(code))
}

impl Inflater {
    /// Decompresses one or more zstd frames, at most `max_bytes` in all. The result lives until the next call.
    pub fn inflate(&mut self, compressed: &[u8], max_bytes: usize) -> Result<&[u8], InflateError> {
        inflate(&mut self.context, &mut self.buffer, compressed, max_bytes)
    }

    /// The same for what [`Deflater::deflate_names`] compressed.
    pub fn inflate_names(&mut self, compressed: &[u8], max_bytes: usize) -> Result<&[u8], InflateError> {
        let context = match &mut self.names_context {
            Some(context) => context,
            none => {
                let mut context = context();
                context.load_dictionary(&KNOWN_NAMES).map_err(invalid)?;
                none.insert(context)
            }
        };
        inflate(context, &mut self.buffer, compressed, max_bytes)
    }
}

fn inflate<'a>(
    context: &mut DCtx<'static>,
    buffer: &'a mut Vec<u8>,
    compressed: &[u8],
    max_bytes: usize,
) -> Result<&'a [u8], InflateError> {
    context.reset(ResetDirective::SessionOnly).map_err(invalid)?;
    let mut input = InBuffer::around(compressed);
    let mut length: usize = 0;
    let mut frame_is_complete = compressed.is_empty();
    loop {
        if length == buffer.len() {
            // One byte over the limit is enough to see that there is more.
            let wanted = buffer.len().saturating_mul(2).max(FIRST_BUFFER_BYTES);
            let wanted = wanted.min(max_bytes.saturating_add(1)).max(length);
            buffer.reserve_exact(wanted.saturating_sub(length));
            buffer.resize(wanted, 0);
        }
        let Some(free) = buffer.get_mut(length..) else {
            break;
        };
        let mut output = OutBuffer::around(free);
        let (read_before, full) = (input.pos, output.capacity());
        if frame_is_complete && read_before == compressed.len() {
            break;
        }
        let hint = context.decompress_stream(&mut output, &mut input).map_err(invalid)?;
        frame_is_complete = hint == 0;
        let written = output.pos();
        length = length.saturating_add(written);
        if length > max_bytes {
            return Err(InflateError::TooLarge { max_bytes });
        }
        if !frame_is_complete && written < full && input.pos == compressed.len() {
            return Err(InflateError::Truncated);
        }
    }
    buffer.get(..length).ok_or(InflateError::Truncated)
}

/// Compresses with contexts that are used again.
pub struct Deflater {
    context: CCtx<'static>,
    /// By level: a dictionary is prepared for one.
    names_contexts: BTreeMap<i32, CCtx<'static>>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { context: CCtx::create(), names_contexts: BTreeMap::new() }
    }
}

fn refused(code: usize) -> DeflateError {
    DeflateError(zstd::zstd_safe::get_error_name(code))
}

/// A compression that the library refused: out of memory, in practice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zstd could not compress: {0}")]
pub struct DeflateError(&'static str);

impl Deflater {
    /// Compresses `bytes` at `level` (1 to 19) into a frame of its own.
    pub fn deflate(&mut self, bytes: &[u8], level: i32) -> Result<Vec<u8>, DeflateError> {
        self.context.set_parameter(CParameter::CompressionLevel(level)).map_err(refused)?;
        deflate(&mut self.context, bytes)
    }

    /// The same for what begins with names, of which most are likely to be known beforehand.
    pub fn deflate_names(&mut self, bytes: &[u8], level: i32) -> Result<Vec<u8>, DeflateError> {
        let context = match self.names_contexts.entry(level) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let mut context = CCtx::create();
                context.set_parameter(CParameter::CompressionLevel(level)).map_err(refused)?;
                context.load_dictionary(&KNOWN_NAMES).map_err(refused)?;
                entry.insert(context)
            }
        };
        deflate(context, bytes)
    }
}

fn deflate(context: &mut CCtx<'static>, bytes: &[u8]) -> Result<Vec<u8>, DeflateError> {
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
    context.compress2(&mut out, bytes).map_err(refused)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        Deflater::default().deflate(bytes, 3).unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back_and_the_inflater_is_used_again() {
        let mut inflater = Inflater::default();
        for length in [0, 1, FIRST_BUFFER_BYTES, FIRST_BUFFER_BYTES + 1, 1_000_000, 3] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            assert_eq!(inflater.inflate(&deflated(&bytes), 1_000_000).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn the_limit_itself_passes_and_one_byte_more_does_not() {
        let mut inflater = Inflater::default();
        for max_bytes in [1_000, 100_000] {
            assert_eq!(inflater.inflate(&deflated(&vec![0; max_bytes]), max_bytes).unwrap().len(), max_bytes);
            let over = deflated(&vec![0; max_bytes + 1]);
            assert_eq!(inflater.inflate(&over, max_bytes), Err(InflateError::TooLarge { max_bytes }));
        }
    }

    #[test]
    fn a_bomb_is_refused_without_taking_its_size() {
        let bomb = deflated(&vec![0; 64 << 20]);
        assert!(bomb.len() < 10_000);
        let mut inflater = Inflater::default();
        assert!(matches!(inflater.inflate(&bomb, 1 << 20), Err(InflateError::TooLarge { .. })));
        assert!(inflater.buffer.capacity() <= (1 << 20) + 1);
    }

    #[test]
    fn broken_and_cut_streams_are_refused() {
        let whole = deflated(&[5; 100_000]);
        let mut inflater = Inflater::default();
        for cut in 1..whole.len() {
            assert_eq!(inflater.inflate(&whole[..cut], 1 << 20), Err(InflateError::Truncated), "{cut}");
        }
        assert!(matches!(inflater.inflate(b"not zstd at all", 1 << 20), Err(InflateError::Invalid(_))));
        assert_eq!(inflater.inflate(&whole, 1 << 20).unwrap().len(), 100_000);
    }

    #[test]
    fn names_that_are_known_cost_next_to_nothing_and_other_bytes_come_back_too() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        for level in [1, 9, 1] {
            let known = deflater.deflate_names(&KNOWN_NAMES, level).unwrap();
            assert!(known.len() < 100, "{}", known.len());
            assert_eq!(inflater.inflate_names(&known, 1 << 20).unwrap(), KNOWN_NAMES.as_slice());
            let other = deflater.deflate_names(b"app_orders_total", level).unwrap();
            assert_eq!(inflater.inflate_names(&other, 100).unwrap(), b"app_orders_total");
        }
    }

    #[test]
    fn several_frames_are_one_body() {
        let both = [deflated(b"ab"), deflated(b"cd")].concat();
        assert_eq!(Inflater::default().inflate(&both, 10).unwrap(), b"abcd");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8.., 0..300)) {
            let _ = Inflater::default().inflate(&bytes, 1_000);
        }
    }
}
