//! What an administrator has set.

use super::{Catalogue, json};
use crate::api_error::ApiError;
use edgewatch_engine::retention::RetentionSettings;
use serde::Deserialize;

#[derive(Deserialize)]
struct Setting {
    value: String,
}

impl Catalogue {
    /// How long samples are kept; `None` until somebody has set it.
    pub async fn retention(&self) -> Result<Option<RetentionSettings>, ApiError> {
        let select = "SELECT value FROM settings WHERE name = 'retention'";
        let rows = self.rows::<Setting>(select, &[]).await?;
        let stored = rows.into_iter().next().map(|row| serde_json::from_str(&row.value));
        stored.transpose().map_err(ApiError::internal)
    }

    /// Sets how long samples are kept.
    pub async fn set_retention(&self, retention: &RetentionSettings) -> Result<(), ApiError> {
        let upsert = "INSERT INTO settings (name, value) VALUES ('retention', ?1) \
                      ON CONFLICT (name) DO UPDATE SET value = ?1";
        self.write(vec![self.bound(upsert, &[json(retention)?.into()])?]).await.map(|_| ())
    }
}
