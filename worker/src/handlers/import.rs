//! `POST /api/v1/import`: lines that an export wrote become batches like any other.

use super::{Ask, metrics::named};
use crate::{api_error::ApiError, auth::Caller, reply::Reply, store::pushes};
use edgewatch_engine::{
    call::{Named, Payload, Push, Sender, Way},
    registry::HostState,
};
use edgewatch_shared::{
    ErrorCode, HostId,
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
    let mut reply = ImportReply { imported: 0, refused: outside as u64 };
    let senders: Vec<_> = batches.iter().map(|batch| sender(batch, is_admin)).collect::<Result<_, _>>()?;
    for (batch, sender) in batches.iter().zip(senders) {
        let payload = Named { newest: Vec::new(), ..named(&batch.batch)? };
        let push = Push {
            sender,
            facts: None,
            outside_window: 0,
            payload: Some(Payload::Named(payload)),
            way: Way::Direct,
        };
        let pushed = pushes::store(ask.env, push).await?;
        reply.imported = reply.imported.saturating_add(pushed.ingested.into());
    }
    Ok(Reply::json(200, &reply))
}

/// Lines, but for empty ones.
fn lines(bytes: &[u8]) -> Result<Vec<ExportLine>, ApiError> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let line = |(at, line): (usize, &[u8])| {
        let malformed = |error| ApiError::new(ErrorCode::MalformedBody, format!("line {at}: {error}"));
        serde_json::from_slice(line).map_err(malformed)
    };
    lines.map(line).collect()
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
