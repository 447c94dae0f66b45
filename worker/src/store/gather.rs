//! Everything that a query needs, from all shards and objects that hold it: a few at a time, bounded in cost, and
//! either whole or, where the caller allows that, with a warning for every piece that is missing.

use super::{CALLS_AT_ONCE, objects, placement::Asked, shards};
use crate::{api_error::ApiError, clock};
use edgewatch_engine::{
    block_index::BlockEntry,
    call::{self, Part, Read, ReadReply, Request},
    head::ShardNumber,
    planner::{self, Cost},
    query::{Evaluated, TooManySamples},
    rollup::Resolution,
};
use edgewatch_shared::{ErrorCode, HostId, TimestampMs};
use futures_util::{StreamExt, stream};
use worker::Env;

/// An object, what is read of it, and the place of its shard among those that were asked.
type InObject = (usize, Read, BlockEntry);

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
    /// The coarsest that any of it is made of.
    pub resolution: Resolution,
    /// What is missing, and why.
    pub warnings: Vec<String>,
}

impl<'a> Gathering<'a> {
    /// Begins.
    pub fn begin(env: &'a Env, is_partial: bool) -> Self {
        Self { env, started: clock::now(), is_partial, resolution: Resolution::Raw, warnings: Vec::new() }
    }

    /// Hands everything that a read asks for, of the hosts at these shards, to `take`, piece by piece.
    pub async fn gather(
        &mut self,
        read: &Read,
        at: Vec<(ShardNumber, Vec<HostId>)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<(), ApiError> {
        let objects = self.of_all_shards(read, at, take).await?;
        planner::check_objects(objects.len())?;
        let opened = self.opened(objects).await?;
        let cost =
            opened.iter().fold(Cost::default(), |cost, (_, read, object)| cost.with(object.entries(), read));
        cost.check()?;
        let mut parts = stream::iter(opened)
            .map(|(order, read, object)| async move { (order, object.parts(&read).await) })
            .buffered(CALLS_AT_ONCE);
        while let Some((order, found)) = parts.next().await {
            for part in self.whole(found)?.unwrap_or_default() {
                if let Some(part) = self.whole(part)? {
                    take(Found::Part(ranked(order, part)))?;
                }
            }
            if self.is_late()? {
                break;
            }
        }
        Ok(())
    }

    /// Asks the shards, and those that they name: a shard knows where else a host's samples are. One after the other, for
    /// each may answer with as many samples as a query may hold.
    async fn of_all_shards(
        &mut self,
        read: &Read,
        at: Vec<(ShardNumber, Vec<HostId>)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<Vec<InObject>, ApiError> {
        let mut objects = Vec::new();
        let mut asked = Asked::default();
        let mut order: usize = 0;
        let mut round = asked.further(at)?;
        while !round.is_empty() {
            let mut named = Vec::new();
            for (shard, hosts) in round {
                let read = Read { hosts, ..read.clone() };
                let reply = of_shard(self.env, shard, read.clone()).await;
                order = order.saturating_add(1);
                let Some(reply) = self.whole(reply)? else { continue };
                self.warnings.extend(reply.warnings);
                self.resolution = self.resolution.max(reply.resolution);
                reply.parts.into_iter().try_for_each(|part| take(Found::Part(ranked(order, part))))?;
                reply.evaluated.into_iter().try_for_each(|cells| take(Found::Evaluated(cells)))?;
                objects.extend(reply.objects.into_iter().map(|object| (order, read.clone(), object)));
                named.extend(reply.elsewhere.into_iter().map(|(shard, host)| (shard, vec![host])));
                if self.is_late()? {
                    return Ok(objects);
                }
            }
            round = asked.further(named)?;
        }
        Ok(objects)
    }

    async fn opened(
        &mut self,
        objects: Vec<InObject>,
    ) -> Result<Vec<(usize, Read, objects::Opened)>, ApiError> {
        let env = self.env;
        let mut indexes = stream::iter(objects)
            .map(|(order, read, object)| async move {
                objects::open(env, object).await.map(|opened| (order, read, opened))
            })
            .buffered(CALLS_AT_ONCE);
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
        match planner::check_time(clock::now().ms_since(self.started)) {
            Ok(()) => Ok(false),
            Err(late) if self.is_partial => {
                self.warnings.push(late.to_string());
                Ok(true)
            }
            Err(late) => Err(late.into()),
        }
    }
}

fn ranked(order: usize, part: Part) -> Part {
    Part { rank: planner::rank_among_shards(order, part.rank), ..part }
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
