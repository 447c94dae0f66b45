//! How many series a host may have: one row a host, written only when a new series comes.

use crate::sql::{Sql, SqlError, Value, columns};
use edgewatch_shared::{HostId, Series, limits::HOST_SERIES_MAX};
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

/// The host has its full number of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySeries;

/// Known series by host, read when the host first pushes.
#[derive(Clone, Debug, Default)]
pub struct SeriesLimit {
    known: HashMap<HostId, BTreeSet<Fingerprint>>,
}

impl SeriesLimit {
    /// Creates the table.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        sql.exec(
            "CREATE TABLE IF NOT EXISTS host_series (host BLOB PRIMARY KEY, known BLOB) WITHOUT ROWID",
            &[],
        )?;
        Ok(Self::default())
    }

    /// The host's series with those of a batch, if they are more than before; nothing is stored yet.
    pub fn grown(
        &mut self,
        sql: &impl Sql,
        host: HostId,
        batch: &[Fingerprint],
    ) -> Result<Result<Option<BTreeSet<Fingerprint>>, TooManySeries>, SqlError> {
        let known = match self.known.entry(host) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(load(sql, host)?),
        };
        if batch.iter().all(|fingerprint| known.contains(fingerprint)) {
            return Ok(Ok(None));
        }
        let mut grown = known.clone();
        grown.extend(batch);
        Ok(if grown.len() > HOST_SERIES_MAX { Err(TooManySeries) } else { Ok(Some(grown)) })
    }

    /// Stores a host's series: 1 row.
    pub fn store(sql: &impl Sql, host: HostId, known: &BTreeSet<Fingerprint>) -> Result<(), SqlError> {
        let bytes: Vec<u8> = known.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()).collect();
        let upsert = "INSERT INTO host_series (host, known) VALUES (?1, ?2) ON CONFLICT (host) DO UPDATE SET known = ?2";
        sql.exec(upsert, &[Value::Blob(host.as_bytes().to_vec()), Value::Blob(bytes)]).map(|_| ())
    }

    /// Takes over what was stored.
    pub fn remember(&mut self, host: HostId, known: BTreeSet<Fingerprint>) {
        self.known.insert(host, known);
    }

    /// Forgets the series that a host no longer sends, once it has used half of what it may: `seen` are those of
    /// the hour that was sealed. 1 row if anything is forgotten.
    pub fn prune(
        &mut self,
        sql: &impl Sql,
        host: HostId,
        seen: &BTreeSet<Fingerprint>,
    ) -> Result<(), SqlError> {
        let known = load(sql, host)?;
        if known.len() > HOST_SERIES_MAX / 2 && known.len() > seen.len() {
            Self::store(sql, host, seen)?;
        }
        self.known.remove(&host);
        Ok(())
    }
}

fn load(sql: &impl Sql, host: HostId) -> Result<BTreeSet<Fingerprint>, SqlError> {
    let select = "SELECT known FROM host_series WHERE host = ?1";
    let Some(row) = sql.exec(select, &[Value::Blob(host.as_bytes().to_vec())])?.into_iter().next() else {
        return Ok(BTreeSet::new());
    };
    let [known] = columns(row)?;
    Ok(known.blob()?.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rusqlite_sql::TestSql;
    use edgewatch_shared::Labels;

    fn host() -> HostId {
        HostId::new(0, [1; 14])
    }

    fn push(limit: &mut SeriesLimit, sql: &TestSql, batch: &[u64]) -> Result<bool, TooManySeries> {
        let grown = limit.grown(sql, host(), batch).unwrap()?;
        let is_new = grown.is_some();
        if let Some(grown) = grown {
            SeriesLimit::store(sql, host(), &grown).unwrap();
            limit.remember(host(), grown);
        }
        Ok(is_new)
    }

    #[test]
    fn the_last_series_fits_and_one_more_does_not() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        let full: Vec<u64> = (0..HOST_SERIES_MAX as u64).collect();
        assert_eq!(push(&mut limit, &sql, &full), Ok(true));
        assert_eq!(push(&mut limit, &sql, &full), Ok(false));
        assert_eq!(push(&mut limit, &sql, &[u64::MAX]), Err(TooManySeries));
        let mut after_a_restart = SeriesLimit::open(&sql).unwrap();
        assert_eq!(push(&mut after_a_restart, &sql, &[u64::MAX]), Err(TooManySeries));
        assert_eq!(push(&mut after_a_restart, &sql, &[7]), Ok(false));
    }

    #[test]
    fn series_that_are_no_longer_sent_make_room() {
        let sql = TestSql::new();
        let mut limit = SeriesLimit::open(&sql).unwrap();
        push(&mut limit, &sql, &(0..HOST_SERIES_MAX as u64).collect::<Vec<_>>()).unwrap();
        limit.prune(&sql, host(), &[1, 2].into()).unwrap();
        assert_eq!(push(&mut limit, &sql, &[u64::MAX]), Ok(true));
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
