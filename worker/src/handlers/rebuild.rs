//! `POST /api/v1/catalogue/rebuild`: the catalogue is told again what the shards know, and a shard that lost its storage
//! what the catalogue and R2 know of it. Shard by shard, in slices, each of which can be done again.

use super::Ask;
use crate::{
    api_error::ApiError,
    instance,
    reply::Reply,
    store::{blobs, catalogue::Catalogue, shards},
};
use edgewatch_engine::{
    block::{BlockError, BlockIndex},
    block_index::BlockEntry,
    call::{self, Request},
    head::ShardNumber,
    ledger::NewestByHost,
    recovery,
    retention::RetentionSettings,
    rollup::Resolution,
    shard::Summary,
};
use edgewatch_shared::{
    ErrorCode,
    wire::{RebuildReply, RebuildShards},
};
use std::{collections::BTreeSet, fmt, str::FromStr};
use worker::Bucket;

/// Objects looked at in a slice: each may take two reads.
const OBJECTS_AT_ONCE: u32 = 40;
/// Bytes of an object's end that are read first: enough for most indexes.
const TAIL_BYTES: u64 = 16 << 10;

/// Where a rebuild of one shard is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Hosts, newest values, settings.
    Hosts,
    /// Objects of a resolution, from a page on.
    Objects(Resolution, Option<String>),
    /// Blocks with a higher id than this.
    Blocks(i64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts => f.write_str("hosts"),
            Self::Objects(resolution, page) => {
                write!(f, "objects/{}/{}", resolution.as_str(), page.as_deref().unwrap_or_default())
            }
            Self::Blocks(id) => write!(f, "blocks/{id}"),
        }
    }
}

impl FromStr for Step {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("hosts"), None, None) => Ok(Self::Hosts),
            (Some("blocks"), Some(id), None) => id.parse().map(Self::Blocks).map_err(|_| ()),
            (Some("objects"), Some(name), Some(page)) => {
                let resolution = Resolution::ALL.into_iter().find(|known| known.as_str() == name).ok_or(())?;
                Ok(Self::Objects(resolution, Some(page.to_owned()).filter(|page| !page.is_empty())))
            }
            _ => Err(()),
        }
    }
}

/// With `shard`, a slice of its rebuild, beginning at `step`. Without, the shards that there may be.
pub async fn rebuild(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let invalid = |what: &str| ApiError::new(ErrorCode::InvalidParameter, what.to_owned());
    let Some(shard) = ask.parameter("shard") else {
        return Ok(Reply::json(200, &RebuildShards { shards: shards_known(&ask).await? }));
    };
    let shard = shard.parse().map_err(|_| invalid("shard: the number of a shard"))?;
    let step = ask.parameter("step").map_or(Ok(Step::Hosts), |text| text.parse());
    let step = step.map_err(|()| invalid("step: what the last reply said under \"next\""))?;
    let mut reply = RebuildReply::default();
    let catalogue = Catalogue::open(ask.env).await?;
    let next = match step {
        Step::Hosts => hosts(&ask, &catalogue, shard, &mut reply).await?,
        Step::Objects(resolution, page) => objects(&ask, shard, resolution, page, &mut reply).await?,
        Step::Blocks(id) => blocks(&ask, &catalogue, shard, id, &mut reply).await?,
    };
    reply.next = next.map(|next| next.to_string());
    Ok(Reply::json(200, &reply))
}

/// Shards that the catalogue or R2 know of. There may be others, whose hosts never sealed an hour.
async fn shards_known(ask: &Ask<'_>) -> Result<Vec<ShardNumber>, ApiError> {
    let mut known = BTreeSet::new();
    known.extend(Catalogue::mend(ask.env).await?.shards().await?);
    if let Some(bucket) = blobs::bucket(ask.env) {
        for resolution in Resolution::ALL {
            let prefix = format!("metrics/{}/", resolution.as_str());
            let folders = blobs::folders(&bucket, &prefix).await.map_err(unavailable)?;
            known.extend(folders.iter().filter_map(|folder| folder.parse::<ShardNumber>().ok()));
        }
    }
    Ok(known.into_iter().collect())
}

/// Hosts go both ways: the shard is asked last, so that what it knows counts.
async fn hosts(
    ask: &Ask<'_>,
    catalogue: &Catalogue,
    shard: ShardNumber,
    reply: &mut RebuildReply,
) -> Result<Option<Step>, ApiError> {
    let remembered = catalogue.hosts_of(&[shard]).await?;
    if let call::Reply::Restored(count) =
        shards::ask(ask.env, shard, Request::RestoreHosts(remembered)).await?
    {
        reply.hosts_restored = count;
    }
    if let call::Reply::Placements(placed) = shards::ask(ask.env, shard, Request::Placements).await? {
        catalogue.restore_placements(&placed).await?;
    }
    if let call::Reply::Hosts(reports) = shards::ask(ask.env, shard, Request::Hosts).await? {
        reply.hosts_told = reports.len() as u64;
        let hosts: Vec<_> = reports.iter().map(|report| report.record.clone()).collect();
        let mut newest = NewestByHost::new();
        newest.extend(reports.into_iter().filter_map(|report| Some((report.record.id, report.newest?))));
        if let call::Reply::Usage(usage) = shards::ask(ask.env, shard, Request::Usage).await? {
            let summary = Summary { newest, day: ask.now.day(), used: usage.used };
            let summary = (!hosts.is_empty()).then_some(&summary);
            catalogue.tell(shard, &hosts, &[], summary, ask.now).await?;
        }
    }
    if let call::Reply::Retention(known) = shards::ask(ask.env, shard, Request::Retention).await? {
        let is_set = catalogue.retention().await?.is_some();
        if !is_set && known != RetentionSettings::default() {
            catalogue.set_retention(&known).await?;
        }
    }
    Ok(Some(match blobs::bucket(ask.env) {
        Some(_) => Step::Objects(Resolution::Raw, None),
        None => Step::Blocks(0),
    }))
}

/// A page of objects: those that the shard ought to know and does not are listed there.
async fn objects(
    ask: &Ask<'_>,
    shard: ShardNumber,
    resolution: Resolution,
    page: Option<String>,
    reply: &mut RebuildReply,
) -> Result<Option<Step>, ApiError> {
    let Some(bucket) = blobs::bucket(ask.env) else { return Ok(Some(Step::Blocks(0))) };
    let prefix = recovery::prefix(resolution, shard);
    let found = blobs::list(&bucket, &prefix, page, OBJECTS_AT_ONCE).await.map_err(unavailable)?;
    let keys = found.objects.iter().map(|(key, _)| key.clone()).collect();
    if let call::Reply::Objects(unknown) = shards::ask(ask.env, shard, Request::UnknownObjects(keys)).await? {
        let mut adopted = Vec::new();
        for (key, bytes) in found.objects.into_iter().filter(|(key, _)| unknown.contains(key)) {
            match entry(&bucket, &key, bytes).await? {
                Some(entry) => adopted.push(entry),
                None => reply.warnings.push(format!("{key} is no block that can be read: it is left out")),
            }
        }
        reply.blocks_adopted = adopted.len() as u64;
        if !adopted.is_empty() {
            shards::ask(ask.env, shard, Request::Adopt(adopted)).await?;
        }
    }
    let further = Resolution::ALL.into_iter().skip_while(|other| *other != resolution).nth(1);
    Ok(Some(match (found.cursor, further) {
        (Some(cursor), _) => Step::Objects(resolution, Some(cursor)),
        (None, Some(resolution)) => Step::Objects(resolution, None),
        (None, None) => Step::Blocks(0),
    }))
}

/// What a shard lists of an object, out of its name and its end.
async fn entry(bucket: &Bucket, key: &str, bytes: u64) -> Result<Option<BlockEntry>, ApiError> {
    let mut tail_bytes = TAIL_BYTES;
    // Twice at the most: the end says how long it is.
    for _ in 0..2 {
        let length = tail_bytes.min(bytes);
        let tail = blobs::read_range(bucket, key, bytes.saturating_sub(length), length).await;
        let Some(tail) = tail.map_err(unavailable)? else { return Ok(None) };
        match instance::with(|instance| BlockIndex::open(&tail, bytes, &mut instance.inflater)) {
            Ok(index) => return Ok(recovery::entry(key, bytes, &index)),
            Err(BlockError::TailTooShort(needed)) => tail_bytes = needed,
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Some blocks of the shard's index. The first slice forgets what the catalogue had, for a shard that lost its storage
/// has given its blocks new ids.
async fn blocks(
    ask: &Ask<'_>,
    catalogue: &Catalogue,
    shard: ShardNumber,
    after: i64,
    reply: &mut RebuildReply,
) -> Result<Option<Step>, ApiError> {
    if after == 0 {
        catalogue.forget_all_blocks(shard).await?;
    }
    let call::Reply::Blocks(blocks) = shards::ask(ask.env, shard, Request::BlocksAfter(after)).await? else {
        return Err(ApiError::internal("a shard answered a question for blocks with something else"));
    };
    catalogue.tell(shard, &[], &blocks, None, ask.now).await?;
    reply.blocks_told = blocks.len() as u64;
    Ok(blocks.last().map(|block| Step::Blocks(block.id)))
}

fn unavailable(error: String) -> ApiError {
    ApiError::unavailable(ErrorCode::BlobsUnavailable, "R2", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_was_said() {
        let page = Some("a/b==".to_owned());
        let mut steps = vec![Step::Hosts, Step::Blocks(0), Step::Blocks(77)];
        for resolution in Resolution::ALL {
            steps.extend([Step::Objects(resolution, None), Step::Objects(resolution, page.clone())]);
        }
        for step in steps {
            assert_eq!(step.to_string().parse(), Ok(step));
        }
        for bad in ["", "hosts/1", "blocks", "blocks/x", "objects/raw", "objects/1d/", "else"] {
            assert_eq!(bad.parse::<Step>(), Err(()), "{bad}");
        }
    }
}
