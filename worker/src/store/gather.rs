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
    rollup::Resolution,
};
use edgewatch_shared::{ErrorCode, HostId, TimestampMs};
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use worker::Env;

/// Objects fetched at the same time; an isolate may have six connections open.
const OBJECTS_AT_ONCE: usize = 6;
/// Shards read at the same time: each may answer with as many samples as a query may hold.
const SHARDS_AT_ONCE: usize = 4;

/// Rounds of shards that name further shards: a chain of moves is named whole by every shard of it.
const ROUNDS_MAX: usize = 4;

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

    /// Hands everything that the reads ask for to `take`, piece by piece.
    pub async fn gather(
        &mut self,
        reads: Vec<(ShardNumber, Read)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<(), ApiError> {
        let objects = self.of_all_shards(reads, take).await?;
        planner::check_objects(objects.len())?;
        let opened = self.opened(objects).await?;
        let cost =
            opened.iter().fold(Cost::default(), |cost, (_, read, object)| cost.with(object.entries(), read));
        cost.check()?;
        let mut parts = stream::iter(opened)
            .map(|(order, read, object)| async move { (order, object.parts(&read).await) })
            .buffered(OBJECTS_AT_ONCE);
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

    /// Asks the shards, and those that they name: a shard knows where else a host's samples are.
    async fn of_all_shards(
        &mut self,
        reads: Vec<(ShardNumber, Read)>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<Vec<InObject>, ApiError> {
        let mut asked: BTreeSet<(ShardNumber, HostId)> = BTreeSet::new();
        let mut objects = Vec::new();
        let mut round = reads;
        let mut order: usize = 0;
        for _ in 0..ROUNDS_MAX {
            for (shard, read) in &round {
                asked.extend(read.hosts.iter().map(|host| (*shard, *host)));
            }
            let ordered = (order..).zip(round).collect::<Vec<_>>();
            order = order.saturating_add(ordered.len());
            let (found, elsewhere) = self.of_shards(ordered, take).await?;
            objects.extend(found);
            round = elsewhere;
            round.retain_mut(|(shard, read)| {
                read.hosts.retain(|host| asked.insert((*shard, *host)));
                !read.hosts.is_empty()
            });
            if round.is_empty() {
                return Ok(objects);
            }
        }
        Err(ApiError::internal("shards name ever more shards"))
    }

    /// Takes what the shards hold themselves, and returns the objects that hold the rest, and what other shards are to
    /// be asked.
    async fn of_shards(
        &mut self,
        reads: Vec<(usize, (ShardNumber, Read))>,
        take: &mut dyn FnMut(Found) -> Result<(), TooManySamples>,
    ) -> Result<(Vec<InObject>, Vec<(ShardNumber, Read)>), ApiError> {
        let env = self.env;
        let mut replies =
            stream::iter(reads)
                .map(|(order, (shard, read))| async move {
                    (order, read.clone(), of_shard(env, shard, read).await)
                })
                .buffered(SHARDS_AT_ONCE);
        let (mut objects, mut elsewhere) = (Vec::new(), Vec::new());
        while let Some((order, read, reply)) = replies.next().await {
            let Some(reply) = self.whole(reply)? else { continue };
            self.warnings.extend(reply.warnings);
            self.resolution = self.resolution.max(reply.resolution);
            reply.parts.into_iter().try_for_each(|part| take(Found::Part(ranked(order, part))))?;
            reply.evaluated.into_iter().try_for_each(|cells| take(Found::Evaluated(cells)))?;
            objects.extend(reply.objects.into_iter().map(|object| (order, read.clone(), object)));
            let hosts = reply.elsewhere.into_iter();
            elsewhere.extend(hosts.map(|(shard, host)| (shard, Read { hosts: vec![host], ..read.clone() })));
            if self.is_late()? {
                break;
            }
        }
        Ok((objects, elsewhere))
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
