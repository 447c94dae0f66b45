//! `edgewatch rebuild-catalogue`: shard by shard, slice by slice. Cut off, it can be begun again.

use crate::api::Api;
use anyhow::Result;
use edgewatch_shared::wire::{RebuildReply, RebuildShards};
use lexopt::Parser;
use std::collections::BTreeSet;

const PATH: &str = "/api/v1/catalogue/rebuild";
/// Shards without anything that are met in a row before the search for further ones ends: they are filled one after the
/// other.
const EMPTY_SHARDS_MAX: usize = 2;

/// What a shard had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    hosts: u64,
    blocks: u64,
    restored: u64,
    adopted: u64,
}

/// Rebuilds every shard that is known of, and those after them until some have nothing.
pub fn run(mut arguments: Parser) -> Result<()> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    let api = Api::from_environment()?;
    let known: RebuildShards = api.post_for(PATH, &[])?;
    for shard in known.shards.iter().copied() {
        rebuild(&api, shard)?;
    }
    let mut empty = 0;
    for shard in unknown(&known.shards) {
        let found = rebuild(&api, shard)?;
        empty = if found == Found::default() { empty + 1 } else { 0 };
        if empty == EMPTY_SHARDS_MAX {
            break;
        }
    }
    Ok(())
}

/// The other shards, from the first one on.
fn unknown(known: &[u16]) -> impl Iterator<Item = u16> {
    let known: BTreeSet<u16> = known.iter().copied().collect();
    (0..=u16::MAX).filter(move |shard| !known.contains(shard))
}

fn rebuild(api: &Api, shard: u16) -> Result<Found> {
    let mut found = Found::default();
    let mut step = None;
    loop {
        let mut parameters = vec![("shard".to_owned(), shard.to_string())];
        parameters.extend(step.map(|step| ("step".to_owned(), step)));
        let reply: RebuildReply = api.post_for(PATH, &parameters)?;
        for warning in &reply.warnings {
            eprintln!("warning: {warning}");
        }
        found.hosts += reply.hosts_told;
        found.blocks += reply.blocks_told;
        found.restored += reply.hosts_restored;
        found.adopted += reply.blocks_adopted;
        step = reply.next;
        if step.is_none() {
            break;
        }
    }
    let Found { hosts, blocks, restored, adopted } = found;
    println!(
        "shard {shard}: {hosts} hosts and {blocks} blocks told; {restored} hosts and {adopted} blocks given back to it"
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_shards_are_looked_for_from_the_first_gap_on() {
        assert_eq!(unknown(&[0, 2]).take(3).collect::<Vec<_>>(), [1, 3, 4]);
    }
}
