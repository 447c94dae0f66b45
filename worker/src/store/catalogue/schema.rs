//! How a database comes to the current schema: `schema.sql` makes what is missing, and columns that a table got later
//! are added to those of earlier versions.

use super::{Catalogue, SCHEMA_IS_CURRENT};
use crate::api_error::ApiError;
use serde::Deserialize;

/// The schema, whole.
const SCHEMA: &str = include_str!("../../../../schema.sql");
/// Version that `schema.sql` ends with.
const VERSION: u32 = 3;

/// A column that a table has had since a version.
struct Added {
    since: u32,
    table: &'static str,
    column: &'static str,
    /// What rows from before have there is its default.
    definition: &'static str,
}

/// `CREATE TABLE IF NOT EXISTS` passes over a table that exists without them. Some databases of version 2 have these two.
const ADDED: [Added; 2] = [
    Added { since: 3, table: "summaries", column: "day", definition: "INTEGER NOT NULL DEFAULT 0" },
    Added { since: 3, table: "summaries", column: "usage", definition: "TEXT NOT NULL DEFAULT '{}'" },
];

impl Catalogue {
    /// Brings the database to the current version; one of a later version is left to it.
    pub(super) async fn apply_schema(&self) -> Result<(), ApiError> {
        let version = self.version().await;
        if version >= VERSION {
            return Ok(());
        }
        match self.write_schema(version).await {
            // Another instance was faster.
            Err(_) if self.version().await >= VERSION => Ok(()),
            written => written,
        }
    }

    /// Makes what is missing, whatever the database says of itself: it may have been lost in part.
    pub(super) async fn mend_schema(&self) -> Result<(), ApiError> {
        SCHEMA_IS_CURRENT.set(false);
        self.write_schema(0).await
    }

    /// The database's version; 0 if it says none.
    async fn version(&self) -> u32 {
        #[derive(Deserialize)]
        struct Version {
            value: String,
        }
        let select = "SELECT value FROM meta WHERE key = 'schema_version'";
        let rows = self.rows::<Version>(select, &[]).await.unwrap_or_default();
        rows.first().and_then(|row| row.value.parse().ok()).unwrap_or_default()
    }

    /// What a database of `version` lacks, in one transaction.
    async fn write_schema(&self, version: u32) -> Result<(), ApiError> {
        let mut missing = Vec::new();
        for added in ADDED.iter().filter(|added| added.since > version) {
            let columns = self.columns(added.table).await?;
            // A table that is not there is made with all of them.
            if !columns.is_empty() && !columns.iter().any(|column| column == added.column) {
                let Added { table, column, definition, .. } = added;
                missing.push(format!("ALTER TABLE {table} ADD COLUMN {column} {definition}"));
            }
        }
        let all = missing.into_iter().chain(statements(SCHEMA));
        self.write(all.map(|sql| self.db.prepare(sql)).collect()).await.map(|_| ())
    }

    async fn columns(&self, table: &str) -> Result<Vec<String>, ApiError> {
        #[derive(Deserialize)]
        struct Column {
            name: String,
        }
        let columns = self.rows::<Column>(&format!("PRAGMA table_info({table})"), &[]).await?;
        Ok(columns.into_iter().map(|column| column.name).collect())
    }
}

/// The statements of a schema file: comments go, a statement ends with a semicolon at a line's end.
fn statements(schema: &str) -> impl Iterator<Item = String> {
    let code = schema.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    let code: Vec<_> = code.filter(|line| !line.is_empty()).collect();
    let statements: Vec<_> =
        code.join("\n").split(";\n").map(|text| text.trim_end_matches(';').to_owned()).collect();
    statements.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_cut_into_whole_statements() {
        let statements: Vec<_> = statements(SCHEMA).collect();
        assert!(statements.len() > 5);
        for statement in &statements {
            assert!(statement.starts_with("CREATE ") || statement.starts_with("INSERT "), "{statement}");
            assert!(!statement.contains(';') && !statement.contains("--"), "{statement}");
        }
        let version = format!("'schema_version', '{VERSION}'");
        assert!(statements.iter().any(|statement| statement.contains(&version)));
    }

    #[test]
    fn a_column_that_was_added_is_in_the_schema() {
        for added in ADDED {
            assert!(added.since <= VERSION);
            let table = format!("CREATE TABLE IF NOT EXISTS {} (", added.table);
            let table = statements(SCHEMA).find(|statement| statement.starts_with(&table)).unwrap();
            let column = format!("  {} ", added.column);
            assert!(table.lines().any(|line| line.starts_with(&column)), "{}", added.column);
        }
    }
}
