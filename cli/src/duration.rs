//! Durations as people write them: `90s`, `15m`, `12h`, `30d`.

use anyhow::{Context, Result, bail};

/// Seconds of a duration such as `30d`.
pub fn seconds(text: &str) -> Result<i64> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!("{text:?} is no duration: write a number and s, m, h or d, such as 30d"),
    };
    let number: i64 = number.parse().with_context(|| format!("{text:?} is no duration"))?;
    number
        .checked_mul(unit_s)
        .filter(|seconds| *seconds > 0)
        .with_context(|| format!("{text:?} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(seconds(text).unwrap(), expected);
        }
        for bad in ["", "d", "30", "30w", "-1d", "0s", "1.5h", "9223372036854775807d", "3µ"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
