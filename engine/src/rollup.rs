//! How finely time is kept: as it was read, and in buckets of five minutes and of an hour.

use edgewatch_shared::limits::{HOUR_MS, MINUTE_MS};
use serde::{Deserialize, Serialize};

/// How finely a block keeps time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// As it was read.
    Raw,
    /// A value for every five minutes.
    FiveMinutes,
    /// A value for every hour.
    Hour,
}

impl Resolution {
    /// Every resolution, the finest first.
    pub const ALL: [Self; 3] = [Self::Raw, Self::FiveMinutes, Self::Hour];

    /// As it is written in names and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    /// The number that stands for it where it is stored.
    pub fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::FiveMinutes => 1,
            Self::Hour => 2,
        }
    }

    /// Undoes [`Resolution::number`].
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.number() == number)
    }

    /// Milliseconds between two values; `None` where it is whatever was sent.
    pub fn step_ms(self) -> Option<i64> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(5 * MINUTE_MS),
            Self::Hour => Some(HOUR_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_one_resolution_and_others_for_none() {
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::of_number(resolution.number()), Some(resolution));
        }
        assert_eq!(Resolution::of_number(3), None);
    }
}
