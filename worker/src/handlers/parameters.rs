//! Query parameters: times, words out of a list, labels.

use super::Ask;
use crate::api_error::ApiError;
use edgewatch_shared::{ErrorCode, Labels, TimestampMs};

/// A parameter at fault.
pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter, message)
}

/// RFC 3339, or milliseconds since the epoch.
pub fn instant(name: &str, text: &str) -> Result<TimestampMs, ApiError> {
    if let Ok(ms) = text.parse() {
        return Ok(TimestampMs(ms));
    }
    TimestampMs::parse_rfc3339(text).map_err(|error| {
        // In a query string a bare plus is a space.
        let hint = if text.contains(' ') { " (write a plus as %2B)" } else { "" };
        invalid(format!("`{name}` is {error}, nor milliseconds since the epoch{hint}"))
    })
}

/// How truth is written.
pub fn truth(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

/// One of a list of words.
pub fn one_of<T: Copy>(
    name: &str,
    text: Option<String>,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
    default: T,
) -> Result<T, ApiError> {
    let Some(text) = text else { return Ok(default) };
    all.iter().copied().find(|value| as_str(*value) == text).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|value| as_str(*value)).collect();
        invalid(format!("`{name}` is {text:?}; it is one of {}", known.join(", ")))
    })
}

/// The labels that series must have: `label.KEY=VALUE`.
pub fn labels(ask: &Ask<'_>) -> Labels {
    let pairs = ask.matched.url.query_pairs();
    let labels =
        pairs.filter_map(|(key, value)| Some((key.strip_prefix("label.")?.to_owned(), value.into_owned())));
    labels.collect()
}
