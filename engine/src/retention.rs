//! How long samples are kept, by resolution.

use crate::rollup::Resolution;
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, RETENTION_DAYS_MAX},
    time::Day,
};
use serde::{Deserialize, Serialize};

/// Days that samples are kept after the day they are of; `None` (JSON `null`): for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSettings {
    /// Samples as they were sent.
    pub raw_days: Option<u32>,
    /// Rollups of five minutes.
    pub five_minute_days: Option<u32>,
    /// Rollups of an hour.
    pub hour_days: Option<u32>,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { raw_days: Some(30), five_minute_days: Some(365), hour_days: None }
    }
}

/// A retention that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a retention is 1 to {RETENTION_DAYS_MAX} days, or null for ever; {0} is neither")]
pub struct RetentionError(pub u32);

impl RetentionSettings {
    /// The settings, if they can be.
    pub fn checked(self) -> Result<Self, RetentionError> {
        let all = Resolution::ALL.into_iter().filter_map(|resolution| self.days(resolution));
        match all.into_iter().find(|days| !(1..=RETENTION_DAYS_MAX).contains(days)) {
            Some(days) => Err(RetentionError(days)),
            None => Ok(self),
        }
    }

    /// Days that a resolution is kept.
    pub fn days(&self, resolution: Resolution) -> Option<u32> {
        match resolution {
            Resolution::Raw => self.raw_days,
            Resolution::FiveMinutes => self.five_minute_days,
            Resolution::Hour => self.hour_days,
        }
    }

    /// From when on samples of a day may be gone: all of a day go together, once the last instant of it is old enough.
    pub fn expires(&self, resolution: Resolution, day: Day) -> Option<TimestampMs> {
        let days = self.days(resolution)?;
        Some(day.end().plus_ms(i64::from(days).saturating_mul(DAY_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_has_a_day_at_least_and_a_century_at_most() {
        let raw = |days| RetentionSettings { raw_days: days, ..RetentionSettings::default() };
        for days in [None, Some(1), Some(RETENTION_DAYS_MAX)] {
            assert_eq!(raw(days).checked(), Ok(raw(days)));
        }
        for days in [0, RETENTION_DAYS_MAX + 1] {
            assert_eq!(raw(Some(days)).checked(), Err(RetentionError(days)));
        }
    }

    #[test]
    fn a_day_goes_once_its_last_instant_is_old_enough_and_what_is_kept_for_ever_never() {
        let settings = RetentionSettings::default();
        assert_eq!(settings.expires(Resolution::Raw, Day(100)), Some(Day(131).start()));
        assert_eq!(settings.expires(Resolution::FiveMinutes, Day(100)), Some(Day(466).start()));
        assert_eq!(settings.expires(Resolution::Hour, Day(100)), None);
    }
}
