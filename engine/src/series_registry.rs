//! Which series a host has, and in which hours it sent them: one row a host, filled as its log is sealed.
//!
//! A row is written when a series is new or has gone on for a day since, so that it costs a row a host and day: the last
//! hour of a series is at most a day behind. What is still in the log is not in here yet.

use crate::{
    compression::{Deflater, Inflater},
    sql::{Sql, SqlError, Value, columns},
};
use edgewatch_shared::{
    HostId, Series,
    limits::{REGISTRY_SERIES_MAX, ROW_BYTES_MAX},
    time::Hour,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A series and when it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesSpan {
    /// Which.
    pub series: Series,
    /// The hour of its oldest sample.
    pub first: Hour,
    /// The hour of its newest sample.
    pub last: Hour,
}

/// A last hour that is so far behind is written anew.
const BEHIND_HOURS_MAX: i64 = 24;
/// Names repeat; the row is written once a day.
const ZSTD_LEVEL: i32 = 3;
/// What a row may decompress to: [`REGISTRY_SERIES_MAX`] series of long names.
const PLAIN_BYTES_MAX: usize = 16 << 20;

/// Every series once, from its first hour to its last, in order.
pub fn merged_spans(spans: impl Iterator<Item = SeriesSpan>) -> Vec<SeriesSpan> {
    let mut merged = Spans::new();
    for SeriesSpan { series, first, last } in spans {
        let span = merged.entry(series).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }
    listed(merged)
}

fn listed(spans: Spans) -> Vec<SeriesSpan> {
    spans.into_iter().map(|(series, (first, last))| SeriesSpan { series, first, last }).collect()
}

type Spans = BTreeMap<Series, (Hour, Hour)>;

/// Creates the table.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    let table = "CREATE TABLE IF NOT EXISTS series (host BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID";
    sql.exec(table, &[]).map(|_| ())
}

/// The series of a host. A row that does not decode has none: it is written anew as the host goes on.
pub fn of_host(sql: &impl Sql, host: HostId, inflater: &mut Inflater) -> Result<Vec<SeriesSpan>, SqlError> {
    load(sql, host, inflater).map(listed)
}

/// Notes series that a host sent: 1 row if that says anything new. Of too many the ones that were silent for longest go.
pub fn note(
    sql: &impl Sql,
    host: HostId,
    met: Vec<SeriesSpan>,
    inflater: &mut Inflater,
    deflater: &mut Deflater,
) -> Result<(), SqlError> {
    let mut known = load(sql, host, inflater)?;
    let mut is_news = false;
    for SeriesSpan { series, first, last } in met {
        let span = known.entry(series).or_insert_with(|| {
            is_news = true;
            (first, last)
        });
        is_news = is_news || first < span.0 || last.0 > span.1.0.saturating_add(BEHIND_HOURS_MAX);
        *span = (span.0.min(first), span.1.max(last));
    }
    if is_news { store(sql, host, known, deflater) } else { Ok(()) }
}

/// Forgets the series of all hosts that nobody sent since, and that nothing is kept of any more: a row for every host
/// that has such series.
pub fn expire(
    sql: &impl Sql,
    before: Hour,
    inflater: &mut Inflater,
    deflater: &mut Deflater,
) -> Result<(), SqlError> {
    // What is stored may be a day behind.
    let before = Hour(before.0.saturating_sub(BEHIND_HOURS_MAX));
    for row in sql.exec("SELECT host FROM series", &[])? {
        let [host] = columns(row)?;
        let id = host.blob()?;
        let host = HostId::from_bytes(&id).map_err(|error| SqlError(error.to_string()))?;
        let mut known = load(sql, host, inflater)?;
        let count = known.len();
        known.retain(|_, (_, last)| *last >= before);
        if known.is_empty() {
            sql.exec("DELETE FROM series WHERE host = ?1", &[Value::Blob(id)])?;
        } else if known.len() < count {
            store(sql, host, known, deflater)?;
        }
    }
    Ok(())
}

fn store(sql: &impl Sql, host: HostId, mut known: Spans, deflater: &mut Deflater) -> Result<(), SqlError> {
    let mut count_max = REGISTRY_SERIES_MAX;
    loop {
        keep_newest(&mut known, count_max);
        let plain: Vec<(&Series, i64, i64)> =
            known.iter().map(|(series, (first, last))| (series, first.0, last.0)).collect();
        let plain = postcard::to_allocvec(&plain).map_err(|error| SqlError(error.to_string()))?;
        let data = deflater.deflate(&plain, ZSTD_LEVEL).map_err(|error| SqlError(error.to_string()))?;
        if plain.len() <= PLAIN_BYTES_MAX && data.len() <= ROW_BYTES_MAX {
            let upsert =
                "INSERT INTO series (host, data) VALUES (?1, ?2) ON CONFLICT (host) DO UPDATE SET data = ?2";
            return sql.exec(upsert, &[Value::Blob(host.as_bytes().to_vec()), Value::Blob(data)]).map(|_| ());
        }
        count_max = known.len() / 2;
    }
}

/// Drops the series that were silent for longest, until at most `count_max` are left.
fn keep_newest(known: &mut Spans, count_max: usize) {
    if known.len() <= count_max {
        return;
    }
    let mut lasts: Vec<Hour> = known.values().map(|(_, last)| *last).collect();
    lasts.sort_unstable();
    let Some(oldest_kept) = lasts.iter().rev().nth(count_max.saturating_sub(1)).copied() else { return };
    let newer = lasts.iter().filter(|last| **last > oldest_kept).count();
    let mut room = count_max.saturating_sub(newer);
    known.retain(|_, (_, last)| {
        let fits = *last > oldest_kept || (*last == oldest_kept && room > 0);
        if *last == oldest_kept {
            room = room.saturating_sub(1);
        }
        fits
    });
}

fn load(sql: &impl Sql, host: HostId, inflater: &mut Inflater) -> Result<Spans, SqlError> {
    let select = "SELECT data FROM series WHERE host = ?1";
    let Some(row) = sql.exec(select, &[Value::Blob(host.as_bytes().to_vec())])?.into_iter().next() else {
        return Ok(Spans::new());
    };
    let [data] = columns(row)?;
    let Ok(plain) = inflater.inflate(&data.blob()?, PLAIN_BYTES_MAX).map(<[u8]>::to_vec) else {
        return Ok(Spans::new());
    };
    let stored: Vec<(Series, i64, i64)> = postcard::from_bytes(&plain).unwrap_or_default();
    let mut spans = Spans::new();
    spans.extend(stored.into_iter().map(|(series, first, last)| (series, (Hour(first), Hour(last)))));
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rusqlite_sql::TestSql;
    use edgewatch_shared::Labels;

    fn span(name: &str, first: i64, last: i64) -> SeriesSpan {
        let series = Series { name: name.into(), labels: Labels::new() };
        SeriesSpan { series, first: Hour(first), last: Hour(last) }
    }

    struct World {
        sql: TestSql,
        inflater: Inflater,
        deflater: Deflater,
    }

    impl World {
        fn new() -> Self {
            let sql = TestSql::new();
            create_table(&sql).unwrap();
            Self { sql, inflater: Inflater::default(), deflater: Deflater::default() }
        }

        /// Rows that were written.
        fn note(&mut self, met: Vec<SeriesSpan>) -> u64 {
            let before = self.sql.rows_written();
            note(&self.sql, host(), met, &mut self.inflater, &mut self.deflater).unwrap();
            self.sql.rows_written() - before
        }

        fn known(&mut self) -> Vec<SeriesSpan> {
            of_host(&self.sql, host(), &mut self.inflater).unwrap()
        }
    }

    fn host() -> HostId {
        HostId::new(0, [1; 14])
    }

    #[test]
    fn a_row_is_written_only_when_it_says_something_new() {
        let mut world = World::new();
        assert_eq!(world.note(vec![span("a", 10, 10)]), 1);
        assert_eq!(world.note(vec![span("a", 11, 10 + BEHIND_HOURS_MAX)]), 0);
        assert_eq!(world.known(), [span("a", 10, 10)]);
        assert_eq!(world.note(vec![span("a", 11, 11 + BEHIND_HOURS_MAX)]), 1);
        assert_eq!(world.note(vec![span("b", 12, 12), span("a", 12, 13)]), 1);
        assert_eq!(world.note(vec![span("a", 9, 9)]), 1, "late");
        assert_eq!(world.known(), [span("a", 9, 11 + BEHIND_HOURS_MAX), span("b", 12, 12)]);
        assert_eq!(world.note(Vec::new()), 0);
    }

    #[test]
    fn series_that_nothing_is_kept_of_are_forgotten() {
        let mut world = World::new();
        let day = BEHIND_HOURS_MAX;
        world.note(vec![span("old", 1, 9), span("kept", 1, 10)]);
        let mut expire = |before: i64| {
            let rows = world.sql.rows_written();
            expire(&world.sql, Hour(before + day), &mut world.inflater, &mut world.deflater).unwrap();
            (world.known(), world.sql.rows_written() - rows)
        };
        assert_eq!(expire(9), (vec![span("kept", 1, 10), span("old", 1, 9)], 0));
        assert_eq!(expire(10), (vec![span("kept", 1, 10)], 1));
        assert_eq!(expire(11), (Vec::new(), 1));
    }

    #[test]
    fn of_too_many_series_the_longest_silent_go() {
        let mut world = World::new();
        let old = (0..REGISTRY_SERIES_MAX).map(|n| span(&format!("old_{n:05}"), 1, 1 + (n == 7) as i64));
        world.note(old.collect());
        assert_eq!(world.known().len(), REGISTRY_SERIES_MAX);
        world.note(vec![span("new", 3, 3)]);
        let known = world.known();
        assert_eq!(known.len(), REGISTRY_SERIES_MAX);
        assert!(known.contains(&span("new", 3, 3)) && known.contains(&span("old_00007", 1, 2)));
    }
}
