//! The codec for a JavaScript runtime without any glue: memory, and functions of numbers.
//!
//! `reserve(bytes)` says where to put the two parts of encoded columns; `take(head, body)` decodes them once and keeps
//! both forms; `decode()` and `encode()` work on all that was taken and return how many samples, or bytes, came out.
#![expect(
    unsafe_code,
    reason = "an exported function keeps its name only by an attribute that is called unsafe"
)]

use edgewatch_shared::{
    codec::{self, Columns},
    series::SeriesSamples,
};
use std::cell::RefCell;

/// More than any recording's hour.
const SAMPLES_MAX: usize = 10_000_000;

/// An hour in both forms.
struct Hour {
    columns: Columns<Vec<u8>>,
    series: Vec<SeriesSamples>,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static HOURS: RefCell<Vec<Hour>> = const { RefCell::new(Vec::new()) };
}

/// Where so many bytes may be put.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(bytes: usize) -> usize {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        buffer.resize(bytes, 0);
        buffer.as_ptr() as usize
    })
}

/// Takes an hour out of what was put there: 1, or 0 if it does not decode.
#[unsafe(no_mangle)]
pub extern "C" fn take(head: usize, body: usize) -> usize {
    let columns = BUFFER.with_borrow(|buffer| {
        let (head, rest) = buffer.split_at_checked(head)?;
        Some(Columns { head: head.to_vec(), body: rest.get(..body)?.to_vec() })
    });
    let hour = columns.and_then(|columns| {
        let series = decoded(&columns)?;
        Some(Hour { columns, series })
    });
    HOURS.with_borrow_mut(|hours| {
        let before = hours.len();
        hours.extend(hour);
        hours.len() - before
    })
}

fn decoded(columns: &Columns<Vec<u8>>) -> Option<Vec<SeriesSamples>> {
    codec::decode(Columns { head: &columns.head, body: &columns.body }, SAMPLES_MAX).ok()
}

/// Decodes every hour; how many samples there were.
#[unsafe(no_mangle)]
pub extern "C" fn decode() -> usize {
    let samples = |Hour { columns, .. }: &Hour| {
        let mut samples = 0;
        let columns = Columns { head: columns.head.as_slice(), body: columns.body.as_slice() };
        let read = codec::decode_each(columns, SAMPLES_MAX, &mut |_| true, &mut |entry| {
            samples += entry.samples.len()
        });
        read.map_or(0, |()| samples)
    };
    HOURS.with_borrow(|hours| hours.iter().map(samples).sum())
}

/// Encodes every hour; how many bytes they took.
#[unsafe(no_mangle)]
pub extern "C" fn encode() -> usize {
    let bytes = |hour: &Hour| {
        let columns = codec::encode(&hour.series);
        columns.head.len() + columns.body.len()
    };
    HOURS.with_borrow(|hours| hours.iter().map(bytes).sum())
}
