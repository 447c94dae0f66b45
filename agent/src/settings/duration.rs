//! Durations as people write them: `500ms`, `10s`, `1m30s`, `2h`, `7d`.

/// Milliseconds of a text of whole numbers with units (ms, s, m, h, d), one after the other, as Go writes them.
pub fn parse_ms(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total_ms: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = cut(rest, |c| c.is_ascii_digit());
        let (unit, after) = cut(after, |c| c.is_ascii_alphabetic());
        let number: i64 = number.parse().ok()?;
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms(unit)?)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total_ms)
}

fn unit_ms(unit: &str) -> Option<i64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

/// The text up to the first character that does not belong, and the rest.
fn cut(text: &str, belongs: fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1m30s", 90_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_duration() {
        for bad in ["", "10", "s", "10 s", "1.5s", "-1s", "10sec", "1w", "s10", "9223372036854775807h"] {
            assert_eq!(parse_ms(bad), None, "{bad}");
        }
    }
}
