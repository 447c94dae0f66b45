-- The catalogue: the one D1 database of an Edgewatch. People, pages and the planner query it; no push waits for it.
--
-- The Worker applies this file itself, statement by statement, when it first meets a database of an earlier version:
-- every statement can be run again. A statement ends with a semicolon at the end of its line. A column that is added to
-- a table goes into `worker/src/store/catalogue/schema.rs`, too, and the version below up by one.

-- What the database knows of itself.
CREATE TABLE IF NOT EXISTS meta (
  key   TEXT PRIMARY KEY, -- 'schema_version'
  value TEXT NOT NULL
) WITHOUT ROWID;

-- Hosts, as their shards last reported them. A deleted host has no row.
CREATE TABLE IF NOT EXISTS hosts (
  id          TEXT PRIMARY KEY, -- UUID of version 8; its first two bytes are the home shard
  name        TEXT NOT NULL,    -- unique among hosts that are enrolled and not revoked (checked at enrolment)
  enrolled_ms INTEGER NOT NULL, -- milliseconds since the epoch, as every *_ms here
  revoked     INTEGER NOT NULL, -- 1: its key is refused
  facts       TEXT NOT NULL,    -- JSON: os, kernel, arch, cpu_model, cpus, memory_bytes, agent_version
  tags        TEXT NOT NULL     -- JSON array of texts
) WITHOUT ROWID;

-- Queries ask for hosts by name; the table changes only when a host does.
CREATE INDEX IF NOT EXISTS hosts_by_name ON hosts (name);

-- Which shards hold a host's data, and since when. A host that moves has several rows.
CREATE TABLE IF NOT EXISTS placements (
  source     TEXT NOT NULL,    -- id of the host
  shard      INTEGER NOT NULL, -- number of the shard
  from_ms    INTEGER NOT NULL, -- first instant that is written there
  hash_range TEXT NOT NULL,    -- part of the series, '' for all of them
  PRIMARY KEY (source, from_ms, shard, hash_range)
) WITHOUT ROWID;

-- Newest values of a shard's hosts, written at most once a minute; read when the shard does not answer.
CREATE TABLE IF NOT EXISTS summaries (
  shard INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  data  TEXT NOT NULL, -- JSON: {"<host id>": {"last_seen_ms": 0, "values": {"<stored name>": 0.0}}}
  day   INTEGER NOT NULL, -- days since the epoch, UTC…
  usage TEXT NOT NULL     -- …and what the shard had used of that day's quotas, JSON
);

-- A copy of the shards' own block indexes. A block that was replaced stays until its bytes are deleted.
CREATE TABLE IF NOT EXISTS blocks (
  shard   INTEGER NOT NULL,
  id      INTEGER NOT NULL, -- grows within a shard: of two samples at one instant the higher id's counts
  key     TEXT NOT NULL,    -- name of the object
  place   TEXT NOT NULL,    -- 'r2' or 'local' (in the shard's own SQLite)
  min_ms  INTEGER NOT NULL, -- its oldest sample
  max_ms  INTEGER NOT NULL, -- its newest sample
  samples INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (shard, id)
) WITHOUT ROWID;

-- What an administrator has set.
CREATE TABLE IF NOT EXISTS settings (
  name  TEXT PRIMARY KEY, -- 'retention'
  value TEXT NOT NULL     -- JSON; retention: {"raw_days": 30, "five_minute_days": 365, "hour_days": null}
) WITHOUT ROWID;

-- How often each enrolment token was used.
CREATE TABLE IF NOT EXISTS enrollments (
  jti  TEXT PRIMARY KEY,
  used INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('schema_version', '3') ON CONFLICT (key) DO UPDATE SET value = excluded.value
  WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER);
