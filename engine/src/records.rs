//! Records: what a host says beside its samples and only the newest of is asked for, such as its processes. The shard
//! keeps them as they came; whoever asks knows what is in them.
//!
//! A record lies in its push's row behind the samples, so that it costs no row; a seal takes the newest of each host along
//! into one row of all hosts. A history of them will be a record of another kind, kept like logs.

use crate::{
    ledger,
    sql::{Sql, SqlError},
    wal::RecordPlace,
};
use edgewatch_shared::{HostId, TimestampMs, time::Hour};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was true.
    pub time: TimestampMs,
    /// What it says: today a record of processes ([`edgewatch_shared::wire::push::encode_processes`]).
    #[serde(with = "crate::bytes")]
    pub bytes: Vec<u8>,
}

/// The newest record of each host.
pub type RecordsByHost = BTreeMap<HostId, Record>;

/// Where the newest record of each host lies in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPlaces(BTreeMap<HostId, RecordPlace>);

impl RecordPlaces {
    /// Takes in where a push has its record, unless a newer one is known.
    pub fn note(&mut self, host: HostId, place: RecordPlace) {
        let newest = self.0.entry(host).or_insert(place);
        // Of two of the same time the later one counts.
        if newest.time <= place.time {
            *newest = place;
        }
    }

    /// Where that of a host is.
    pub fn get(&self, host: HostId) -> Option<RecordPlace> {
        self.0.get(&host).copied()
    }

    /// Forgets a partition that is gone.
    pub fn forget(&mut self, hour: Hour) {
        self.0.retain(|_, place| place.hour != hour);
    }
}

/// The newest record of each host as of the last seal.
pub fn load_sealed(sql: &impl Sql) -> Result<RecordsByHost, SqlError> {
    ledger::load_row(sql, ledger::RECORDS_ROW)
}

/// Takes over what a partition has that is sealed, inside the transaction: 1 row, or none where it has no records.
pub fn seal(
    sql: &impl Sql,
    of_partition: &RecordsByHost,
    is_listed: impl Fn(HostId) -> bool,
) -> Result<(), SqlError> {
    if of_partition.is_empty() {
        return Ok(());
    }
    let mut all = load_sealed(sql)?;
    for (host, record) in of_partition {
        if all.get(host).is_none_or(|known| known.time <= record.time) {
            all.insert(*host, record.clone());
        }
    }
    all.retain(|host, _| is_listed(*host));
    ledger::store_row(sql, ledger::RECORDS_ROW, &all)
}
