//! Prometheus' remote_write 1.0: protobuf in snappy's block format
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec/>).

use anyhow::Result;
use edgewatch_shared::series::SeriesSamples;
use prost::Message;

/// Where both peers take it.
pub const PATH: &str = "/api/v1/write";

/// The headers that a sender adds to those of any HTTP client.
pub const HEADERS: [(&str, &str); 4] = [
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ("User-Agent", "Prometheus/2.42.0"),
];

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<WrittenSample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WrittenSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A host's samples as Prometheus sends them: in the order of the scrapes, each with its series.
pub fn as_scraped(series: &[SeriesSamples]) -> Vec<SeriesSamples> {
    let mut scraped: Vec<SeriesSamples> = series
        .iter()
        .flat_map(|SeriesSamples { series, samples }| {
            samples.iter().map(|sample| SeriesSamples { series: series.clone(), samples: vec![*sample] })
        })
        .collect();
    scraped.sort_by_key(|one| one.samples.first().map(|sample| sample.time));
    scraped
}

/// A body with a host's samples; `label` names the host.
pub fn body(series: &[SeriesSamples], label: (&str, &str)) -> Result<Vec<u8>> {
    let timeseries = series
        .iter()
        .map(|SeriesSamples { series, samples }| {
            let pairs = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let mut labels: Vec<(&str, &str)> =
                pairs.chain([("__name__", series.name.as_str()), label]).collect();
            // The specification wants them sorted.
            labels.sort_unstable();
            TimeSeries {
                labels: labels
                    .into_iter()
                    .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
                    .collect(),
                samples: samples
                    .iter()
                    .map(|sample| WrittenSample { value: sample.value, timestamp: sample.time.0 })
                    .collect(),
            }
        })
        .collect();
    Ok(snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries }.encode_to_vec())?)
}
