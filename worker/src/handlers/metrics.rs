//! `POST /api/v1/metrics`: a batch as JSON becomes a frame and goes to its shard.

use super::Ask;
use crate::{api_error::ApiError, auth::Caller, instance, reply::Reply, store::shards};
use edgewatch_engine::{
    call::{Push, Request, Sender},
    frame::{Frame, FrameError},
    series_limit::fingerprint,
};
use edgewatch_shared::{
    Batch, ErrorCode, HostId, HostName,
    catalogue::{CATALOGUE, Headline},
    limits::{FACTS_BYTES_MAX, PUSH_INTERVAL_MS},
    series::SeriesSamples,
    validate::validate,
    wire::{Facts, MetricsBody, PushReply},
};

/// Checks the whole batch, then has it made durable: 202 leaves after the commit.
pub async fn ingest(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let mut body: MetricsBody = ask.json()?;
    // A batch that names its host in its samples only is of that host all the same.
    body.host = body.host.or_else(|| body.metrics.iter().find_map(|sample| sample.host.clone()));
    let facts = body.facts.take().map(checked_facts).transpose()?;
    let (sender, shard) = sender(&ask.caller, body.host.as_deref())?;
    let checked = validate(body, ask.now)?;
    let ingested = checked.batch.sample_count();
    let push = Push {
        sender,
        facts,
        samples: u32::try_from(ingested).unwrap_or(u32::MAX),
        refused: u32::try_from(checked.outside_window).unwrap_or(u32::MAX),
        series: checked.batch.series().iter().map(|entry| fingerprint(&entry.series)).collect(),
        newest: headlines(&checked.batch),
        frame: if ingested > 0 { framed(&checked.batch)? } else { Vec::new() },
    };
    shards::ask(ask.env, shard, Request::Push(push)).await?;
    let reply = PushReply {
        ingested: ingested as u64,
        duplicate: 0,
        refused: checked.outside_window as u64,
        next_push_ms: PUSH_INTERVAL_MS.unsigned_abs(),
        server_ms: ask.now,
    };
    Ok(Reply::json(202, &reply))
}

/// Who the batch is from, and where it goes. A host's token names the host, and the shard compares what the body
/// says; a static token leaves it to the body.
fn sender(caller: &Caller, claimed: Option<&str>) -> Result<(Sender, u16), ApiError> {
    if let Caller::Host(id) = caller {
        return Ok((Sender::Host { id: *id, claimed: claimed.map(ToOwned::to_owned) }, id.home_shard()));
    }
    let name = claimed.unwrap_or_default().parse::<HostName>().map_err(|error| {
        ApiError::new(
            ErrorCode::MalformedBody,
            format!("with a static token the body says whose samples these are: {error}"),
        )
    })?;
    Ok((Sender::Named(name), HostId::NAMED_SHARD))
}

fn checked_facts(facts: Facts) -> Result<Facts, ApiError> {
    let bytes = serde_json::to_vec(&facts).map_err(ApiError::internal)?.len();
    if bytes > FACTS_BYTES_MAX {
        let message = format!("the facts have {bytes} bytes as JSON; at most {FACTS_BYTES_MAX} are taken");
        return Err(ApiError::new(ErrorCode::BodyTooLarge, message));
    }
    Ok(facts)
}

fn framed(batch: &Batch) -> Result<Vec<u8>, ApiError> {
    let frame = instance::with(|instance| Frame::encode(batch, &mut instance.deflater));
    match frame {
        Ok(frame) => Ok(frame.into_bytes()),
        Err(error @ FrameError::TooLarge(_)) => {
            Err(ApiError::new(ErrorCode::BodyTooLarge, error.to_string()))
        }
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// The newest value of each headline metric that the batch has.
fn headlines(batch: &Batch) -> Vec<(String, f64)> {
    CATALOGUE
        .iter()
        .filter_map(|metric| {
            let of_metric = batch.series().iter().filter(|entry| entry.series.name == metric.name);
            let value = match metric.headline {
                Headline::No => None,
                Headline::Plain => of_metric.filter(|entry| entry.series.labels.is_empty()).find_map(last),
                Headline::Labelled(key, value) => of_metric
                    .filter(|entry| entry.series.labels.get(key).is_some_and(|found| found == value))
                    .find_map(last),
                Headline::Largest => of_metric.filter_map(last).max_by(f64::total_cmp),
            };
            Some((metric.name.to_owned(), value?))
        })
        .collect()
}

fn last(entry: &SeriesSamples) -> Option<f64> {
    entry.samples.last().map(|sample| sample.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{
        TimestampMs,
        wire::{MetricSample, WireTime},
    };

    #[test]
    fn headlines_pick_the_right_series_and_its_last_sample() {
        let now = TimestampMs(1_790_000_000_000);
        let sample = |name: &str, label: Option<(&str, &str)>, ms: i64, value: f64| MetricSample {
            time: WireTime(now.plus_ms(ms)),
            host: None,
            name: name.into(),
            value,
            labels: label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into()),
        };
        let metrics = vec![
            sample("cpu.usage_pct", Some(("core", "0")), 0, 90.0),
            sample("cpu.usage_pct", Some(("core", "total")), 1, 51.0),
            sample("cpu.usage_pct", Some(("core", "total")), 0, 50.0),
            sample("disk.used_pct", Some(("mount", "/")), 0, 10.0),
            sample("disk.used_pct", Some(("mount", "/data")), 0, 70.0),
            sample("mem.used_bytes", None, 0, 5.0),
            sample("load_1m", None, 0, 0.5),
        ];
        let batch = validate(MetricsBody { host: None, facts: None, metrics }, now).unwrap().batch;
        let expected = [("cpu_usage_pct", 51.0), ("disk_used_pct", 70.0), ("load_1m", 0.5)];
        assert_eq!(headlines(&batch), expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
