//! Hosts that leave for another shard, and hosts that arrive. What was stored stays where it is.

use super::{Shard, in_transaction};
use crate::{
    call::ShardError,
    head::ShardNumber,
    moves::{Destination, Luggage, Moves, Whereabouts},
    registry::{HostRecord, HostState, Registry},
    sql::Sql,
};
use edgewatch_shared::{HostId, TimestampMs};

impl<S: Sql> Shard<S> {
    /// Lets a host go, and returns what it takes along; `None` if it is where it is to go. From now on its pushes are
    /// sent on. Done again, it returns the same, with what is known of the host by now.
    pub(super) fn leave(
        &mut self,
        host: HostId,
        to: Destination,
        now: TimestampMs,
    ) -> Result<Option<Luggage>, ShardError> {
        let known = self.moves.get(host);
        let record = self.registry.get(host);
        if let Some(Whereabouts::Left { to: before, luggage }) = known {
            if *before != to {
                return Err(went(before));
            }
            // One that is spread is still listed here, and may have been revoked since.
            let record = record.unwrap_or(&luggage.record).clone();
            return Ok(Some(Luggage { record, ..Luggage::clone(luggage) }));
        }
        let record = record.filter(|record| record.state != HostState::Deleted);
        let record = record.ok_or(ShardError::UnknownHost)?.clone();
        if to == Destination::Shard(self.number) {
            return Ok(None);
        }
        let mut trail: Vec<ShardNumber> = known.map(Whereabouts::others).unwrap_or_default();
        trail.retain(|shard| *shard != self.number);
        trail.push(self.number);
        // By the clock, so that it is the highest also where this shard has lost what it knew of moves before.
        let number = known.map_or(0, Whereabouts::number).saturating_add(1);
        let number = number.max(u64::try_from(now.0).unwrap_or_default());
        let luggage = Luggage { number, record, streams: self.streams.of(host), trail };
        // Spread over shards, it stays listed here, where its pushes come first.
        let stays = matches!(to, Destination::Shards(_));
        let left = Whereabouts::Left { to, luggage: Box::new(luggage.clone()) };
        let sql = &self.sql;
        in_transaction(sql, || {
            Moves::store(sql, host, &left)?;
            if !stays {
                Registry::delete(sql, host)?;
            }
            Ok(())
        })?;
        self.moves.remember(host, left);
        if !stays {
            self.registry.forget(host);
        }
        self.newest = None;
        Ok(Some(luggage))
    }

    /// Takes a host in. One that has come already, or gone on since, is let be. Of one that is spread over several shards
    /// each says so to whoever comes with a whole push: it may be the one that pushes come to first.
    pub(super) fn arrive(&mut self, luggage: Luggage, to: Destination) -> Result<(), ShardError> {
        let host = luggage.record.id;
        let known = self.moves.get(host);
        // A host that was spread from here over several shards is known here, also if this is one of them.
        if known.is_some_and(|known| known.number() >= luggage.number) {
            return Ok(());
        }
        let record = HostRecord { catalogued: false, ..luggage.record.clone() };
        self.streams.take_in(host, luggage.streams.clone());
        let here = match to {
            Destination::Shard(_) => {
                let mut trail = luggage.trail;
                trail.retain(|shard| *shard != self.number);
                Whereabouts::Here { number: luggage.number, trail }
            }
            Destination::Shards(_) => Whereabouts::Left { to, luggage: Box::new(luggage) },
        };
        let (sql, streams) = (&self.sql, &mut self.streams);
        in_transaction(sql, || {
            Moves::store(sql, host, &here)?;
            Registry::store(sql, &record)?;
            Ok(streams.store(sql)?)
        })?;
        self.moves.remember(host, here);
        self.registry.remember(record);
        self.newest = None;
        Ok(())
    }

    /// Sends pushes straight to where a host has arrived by now, if they were sent to a shard in between.
    pub(super) fn redirect(&mut self, host: HostId, number: u64, to: ShardNumber) -> Result<(), ShardError> {
        let Some(Whereabouts::Left { luggage, .. }) = self.moves.get(host) else { return Ok(()) };
        if luggage.number >= number {
            return Ok(());
        }
        let luggage = Box::new(Luggage { number, ..Luggage::clone(luggage) });
        let left = Whereabouts::Left { to: Destination::Shard(to), luggage };
        Moves::store(&self.sql, host, &left)?;
        self.moves.remember(host, left);
        Ok(())
    }

    /// The number of the last move of a host that lives here.
    pub(super) fn locate(&self, host: HostId) -> Result<u64, ShardError> {
        self.check_is_here(host)?;
        if !self.registry.is_listed(host) {
            return Err(ShardError::UnknownHost);
        }
        Ok(self.moves.get(host).map_or(0, Whereabouts::number))
    }

    /// Refuses what is for a host that has left, and says where it is.
    pub(super) fn check_is_here(&self, host: HostId) -> Result<(), ShardError> {
        self.moves.destination(host).map_or(Ok(()), |to| Err(went(to)))
    }
}

fn went(to: &Destination) -> ShardError {
    match to {
        Destination::Shard(shard) => ShardError::Moved(*shard),
        Destination::Shards(shards) => ShardError::Split(shards.clone()),
    }
}
