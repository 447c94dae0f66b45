//! Integers as bytes and bits: LEB128 varints, zigzag, and a stream of bits, least significant first.

use super::CodecError;

/// Maps signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2 → 0, 1, 2, 3.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Appends a LEB128 varint: 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed varint, zigzagged.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Reads what was appended, from the front of a slice.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (byte, rest) = self.rest.split_first().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next varint.
    pub fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Malformed("a varint of more than 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(CodecError::Malformed("a varint of more than 10 bytes"))
    }

    /// The next varint as a length of at most `max`.
    pub fn length(&mut self, max: usize) -> Result<usize, CodecError> {
        let value = usize::try_from(self.varint()?).map_err(|_| CodecError::TooLarge)?;
        if value > max { Err(CodecError::TooLarge) } else { Ok(value) }
    }

    /// The next signed varint.
    pub fn signed(&mut self) -> Result<i64, CodecError> {
        self.varint().map(unzigzag)
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Writes a stream of bits.
#[derive(Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `value`, at most 64.
    pub fn put(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.put(value & 0xffff_ffff, 32);
            return self.put(value >> 32, count.saturating_sub(32));
        }
        let mask = (1u64 << count).wrapping_sub(1);
        self.pending |= (value & mask) << self.count;
        self.count = self.count.saturating_add(count);
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count = self.count.saturating_sub(8);
        }
    }

    /// The bytes, the last one filled up with zeros.
    pub fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// Reads a stream of bits; beyond its end there are zeros, which the caller's counts rule out.
#[derive(Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Reads from the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bits, at most 64.
    #[inline]
    pub fn take(&mut self, count: u32) -> u64 {
        if count > 56 {
            let low = self.take_few(32);
            return low | (self.take_few(count.saturating_sub(32)) << 32);
        }
        self.take_few(count)
    }

    /// The next `count` bits, at most 56.
    #[inline(always)]
    fn take_few(&mut self, count: u32) -> u64 {
        let window = self.window();
        self.position = self.position.wrapping_add(count as usize);
        window & (1u64 << count).wrapping_sub(1)
    }

    /// How many zeros come before the next one, which is taken with them; `None` if 64 come, or the end.
    pub fn zeros(&mut self) -> Option<u32> {
        let mut zeros: u32 = 0;
        while zeros < 64 && self.position < self.bytes.len().saturating_mul(8) {
            let further = self.window().trailing_zeros().min(56);
            zeros = zeros.saturating_add(further);
            if further < 56 {
                self.position = self.position.saturating_add(further as usize).saturating_add(1);
                return (zeros < 64).then_some(zeros);
            }
            self.position = self.position.saturating_add(56);
        }
        None
    }

    /// At least 56 bits from the position on.
    #[inline(always)]
    fn window(&self) -> u64 {
        let at = self.position / 8;
        let word = match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => last_word(self.bytes, at),
        };
        word >> (self.position % 8)
    }

    /// Bits that were read, also beyond the end.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// What is left from a byte on, fewer than eight.
#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let tail = bytes.get(at..).unwrap_or_default();
    tail.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}
