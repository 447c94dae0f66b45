//! How long samples are kept.

use serde::{Deserialize, Serialize};

/// Body and reply of `/api/v1/settings/retention`: days that samples are kept after the day they are of; `null` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Samples as they were sent.
    #[serde(deserialize_with = "Option::deserialize")]
    pub raw_days: Option<u32>,
    /// Rollups of five minutes.
    #[serde(deserialize_with = "Option::deserialize")]
    pub five_minute_days: Option<u32>,
    /// Rollups of an hour.
    #[serde(deserialize_with = "Option::deserialize")]
    pub hour_days: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_taken_for_ever() {
        let read = serde_json::from_str::<Retention>;
        assert!(read(r#"{"raw_days":30,"five_minute_days":null,"hour_days":null}"#).is_ok());
        for bad in [
            r#"{"raw_days":30}"#,
            r#"{"raw_days":30,"five_minute_days":null}"#,
            r#"{"raw_days":-1,"five_minute_days":null,"hour_days":null}"#,
            r#"{"raw_days":30,"five_minute_days":null,"hour_days":null,"days":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
