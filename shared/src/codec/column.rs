//! Columns of one host together: each scaled to integers, predicted, set beside its kin, and what is left over coded.

use super::{
    CodecError,
    bits::{Reader, put_signed, put_varint},
    kin::{Family, KIN_MAX, Kin, SHIFT_MAX},
    model::{Source, Writer},
    prediction::{self, PREDICTIONS, Prediction},
    residuals::{self, Tables},
    scale::Scale,
    ticks::{Finder, ON_TIME, Period, Ticks},
};

/// Flags: the prediction's number,
const PREDICTION: u8 = 0b111;
/// something is left over,
const RESIDUALS: u8 = 1 << 3;
/// all distances from the base are multiples of a unit,
const UNIT: u8 = 1 << 4;
/// how many kin follow,
const KIN_AT: u32 = 5;
/// and the column has other instants than the one before.
const OTHER_INSTANTS: u8 = 1 << 7;

/// In a scale: integers are ticks and distances from them.
const TICKS: u8 = 1 << 6;

/// What describes columns: flags and scales side by side, since they repeat themselves, then all numbers.
#[derive(Default)]
pub struct Encoder {
    flags: Vec<u8>,
    scales: Vec<u8>,
    numbers: Vec<u8>,
    family: Family,
    tables: Tables,
    symbols: Writer,
    list: usize,
    finder: Finder,
    period: Period,
}

impl Encoder {
    /// Appends a list of instants.
    pub fn instants(&mut self, times: &[i64]) {
        put_varint(&mut self.numbers, times.len() as u64);
        self.integers(times, 0);
    }

    /// Appends a column that is the same value at all instants of a list.
    pub fn value(&mut self, value: f64, list: usize) {
        let other = self.list(list);
        let scale = Scale::of(&[value]);
        self.scales.push(scale.to_byte());
        self.flags.push(other | number_of(Prediction::Last));
        put_signed(&mut self.numbers, scale.to_integer(value));
    }

    /// Appends a column of values, not all the same, at the instants of a list.
    pub fn values(&mut self, values: &[f64], list: usize) {
        let other = self.list(list);
        let scale = Scale::of(values);
        let integers: Vec<i64> = values.iter().map(|value| scale.to_integer(*value)).collect();
        // Clocks are read in nanoseconds.
        let ticks = if scale == Scale::Divided(9) { self.finder.find(&integers) } else { None };
        let Some(Ticks { period, ticks, offsets }) = ticks else {
            self.scales.push(scale.to_byte());
            return self.integers(&integers, other);
        };
        self.scales.push(scale.to_byte() | TICKS);
        put_signed(&mut self.numbers, period.0.wrapping_sub(self.period.0));
        self.period = period;
        self.integers(&ticks, other);
        let starts = ticks.iter().map(|tick| period.start_of(*tick).1);
        self.tables.encode_offsets(starts.zip(offsets), &mut self.symbols);
    }

    /// The flag of a column at the instants of a list.
    fn list(&mut self, list: usize) -> u8 {
        if list == self.list {
            return 0;
        }
        put_varint(&mut self.numbers, list as u64);
        self.list = list;
        OTHER_INSTANTS
    }

    fn integers(&mut self, integers: &[i64], mut flags: u8) {
        let Some((base, others)) = integers.split_first() else {
            self.flags.push(flags);
            return;
        };
        put_signed(&mut self.numbers, *base);
        let unit = unit_of(others, *base);
        if unit == 0 {
            // All are the same.
            self.flags.push(flags | number_of(Prediction::Last));
            return;
        }
        let reduced = |integer: &i64| integer.wrapping_sub(*base).checked_div(unit).unwrap_or(0);
        let others: Vec<i64> = others.iter().map(reduced).collect();
        if unit != 1 {
            flags |= UNIT;
            put_varint(&mut self.numbers, unit.cast_unsigned());
        }
        let (prediction, constant, rests) = prediction::best(&others);
        flags |= number_of(prediction);
        if prediction.has_constant() {
            put_signed(&mut self.numbers, constant);
        }
        if rests.iter().all(|rest| *rest == 0) {
            self.flags.push(flags);
            return;
        }
        let (kin, left) = self.family.relate(&rests);
        for Kin { distance, factor, shift } in &kin {
            put_varint(&mut self.numbers, *distance as u64);
            put_signed(&mut self.numbers, *factor);
            self.numbers.push(*shift);
        }
        flags |= RESIDUALS | ((kin.len() as u8) << KIN_AT);
        self.flags.push(flags);
        let usual_length = residuals::usual_length(&left);
        self.numbers.push(usual_length);
        self.tables.encode(&left, usual_length, &mut self.symbols);
        self.family.keep_shaped(rests);
    }

    /// Appends what describes the columns to `head`, their bulk to `body`.
    pub fn finish(mut self, head: &mut Vec<u8>, body: &mut Vec<u8>) {
        head.append(&mut self.flags);
        head.append(&mut self.scales);
        head.append(&mut self.numbers);
        self.symbols.finish(body);
    }
}

fn number_of(prediction: Prediction) -> u8 {
    PREDICTIONS.iter().position(|other| *other == prediction).unwrap_or_default() as u8
}

/// Reads what an [`Encoder`] wrote, in the same order.
pub struct Decoder<'a, 'b> {
    flags: Reader<'a>,
    scales: Reader<'a>,
    numbers: &'b mut Reader<'a>,
    body: &'b mut Reader<'a>,
    family: Family,
    tables: Tables,
    symbols: Option<Source<'a>>,
    list: usize,
    period: Period,
    /// Those of the column that is being read.
    integers: Vec<i64>,
}

impl<'a, 'b> Decoder<'a, 'b> {
    /// Reads so many lists of instants and so many columns of values.
    pub fn new(
        lists: usize,
        columns: usize,
        head: &'b mut Reader<'a>,
        body: &'b mut Reader<'a>,
    ) -> Result<Self, CodecError> {
        let flags = Reader::new(head.bytes(lists.saturating_add(columns))?);
        let scales = Reader::new(head.bytes(columns)?);
        let (family, tables) = (Family::default(), Tables::default());
        Ok(Self {
            flags,
            scales,
            numbers: head,
            body,
            family,
            tables,
            symbols: None,
            list: 0,
            period: Period::default(),
            integers: Vec::new(),
        })
    }

    /// The next list of instants, of at most `count_max`.
    pub fn instants(&mut self, count_max: usize) -> Result<Vec<i64>, CodecError> {
        let flags = self.flags.byte()?;
        let count = self.numbers.length(count_max)?;
        Ok(match self.integers(flags, count)? {
            Integers::Same(time) => vec![time; count],
            Integers::Each => std::mem::take(&mut self.integers),
        })
    }

    /// The number of the next column's list of instants, of so many; then its values are to be read.
    pub fn list(&mut self, lists: usize) -> Result<(usize, Flags), CodecError> {
        let flags = self.flags.byte()?;
        if flags & OTHER_INSTANTS != 0 {
            self.list = self.numbers.length(lists.saturating_sub(1))?;
        }
        Ok((self.list, Flags(flags)))
    }

    /// The values of a column, handed over all at once.
    pub fn values(&mut self, Flags(flags): Flags, count: usize) -> Result<Values<'_>, CodecError> {
        let byte = self.scales.byte()?;
        let scale = Scale::from_byte(byte & !TICKS).ok_or(CodecError::Malformed("an unknown scale"))?;
        if byte & TICKS != 0 {
            self.period = Period(self.period.0.wrapping_add(self.numbers.signed()?));
            if let Integers::Same(tick) = self.integers(flags, count)? {
                self.integers.clear();
                self.integers.resize(count, tick);
            }
            self.ticks_to_integers()?;
            return Ok(Values::Each(scale, &self.integers));
        }
        Ok(match self.integers(flags, count)? {
            Integers::Same(integer) => Values::Same(scale.to_value(integer)),
            Integers::Each => Values::Each(scale, &self.integers),
        })
    }

    /// Reads `count` integers: one that is all of them, or each, into `self.integers`.
    fn integers(&mut self, flags: u8, count: usize) -> Result<Integers, CodecError> {
        self.integers.clear();
        let Some(others) = count.checked_sub(1) else { return Ok(Integers::Each) };
        let base = self.numbers.signed()?;
        let unit = if flags & UNIT == 0 { 1 } else { self.numbers.varint()?.cast_signed() };
        let prediction = PREDICTIONS.get(usize::from(flags & PREDICTION)).copied();
        let prediction = prediction.ok_or(CodecError::Malformed("an unknown prediction"))?;
        let constant = if prediction.has_constant() { self.numbers.signed()? } else { 0 };
        if flags & RESIDUALS == 0 && !prediction.has_constant() {
            return Ok(Integers::Same(base));
        }
        self.integers.reserve(count);
        // Stands for the first one: what is restored begins at 0.
        self.integers.push(0);
        if flags & RESIDUALS == 0 {
            self.integers.resize(count, 0);
        } else {
            let rests = self.rests(usize::from((flags >> KIN_AT) & KIN_MAX as u8), others)?;
            self.integers.extend(&rests);
            self.family.keep(rests);
        }
        if let Some((first, others)) = self.integers.split_first_mut() {
            prediction::restore(others, prediction, constant);
            *first = base;
            others.iter_mut().for_each(|other| *other = other.wrapping_mul(unit).wrapping_add(base));
        }
        Ok(Integers::Each)
    }

    /// Reads how far the integers of the column's ticks lie from them.
    fn ticks_to_integers(&mut self) -> Result<(), CodecError> {
        let symbols = match &mut self.symbols {
            Some(symbols) => symbols,
            none => none.insert(Source::open(self.body)?),
        };
        for integer in &mut self.integers {
            let (start, table) = self.period.start_of(*integer);
            let offset = self.tables.decode_offset(table, symbols) as i64;
            *integer = start.wrapping_add(offset).wrapping_sub(ON_TIME);
        }
        symbols.check()
    }

    /// What the prediction leaves over: what is coded, and the shares of the column's kin.
    fn rests(&mut self, kin_count: usize, count: usize) -> Result<Vec<i64>, CodecError> {
        let mut kin = [None; KIN_MAX];
        for entry in kin.iter_mut().take(kin_count) {
            let distance = self.numbers.length(super::kin::WINDOW)?;
            let (factor, shift) = (self.numbers.signed()?, self.numbers.byte()?);
            if shift > SHIFT_MAX {
                return Err(CodecError::Malformed("a share shifted too far"));
            }
            *entry = Some(Kin { distance, factor, shift });
        }
        let usual_length = self.numbers.byte()?;
        if usual_length > 64 {
            return Err(CodecError::Malformed("residuals longer than integers"));
        }
        let symbols = match &mut self.symbols {
            Some(symbols) => symbols,
            none => none.insert(Source::open(self.body)?),
        };
        let mut rests = self.family.vacant();
        rests.resize(count, 0);
        // On its own the source's states stay in registers.
        let mut source = symbols.clone();
        self.tables.decode(&mut rests, usual_length, &mut source);
        *symbols = source;
        symbols.check()?;
        for kin in kin.iter().flatten() {
            let other = self.family.rests(kin.distance).filter(|other| other.len() == count);
            let other = other.ok_or(CodecError::Malformed("no such kin"))?;
            rests
                .iter_mut()
                .zip(other)
                .for_each(|(rest, other)| *rest = rest.wrapping_add(kin.share(*other)));
        }
        Ok(rests)
    }

    /// Checks that nothing is left over.
    pub fn finish(self) -> Result<(), CodecError> {
        self.symbols.map_or(Ok(()), Source::finish)
    }
}

/// How a column's integers were read.
enum Integers {
    /// All are this one.
    Same(i64),
    /// Each for itself.
    Each,
}

/// The values of a column.
pub enum Values<'a> {
    /// All are this one.
    Same(f64),
    /// Each for itself.
    Each(Scale, &'a [i64]),
}

/// A column's flags, between its list and its values.
#[derive(Clone, Copy)]
pub struct Flags(u8);

/// The largest unit that all distances from `base` are multiples of; 0 if there is no distance.
fn unit_of(integers: &[i64], base: i64) -> i64 {
    let mut unit: u64 = 0;
    for integer in integers {
        unit = greatest_common_divisor(integer.wrapping_sub(base).unsigned_abs(), unit);
        if unit == 1 {
            break;
        }
    }
    // Only i64::MIN itself is too large: then there is no unit but 1.
    i64::try_from(unit).unwrap_or(1)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while let Some(remainder) = a.checked_rem(b) {
        (a, b) = (b, remainder);
    }
    a
}
