//! Instants of a series: the first, the first step, then runs of steps that change by the same amount.

use super::{
    CodecError,
    bits::{Reader, put_signed, put_varint},
};

/// Appends instants in ascending order.
pub fn encode(times: &[i64], out: &mut Vec<u8>) {
    put_varint(out, times.len() as u64);
    let (mut last, mut step) = (0i64, 0i64);
    let changes = times.iter().map(|time| {
        let now = time.wrapping_sub(last);
        let change = now.wrapping_sub(step);
        (last, step) = (*time, now);
        change
    });
    let changes: Vec<i64> = changes.collect();
    for run in changes.chunk_by(|a, b| a == b) {
        if let Some(change) = run.first() {
            put_signed(out, *change);
            put_varint(out, run.len() as u64);
        }
    }
}

/// Reads instants, at most `count_max`.
pub fn decode(reader: &mut Reader<'_>, count_max: usize) -> Result<Vec<i64>, CodecError> {
    let count = reader.length(count_max)?;
    let mut times = Vec::new();
    let (mut last, mut step) = (0i64, 0i64);
    while times.len() < count {
        let change = reader.signed()?;
        let run = reader.length(count.saturating_sub(times.len()))?;
        if run == 0 {
            return Err(CodecError::Malformed("an empty run of instants"));
        }
        times.extend((0..run).map(|_| {
            step = step.wrapping_add(change);
            last = last.wrapping_add(step);
            last
        }));
    }
    Ok(times)
}
