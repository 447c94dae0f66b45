//! Everything that a query needs, from all shards and objects that hold it: a few at a time, bounded in cost, and
//! either whole or, where the caller allows that, with a warning for every piece that is missing.

use super::{objects, shards};
use crate::{api_error::ApiError, clock};
use edgewatch_engine::{
    block_index::BlockEntry,
    call::{self, Part, Read, ReadReply, Request},
    head::ShardNumber,
    planner::{self, Cost},
    query::{Evaluated, TooManySamples},
};
use edgewatch_shared::{ErrorCode, TimestampMs, limits::QUERY_MS_MAX};
use futures_util::{StreamExt, stream};
use worker::Env;

/// Objects fetched at the same time; an isolate may have six connections open.
const OBJECTS_AT_ONCE: usize = 6;
/// Shards read at the same time: each may answer with as many samples as a query may hold.
const SHARDS_AT_ONCE: usize = 4;

/// A piece of what was found.
pub enum Found {
    /// Samples.
    Part(Part),
    /// What a shard evaluated.
    Evaluated(Evaluated),
}

/// A query on its way.
pub struct Gathering<'a> {
    env: &'a Env,
    started: TimestampMs,
    /// Whether a piece that is missing is a warning and no error.
    is_partial: bool,
    /// What is missing, and why.
    pub warnings: Vec<String>,
}

impl<'a> Gathering<'a> {
    /// Begins.
    pub fn begin(env: &'a Env, is_partial: bool) -> Self {
        Self { env, started: clock::now(), is_partial, warnings: Vec::new() }
    }

    /// Hands everything that the reads ask for to `take`, piece by piece.
    pub async fn gather(
        &mut self,
        reads: Vec<(ShardNumber, Read)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<(), ApiError> {
        let objects = self.of_shards(reads, take).await?;
        planner::check_objects(objects.len())?;
        let opened = self.opened(objects).await?;
        let cost =
            opened.iter().fold(Cost::default(), |cost, (read, object)| cost.with(object.entries(), read));
        cost.check()?;
        let mut parts = stream::iter(opened)
            .map(|(read, object)| async move { object.parts(&read).await })
            .buffered(OBJECTS_AT_ONCE);
        while let Some(found) = parts.next().await {
            for part in self.whole(found)?.unwrap_or_default() {
                if let Some(part) = self.whole(part)? {
                    take(Found::Part(part))?;
                }
            }
            if self.is_late()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes what the shards hold themselves, and returns the objects that hold the rest.
    async fn of_shards(
        &mut self,
        reads: Vec<(ShardNumber, Read)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<Vec<(Read, BlockEntry)>, ApiError> {
        let env = self.env;
        let mut replies = stream::iter(reads)
            .map(|(shard, read)| async move { (read.clone(), of_shard(env, shard, read).await) })
            .buffered(SHARDS_AT_ONCE);
        let mut objects = Vec::new();
        while let Some((read, reply)) = replies.next().await {
            let Some(reply) = self.whole(reply)? else { continue };
            self.warnings.extend(reply.warnings);
            reply.parts.into_iter().try_for_each(|part| take(Found::Part(part)))?;
            reply.evaluated.into_iter().try_for_each(|cells| take(Found::Evaluated(cells)))?;
            objects.extend(reply.objects.into_iter().map(|object| (read.clone(), object)));
            if self.is_late()? {
                break;
            }
        }
        Ok(objects)
    }

    async fn opened(
        &mut self,
        objects: Vec<(Read, BlockEntry)>,
    ) -> Result<Vec<(Read, objects::Opened)>, ApiError> {
        let env = self.env;
        let mut indexes = stream::iter(objects)
            .map(
                |(read, object)| async move { objects::open(env, object).await.map(|opened| (read, opened)) },
            )
            .buffered(OBJECTS_AT_ONCE);
        let mut opened = Vec::new();
        while let Some(object) = indexes.next().await {
            opened.extend(self.whole(object)?);
            if self.is_late()? {
                break;
            }
        }
        Ok(opened)
    }

    /// A piece; `None` if it is missing and that is allowed.
    fn whole<T>(&mut self, piece: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match piece {
            Ok(piece) => Ok(Some(piece)),
            Err(error) if self.is_partial && is_missing(error.code()) => {
                self.warnings.push(error.message().to_owned());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether time is up and the rest is left out.
    fn is_late(&mut self) -> Result<bool, ApiError> {
        let took_ms = clock::now().ms_since(self.started);
        let late = ApiError::new(
            ErrorCode::QueryTooLarge,
            format!(
                "the query took more than {} s: ask for less time, one host by its id, or a wider bucket",
                QUERY_MS_MAX / 1_000
            ),
        );
        match (took_ms > QUERY_MS_MAX, self.is_partial) {
            (false, _) => Ok(false),
            (true, false) => Err(late),
            (true, true) => {
                self.warnings.push(late.message().to_owned());
                Ok(true)
            }
        }
    }
}

async fn of_shard(env: &Env, shard: ShardNumber, read: Read) -> Result<ReadReply, ApiError> {
    match shards::ask(env, shard, Request::Read(read)).await? {
        call::Reply::Read(reply) => Ok(reply),
        _ => Err(ApiError::internal("a shard answered a read with something else")),
    }
}

/// Whether an error means that something is not there now, rather than that the question is wrong.
fn is_missing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ShardUnavailable
            | ErrorCode::BlobsUnavailable
            | ErrorCode::CorruptBlock
            | ErrorCode::Misconfigured
            | ErrorCode::Internal
    )
}
