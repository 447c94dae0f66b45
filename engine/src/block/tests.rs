//! Blocks give back what was put in, in parts too; no byte of them changes unnoticed.

use super::*;
use crate::compression::Deflater;
use edgewatch_shared::{
    Labels, Sample, Series,
    limits::{BLOCK_BYTES_MAX, DAY_BLOCK_BYTES_MAX},
};

fn samples(name: &str, count: i64, seed: u64) -> SeriesSamples {
    let mut state = seed;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 11) as f64
    };
    let samples = (0..count).map(|n| Sample { time: TimestampMs(n * 1_000), value: noise() }).collect();
    SeriesSamples { series: Series { name: name.into(), labels: Labels::new() }, samples }
}

fn host(n: u8) -> HostId {
    HostId::new(0, [n; 14])
}

fn read_all(bytes: &[u8]) -> Result<Vec<(HostId, SeriesSamples)>, BlockError> {
    let mut inflater = Inflater::default();
    let block = Block::open(bytes, &mut inflater)?;
    let mut all = Vec::new();
    for entry in block.entries() {
        let series = block.chunk(entry, &mut inflater)?;
        all.extend(series.into_iter().map(|series| (entry.host, series)));
    }
    Ok(all)
}

fn written(pushes: &[(HostId, Vec<SeriesSamples>)], bytes_max: usize) -> Vec<Built> {
    let deflater = &mut Deflater::default();
    let mut writer = BlockWriter::new(Resolution::FiveMinutes, bytes_max);
    for (host, series) in pushes {
        writer.push(*host, series, deflater).unwrap();
    }
    writer.finish(deflater).unwrap()
}

fn of_two_hosts() -> Built {
    let first = vec![samples("a", 5, 1), samples("b", 9, 2)];
    let mut built = written(&[(host(1), first), (host(2), vec![samples("a", 3, 3)])], BLOCK_BYTES_MAX);
    assert_eq!(built.len(), 1);
    built.remove(0)
}

#[test]
fn a_block_gives_back_what_was_put_in_and_knows_its_span() {
    let built = of_two_hosts();
    assert_eq!((built.min, built.max, built.samples), (TimestampMs(0), TimestampMs(8_000), 17));
    let expected =
        vec![(host(1), samples("a", 5, 1)), (host(1), samples("b", 9, 2)), (host(2), samples("a", 3, 3))];
    assert_eq!(read_all(&built.bytes), Ok(expected));
}

#[test]
fn a_part_is_read_out_of_the_tail_and_the_bytes_of_its_chunk() {
    let built = of_two_hosts();
    let (bytes, inflater) = (&built.bytes, &mut Inflater::default());
    let tail = &bytes[bytes.len() - built.tail_bytes as usize..];
    let index = BlockIndex::open(tail, bytes.len() as u64, inflater).unwrap();
    assert_eq!((index.resolution(), index.tail_bytes()), (built.resolution, built.tail_bytes));
    assert_eq!((index.span(), index.samples()), (Some((built.min, built.max)), built.samples));
    let entry = &index.entries()[1];
    assert_eq!((entry.host, entry.min, entry.max), (host(2), TimestampMs(0), TimestampMs(2_000)));
    let chunk = &bytes[entry.offset as usize..][..entry.length as usize];
    assert_eq!(decode_chunk(entry, chunk, inflater), Ok(vec![samples("a", 3, 3)]));
    let too_short = BlockIndex::open(&tail[1..], bytes.len() as u64, inflater);
    assert_eq!(too_short, Err(BlockError::TailTooShort(built.tail_bytes)));
}

#[test]
fn what_does_not_fit_a_chunk_or_a_block_goes_on_in_the_next() {
    let pushes: Vec<_> = (0..3).map(|n| (host(n), vec![samples("a", 120_000, n.into())])).collect();
    let built = written(&pushes, BLOCK_BYTES_MAX);
    assert!(built.len() > 1);
    assert!(built.iter().all(|built| built.bytes.len() <= BLOCK_BYTES_MAX));
    let read = built.iter().flat_map(|built| read_all(&built.bytes).unwrap());
    assert_eq!(read.map(|(_, series)| series.samples.len()).sum::<usize>(), 360_000);
    let [day] = written(&pushes, DAY_BLOCK_BYTES_MAX).try_into().unwrap();
    assert!(day.bytes.len() > BLOCK_BYTES_MAX);
}

#[test]
fn a_block_is_closed_at_its_limit_and_not_a_chunk_before() {
    let pushes: Vec<_> = (0..20).map(|n| (host(n), vec![samples("a", 300, n.into())])).collect();
    let whole = written(&pushes, BLOCK_BYTES_MAX);
    assert_eq!(whole.len(), 1);
    // What is reserved for the index is a little more than it takes.
    let spare = 20 * 60 + 200;
    assert_eq!(written(&pushes, whole[0].bytes.len() + spare).len(), 1);
    let two = written(&pushes, whole[0].bytes.len() - 1);
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|built| built.bytes.len() < whole[0].bytes.len()));
}

#[test]
fn closed_blocks_can_be_taken_while_the_next_one_is_written() {
    let deflater = &mut Deflater::default();
    let mut writer = BlockWriter::new(Resolution::Raw, BLOCK_BYTES_MAX);
    let mut taken = Vec::new();
    for n in 0..3 {
        writer.push(host(n), &[samples("a", 120_000, n.into())], deflater).unwrap();
        taken.extend(writer.take_closed());
    }
    assert_eq!(taken.len(), 1);
    taken.extend(writer.finish(deflater).unwrap());
    assert_eq!(taken.iter().map(|built| built.samples).sum::<u64>(), 360_000);
}

#[test]
fn any_changed_byte_and_any_cut_is_noticed() {
    let bytes = of_two_hosts().bytes;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read_all(&changed).is_err(), "byte {at}");
        assert!(read_all(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(read_all(&[&[0], bytes.as_slice()].concat()).is_err(), "a byte before it");
}

#[test]
fn a_changed_chunk_is_named_and_takes_no_other_with_it() {
    let mut bytes = of_two_hosts().bytes;
    bytes[10] ^= 1;
    let inflater = &mut Inflater::default();
    let block = Block::open(&bytes, inflater).unwrap();
    let [first, second] = block.entries() else { panic!("{:?}", block.entries()) };
    let expected = BlockError::ChunkChecksum { host: host(1), offset: 0 };
    assert_eq!(block.chunk(first, inflater), Err(expected));
    assert_eq!(block.chunk(second, inflater), Ok(vec![samples("a", 3, 3)]));
}

#[test]
fn nothing_makes_no_block_and_neither_do_series_without_samples() {
    assert_eq!(written(&[], BLOCK_BYTES_MAX), []);
    assert_eq!(written(&[(host(1), vec![samples("a", 0, 1)])], BLOCK_BYTES_MAX), []);
}

/// An index and footer that are right in themselves.
fn tail(plain: &[u8], offset: u32) -> Vec<u8> {
    let mut bytes = Deflater::default().deflate(plain, 3).unwrap();
    let length = bytes.len() as u32;
    bytes.extend(offset.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend([0, VERSION]);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(MAGIC);
    bytes
}

#[test]
fn an_index_that_promises_too_much_is_refused() {
    let bomb = tail(&vec![1; INDEX_BYTES_MAX + 1], 0);
    let open = |bytes: &[u8]| BlockIndex::open(bytes, bytes.len() as u64, &mut Inflater::default());
    assert_eq!(open(&bomb), Err(BlockError::Index));
    // A list of 2^40 entries, of which there is none.
    let mut promise = vec![0x80; 5];
    promise.push(0x20);
    assert_eq!(open(&tail(&promise, 0)), Err(BlockError::Index));
    assert!(open(&tail(&[0], 0)).is_ok());
    assert_eq!(open(&tail(&[0, 0], 0)), Err(BlockError::Index), "bytes left over");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(plain in proptest::collection::vec(0u8.., 0..200), chunks in proptest::collection::vec(0u8.., 0..100)) {
        let bytes = [chunks.clone(), tail(&plain, chunks.len() as u32)].concat();
        let _ = read_all(&bytes);
        let _ = read_all(&plain);
    }

    #[test]
    fn no_chunk_panics(chunk in proptest::collection::vec(0u8.., 0..200)) {
        let entry = IndexEntry {
            host: host(1),
            offset: 0,
            length: chunk.len() as u32,
            crc: crc32fast::hash(&chunk),
            min: TimestampMs(0),
            max: TimestampMs(0),
            samples: 1,
        };
        let _ = decode_chunk(&entry, &chunk, &mut Inflater::default());
    }
}
