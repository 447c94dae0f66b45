//! `GET /api/v1/export`: samples as they are stored, a line a series, host and hour, made piece by piece as it is sent.
//!
//! Lines come in one order, by host, day, hour and series, whatever lies where; so two servers with the same samples
//! export the same bytes.

use super::{
    Ask,
    parameters::{instant, invalid, labels},
};
use crate::{
    api_error::ApiError,
    instance,
    reply::{Pieces, Reply},
    store::{
        catalogue::Catalogue,
        gather::{Found, Gathering},
    },
};
use edgewatch_engine::{
    call::Read,
    head::{ShardNumber, between},
    query::{Merged, Merger},
};
use edgewatch_shared::{
    ErrorCode, HostId, HostName, Labels, TimestampMs,
    limits::{DAY_MS, EXPORT_DAYS_MAX, HOUR_MS},
    name::stored_name,
    wire::export::ExportLine,
};
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use worker::{Env, console_error};

/// A host, what it is called, and whether its key was revoked.
type Exported = (HostId, HostName, bool);

/// Bytes of lines that are compressed together.
const FRAME_BYTES: usize = 512 << 10;
/// Numbers compress well enough at little cost.
const ZSTD_LEVEL: i32 = 3;

/// Streams zstd frames of lines. The first piece is made before the reply begins, so that what is wrong from the
/// start is an error; later, it cuts the reply off.
pub async fn export(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let mut export = Export::begin(&ask).await?;
    let first = match export.next().await? {
        Some(piece) => piece,
        None => compressed(&[])?,
    };
    let rest = stream::try_unfold(export, |mut export| async move {
        match export.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, export))),
            Err(error) => {
                console_error!("export, cut off: {error:?}");
                Err(worker::Error::RustError(error.message().to_owned()))
            }
        }
    });
    let pieces: Pieces = stream::once(async { Ok(first) }).chain(rest).boxed_local();
    let reply = Reply::pieces("application/zstd", pieces);
    Ok(reply.with_header("Content-Disposition", "attachment; filename=\"edgewatch.jsonl.zst\""))
}

/// What is left to be exported.
struct Export {
    env: Env,
    /// The one that is being exported comes first.
    hosts: VecDeque<(Exported, Vec<ShardNumber>)>,
    names: Vec<String>,
    labels: Labels,
    from: TimestampMs,
    to: TimestampMs,
    /// First instant of that host that is not exported yet.
    next: TimestampMs,
}

impl Export {
    async fn begin(ask: &Ask<'_>) -> Result<Self, ApiError> {
        let time = |name: &str| {
            let text =
                ask.parameter(name).ok_or_else(|| invalid(format!("`{name}` is missing: from, to")))?;
            instant(name, &text)
        };
        let (from, to) = (time("from")?, time("to")?);
        if from > to {
            return Err(invalid("`from` must not be after `to`"));
        }
        if to.ms_since(from) > EXPORT_DAYS_MAX.saturating_mul(DAY_MS) {
            let message = format!("an export spans at most {EXPORT_DAYS_MAX} days: ask for less time");
            return Err(ApiError::new(ErrorCode::QueryTooLarge, message));
        }
        let name = ask.parameter("name").map(|name| stored_name(&name)).transpose();
        let name = name.map_err(|error| invalid(format!("name: {error}")))?;
        let placed = Catalogue::open(ask.env).await?.placed(ask.parameter("host").as_deref()).await?;
        Ok(Self {
            env: ask.env.clone(),
            hosts: placed.into_iter().collect(),
            names: name.into_iter().collect(),
            labels: labels(ask),
            from,
            to,
            next: from,
        })
    }

    /// The next piece that is not empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        while let Some((host, shards)) = self.hosts.front().cloned() {
            let from = self.next;
            let last_of_day =
                TimestampMs(from.0.div_euclid(DAY_MS).saturating_add(1).saturating_mul(DAY_MS)).plus_ms(-1);
            let to = last_of_day.min(self.to);
            self.next = to.plus_ms(1);
            if to >= self.to {
                self.hosts.pop_front();
                self.next = self.from;
            }
            let piece = self.piece(&host, &shards, from, to).await?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// A host's lines of at most a day; read hour by hour if a day is too much.
    async fn piece(
        &self,
        host: &Exported,
        shards: &[ShardNumber],
        from: TimestampMs,
        to: TimestampMs,
    ) -> Result<Vec<u8>, ApiError> {
        let mut lines = Lines::default();
        match self.merged(host.0, shards, from, to).await {
            Ok(merged) => hours(from, to).try_for_each(|(from, to)| lines.add(host, &merged, from, to))?,
            Err(error) if error.code() == ErrorCode::QueryTooLarge => {
                for (from, to) in hours(from, to) {
                    lines.add(host, &self.merged(host.0, shards, from, to).await?, from, to)?;
                }
            }
            Err(error) => return Err(error),
        }
        lines.finish()
    }

    async fn merged(
        &self,
        host: HostId,
        shards: &[ShardNumber],
        from: TimestampMs,
        to: TimestampMs,
    ) -> Result<Merged, ApiError> {
        let read = Read {
            hosts: Vec::new(),
            names: self.names.clone(),
            labels: self.labels.clone(),
            from,
            to,
            evaluation: None,
            is_partial: false,
        };
        let at = shards.iter().map(|shard| (*shard, vec![host])).collect();
        let mut merger = Merger::default();
        let mut take = |found| match found {
            Found::Part(part) => merger.add(part),
            Found::Evaluated(_) => Ok(()),
        };
        Gathering::begin(&self.env, false).gather(&read, at, &mut take).await?;
        Ok(merger.finish())
    }
}

/// The hours that the time from `from` to `to` touches, cut off at both ends.
fn hours(from: TimestampMs, to: TimestampMs) -> impl Iterator<Item = (TimestampMs, TimestampMs)> {
    let starts = (from.hour().start().0..=to.0).step_by(usize::try_from(HOUR_MS).unwrap_or(usize::MAX));
    starts.map(move |start| {
        (from.max(TimestampMs(start)), to.min(TimestampMs(start).plus_ms(HOUR_MS.saturating_sub(1))))
    })
}

/// Lines, compressed as they come.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    frames: Vec<u8>,
}

impl Lines {
    fn add(
        &mut self,
        (id, name, is_revoked): &Exported,
        merged: &Merged,
        from: TimestampMs,
        to: TimestampMs,
    ) -> Result<(), ApiError> {
        for ((_, series), samples) in merged {
            let samples = between(samples, from, to);
            if samples.is_empty() {
                continue;
            }
            let line = ExportLine::new(*id, name.as_str(), series, &samples);
            let line = ExportLine { revoked: Some(*is_revoked), ..line };
            serde_json::to_writer(&mut self.text, &line).map_err(ApiError::internal)?;
            self.text.push(b'\n');
            if self.text.len() >= FRAME_BYTES {
                self.compress()?;
            }
        }
        Ok(())
    }

    fn compress(&mut self) -> Result<(), ApiError> {
        if !self.text.is_empty() {
            self.frames.extend(compressed(&self.text)?);
            self.text.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, ApiError> {
        self.compress()?;
        Ok(self.frames)
    }
}

fn compressed(text: &[u8]) -> Result<Vec<u8>, ApiError> {
    instance::with(|instance| instance.deflater.deflate(text, ZSTD_LEVEL)).map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_cut_off_at_both_ends() {
        let found: Vec<_> = hours(TimestampMs(HOUR_MS + 5), TimestampMs(3 * HOUR_MS)).collect();
        let expected =
            [(HOUR_MS + 5, 2 * HOUR_MS - 1), (2 * HOUR_MS, 3 * HOUR_MS - 1), (3 * HOUR_MS, 3 * HOUR_MS)];
        assert_eq!(found, expected.map(|(from, to)| (TimestampMs(from), TimestampMs(to))));
    }
}
