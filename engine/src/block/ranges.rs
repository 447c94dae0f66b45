//! Which bytes of an object are read for some of its chunks.

use super::IndexEntry;

/// Neighbours this close are read in one go: a request costs more than so many bytes.
const GAP_BYTES_MAX: u32 = 64 << 10;
/// One read is not larger than this, unless a single chunk is.
const RANGE_BYTES_MAX: u32 = 2 << 20;

/// Bytes to read at once, and the chunks in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// The chunks that were asked for, in order.
    pub entries: Vec<IndexEntry>,
}

impl Range {
    fn of(entry: &IndexEntry) -> Self {
        Self { offset: entry.offset, length: entry.length, entries: vec![entry.clone()] }
    }

    /// The range with one more chunk, if that lies near and the range does not become too long.
    fn with(&mut self, entry: &IndexEntry) -> bool {
        let gap = entry.offset.checked_sub(self.offset.saturating_add(self.length));
        let length = entry.offset.saturating_add(entry.length).saturating_sub(self.offset);
        let fits = gap.is_some_and(|gap| gap <= GAP_BYTES_MAX) && length <= RANGE_BYTES_MAX;
        if fits {
            self.length = length;
            self.entries.push(entry.clone());
        }
        fits
    }

    /// The range's bytes out of a whole object's.
    pub fn part<'a>(&self, object: &'a [u8]) -> Option<&'a [u8]> {
        super::part(object, self.offset, self.length)
    }

    /// A chunk's bytes out of the range's.
    pub fn chunk<'a>(&self, entry: &IndexEntry, bytes: &'a [u8]) -> Option<&'a [u8]> {
        super::part(bytes, entry.offset.checked_sub(self.offset)?, entry.length)
    }
}

/// The ranges for some entries of an index, in its order.
pub fn ranges<'a>(entries: impl Iterator<Item = &'a IndexEntry>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for entry in entries {
        if !ranges.last_mut().is_some_and(|last| last.with(entry)) {
            ranges.push(Range::of(entry));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{HostId, TimestampMs};

    fn entry(offset: u32, length: u32) -> IndexEntry {
        let time = TimestampMs(0);
        let host = HostId::new(0, [1; 14]);
        IndexEntry { host, offset, length, crc: 0, min: time, max: time, samples: 1 }
    }

    fn spans(entries: &[IndexEntry]) -> Vec<(u32, u32, usize)> {
        let spans = ranges(entries.iter()).into_iter();
        spans.map(|range| (range.offset, range.length, range.entries.len())).collect()
    }

    #[test]
    fn neighbours_are_read_together_up_to_the_gap_that_is_allowed() {
        let near = 100 + GAP_BYTES_MAX;
        assert_eq!(spans(&[entry(0, 100), entry(100, 50), entry(150, 50)]), [(0, 200, 3)]);
        assert_eq!(spans(&[entry(0, 100), entry(near, 50)]), [(0, near + 50, 2)]);
        assert_eq!(spans(&[entry(0, 100), entry(near + 1, 50)]), [(0, 100, 1), (near + 1, 50, 1)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn a_range_is_not_longer_than_allowed_unless_one_chunk_is() {
        let half = RANGE_BYTES_MAX / 2;
        assert_eq!(spans(&[entry(0, half), entry(half, half)]), [(0, RANGE_BYTES_MAX, 2)]);
        assert_eq!(spans(&[entry(0, half), entry(half, half + 1)]), [(0, half, 1), (half, half + 1, 1)]);
        assert_eq!(spans(&[entry(0, 3 * half)]), [(0, 3 * half, 1)]);
    }

    #[test]
    fn a_chunk_is_cut_out_of_its_range() {
        let entries = [entry(10, 2), entry(12, 3)];
        let range = ranges(entries.iter()).remove(0);
        assert_eq!(range.chunk(&entries[1], &[1, 2, 3, 4, 5]), Some(&[3, 4, 5][..]));
        assert_eq!(range.chunk(&entries[1], &[1, 2, 3, 4]), None);
    }
}
