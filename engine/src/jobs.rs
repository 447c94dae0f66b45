//! Jobs that failed and are to be tried again later: one table. What never failed needs no row:
//! that it is due is seen from what is stored anyway.

use crate::sql::{Sql, SqlError, Value, columns};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS};

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Seal the oldest partition whose hour is over.
    Seal,
    /// Copy hosts, blocks and newest values to the catalogue, after that failed.
    Catalogue,
    /// Move blocks that are here to R2, which was bound later.
    Upload,
    /// Make day blocks and rollups of the parts of a day that is over.
    CompactDay,
    /// Mark what is older than its retention as replaced.
    Retain,
    /// Delete blocks that were replaced, once nobody reads them any more.
    DeleteReplaced,
}

impl JobKind {
    /// Every kind; of two that are due at the same time the first is done first.
    pub const ALL: [Self; 6] =
        [Self::Seal, Self::Catalogue, Self::Upload, Self::CompactDay, Self::Retain, Self::DeleteReplaced];

    fn number(self) -> i64 {
        match self {
            Self::Seal => 1,
            Self::Catalogue => 2,
            Self::Upload => 3,
            Self::CompactDay => 4,
            Self::Retain => 5,
            Self::DeleteReplaced => 6,
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// A job and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// When.
    pub due: TimestampMs,
    /// How often it has failed in a row.
    pub failures: i64,
}

/// Longest wait between two tries of a failing job.
const RETRY_MS_MAX: i64 = 15 * MINUTE_MS;

/// The jobs, held in memory as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    jobs: Vec<Job>,
}

impl Jobs {
    /// Creates the table and reads it.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        sql.exec(
            "CREATE TABLE IF NOT EXISTS jobs (kind INTEGER PRIMARY KEY, due_ms INTEGER, failures INTEGER)",
            &[],
        )?;
        let mut jobs = Vec::new();
        for row in sql.exec("SELECT kind, due_ms, failures FROM jobs", &[])? {
            let [kind, due, failures] = columns(row)?;
            // A job of a later release is left to it.
            if let Some(kind) = JobKind::from_number(kind.integer()?) {
                jobs.push(Job { kind, due: TimestampMs(due.integer()?), failures: failures.integer()? });
            }
        }
        Ok(Self { jobs })
    }

    /// The job of a kind, if there is one.
    pub fn get(&self, kind: JobKind) -> Option<Job> {
        self.jobs.iter().find(|job| job.kind == kind).copied()
    }

    /// Puts a failed job off: 1 minute, doubling to 15. 1 row.
    pub fn put_off(&mut self, sql: &impl Sql, kind: JobKind, now: TimestampMs) -> Result<(), SqlError> {
        let failures = self.get(kind).map_or(0, |job| job.failures);
        let doublings = u32::try_from(failures.min(10)).unwrap_or_default();
        let wait_ms = MINUTE_MS.saturating_mul(2_i64.saturating_pow(doublings)).min(RETRY_MS_MAX);
        self.set(sql, Job { kind, due: now.plus_ms(wait_ms), failures: failures.saturating_add(1) })
    }

    /// Removes a job: 1 row, none if there is no such job.
    pub fn finish(&mut self, sql: &impl Sql, kind: JobKind) -> Result<(), SqlError> {
        if self.get(kind).is_some() {
            sql.exec("DELETE FROM jobs WHERE kind = ?1", &[Value::Integer(kind.number())])?;
            self.jobs.retain(|job| job.kind != kind);
        }
        Ok(())
    }

    fn set(&mut self, sql: &impl Sql, job: Job) -> Result<(), SqlError> {
        let upsert = "INSERT INTO jobs (kind, due_ms, failures) VALUES (?1, ?2, ?3) \
                      ON CONFLICT (kind) DO UPDATE SET due_ms = ?2, failures = ?3";
        let values = [job.kind.number(), job.due.0, job.failures].map(Value::Integer);
        sql.exec(upsert, &values)?;
        self.jobs.retain(|other| other.kind != job.kind);
        self.jobs.push(job);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rusqlite_sql::TestSql;

    #[test]
    fn a_job_survives_a_restart_until_it_is_done() {
        let sql = TestSql::new();
        let mut jobs = Jobs::open(&sql).unwrap();
        jobs.put_off(&sql, JobKind::Catalogue, TimestampMs(100)).unwrap();
        assert_eq!(Jobs::open(&sql).unwrap(), jobs);
        assert_eq!(jobs.get(JobKind::Seal), None);
        jobs.finish(&sql, JobKind::Catalogue).unwrap();
        assert_eq!(Jobs::open(&sql).unwrap().get(JobKind::Catalogue), None);
        let rows = sql.rows_written();
        jobs.finish(&sql, JobKind::Catalogue).unwrap();
        assert_eq!(sql.rows_written(), rows);
    }

    #[test]
    fn a_failing_job_waits_longer_and_longer_up_to_a_quarter_of_an_hour() {
        let sql = TestSql::new();
        let mut jobs = Jobs::open(&sql).unwrap();
        let waits: Vec<i64> = (0..12)
            .map(|_| {
                jobs.put_off(&sql, JobKind::Seal, TimestampMs(0)).unwrap();
                jobs.get(JobKind::Seal).unwrap().due.0 / MINUTE_MS
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15, 15, 15, 15, 15, 15]);
    }
}
