//! How many series a host and its shard may have: one row a host, written only when a new series comes.

use crate::sql::{Sql, SqlError, Value, columns};
use edgewatch_shared::{
    HostId, Series,
    limits::{HOST_SERIES_MAX, SHARD_SERIES_MAX},
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap, hash_map::Entry};

/// 64 bits that stand for a series. Two series of one host share theirs once in 10^12 fleets; the
/// only harm is that they are counted as one.
pub type Fingerprint = u64;

/// The fingerprint of a series: the first 8 bytes of SHA-256 over its name and labels, each ended by 0xff.
pub fn fingerprint(series: &Series) -> Fingerprint {
    let mut hash = Sha256::new();
    let labels = series.labels.iter().flat_map(|(key, value)| [key, value]);
    for text in std::iter::once(&series.name).chain(labels) {
        hash.update(text);
        hash.update([0xff]);
    }
    hash.finalize().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// What a batch adds to the series of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// All of the host's series, if they are more than before.
    pub grown: Option<BTreeSet<Fingerprint>>,
    /// New series for which there is no room, in the host or in the shard.
    pub refused: BTreeSet<Fingerprint>,
}

/// Known series by host, read when the host first pushes, and how many there are of all hosts.
#[derive(Clone, Debug, Default)]
pub struct SeriesLimit {
    known: HashMap<HostId, BTreeSet<Fingerprint>>,
    count: usize,
}

impl SeriesLimit {
    /// Creates the table and counts what is in it.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        sql.exec(
            "CREATE TABLE IF NOT EXISTS host_series (host BLOB PRIMARY KEY, known BLOB) WITHOUT ROWID",
            &[],
        )?;
        let mut limit = Self::default();
        limit.count(sql)?;
        Ok(limit)
    }

    fn count(&mut self, sql: &impl Sql) -> Result<(), SqlError> {
        let row = sql.exec("SELECT coalesce(sum(length(known)), 0) / 8 FROM host_series", &[])?;
        let [count] = columns(row.into_iter().next().unwrap_or_default())?;
        self.count = usize::try_from(count.integer()?).unwrap_or(usize::MAX);
        Ok(())
    }

    /// What a batch would add to its host's series; nothing is stored yet. New ones find no room first: those that are
    /// known go on.
    pub fn growth(
        &mut self,
        sql: &impl Sql,
        host: HostId,
        batch: &[Fingerprint],
    ) -> Result<Growth, SqlError> {
        let known = match self.known.entry(host) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(load(sql, host)?),
        };
        let mut new = batch.iter().filter(|fingerprint| !known.contains(fingerprint)).peekable();
        if new.peek().is_none() {
            return Ok(Growth::default());
        }
        let room = SHARD_SERIES_MAX.saturating_sub(self.count);
        let room = HOST_SERIES_MAX.saturating_sub(known.len()).min(room);
        let full = known.len().saturating_add(room);
        let mut grown = known.clone();
        let mut refused = BTreeSet::new();
        for fingerprint in new {
            if grown.len() < full || grown.contains(fingerprint) {
                grown.insert(*fingerprint);
            } else {
                refused.insert(*fingerprint);
            }
        }
        Ok(Growth { grown: (grown.len() > known.len()).then_some(grown), refused })
    }

    /// Stores a host's series: 1 row.
    pub fn store(sql: &impl Sql, host: HostId, known: &BTreeSet<Fingerprint>) -> Result<(), SqlError> {
        let bytes: Vec<u8> = known.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()).collect();
        let upsert = "INSERT INTO host_series (host, known) VALUES (?1, ?2) ON CONFLICT (host) DO UPDATE SET known = ?2";
        sql.exec(upsert, &[Value::Blob(host.as_bytes().to_vec()), Value::Blob(bytes)]).map(|_| ())
    }

    /// Takes over what is, or is about to be, stored.
    pub fn remember(&mut self, host: HostId, known: BTreeSet<Fingerprint>) {
        let count = known.len();
        let before = self.known.insert(host, known).map_or(0, |before| before.len());
        self.count = self.count.saturating_sub(before).saturating_add(count);
    }

    /// Forgets series that hosts no longer send, inside a seal's transaction: of a host that has used half of what it
    /// may all but `seen`, of one that is gone all. `seen` says what a host sent in the hour that was sealed, or still
    /// may without saying its names again; it is asked only where that matters. 1 row a host about which anything is forgotten.
    pub fn prune(
        &mut self,
        sql: &impl Sql,
        is_known: impl Fn(HostId) -> bool,
        mut seen: impl FnMut(HostId) -> Result<Option<BTreeSet<Fingerprint>>, SqlError>,
    ) -> Result<(), SqlError> {
        for row in sql.exec("SELECT host, length(known) / 8 FROM host_series", &[])? {
            let [host, count] = columns(row)?;
            let host = HostId::from_bytes(&host.blob()?).map_err(|error| SqlError(error.to_string()))?;
            let count = usize::try_from(count.integer()?).unwrap_or(usize::MAX);
            if !is_known(host) {
                let delete = "DELETE FROM host_series WHERE host = ?1";
                sql.exec(delete, &[Value::Blob(host.as_bytes().to_vec())])?;
            } else if count > HOST_SERIES_MAX / 2
                && let Some(seen) = seen(host)?
                && count > seen.len()
            {
                Self::store(sql, host, &seen)?;
            } else {
                continue;
            }
            self.known.remove(&host);
        }
        self.count(sql)
    }
}

fn load(sql: &impl Sql, host: HostId) -> Result<BTreeSet<Fingerprint>, SqlError> {
    let select = "SELECT known FROM host_series WHERE host = ?1";
    let Some(row) = sql.exec(select, &[Value::Blob(host.as_bytes().to_vec())])?.into_iter().next() else {
        return Ok(BTreeSet::new());
    };
    let [stored] = columns(row)?;
    let mut known = BTreeSet::new();
    known.extend(stored.blob()?.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rusqlite_sql::TestSql;
    use edgewatch_shared::Labels;

    fn host() -> HostId {
        HostId::new(0, [1; 14])
    }

    /// How many new series are refused.
    fn push(limit: &mut SeriesLimit, sql: &TestSql, host: HostId, batch: &[u64]) -> usize {
        let Growth { grown, refused } = limit.growth(sql, host, batch).unwrap();
        if let Some(grown) = grown {
            SeriesLimit::store(sql, host, &grown).unwrap();
            limit.remember(host, grown);
        }
        refused.len()
    }

    #[test]
    fn the_last_series_fits_and_of_two_more_none_while_known_ones_go_on() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        let all_but_one: Vec<u64> = (1..HOST_SERIES_MAX as u64).collect();
        assert_eq!(push(&mut limit, &sql, host(), &all_but_one), 0);
        assert_eq!(push(&mut limit, &sql, host(), &[1, u64::MAX, 2, u64::MAX, u64::MAX - 1]), 1);
        let mut after_a_restart = SeriesLimit::open(&sql).unwrap();
        assert_eq!(push(&mut after_a_restart, &sql, host(), &[u64::MAX - 1]), 1);
        assert_eq!(push(&mut after_a_restart, &sql, host(), &[7, u64::MAX]), 0);
    }

    #[test]
    fn a_full_shard_takes_no_new_series_of_any_host_and_all_that_are_known() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        let host = |n: u64| HostId::new(0, [n as u8; 14]);
        let full: Vec<u64> = (0..HOST_SERIES_MAX as u64).collect();
        let hosts = SHARD_SERIES_MAX as u64 / HOST_SERIES_MAX as u64;
        for n in 0..hosts {
            assert_eq!(push(&mut limit, &sql, host(n), &full), 0);
        }
        let left = SHARD_SERIES_MAX % HOST_SERIES_MAX;
        assert_eq!(push(&mut limit, &sql, host(hosts), &full[..left]), 0);
        assert_eq!(push(&mut limit, &sql, host(hosts), &full[..left + 1]), 1);
        let mut after_a_restart = SeriesLimit::open(&sql).unwrap();
        assert_eq!(push(&mut after_a_restart, &sql, host(hosts), &full[..left + 1]), 1);
        assert_eq!(push(&mut after_a_restart, &sql, host(0), &full), 0);
    }

    #[test]
    fn series_that_are_no_longer_sent_and_those_of_hosts_that_are_gone_make_room() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        let gone = HostId::new(0, [2; 14]);
        let full: Vec<u64> = (0..HOST_SERIES_MAX as u64).collect();
        push(&mut limit, &sql, host(), &full);
        push(&mut limit, &sql, gone, &full);
        limit.prune(&sql, |known| known == host(), |_| Ok(Some([1, 2].into()))).unwrap();
        assert_eq!(limit.count, 2);
        assert_eq!(push(&mut limit, &sql, host(), &[u64::MAX]), 0);
        assert_eq!(load(&sql, gone).unwrap(), BTreeSet::new());
    }

    #[test]
    fn of_a_host_with_room_left_nothing_is_forgotten() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        push(&mut limit, &sql, host(), &(0..HOST_SERIES_MAX as u64 / 2).collect::<Vec<_>>());
        let rows = sql.rows_written();
        limit.prune(&sql, |_| true, |_| Ok(Some(BTreeSet::new()))).unwrap();
        assert_eq!(sql.rows_written(), rows);
    }

    #[test]
    fn fingerprints_tell_names_and_labels_apart() {
        let series = |name: &str, labels: &[(&str, &str)]| {
            let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            fingerprint(&Series { name: name.into(), labels })
        };
        let all = [
            series("a", &[]),
            series("ab", &[]),
            series("a", &[("b", "c")]),
            series("a", &[("bc", "d")]),
            series("a", &[("b", "cd")]),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
