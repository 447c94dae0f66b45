//! `/api/v1/settings/retention`: how long samples are kept. Shards ask for it before they delete anything.

use super::Ask;
use crate::{api_error::ApiError, reply::Reply, store::catalogue::Catalogue};
use edgewatch_engine::retention::RetentionSettings;
use edgewatch_shared::{ErrorCode, wire::Retention};

/// `GET`: as it is set, or the defaults.
pub async fn show(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let RetentionSettings { raw_days, five_minute_days, hour_days } =
        Catalogue::open(ask.env).await?.retention().await?.unwrap_or_default();
    Ok(Reply::json(200, &Retention { raw_days, five_minute_days, hour_days }))
}

/// `PUT`: all of it, as the body says.
pub async fn set(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let Retention { raw_days, five_minute_days, hour_days } = ask.json()?;
    let settings = RetentionSettings { raw_days, five_minute_days, hour_days }.checked();
    let settings = settings.map_err(|error| ApiError::new(ErrorCode::InvalidParameter, error.to_string()))?;
    Catalogue::open(ask.env).await?.set_retention(&settings).await?;
    Ok(Reply::json(200, &Retention { raw_days, five_minute_days, hour_days }))
}
