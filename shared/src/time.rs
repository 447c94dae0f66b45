//! Time: milliseconds since the Unix epoch, UTC, and the hours and days that storage is cut by.

use crate::limits::{DAY_MS, HOUR_MS};
use serde::{Deserialize, Serialize};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimestampMs(pub i64);

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
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(|_| TimeError)
    }

    /// Prints RFC 3339 in UTC, with milliseconds only where there are any.
    /// An instant outside the years -9999 to 9999 is printed as its number.
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| self.0.to_string(), |time| time.to_string())
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
    fn milliseconds_are_printed_only_where_there_are_any() {
        assert_eq!(TimestampMs(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(TimestampMs(1).to_rfc3339(), "1970-01-01T00:00:00.001Z");
    }
}
