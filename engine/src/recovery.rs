//! A shard's block index out of what lies in R2: an object's name and the index at its end say all that a shard has to
//! know of a block.

use crate::{
    block::BlockIndex,
    block_index::{BlockEntry, Place},
    head::ShardNumber,
    rollup::Resolution,
};
use edgewatch_shared::{TimestampMs, time::Hour};

/// What an object's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whose block it is.
    pub shard: ShardNumber,
    /// How finely it keeps time.
    pub resolution: Resolution,
    /// The hour it arrived in, if it comes straight from the log.
    pub part_of: Option<Hour>,
    /// A day block's rank.
    rank: i64,
}

/// Reads the name of an object: `metrics/raw/00007/2026-11-21T09/2026-11-21T09-1-240-0-1f2e3d4c5b6a7988.ewb` comes
/// straight from the log, `metrics/5m/00007/2026-11-21/240-1f2e3d4c5b6a7988.ewb` is a day block. `None` if it is neither.
pub fn named(key: &str) -> Option<Named> {
    let mut parts = key.strip_prefix("metrics/")?.strip_suffix(".ewb")?.split('/');
    let [resolution, shard, _span, name] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let resolution = Resolution::ALL.into_iter().find(|known| known.as_str() == resolution)?;
    let shard = shard.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    if let Some((rank, _checksum)) = name.split_once('-').filter(|(_, rest)| !rest.contains('-')) {
        return Some(Named { shard, resolution, part_of: None, rank: rank.parse().ok()? });
    }
    let partition = TimestampMs::parse_rfc3339(&format!("{}:00:00Z", name.get(..13)?)).ok()?.hour();
    // Later arrivals count before earlier ones. What is sealed from now on gets a higher rank than all of these.
    Some(Named { shard, resolution, part_of: Some(partition), rank: partition.0 })
}

/// The prefix of the names of a shard's objects of a resolution.
pub fn prefix(resolution: Resolution, shard: ShardNumber) -> String {
    format!("metrics/{}/{shard:05}/", resolution.as_str())
}

/// The entry of a block in R2. `None` if it holds nothing, or if name and content disagree.
pub fn entry(key: &str, bytes: u64, index: &BlockIndex) -> Option<BlockEntry> {
    let named = named(key).filter(|named| named.resolution == index.resolution())?;
    let (min, max) = index.span()?;
    let hosts = index.entries().iter().map(|entry| entry.host);
    Some(BlockEntry {
        id: 0,
        rank: named.rank,
        key: key.to_owned(),
        place: Place::R2,
        min,
        max,
        samples: index.samples(),
        bytes,
        tail_bytes: index.tail_bytes(),
        resolution: named.resolution,
        hosts: (hosts.clone().min()?, hosts.max()?),
        part_of: named.part_of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_index::BlockName;

    #[test]
    fn names_say_where_a_block_belongs() {
        let partition = Hour(500_000);
        let name = BlockName {
            shard: 7,
            span: partition.label(),
            partition,
            seqs: (1, 240),
            part: 0,
            checksum: "1f2e3d4c5b6a7988",
        };
        let part = named(&name.key()).unwrap();
        let expected =
            Named { shard: 7, resolution: Resolution::Raw, part_of: Some(partition), rank: 500_000 };
        assert_eq!(part, expected);
        let day = named("metrics/5m/00007/2026-11-21/240-1f2e3d4c5b6a7988.ewb").unwrap();
        let expected = Named { shard: 7, resolution: Resolution::FiveMinutes, part_of: None, rank: 240 };
        assert_eq!(day, expected);
        assert!(name.key().starts_with(&prefix(Resolution::Raw, 7)));
    }

    #[test]
    fn what_is_no_name_of_ours_is_none() {
        for key in [
            "",
            "metrics/raw/00007/2026-11-21/240-1f.txt",
            "metrics/1d/00007/2026-11-21/240-1f.ewb",
            "metrics/raw/x/2026-11-21/240-1f.ewb",
            "metrics/raw/00007/240-1f.ewb",
            "metrics/raw/00007/a/2026-11-21/240-1f.ewb",
            "metrics/raw/00007/2026-11-21/x-1f.ewb",
            "metrics/raw/00007/2026-11-21/yesterday-1-2-0-1f.ewb",
            "logs/raw/00007/2026-11-21/240-1f.ewb",
        ] {
            assert_eq!(named(key), None, "{key}");
        }
    }
}
