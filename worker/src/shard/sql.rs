//! The engine's [`Sql`] on a Durable Object's own SQLite.

use edgewatch_engine::sql::{Row, Sql, SqlError, Value};
use std::cell::Cell;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{SqlStorage, SqlStorageValue, State, js_sys::Reflect};
#[cfg(feature = "test-hooks")]
use {super::testing::Commits, std::rc::Rc};

#[wasm_bindgen]
extern "C" {
    /// `DurableObjectStorage`, for the method that the SDK does not bind.
    type TransactionalStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &TransactionalStorage,
        work: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;
}

/// A shard's storage. What was written is acknowledged only once it is durable: the runtime holds replies back.
pub struct ObjectSql {
    sql: SqlStorage,
    storage: TransactionalStorage,
    rows_written: Cell<u64>,
    rows_read: Cell<u64>,
    #[cfg(feature = "test-hooks")]
    commits: Rc<Commits>,
}

impl ObjectSql {
    /// The storage of an object.
    pub fn new(state: &State) -> Self {
        let storage = state.storage();
        let sql = storage.sql();
        let storage: &JsValue = storage.as_raw().as_ref();
        Self {
            sql,
            storage: storage.clone().unchecked_into(),
            rows_written: Cell::new(0),
            rows_read: Cell::new(0),
            #[cfg(feature = "test-hooks")]
            commits: Rc::default(),
        }
    }

    /// The same, whose commits fail when a test asks for it.
    #[cfg(feature = "test-hooks")]
    pub fn failing_with(self, commits: &Rc<Commits>) -> Self {
        Self { commits: Rc::clone(commits), ..self }
    }
}

impl Sql for ObjectSql {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        let parameters: Vec<SqlStorageValue> = parameters.iter().map(to_storage).collect();
        let cursor = self.sql.exec(statement, parameters).map_err(failed)?;
        let mut rows = Vec::new();
        for row in cursor.raw() {
            rows.push(row.map_err(failed)?.into_iter().map(from_storage).collect::<Result<Row, _>>()?);
        }
        self.rows_written.set(self.rows_written.get().saturating_add(cursor.rows_written() as u64));
        self.rows_read.set(self.rows_read.get().saturating_add(cursor.rows_read() as u64));
        Ok(rows)
    }

    fn transaction(&self, work: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        let mut outcome = Ok(());
        let mut run = || {
            outcome = work();
            #[cfg(feature = "test-hooks")]
            if outcome.is_ok() {
                outcome = self.commits.fail_if_asked();
            }
            match &outcome {
                Ok(()) => Ok(JsValue::UNDEFINED),
                // Thrown through `transactionSync`, it rolls everything back.
                Err(error) => Err(JsValue::from_str(&error.0)),
            }
        };
        let committed = self.storage.transaction_sync(&mut run);
        outcome?;
        committed.map(|_| ()).map_err(|error| SqlError(format!("transaction: {error:?}")))
    }

    fn rows_written(&self) -> u64 {
        self.rows_written.get()
    }

    fn rows_read(&self) -> u64 {
        self.rows_read.get()
    }

    fn size_bytes(&self) -> u64 {
        // The SDK's own method ends at 4 GiB, the size of an address in wasm.
        let size =
            Reflect::get(self.sql.as_ref(), &"databaseSize".into()).ok().and_then(|size| size.as_f64());
        size.unwrap_or_default() as u64
    }
}

fn to_storage(value: &Value) -> SqlStorageValue {
    match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(value) => SqlStorageValue::Integer(*value),
        Value::Text(value) => SqlStorageValue::String(value.clone()),
        Value::Blob(value) => SqlStorageValue::Blob(value.clone()),
    }
}

fn from_storage(value: SqlStorageValue) -> Result<Value, SqlError> {
    match value {
        SqlStorageValue::Null => Ok(Value::Null),
        SqlStorageValue::Boolean(value) => Ok(Value::Integer(value.into())),
        SqlStorageValue::Integer(value) => Ok(Value::Integer(value)),
        SqlStorageValue::Float(value) => {
            Err(SqlError(format!("a column holds {value}, which is no integer")))
        }
        SqlStorageValue::String(value) => Ok(Value::Text(value)),
        SqlStorageValue::Blob(value) => Ok(Value::Blob(value)),
    }
}

fn failed(error: worker::Error) -> SqlError {
    SqlError(error.to_string())
}
