//! Hosts that were moved to or from a shard, or spread over several: one row a host, only for those.
//!
//! A move has a number that grows with every move of its host, the time of the move unless the last one's is later, so
//! that a step that is done again, or too late, changes nothing. The shard that a host leaves keeps what it left with until
//! it is left again: whoever finds that it has not arrived can carry it on.

use crate::{
    head::ShardNumber,
    registry::HostRecord,
    split,
    sql::{Sql, SqlError, Value, columns},
    streams::Stream,
};
use edgewatch_shared::{HostId, TimestampMs, wire::push::StreamId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a host goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// To one shard, with all of its series.
    Shard(ShardNumber),
    /// To several, each series to the one that its fingerprint says.
    Shards(Vec<ShardNumber>),
}

/// What a host takes along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Luggage {
    /// The move's number: its time, or one more than the last one's.
    pub number: u64,
    /// What is known of it.
    pub record: HostRecord,
    /// Which readings of which stream are stored: what is sent again after the move is known again.
    pub streams: Vec<(StreamId, Stream)>,
    /// Every shard that it was on, in order: its samples stay there.
    pub trail: Vec<ShardNumber>,
}

/// What a shard knows of a host that was moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Whereabouts {
    /// It came, and is here.
    Here {
        /// The number of the move that brought it.
        number: u64,
        /// The shards that it was on before.
        trail: Vec<ShardNumber>,
    },
    /// It left, or is spread over shards of which this may be one.
    Left {
        /// Where to.
        to: Destination,
        /// What it left with.
        luggage: Box<Luggage>,
    },
}

impl Whereabouts {
    /// The number of the host's last move as far as this shard knows.
    pub fn number(&self) -> u64 {
        match self {
            Self::Here { number, .. } => *number,
            Self::Left { luggage, .. } => luggage.number,
        }
    }

    /// The other shards that hold samples of the host.
    pub fn others(&self) -> Vec<ShardNumber> {
        match self {
            Self::Here { trail, .. } => trail.clone(),
            Self::Left { to: Destination::Shard(shard), luggage } => [&luggage.trail[..], &[*shard]].concat(),
            Self::Left { to: Destination::Shards(shards), luggage } => [&luggage.trail[..], shards].concat(),
        }
    }
}

/// That a shard holds samples of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The host.
    pub host: HostId,
    /// The shard.
    pub shard: ShardNumber,
    /// Since when. Of moves before the last one only the order is remembered: each counts as a millisecond after the host
    /// came.
    pub from: TimestampMs,
    /// Which part of its series, of how many; empty for all of them.
    pub part: String,
}

impl Whereabouts {
    /// Where a host that came at `enrolled` has samples, as the shard `here` knows it.
    pub fn placements(&self, host: HostId, here: ShardNumber, enrolled: TimestampMs) -> Vec<Placed> {
        let (trail, number, to) = match self {
            Self::Here { number, trail } => (trail, *number, vec![(here, String::new())]),
            Self::Left { to: Destination::Shard(shard), luggage } => {
                (&luggage.trail, luggage.number, vec![(*shard, String::new())])
            }
            Self::Left { to: Destination::Shards(shards), luggage } => {
                (&luggage.trail, luggage.number, split::parts_of_series(shards))
            }
        };
        let after = |moves: usize| enrolled.plus_ms(i64::try_from(moves).unwrap_or(i64::MAX));
        let left = trail.iter().filter(|shard| to.iter().all(|(other, _)| other != *shard));
        let left = (0..).zip(left).map(|(moves, shard)| (*shard, String::new(), after(moves)));
        // A move's number is its time, and later than every other.
        let moved = TimestampMs(i64::try_from(number).unwrap_or(i64::MAX)).max(after(trail.len()));
        let is = to.iter().map(|(shard, part)| (*shard, part.clone(), moved));
        left.chain(is).map(|(shard, part, from)| Placed { host, shard, from, part }).collect()
    }
}

/// Hosts that were moved, held in memory as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    hosts: BTreeMap<HostId, Whereabouts>,
}

impl Moves {
    /// Creates the table and reads it.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        sql.exec("CREATE TABLE IF NOT EXISTS moves (host BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID", &[])?;
        let mut hosts = BTreeMap::new();
        for row in sql.exec("SELECT host, data FROM moves", &[])? {
            let [host, data] = columns(row)?;
            let host = HostId::from_bytes(&host.blob()?).map_err(|error| SqlError(error.to_string()))?;
            let whereabouts = postcard::from_bytes(&data.blob()?)
                .map_err(|error| SqlError(format!("move of host {host}: {error}")))?;
            hosts.insert(host, whereabouts);
        }
        Ok(Self { hosts })
    }

    /// What is known of a host; `None` if it was never moved.
    pub fn get(&self, host: HostId) -> Option<&Whereabouts> {
        self.hosts.get(&host)
    }

    /// Every host that was moved.
    pub fn iter(&self) -> impl Iterator<Item = (HostId, &Whereabouts)> {
        self.hosts.iter().map(|(host, whereabouts)| (*host, whereabouts))
    }

    /// Where a host's pushes go instead of here.
    pub fn destination(&self, host: HostId) -> Option<&Destination> {
        match self.hosts.get(&host) {
            Some(Whereabouts::Left { to, .. }) => Some(to),
            _ => None,
        }
    }

    /// Stores what is known of a host: 1 row.
    pub fn store(sql: &impl Sql, host: HostId, whereabouts: &Whereabouts) -> Result<(), SqlError> {
        let data = postcard::to_allocvec(whereabouts).map_err(|error| SqlError(error.to_string()))?;
        let upsert =
            "INSERT INTO moves (host, data) VALUES (?1, ?2) ON CONFLICT (host) DO UPDATE SET data = ?2";
        sql.exec(upsert, &[Value::Blob(host.as_bytes().to_vec()), Value::Blob(data)]).map(|_| ())
    }

    /// Takes over what was stored.
    pub fn remember(&mut self, host: HostId, whereabouts: Whereabouts) {
        self.hosts.insert(host, whereabouts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::HostRecord;

    #[test]
    fn every_shard_of_a_chain_says_the_same_order_of_what_it_knows() {
        let host = HostId::new(0, [1; 14]);
        let enrolled = TimestampMs(1_000);
        let left = |number, trail: &[ShardNumber], to| {
            let name = "web-1".parse().unwrap();
            let record = HostRecord::new(host, name, Default::default(), Vec::new(), enrolled);
            let luggage = Luggage { number, record, streams: Vec::new(), trail: trail.to_vec() };
            Whereabouts::Left { to, luggage: Box::new(luggage) }
        };
        let placed = |whereabouts: Whereabouts, here| -> Vec<(ShardNumber, i64, String)> {
            let placed = whereabouts.placements(host, here, enrolled).into_iter();
            placed.map(|placed| (placed.shard, placed.from.ms_since(enrolled), placed.part)).collect()
        };
        let at = |shard, moves| (shard, moves, String::new());
        // From 0 to 5, back, and on to 9.
        assert_eq!(placed(left(1_300, &[5, 0], Destination::Shard(9)), 0), [at(5, 0), at(0, 1), at(9, 300)]);
        assert_eq!(placed(left(1_200, &[0, 5], Destination::Shard(0)), 5), [at(5, 0), at(0, 200)]);
        let here = Whereabouts::Here { number: 1_300, trail: vec![5, 0] };
        assert_eq!(placed(here, 9), [at(5, 0), at(0, 1), at(9, 300)]);
        // In the same millisecond, it is the last one all the same.
        let at_once = Whereabouts::Here { number: 1_000, trail: vec![5, 0] };
        assert_eq!(placed(at_once, 9), [at(5, 0), at(0, 1), at(9, 2)]);
        let part = |shard, part: &str| (shard, 100, part.to_owned());
        let spread = left(1_100, &[0], Destination::Shards(vec![0, 3]));
        assert_eq!(placed(spread, 0), [part(0, "0/2"), part(3, "1/2")]);
    }
}
