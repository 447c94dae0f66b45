//! The SQLite a shard lives on, as the engine sees it: in a Durable Object, and natively in tests.

/// A value in or out of SQLite. The engine stores no floats of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Up to ±2^53, which JavaScript's numbers carry exactly.
    Integer(i64),
    /// UTF-8.
    Text(String),
    /// Bytes; at most [`edgewatch_shared::limits::ROW_BYTES_MAX`] a row.
    Blob(Vec<u8>),
}

impl Value {
    /// The integer, or an error that names the column's content.
    pub fn integer(self) -> Result<i64, SqlError> {
        match self {
            Self::Integer(value) => Ok(value),
            other => Err(SqlError::unexpected("an integer", &other)),
        }
    }

    /// The text, or an error.
    pub fn text(self) -> Result<String, SqlError> {
        match self {
            Self::Text(value) => Ok(value),
            other => Err(SqlError::unexpected("a text", &other)),
        }
    }

    /// The bytes, or an error.
    pub fn blob(self) -> Result<Vec<u8>, SqlError> {
        match self {
            Self::Blob(value) => Ok(value),
            other => Err(SqlError::unexpected("a blob", &other)),
        }
    }
}

/// What went wrong in storage. A retry may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage: {0}")]
pub struct SqlError(pub String);

impl SqlError {
    fn unexpected(wanted: &str, got: &Value) -> Self {
        let got = match got {
            Value::Null => "NULL",
            Value::Integer(_) => "an integer",
            Value::Text(_) => "a text",
            Value::Blob(_) => "a blob",
        };
        Self(format!("a column holds {got} where {wanted} belongs"))
    }
}

/// A row of a result, in the order of its columns.
pub type Row = Vec<Value>;

/// Takes exactly `N` columns out of a row.
pub fn columns<const N: usize>(row: Row) -> Result<[Value; N], SqlError> {
    let count = row.len();
    row.try_into().map_err(|_| SqlError(format!("a row has {count} columns where {N} belong")))
}

/// SQLite inside the shard.
pub trait Sql {
    /// Runs one statement with positional parameters (`?1`, `?2`, …) and returns its rows.
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, SqlError>;

    /// Runs `work` as one transaction: all of it is stored, or, when it returns an error, nothing.
    fn transaction(&self, work: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError>;

    /// Rows written since the shard was opened, by the storage's own count.
    fn rows_written(&self) -> u64;

    /// Rows read since the shard was opened, by the storage's own count.
    fn rows_read(&self) -> u64;

    /// Size of the database in bytes.
    fn size_bytes(&self) -> u64;
}
