//! The hosts of a shard: who may push here, and what is known of them.

use crate::sql::{Row, Sql, SqlError, Value, columns};
use edgewatch_shared::{HostId, HostName, TimestampMs, wire::Facts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a host may push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// It may.
    Active,
    /// Its key was revoked; it is still listed.
    Revoked,
    /// It was deleted; the entry keeps its key dead.
    Deleted,
}

/// A host as the shard knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Whether it may push.
    pub state: HostState,
    /// What is known of it.
    pub facts: Facts,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it came.
    pub enrolled: TimestampMs,
    /// Whether the catalogue knows this state of it.
    pub catalogued: bool,
}

impl HostRecord {
    /// A host that just came, and that the catalogue does not know.
    pub fn new(id: HostId, name: HostName, facts: Facts, tags: Vec<String>, enrolled: TimestampMs) -> Self {
        Self { id, name, state: HostState::Active, facts, tags, enrolled, catalogued: false }
    }
}

/// All hosts of a shard, held in memory as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    hosts: BTreeMap<HostId, HostRecord>,
}

#[derive(Serialize, Deserialize)]
struct Details {
    name: HostName,
    facts: Facts,
    tags: Vec<String>,
}

fn state_number(state: HostState) -> i64 {
    match state {
        HostState::Active => 0,
        HostState::Revoked => 1,
        HostState::Deleted => 2,
    }
}

impl Registry {
    /// Creates the table and reads it.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        let table = "CREATE TABLE IF NOT EXISTS hosts (id BLOB PRIMARY KEY, state INTEGER, enrolled_ms INTEGER, \
                     catalogued INTEGER, details BLOB) WITHOUT ROWID";
        sql.exec(table, &[])?;
        let rows = sql.exec("SELECT id, state, enrolled_ms, catalogued, details FROM hosts", &[])?;
        let mut registry = Self::default();
        for row in rows {
            registry.remember(record(row)?);
        }
        Ok(registry)
    }

    /// A host, whatever its state.
    pub fn get(&self, id: HostId) -> Option<&HostRecord> {
        self.hosts.get(&id)
    }

    /// Every host, whatever its state.
    pub fn iter(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.values()
    }

    /// Every host that is not deleted.
    pub fn listed(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.values().filter(|host| host.state != HostState::Deleted)
    }

    /// Whether a host is here and not deleted.
    pub fn is_listed(&self, id: HostId) -> bool {
        self.hosts.get(&id).is_some_and(|host| host.state != HostState::Deleted)
    }

    /// Hosts that may push.
    pub fn active_count(&self) -> usize {
        self.hosts.values().filter(|host| host.state == HostState::Active).count()
    }

    /// Hosts whose state the catalogue does not know yet.
    pub fn uncatalogued(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.values().filter(|host| !host.catalogued)
    }

    /// Stores a host: 1 row.
    pub fn put(&mut self, sql: &impl Sql, host: HostRecord) -> Result<(), SqlError> {
        Self::store(sql, &host)?;
        self.remember(host);
        Ok(())
    }

    /// Takes over a host that is, or is about to be, stored.
    pub fn remember(&mut self, host: HostRecord) {
        self.hosts.insert(host.id, host);
    }

    /// Stores a host without taking it over: 1 row.
    pub fn store(sql: &impl Sql, host: &HostRecord) -> Result<(), SqlError> {
        let details = Details { name: host.name.clone(), facts: host.facts.clone(), tags: host.tags.clone() };
        let details = postcard::to_allocvec(&details).map_err(|error| SqlError(error.to_string()))?;
        let values = [
            Value::Blob(host.id.as_bytes().to_vec()),
            Value::Integer(state_number(host.state)),
            Value::Integer(host.enrolled.0),
            Value::Integer(host.catalogued.into()),
            Value::Blob(details),
        ];
        let upsert = "INSERT INTO hosts (id, state, enrolled_ms, catalogued, details) VALUES (?1, ?2, ?3, ?4, ?5) \
                      ON CONFLICT (id) DO UPDATE SET state = ?2, enrolled_ms = ?3, catalogued = ?4, details = ?5";
        sql.exec(upsert, &values).map(|_| ())
    }

    /// Deletes a host's row: 1 row.
    pub fn delete(sql: &impl Sql, host: HostId) -> Result<(), SqlError> {
        sql.exec("DELETE FROM hosts WHERE id = ?1", &[Value::Blob(host.as_bytes().to_vec())]).map(|_| ())
    }

    /// Forgets a host whose row is deleted.
    pub fn forget(&mut self, host: HostId) {
        self.hosts.remove(&host);
    }

    /// Notes that the catalogue knows a host as `known` says, unless it changed since: 1 row.
    pub fn set_catalogued(&mut self, sql: &impl Sql, known: &HostRecord) -> Result<(), SqlError> {
        match self.hosts.get(&known.id) {
            Some(current) if current == known && !current.catalogued => {
                self.put(sql, HostRecord { catalogued: true, ..known.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn record(row: Row) -> Result<HostRecord, SqlError> {
    let [id, state, enrolled, catalogued, details] = columns(row)?;
    let id = HostId::from_bytes(&id.blob()?).map_err(|error| SqlError(error.to_string()))?;
    let details: Details =
        postcard::from_bytes(&details.blob()?).map_err(|error| SqlError(format!("host {id}: {error}")))?;
    let state = match state.integer()? {
        0 => HostState::Active,
        1 => HostState::Revoked,
        _ => HostState::Deleted,
    };
    Ok(HostRecord {
        id,
        name: details.name,
        state,
        facts: details.facts,
        tags: details.tags,
        enrolled: TimestampMs(enrolled.integer()?),
        catalogued: catalogued.integer()? != 0,
    })
}
