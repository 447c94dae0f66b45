//! [`Sql`] on rusqlite: the shard's logic runs natively in tests.

use crate::sql::{Row, Sql, SqlError, Value};
use rusqlite::{Connection, types::ValueRef};
use std::{cell::Cell, rc::Rc};

/// A database in memory. Clones share it, as a shard's incarnations share their storage.
#[derive(Clone)]
pub struct TestSql {
    connection: Rc<Connection>,
    rows_written: Rc<Cell<u64>>,
    rows_read: Rc<Cell<u64>>,
    /// Statements to let pass before every further one fails; `None` for no failure.
    pub failing_after: Rc<Cell<Option<u32>>>,
    /// What to give out as the size of the database, instead of its own.
    pub size_bytes: Rc<Cell<Option<u64>>>,
}

impl TestSql {
    pub fn new() -> Self {
        Self {
            connection: Rc::new(Connection::open_in_memory().unwrap()),
            rows_written: Rc::default(),
            rows_read: Rc::default(),
            failing_after: Rc::default(),
            size_bytes: Rc::default(),
        }
    }
}

fn to_error(error: rusqlite::Error) -> SqlError {
    SqlError(error.to_string())
}

impl Sql for TestSql {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        if let Some(left) = self.failing_after.get() {
            if left == 0 {
                return Err(SqlError("a failure the test asked for".into()));
            }
            self.failing_after.set(Some(left - 1));
        }
        let before = self.connection.total_changes();
        let mut prepared = self.connection.prepare(statement).map_err(to_error)?;
        let parameters = parameters.iter().map(|value| match value {
            Value::Null => rusqlite::types::Value::Null,
            Value::Integer(value) => (*value).into(),
            Value::Text(value) => value.clone().into(),
            Value::Blob(value) => value.clone().into(),
        });
        let columns = prepared.column_count();
        let rows = prepared
            .query_map(rusqlite::params_from_iter(parameters), |row| {
                (0..columns)
                    .map(|at| {
                        Ok(match row.get_ref(at)? {
                            ValueRef::Null => Value::Null,
                            ValueRef::Integer(value) => Value::Integer(value),
                            ValueRef::Real(value) => panic!("a float in storage: {value}"),
                            ValueRef::Text(value) => Value::Text(String::from_utf8(value.to_vec()).unwrap()),
                            ValueRef::Blob(value) => Value::Blob(value.to_vec()),
                        })
                    })
                    .collect()
            })
            .map_err(to_error)?
            .collect::<Result<Vec<Row>, _>>()
            .map_err(to_error)?;
        self.rows_written.set(self.rows_written.get() + (self.connection.total_changes() - before));
        // What was passed over is not known here.
        self.rows_read.set(self.rows_read.get() + rows.len() as u64);
        Ok(rows)
    }

    fn transaction(&self, work: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.connection.execute_batch("BEGIN").map_err(to_error)?;
        let result = work();
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.connection.execute_batch(end).map_err(to_error)?;
        result
    }

    fn rows_written(&self) -> u64 {
        self.rows_written.get()
    }

    fn rows_read(&self) -> u64 {
        self.rows_read.get()
    }

    fn size_bytes(&self) -> u64 {
        if let Some(bytes) = self.size_bytes.get() {
            return bytes;
        }
        let pages: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        pages.unsigned_abs() * 4_096
    }
}
