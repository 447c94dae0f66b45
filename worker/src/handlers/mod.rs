//! One noun a file; each handler takes an [`Ask`] and returns a [`Reply`]. No SQL in here.

mod enroll;
mod export;
mod health;
mod hosts;
mod import;
mod install;
mod metrics;
mod moves;
mod parameters;
mod processes;
mod push;
mod query;
mod rebuild;
mod retention;
mod self_metrics;
mod series;
mod usage;

use crate::{
    api_error::ApiError,
    auth::Caller,
    body::Body,
    reply::Reply,
    routes::{Endpoint, Matched},
    settings::Settings,
};
use edgewatch_shared::{ErrorCode, TimestampMs};
use serde::de::DeserializeOwned;
use worker::Env;

/// A request that has passed route, authentication and body limit.
pub struct Ask<'a> {
    /// Bindings.
    pub env: &'a Env,
    /// What the deployer set.
    pub settings: &'a Settings,
    /// When it arrived.
    pub now: TimestampMs,
    /// Its route and URL.
    pub matched: &'a Matched,
    /// Who asks.
    pub caller: Caller,
    /// Its body, as sent.
    pub body: Body,
}

impl Ask<'_> {
    /// The first value of a query parameter; an empty one counts as left out.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.matched.url.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }

    /// The JSON body.
    fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        self.body.with_bytes(|bytes| {
            serde_json::from_slice(bytes).map_err(|error| {
                ApiError::new(
                    ErrorCode::MalformedBody,
                    format!("the body is not the JSON expected here: {error}"),
                )
            })
        })
    }
}

/// Answers a request.
pub async fn handle(ask: Ask<'_>) -> Result<Reply, ApiError> {
    match ask.matched.route.endpoint {
        Endpoint::Ingest => metrics::ingest(ask).await,
        Endpoint::Push => push::ingest(ask).await,
        Endpoint::Query => query::query(ask).await,
        Endpoint::Export => export::export(ask).await,
        Endpoint::Import => import::import(ask).await,
        Endpoint::Series => series::list(ask).await,
        Endpoint::HostNames => hosts::names(ask).await,
        Endpoint::Hosts => hosts::list(ask).await,
        Endpoint::Processes => processes::newest(ask).await,
        Endpoint::DeleteHost => hosts::delete(ask).await,
        Endpoint::RevokeHost => hosts::revoke(ask).await,
        Endpoint::MoveHost => moves::move_host(ask).await,
        Endpoint::SplitHost => moves::split_host(ask).await,
        Endpoint::Enroll => enroll::enroll(ask).await,
        Endpoint::Health => Ok(health::health(&ask)),
        Endpoint::Ready => health::ready(ask).await,
        Endpoint::SelfMetrics => self_metrics::scrape(ask).await,
        Endpoint::Rebuild => rebuild::rebuild(ask).await,
        Endpoint::Retention => retention::show(ask).await,
        Endpoint::SetRetention => retention::set(ask).await,
        Endpoint::Install => install::script(&ask),
        Endpoint::Usage => usage::today(ask).await,
    }
}
