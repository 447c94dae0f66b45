//! What `GET /api/v1/export` writes and `POST /api/v1/import` reads: one JSON object a line, with the fields that
//! VictoriaMetrics' own export has, and the host's id beside them.

use crate::{
    host::HostId,
    limits::IMPORT_SAMPLES_MAX,
    series::{Labels, Sample, Series},
    time::TimestampMs,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// The key that a series' name stands under in [`ExportLine::metric`].
pub const NAME_KEY: &str = "__name__";
/// The key that a host's name stands under.
pub const HOST_KEY: &str = "host";

/// Samples of one series of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportLine {
    /// Whose; without it the host is the one known by its name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// Whether its key was revoked: where an import adds the host, it stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<bool>,
    /// The series' labels, with its name and its host's name among them.
    pub metric: Labels,
    /// As many as there are timestamps, each printed with as few digits as give it back to the last bit.
    #[serde(deserialize_with = "bounded")]
    pub values: Vec<f64>,
    /// Milliseconds since the epoch.
    #[serde(deserialize_with = "bounded")]
    pub timestamps: Vec<i64>,
}

/// Reads one more than [`IMPORT_SAMPLES_MAX`] at the most, by which whoever counts sees that there are too many.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Bounded(PhantomData))
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut numbers = Vec::new();
        while numbers.len() <= IMPORT_SAMPLES_MAX {
            let Some(number) = list.next_element()? else { return Ok(numbers) };
            numbers.push(number);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(numbers)
    }
}

/// Whose samples a line has, of which series, and the samples.
pub type LineParts = (Option<HostId>, String, Series, Vec<Sample>);

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A name is missing.
    #[error("`metric` has no {0:?}")]
    Missing(&'static str),
    /// The columns differ in length.
    #[error("{values} values for {timestamps} timestamps")]
    Shape {
        /// Values.
        values: usize,
        /// Timestamps.
        timestamps: usize,
    },
}

impl ExportLine {
    /// A line of some samples of a host that may push.
    pub fn new(host_id: HostId, host: &str, series: &Series, samples: &[Sample]) -> Self {
        let mut metric = series.labels.clone();
        metric.insert(NAME_KEY.to_owned(), series.name.clone());
        metric.insert(HOST_KEY.to_owned(), host.to_owned());
        Self {
            host_id: Some(host_id),
            revoked: Some(false),
            metric,
            values: samples.iter().map(|sample| sample.value).collect(),
            timestamps: samples.iter().map(|sample| sample.time.0).collect(),
        }
    }

    /// Undoes [`ExportLine::new`].
    pub fn into_parts(self) -> Result<LineParts, LineError> {
        let Self { host_id, revoked: _, metric: mut labels, values, timestamps } = self;
        let name = labels.remove(NAME_KEY).ok_or(LineError::Missing(NAME_KEY))?;
        let host = labels.remove(HOST_KEY).ok_or(LineError::Missing(HOST_KEY))?;
        if values.len() != timestamps.len() {
            return Err(LineError::Shape { values: values.len(), timestamps: timestamps.len() });
        }
        let sample = |(time, value): (&i64, &f64)| Sample { time: TimestampMs(*time), value: *value };
        let samples = timestamps.iter().zip(&values).map(sample).collect();
        Ok((host_id, host, Series { name, labels }, samples))
    }
}

/// Reply to an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// Samples that are now durable.
    pub imported: u64,
    /// Samples outside the window of time that the token may write to, counted and dropped.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series() -> Series {
        Series { name: "load_1m".into(), labels: Labels::from([("core".into(), "0".into())]) }
    }

    fn reread(samples: &[Sample]) -> Vec<Sample> {
        let id = HostId::new(7, [1; 14]);
        let text = serde_json::to_string(&ExportLine::new(id, "web-01", &series(), samples)).unwrap();
        let line: ExportLine = serde_json::from_str(&text).unwrap();
        let (host_id, host, found, samples) = line.into_parts().unwrap();
        assert_eq!((host_id, host.as_str(), found), (Some(id), "web-01", series()));
        samples
    }

    #[test]
    fn a_line_without_a_name_or_of_another_shape_is_refused() {
        let line = ExportLine::new(HostId::new(0, [1; 14]), "web-01", &series(), &[]);
        let without = |key: &str| {
            let mut line = line.clone();
            line.metric.remove(key);
            line.into_parts().unwrap_err()
        };
        assert_eq!(without(NAME_KEY), LineError::Missing(NAME_KEY));
        assert_eq!(without(HOST_KEY), LineError::Missing(HOST_KEY));
        let uneven = ExportLine { values: vec![1.0], ..line };
        assert_eq!(uneven.into_parts(), Err(LineError::Shape { values: 1, timestamps: 0 }));
    }

    proptest! {
        #[test]
        fn values_survive_their_text_to_the_last_bit(
            values in proptest::collection::vec((any::<i64>(), any::<f64>()), 0..50)
        ) {
            let finite = values.iter().filter(|(_, value)| value.is_finite());
            let samples: Vec<Sample> =
                finite.map(|(time, value)| Sample { time: TimestampMs(*time), value: *value }).collect();
            let bits = |samples: &[Sample]| -> Vec<_> {
                samples.iter().map(|sample| (sample.time, sample.value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&reread(&samples)), bits(&samples));
        }
    }

    #[test]
    fn of_a_list_no_more_is_read_than_shows_that_it_is_too_long() {
        let read = |count: usize| {
            let numbers = vec!["0"; count].join(",");
            let line = format!(r#"{{"metric":{{}},"values":[{numbers}],"timestamps":[]}}"#);
            serde_json::from_str::<ExportLine>(&line).unwrap().values.len()
        };
        assert_eq!(read(IMPORT_SAMPLES_MAX), IMPORT_SAMPLES_MAX);
        for count in [IMPORT_SAMPLES_MAX + 1, IMPORT_SAMPLES_MAX + 1_000] {
            assert_eq!(read(count), IMPORT_SAMPLES_MAX + 1);
        }
    }

    #[test]
    fn minus_zero_stays_minus_zero() {
        let samples = [Sample { time: TimestampMs(0), value: -0.0 }];
        assert_eq!(reread(&samples)[0].value.to_bits(), (-0.0_f64).to_bits());
    }
}
