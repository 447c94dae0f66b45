//! Metric and label names: Prometheus-legal inside, with a dotted alias outside.
//!
//! Stored names match `[a-zA-Z_:][a-zA-Z0-9_:]*` (labels without the colon), the
//! classic names of the Prometheus data model. The native API also takes
//! MiniObserv's dotted spelling: `cpu.usage_pct` is `cpu_usage_pct`.

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// Over [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A character that Prometheus does not allow.
    #[error("a name matches [a-zA-Z_:][a-zA-Z0-9_:]* (a dot counts as an underscore)")]
    Illegal,
}

/// The stored form of a metric name as the native API accepts it: dots become underscores.
///
/// ```
/// use edgewatch_shared::name::{stored_name, NameError};
/// assert_eq!(stored_name("cpu.usage_pct").as_deref(), Ok("cpu_usage_pct"));
/// assert_eq!(stored_name("9lives"), Err(NameError::Illegal));
/// ```
pub fn stored_name(text: &str) -> Result<String, NameError> {
    let name = text.replace('.', "_");
    check(&name, |c| c == ':')?;
    Ok(name)
}

/// Checks a label name: as a metric name, without colons and without the alias.
pub fn check_label_name(text: &str) -> Result<(), NameError> {
    check(text, |_| false)
}

fn check(text: &str, also_legal: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let mut characters = text.chars();
    let first = characters.next().ok_or(NameError::Empty)?;
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || also_legal(c);
    if letter(first) && characters.all(|c| letter(c) || c.is_ascii_digit()) {
        Ok(())
    } else {
        Err(NameError::Illegal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_passes_and_one_byte_more_does_not() {
        assert!(stored_name(&"a".repeat(NAME_BYTES_MAX)).is_ok());
        assert_eq!(stored_name(&"a".repeat(NAME_BYTES_MAX + 1)), Err(NameError::TooLong));
    }

    #[test]
    fn a_colon_is_legal_in_metrics_only() {
        assert!(stored_name("job:up:sum").is_ok());
        assert_eq!(check_label_name("a:b"), Err(NameError::Illegal));
        assert_eq!(check_label_name("a.b"), Err(NameError::Illegal));
        assert!(check_label_name("core").is_ok());
    }

    #[test]
    fn empty_and_foreign_letters_are_refused() {
        assert_eq!(stored_name(""), Err(NameError::Empty));
        assert_eq!(stored_name("größe"), Err(NameError::Illegal));
    }
}
