//! JSON wire, version 1: MiniObserv's shapes, and what Edgewatch adds to them.
//! Golden files lie in `shared/tests/golden`.

use crate::{
    code::ErrorCode,
    host::HostId,
    limits::{BATCH_SAMPLES_MAX, LABELS_MAX},
    time::TimestampMs,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{collections::BTreeMap, fmt};

/// Body of `POST /api/v1/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsBody {
    /// Name or id of the host. With a host's own token it may be left out; if it is there it must be the token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What the agent knows of its host; sent when it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// The samples; of more than a batch may have, one more than that is kept.
    #[serde(deserialize_with = "bounded_samples")]
    pub metrics: Vec<MetricSample>,
}

/// Reads samples up to the first that is too many and passes over the others, so that a body of tiny samples does not
/// take memory for all of them before it is refused.
fn bounded_samples<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MetricSample>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<MetricSample>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of samples")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut samples = Vec::new();
            while samples.len() <= BATCH_SAMPLES_MAX {
                match sequence.next_element()? {
                    Some(sample) => samples.push(sample),
                    None => return Ok(samples),
                }
            }
            while sequence.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(samples)
        }
    }
    deserializer.deserialize_seq(Visitor)
}

/// One sample as MiniObserv sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSample {
    /// When it was read.
    pub time: WireTime,
    /// MiniObserv repeats the host in every sample; where it does, it must be the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Dotted or stored name.
    pub name: String,
    /// Finite.
    pub value: f64,
    /// Labels; neither keys nor values may be empty. Of more than a series may have, one more than that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded_labels")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Reads labels up to the first that is too many and passes over the others.
fn bounded_labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<BTreeMap<String, String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of labels")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut labels = BTreeMap::new();
            while labels.len() <= LABELS_MAX {
                match map.next_entry()? {
                    Some((key, value)) => labels.insert(key, value),
                    None => return Ok(Some(labels)),
                };
            }
            while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
            Ok(Some(labels))
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// A time on the wire: RFC 3339 text, or milliseconds since the epoch as a number. Written as the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireTime(pub TimestampMs);

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.0)
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = WireTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time or whole milliseconds since the epoch")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireTime, E> {
                TimestampMs::parse_rfc3339(text).map(WireTime).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<WireTime, E> {
                Ok(WireTime(TimestampMs(ms)))
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<WireTime, E> {
                i64::try_from(ms).map(|ms| WireTime(TimestampMs(ms))).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What is known of a host beside its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Operating system and its version, as it names itself.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// Processor architecture.
    pub arch: String,
    /// Processor model.
    pub cpu_model: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Version of the agent.
    pub agent_version: String,
}

/// Reply to a push, status 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReply {
    /// Samples that are now durable and were not before.
    pub ingested: u64,
    /// Samples of a compact push that were stored under its identity before.
    #[serde(default)]
    pub duplicate: u64,
    /// Samples outside the accepted window of time, counted and dropped.
    pub refused: u64,
    /// Milliseconds until the host should push again.
    pub next_push_ms: u64,
    /// The server's clock.
    pub server_ms: TimestampMs,
}

/// Body of every reply that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The fault.
    pub error: ErrorDetail,
    /// The server's clock, so that a client whose clock is wrong can still sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_ms: Option<TimestampMs>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable; clients may match on it.
    pub code: ErrorCode,
    /// For people: what, why and what to do.
    pub message: String,
    /// Faults by sample, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<FaultDetail>,
}

/// One faulty sample of a refused batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDetail {
    /// Position in `metrics`, from 0.
    pub index: usize,
    /// Stable text.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Body of `POST /api/v1/enroll`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollBody {
    /// What people shall call the host; unique among enrolled hosts.
    pub name: String,
    /// What is known of it.
    #[serde(default)]
    pub facts: Facts,
    /// Tags beside those of the token.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Reply to an enrolment, status 201. The key is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollReply {
    /// The host's id.
    pub host_id: HostId,
    /// The host's key, base64url.
    pub host_key: String,
    /// The name it was enrolled under.
    pub name: String,
    /// The server's clock.
    pub server_ms: TimestampMs,
}

/// Body of `POST /api/v1/hosts/{host}/move`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveBody {
    /// Where the host's pushes go from now on.
    pub shard: u16,
}

/// Body of `POST /api/v1/hosts/{host}/split`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitBody {
    /// The shards that share the host's series.
    pub shards: Vec<u16>,
}

/// How a host is doing, by when it last pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    /// Pushing.
    Ok,
    /// Silent for [`crate::limits::STALE_AFTER_MS`].
    Stale,
    /// Silent for [`crate::limits::DOWN_AFTER_MS`], or never seen.
    Down,
}

impl HostStatus {
    /// The status at `now` of a host that was last seen then and is to push every `pace_ms`.
    pub fn at(now: TimestampMs, last_seen: Option<TimestampMs>, pace_ms: i64) -> Self {
        use crate::limits::{DOWN_AFTER_MS, PUSH_INTERVAL_MS, STALE_AFTER_MS};
        let times = pace_ms.checked_div(PUSH_INTERVAL_MS).unwrap_or(1).max(1);
        match last_seen.map(|seen| now.ms_since(seen)) {
            Some(silent_ms) if silent_ms < STALE_AFTER_MS.saturating_mul(times) => Self::Ok,
            Some(silent_ms) if silent_ms < DOWN_AFTER_MS.saturating_mul(times) => Self::Stale,
            _ => Self::Down,
        }
    }
}

/// One host of `GET /api/v1/hosts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostEntry {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// How it is doing.
    pub status: HostStatus,
    /// RFC 3339; null if it never pushed.
    pub last_seen: Option<String>,
    /// Whether its key was revoked.
    pub revoked: bool,
    /// What is known of it.
    pub facts: Facts,
    /// Its tags.
    pub tags: Vec<String>,
    /// Newest values of the headline metrics, by dotted-free stored name.
    pub newest: BTreeMap<String, f64>,
}

/// Reply of `GET /api/v1/hosts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostsReply {
    /// Sorted by name.
    pub hosts: Vec<HostEntry>,
    /// What is missing or old in this reply, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Reply of `GET /api/v1/metrics/hosts`: names, never null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNamesReply {
    /// Sorted.
    pub hosts: Vec<String>,
}

/// Reply of `GET /api/v1/metrics/series`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReply {
    /// As asked.
    pub host: String,
    /// In order of name and labels.
    pub series: Vec<SeriesEntry>,
    /// What may be missing in this reply, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One series of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesEntry {
    /// Stored name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The hour of its oldest sample, RFC 3339.
    pub first: String,
    /// The hour of its newest sample, at most a day behind.
    pub last: String,
}

/// Reply of `GET /api/v1/metrics/query`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryReply {
    /// As asked.
    pub host: String,
    /// As asked.
    pub name: String,
    /// As asked, or `1m`.
    pub bucket: String,
    /// As asked, or `avg`.
    pub agg: String,
    /// How finely kept what the points are made of: `raw`, `5m` or `1h`.
    pub resolution: String,
    /// Newest first; buckets without samples are left out.
    pub points: Vec<QueryPoint>,
    /// What is missing in this reply, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The value of one bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryPoint {
    /// The bucket's first instant, RFC 3339.
    pub time: String,
    /// The aggregate of its samples.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DOWN_AFTER_MS, PUSH_INTERVAL_MS, STALE_AFTER_MS};

    #[test]
    fn a_host_goes_stale_and_down_at_the_very_millisecond() {
        let seen = Some(TimestampMs(0));
        let status = |ms| HostStatus::at(TimestampMs(ms), seen, 1_000);
        assert_eq!(status(STALE_AFTER_MS - 1), HostStatus::Ok);
        assert_eq!(status(STALE_AFTER_MS), HostStatus::Stale);
        assert_eq!(status(DOWN_AFTER_MS - 1), HostStatus::Stale);
        assert_eq!(status(DOWN_AFTER_MS), HostStatus::Down);
        assert_eq!(HostStatus::at(TimestampMs(0), None, 1_000), HostStatus::Down);
        // Who was told to push less often may be silent for longer.
        let slowed = |ms| HostStatus::at(TimestampMs(ms), seen, 5 * PUSH_INTERVAL_MS);
        assert_eq!(slowed(5 * STALE_AFTER_MS - 1), HostStatus::Ok);
        assert_eq!(slowed(5 * STALE_AFTER_MS), HostStatus::Stale);
        assert_eq!(slowed(5 * DOWN_AFTER_MS), HostStatus::Down);
    }

    #[test]
    fn samples_beyond_a_batch_are_passed_over() {
        let samples = vec![r#"{"time":1,"name":"a","value":1}"#; BATCH_SAMPLES_MAX + 500].join(",");
        let body: MetricsBody = serde_json::from_str(&format!(r#"{{"metrics":[{samples}]}}"#)).unwrap();
        assert_eq!(body.metrics.len(), BATCH_SAMPLES_MAX + 1);
        assert!(serde_json::from_str::<MetricsBody>(&format!(r#"{{"metrics":[{samples},"#)).is_err());
    }

    #[test]
    fn labels_beyond_a_series_are_passed_over() {
        let labels: Vec<_> = (0..1_000).map(|n| format!(r#""l{n}":"v""#)).collect();
        let sample = |labels: &str| format!(r#"{{"time":1,"name":"a","value":1,"labels":{labels}}}"#);
        let read =
            |labels: &str| serde_json::from_str::<MetricSample>(&sample(labels)).map(|sample| sample.labels);
        assert_eq!(read(&format!("{{{}}}", labels.join(","))).unwrap().unwrap().len(), LABELS_MAX + 1);
        assert_eq!(read("null").unwrap(), None);
        assert!(read("[]").is_err() && read(r#"{"a":1}"#).is_err());
    }

    #[test]
    fn a_time_is_text_or_a_number() {
        let read = |text: &str| serde_json::from_str::<WireTime>(text).map(|time| time.0.0).ok();
        assert_eq!(read(r#""1970-01-01T00:00:01Z""#), Some(1_000));
        assert_eq!(read("1000"), Some(1_000));
        assert_eq!(read("-1"), Some(-1));
        for bad in ["1.5", "null", "true", r#""soon""#, "18446744073709551615"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
