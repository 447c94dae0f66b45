//! `POST /api/v1/metrics`: a batch as JSON becomes a frame and goes to its shard.

use super::Ask;
use crate::{api_error::ApiError, auth::Caller, instance, reply::Reply, store::pushes};
use edgewatch_engine::{
    call::{Named, Payload, Push, Sender, Way},
    frame::{Frame, FrameError},
    headlines::Headlines,
    series_limit::fingerprint,
};
use edgewatch_shared::{
    Batch, ErrorCode, HostName, TimestampMs,
    limits::FACTS_BYTES_MAX,
    validate::validate,
    wire::{Facts, MetricsBody, PushReply},
};
use worker::Env;

/// Checks the whole batch, then has it made durable: 202 leaves after the commit.
pub async fn ingest(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let mut body: MetricsBody = ask.json()?;
    // A batch that names its host in its samples only is of that host all the same.
    body.host = body.host.or_else(|| body.metrics.iter().find_map(|sample| sample.host.clone()));
    let facts = body.facts.take().map(checked_facts).transpose()?;
    let sender = sender(&ask.caller, body.host.as_deref())?;
    let checked = validate(body, ask.now)?;
    let ingested = checked.batch.sample_count();
    let payload = if ingested > 0 { Some(Payload::Named(named(&checked.batch)?)) } else { None };
    let outside_window = u32::try_from(checked.outside_window).unwrap_or(u32::MAX);
    let push = Push { sender, facts, outside_window, payload, record: None, way: Way::Direct };
    send(ask.env, push, ask.now).await
}

/// Has a batch made durable, and says what became of it.
pub async fn send(env: &Env, push: Push, now: TimestampMs) -> Result<Reply, ApiError> {
    let pushed = pushes::store(env, push).await?;
    let reply = PushReply {
        ingested: pushed.ingested.into(),
        duplicate: pushed.repeated.into(),
        refused: pushed.refused.into(),
        next_push_ms: pushed.next_push_ms.into(),
        server_ms: now,
    };
    Ok(Reply::json(202, &reply))
}

/// Who the batch is from. A host's token names the host, and the shard compares what the body
/// says; a static token leaves it to the body.
pub fn sender(caller: &Caller, claimed: Option<&str>) -> Result<Sender, ApiError> {
    if let Caller::Host(id) = caller {
        return Ok(Sender::Host { id: *id, claimed: claimed.map(ToOwned::to_owned) });
    }
    let name = claimed.unwrap_or_default().parse::<HostName>().map_err(|error| {
        ApiError::new(
            ErrorCode::MalformedBody,
            format!("with a static token the body says whose samples these are: {error}"),
        )
    })?;
    Ok(Sender::Named(name))
}

pub fn checked_facts(facts: Facts) -> Result<Facts, ApiError> {
    let bytes = serde_json::to_vec(&facts).map_err(ApiError::internal)?.len();
    if bytes > FACTS_BYTES_MAX {
        let message = format!("the facts have {bytes} bytes as JSON; at most {FACTS_BYTES_MAX} are taken");
        return Err(ApiError::new(ErrorCode::BodyTooLarge, message));
    }
    Ok(facts)
}

/// A batch as it travels to its shard.
pub fn named(batch: &Batch) -> Result<Named, ApiError> {
    let frame = instance::with(|instance| Frame::encode(batch, &mut instance.deflater));
    match frame {
        Ok(frame) => Ok(Named {
            samples: u32::try_from(batch.sample_count()).unwrap_or(u32::MAX),
            series: batch.series().iter().map(|entry| fingerprint(&entry.series)).collect(),
            newest: headlines(batch),
            frame: frame.into_bytes(),
        }),
        Err(error @ FrameError::TooLarge(_)) => {
            Err(ApiError::new(ErrorCode::BodyTooLarge, error.to_string()))
        }
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// The newest value of each headline metric that the batch has.
fn headlines(batch: &Batch) -> Vec<(String, f64)> {
    let last = |at: usize| Some(batch.series().get(at)?.samples.last()?.value);
    Headlines::of(batch.series().iter().map(|entry| &entry.series)).values(last)
}
