//! Series lists that pushes refer to by the hash of their content: a table of their own, a row a list and host.
//!
//! Which lists a host has sent is known to its shard; what is in them is decoded when it is needed and kept in a cache
//! that all shards of the instance share, since hosts of one kind have the same lists.

use crate::{
    headlines::Headlines,
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    HostId, Series,
    time::Hour,
    wire::push::{DictionaryId, decode_series, encode_series},
};
use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

/// A series list, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    series: Vec<Series>,
    headlines: Headlines,
}

/// What a series costs in a list beside its texts: vectors, tree nodes, allocator.
const SERIES_OVERHEAD_BYTES: usize = 160;

impl Dictionary {
    /// A list.
    pub fn new(series: Vec<Series>) -> Self {
        let headlines = Headlines::of(series.iter());
        Self { series, headlines }
    }

    /// The series, in the order of the columns.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Where its headline metrics are.
    pub fn headlines(&self) -> &Headlines {
        &self.headlines
    }

    fn bytes(&self) -> usize {
        let texts = self.series.iter().map(Series::text_bytes).fold(0, usize::saturating_add);
        texts.saturating_add(self.series.len().saturating_mul(SERIES_OVERHEAD_BYTES))
    }
}

#[derive(Debug)]
struct Entry {
    dictionary: Rc<Dictionary>,
    bytes: usize,
    last_used: u64,
}

/// Decoded lists of an instance, within a cap; the least recently used one goes first.
#[derive(Debug)]
pub struct DictionaryCache {
    entries: HashMap<DictionaryId, Entry>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
}

/// Why a list cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryError {
    /// The storage failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// It is not there, or does not decode.
    #[error("series list {}: {why}", hex(.id))]
    Unreadable {
        /// Which.
        id: DictionaryId,
        /// What is wrong with it.
        why: String,
    },
}

fn hex(id: &DictionaryId) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl DictionaryCache {
    /// An empty cache that holds at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), bytes: 0, bytes_max, uses: 0 }
    }

    /// A list of a host, out of the cache or out of its shard's table.
    pub fn get(
        &mut self,
        sql: &impl Sql,
        host: HostId,
        id: DictionaryId,
    ) -> Result<Rc<Dictionary>, DictionaryError> {
        self.uses = self.uses.saturating_add(1);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.last_used = self.uses;
            return Ok(Rc::clone(&entry.dictionary));
        }
        let unreadable = |why: String| DictionaryError::Unreadable { id, why };
        let select = "SELECT series FROM dictionaries WHERE host = ?1 AND id = ?2";
        let row = sql.exec(select, &key(host, id))?.into_iter().next();
        let [series] = columns(row.ok_or_else(|| unreadable("it is gone".into()))?)?;
        let series = series.blob()?;
        if DictionaryId::of(&series) != id {
            return Err(unreadable("its content is another".into()));
        }
        let series = decode_series(&series).map_err(|error| unreadable(error.to_string()))?;
        let dictionary = Rc::new(Dictionary::new(series));
        self.keep(id, &dictionary);
        Ok(dictionary)
    }

    /// A list, if it is in the cache.
    pub fn cached(&mut self, id: DictionaryId) -> Option<Rc<Dictionary>> {
        self.uses = self.uses.saturating_add(1);
        let entry = self.entries.get_mut(&id)?;
        entry.last_used = self.uses;
        Some(Rc::clone(&entry.dictionary))
    }

    /// Keeps a list that just arrived. One over the cap is not kept.
    pub fn keep(&mut self, id: DictionaryId, dictionary: &Rc<Dictionary>) {
        let bytes = dictionary.bytes();
        if bytes > self.bytes_max {
            return;
        }
        self.uses = self.uses.saturating_add(1);
        let entry = Entry { dictionary: Rc::clone(dictionary), bytes, last_used: self.uses };
        if let Some(before) = self.entries.insert(id, entry) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > self.bytes_max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_used).map(|(id, _)| *id);
            let Some(entry) = oldest.and_then(|id| self.entries.remove(&id)) else { return };
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Bytes of all lists by our own account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Which lists a shard has, by host, and the newest partition of its log that needs each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionaries {
    known: HashMap<HostId, BTreeMap<DictionaryId, Option<Hour>>>,
}

impl Dictionaries {
    /// Creates the table and reads what is in it, but not the lists themselves.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        let table = "CREATE TABLE IF NOT EXISTS dictionaries (host BLOB, id BLOB, series BLOB, PRIMARY KEY (host, id)) \
                     WITHOUT ROWID";
        sql.exec(table, &[])?;
        let mut known: HashMap<HostId, BTreeMap<DictionaryId, Option<Hour>>> = HashMap::new();
        for row in sql.exec("SELECT host, id FROM dictionaries", &[])? {
            let [host, id] = columns(row)?;
            let host = HostId::from_bytes(&host.blob()?).map_err(|error| SqlError(error.to_string()))?;
            let id = id.blob()?.try_into().map_err(|_| SqlError("a series list's id has 16 bytes".into()))?;
            known.entry(host).or_default().insert(DictionaryId(id), None);
        }
        Ok(Self { known })
    }

    /// Whether a host's list is here.
    pub fn has(&self, host: HostId, id: DictionaryId) -> bool {
        self.known.get(&host).is_some_and(|lists| lists.contains_key(&id))
    }

    /// How many lists a host has here.
    pub fn count(&self, host: HostId) -> usize {
        self.known.get(&host).map_or(0, BTreeMap::len)
    }

    /// Notes a list that is, or is about to be, stored.
    pub fn note(&mut self, host: HostId, id: DictionaryId) {
        self.known.entry(host).or_default().entry(id).or_default();
    }

    /// Notes that a push in a partition needs a list.
    pub fn note_use(&mut self, host: HostId, id: DictionaryId, partition: Hour) {
        if let Some(used) = self.known.get_mut(&host).and_then(|lists| lists.get_mut(&id)) {
            *used = (*used).max(Some(partition));
        }
    }

    /// Stores a list, in place of a damaged one: 1 row.
    pub fn store(
        sql: &impl Sql,
        host: HostId,
        id: DictionaryId,
        dictionary: &Dictionary,
    ) -> Result<(), SqlError> {
        let [host, id] = key(host, id);
        let series = Value::Blob(encode_series(dictionary.series()));
        let upsert = "INSERT INTO dictionaries (host, id, series) VALUES (?1, ?2, ?3) \
                      ON CONFLICT (host, id) DO UPDATE SET series = ?3";
        sql.exec(upsert, &[host, id, series]).map(|_| ())
    }

    /// Drops the lists that nothing needs once all partitions up to `sealed` are gone, inside the seal's transaction:
    /// 1 row a list. `is_awaited` says whether a list will be used again.
    pub fn drop_unused(
        &mut self,
        sql: &impl Sql,
        sealed: Hour,
        is_awaited: impl Fn(HostId, DictionaryId) -> bool,
    ) -> Result<(), SqlError> {
        let mut unused = Vec::new();
        for (host, lists) in &mut self.known {
            lists.retain(|id, used| {
                let stays = *used > Some(sealed) || is_awaited(*host, *id);
                if !stays {
                    unused.push((*host, *id));
                }
                stays
            });
        }
        self.known.retain(|_, lists| !lists.is_empty());
        let delete = "DELETE FROM dictionaries WHERE host = ?1 AND id = ?2";
        unused.into_iter().try_for_each(|(host, id)| sql.exec(delete, &key(host, id)).map(|_| ()))
    }

    /// The lists that a host has here.
    pub fn of_host(&self, host: HostId) -> impl Iterator<Item = DictionaryId> {
        self.known.get(&host).into_iter().flat_map(BTreeMap::keys).copied()
    }
}

fn key(host: HostId, id: DictionaryId) -> [Value; 2] {
    [Value::Blob(host.as_bytes().to_vec()), Value::Blob(id.0.to_vec())]
}
