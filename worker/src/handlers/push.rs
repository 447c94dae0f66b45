//! `POST /api/v1/push`: a compact push is checked and goes to its shard as it came.

use super::{Ask, metrics};
use crate::{api_error::ApiError, reply::Reply};
use edgewatch_engine::{
    call::{Listed, Payload, Push, Way},
    records::Record,
    streams::Identity,
};
use edgewatch_shared::{
    ErrorCode,
    batch::ListedBatch,
    validate::validate_push,
    wire::push::{MEDIA_TYPE, PushFrame, decode, encode_processes},
};

/// Checks the whole push, then has it made durable: 202 leaves after the commit.
pub async fn ingest(ask: Ask<'_>) -> Result<Reply, ApiError> {
    if !ask.body.is_batch() {
        let message = format!("a compact push has Content-Type {MEDIA_TYPE} and no Content-Encoding");
        return Err(ApiError::new(ErrorCode::UnsupportedEncoding, message));
    }
    let frame: PushFrame = ask
        .body
        .with_bytes(|bytes| decode(bytes).map_err(|error| ApiError::new(error.code(), error.to_string())))?;
    let sender = metrics::sender(&ask.caller, frame.host.as_deref())?;
    let checked = validate_push(frame, ask.now)?;
    let facts = checked.facts.map(metrics::checked_facts).transpose()?;
    let identity = Identity {
        stream: checked.stream,
        floor: checked.floor,
        readings: checked.readings,
        checksum: checked.batch.checksum(),
    };
    let payload = Some(Payload::Listed(listed(&checked.batch, identity)));
    let outside_window = u32::try_from(checked.outside_window).unwrap_or(u32::MAX);
    let record = checked
        .processes
        .map(|processes| Record { time: processes.time, bytes: encode_processes(&processes) });
    let push = Push { sender, facts, outside_window, payload, record, way: Way::Direct };
    metrics::send(ask.env, push, ask.now).await
}

fn listed(batch: &ListedBatch, identity: Identity) -> Listed {
    Listed {
        samples: u32::try_from(batch.sample_count()).unwrap_or(u32::MAX),
        identity,
        dictionary: batch.dictionary(),
        series: batch.series().map(<[_]>::to_vec),
        newest: batch.columns().iter().map(|samples| samples.last().map(|sample| sample.value)).collect(),
        columns: batch.bytes().to_vec(),
    }
}
