//! Time: milliseconds since the Unix epoch, UTC, and the hours and days that storage is cut by.

use crate::limits::{DAY_MS, HOUR_MS};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimestampMs(pub i64);

/// In a millisecond.
const NANOS: i128 = 1_000_000;

/// Why a text is not a time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an RFC 3339 time with a zone, such as 2026-11-21T08:00:00Z")]
pub struct TimeError;

impl TimestampMs {
    /// Reads an RFC 3339 text; digits below a millisecond are cut off.
    ///
    /// ```
    /// use edgewatch_shared::TimestampMs;
    /// assert_eq!(TimestampMs::parse_rfc3339("1970-01-01T00:00:01.5Z"), Ok(TimestampMs(1_500)));
    /// assert_eq!(TimestampMs::parse_rfc3339("1970-01-01T02:00:00+02:00"), Ok(TimestampMs(0)));
    /// assert!(TimestampMs::parse_rfc3339("yesterday").is_err());
    /// ```
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimeError> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError)?;
        i64::try_from(time.unix_timestamp_nanos().div_euclid(NANOS)).map(Self).map_err(|_| TimeError)
    }

    /// Prints RFC 3339 in UTC, with milliseconds only where there are any.
    /// An instant outside the years 0 to 9999, of which RFC 3339 knows nothing, is printed as its number.
    pub fn to_rfc3339(self) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0).saturating_mul(NANOS)).ok();
        time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| self.0.to_string())
    }

    /// The hour this instant lies in.
    pub fn hour(self) -> Hour {
        Hour(self.0.div_euclid(HOUR_MS))
    }

    /// The day this instant lies in.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_MS))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This instant and `ms` more, held at the ends of the range.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant, held at the ends of the range.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An hour of UTC, counted since the epoch: the unit of WAL partitions and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub i64);

impl Hour {
    /// Its first instant.
    pub fn start(self) -> TimestampMs {
        TimestampMs(self.0.saturating_mul(HOUR_MS))
    }

    /// The first instant after it.
    pub fn end(self) -> TimestampMs {
        self.start().plus_ms(HOUR_MS)
    }

    /// `2026-11-21T08`: sorts as text, names objects.
    pub fn label(self) -> String {
        self.start().to_rfc3339().chars().take(13).collect()
    }
}

/// A day of UTC, counted since the epoch: what blocks are compacted to, and what retention goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i64);

impl Day {
    /// Its first instant.
    pub fn start(self) -> TimestampMs {
        TimestampMs(self.0.saturating_mul(DAY_MS))
    }

    /// The first instant after it.
    pub fn end(self) -> TimestampMs {
        self.start().plus_ms(DAY_MS)
    }

    /// `2026-11-21`: sorts as text, names objects.
    pub fn label(self) -> String {
        self.start().to_rfc3339().chars().take(10).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_holds_its_first_and_not_its_last_instant() {
        let day = TimestampMs::parse_rfc3339("2026-11-21T23:59:59.999Z").unwrap().day();
        assert_eq!((day.label(), day.start().day()), ("2026-11-21".to_owned(), day));
        assert_eq!((day.end().day(), day.end().plus_ms(-1).day()), (Day(day.0 + 1), day));
        assert_eq!(TimestampMs(-1).day(), Day(-1));
    }

    #[test]
    fn an_hour_holds_its_first_and_not_its_last_instant() {
        let hour = TimestampMs::parse_rfc3339("2026-11-21T08:30:00Z").unwrap().hour();
        assert_eq!(hour.start().to_rfc3339(), "2026-11-21T08:00:00Z");
        assert_eq!(hour.start().hour(), hour);
        assert_eq!(hour.end().hour(), Hour(hour.0 + 1));
        assert_eq!(hour.end().plus_ms(-1).hour(), hour);
        assert_eq!(hour.label(), "2026-11-21T08");
    }

    #[test]
    fn hours_before_the_epoch_round_down() {
        assert_eq!(TimestampMs(-1).hour(), Hour(-1));
    }

    #[test]
    fn the_years_of_rfc_3339_are_read_and_printed_and_no_others() {
        for (text, ms) in
            [("0000-01-01T00:00:00Z", -62_167_219_200_000), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999)]
        {
            assert_eq!(TimestampMs::parse_rfc3339(text), Ok(TimestampMs(ms)));
            assert_eq!(TimestampMs(ms).to_rfc3339(), text);
        }
        for ms in [-62_167_219_200_001, 253_402_300_800_000, i64::MIN, i64::MAX] {
            assert_eq!(TimestampMs(ms).to_rfc3339(), ms.to_string());
        }
        assert_eq!(TimestampMs::parse_rfc3339("1969-12-31T23:59:59.9999Z"), Ok(TimestampMs(-1)));
        for text in ["2026-11-21", "2026-11-21T08:00:00", "2026-02-29T08:00:00Z", "2026-11-21T24:00:00Z"] {
            assert_eq!(TimestampMs::parse_rfc3339(text), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn milliseconds_are_printed_only_where_there_are_any() {
        assert_eq!(TimestampMs(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(TimestampMs(1).to_rfc3339(), "1970-01-01T00:00:00.001Z");
    }
}
