//! `POST /api/v1/import`: lines that an export wrote become batches like any other.

use super::{Ask, metrics::named};
use crate::{api_error::ApiError, auth::Caller, counting, reply::Reply, store::pushes};
use edgewatch_engine::{
    call::{Named, Payload, Push, Sender, Way},
    counters::Counter,
    registry::HostState,
    series_limit::{Fingerprint, fingerprint},
};
use edgewatch_shared::{
    Batch, ErrorCode, HostId, RefusalReason, TimestampMs,
    limits::{IMPORT_ACTIVE_MS, IMPORT_LINES_MAX, IMPORT_SAMPLES_MAX},
    series::SeriesSamples,
    token::Scope,
    validate::{ImportWindow, Imported, validate_import},
    wire::export::{ExportLine, ImportReply},
};

/// Checks every line before anything is stored, then has the batches made durable one after the other. Cut off, it
/// can be sent again: the same samples are there once.
pub async fn import(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let lines = ask.body.with_bytes(lines)?;
    let is_admin = matches!(&ask.caller, Caller::Holder(claims) if claims.allows(Scope::Admin));
    let window = if is_admin { ImportWindow::AsKept } else { ImportWindow::AsPushed };
    let (batches, outside) = validate_import(lines, window, ask.now)?;
    counting::add(Counter::Refused(RefusalReason::OutsideWindow), outside as u64);
    let mut reply = ImportReply { imported: 0, refused: outside as u64 };
    let senders: Vec<_> = batches.iter().map(|batch| sender(batch, is_admin)).collect::<Result<_, _>>()?;
    for (batch, sender) in batches.iter().zip(senders) {
        let mut payload = Named { newest: Vec::new(), ..named(&batch.batch)? };
        if is_admin {
            payload.series = active(&batch.batch, ask.now);
        }
        let push = Push {
            sender,
            facts: None,
            outside_window: 0,
            payload: Some(Payload::Named(payload)),
            record: None,
            way: Way::Direct,
        };
        let pushed = pushes::store(ask.env, push).await?;
        reply.imported = reply.imported.saturating_add(pushed.ingested.into());
    }
    Ok(Reply::json(200, &reply))
}

/// Series that a host still sends: its history may have any number of others.
fn active(batch: &Batch, now: TimestampMs) -> Vec<Fingerprint> {
    let oldest = now.plus_ms(IMPORT_ACTIVE_MS.saturating_neg());
    let is_active = |entry: &&SeriesSamples| entry.samples.last().is_some_and(|newest| newest.time >= oldest);
    batch.series().iter().filter(is_active).map(|entry| fingerprint(&entry.series)).collect()
}

/// Lines, but for empty ones, counted as they are read.
fn lines(bytes: &[u8]) -> Result<Vec<ExportLine>, ApiError> {
    let mut lines = Vec::new();
    let mut samples: usize = 0;
    for (at, text) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let malformed = |error| ApiError::new(ErrorCode::MalformedBody, format!("line {at}: {error}"));
        let line: ExportLine = serde_json::from_slice(text).map_err(malformed)?;
        samples = samples.saturating_add(line.values.len().max(line.timestamps.len()));
        if samples > IMPORT_SAMPLES_MAX || lines.len() >= IMPORT_LINES_MAX {
            let message = format!(
                "an import has at most {IMPORT_SAMPLES_MAX} samples in {IMPORT_LINES_MAX} lines: split it"
            );
            return Err(ApiError::new(ErrorCode::TooManySamples, message));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// An administrator writes to any host; whoever may push by name writes to hosts that are known by their name only.
fn sender(batch: &Imported, is_admin: bool) -> Result<Sender, ApiError> {
    let named = HostId::of_name(&batch.name);
    let id = batch.id.unwrap_or(named);
    if is_admin {
        // Under the same secret a key that leaked verifies here too. Where nothing is said of it, a host that is added may
        // not push; one that is known by its name has no key.
        let is_revoked = batch.revoked.unwrap_or(id != named);
        let state = if is_revoked { HostState::Revoked } else { HostState::Active };
        return Ok(Sender::Imported { id, name: batch.name.clone(), state });
    }
    if id == named {
        return Ok(Sender::Named(batch.name.clone()));
    }
    let message = format!("host {id} is enrolled: to import its samples needs a token with scope admin");
    Err(ApiError::new(ErrorCode::ForbiddenScope, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(lines_of: &[&str]) -> Option<ErrorCode> {
        lines(lines_of.concat().as_bytes()).err().map(|error| error.code())
    }

    #[test]
    fn an_import_has_so_many_samples_and_lines_and_not_one_more() {
        let line = |values: usize, timestamps: usize| {
            let numbers = |count: usize| vec!["0"; count].join(",");
            let (values, timestamps) = (numbers(values), numbers(timestamps));
            format!("{{\"metric\":{{}},\"values\":[{values}],\"timestamps\":[{timestamps}]}}\n")
        };
        let (half, one) = (line(IMPORT_SAMPLES_MAX / 2, IMPORT_SAMPLES_MAX / 2), line(1, 1));
        let too_many = Some(ErrorCode::TooManySamples);
        assert_eq!(refusal(&[&half, &half, "\n"]), None);
        assert_eq!(refusal(&[&half, &half, &one]), too_many);
        assert_eq!(refusal(&[&line(IMPORT_SAMPLES_MAX + 1, 0)]), too_many);
        assert_eq!(refusal(&[&line(0, IMPORT_SAMPLES_MAX + 1)]), too_many);
        let short = line(0, 0);
        assert_eq!(refusal(&vec![short.as_str(); IMPORT_LINES_MAX]), None);
        assert_eq!(refusal(&vec![short.as_str(); IMPORT_LINES_MAX + 1]), too_many);
        assert_eq!(refusal(&["{\n"]), Some(ErrorCode::MalformedBody));
    }

    #[test]
    fn only_what_was_sent_within_the_last_hour_is_active() {
        let now = TimestampMs(1_800_000_000_000);
        let name = "named".parse().unwrap();
        let active_at = |age_ms: i64| {
            let series = edgewatch_shared::Series { name: "load_1m".into(), labels: Default::default() };
            let time = now.plus_ms(-age_ms);
            let samples = [edgewatch_shared::Sample { time, value: 1.0 }];
            let line = ExportLine::new(HostId::of_name(&name), "named", &series, &samples);
            let (batches, _) = validate_import(vec![line], ImportWindow::AsKept, now).unwrap();
            batches.iter().map(|batch| active(&batch.batch, now).len()).sum::<usize>()
        };
        assert_eq!((active_at(IMPORT_ACTIVE_MS), active_at(IMPORT_ACTIVE_MS + 1)), (1, 0));
    }
}
