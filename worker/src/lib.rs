//! The Cloudflare Worker: the only crate that knows Cloudflare.
//!
//! The way of a request: [`fetch`] → [`routes`] (which endpoint) → [`auth`] (who) →
//! [`body`] (bounded bytes) → [`handlers`] (what) → [`store`] (where) → [`reply`].
//! [`shard`] is the Durable Object that a batch is made durable in.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod api_error;
mod auth;
mod body;
mod clock;
mod cors;
mod counting;
mod handlers;
mod instance;
mod reply;
mod routes;
mod settings;
mod shard;
mod store;
#[cfg(feature = "test-hooks")]
mod test_hooks;

use crate::{
    api_error::ApiError,
    reply::Reply,
    routes::{Matched, Route},
    settings::Settings,
};
use edgewatch_shared::{ErrorCode, limits::URL_BYTES_MAX};
use worker::{Context, Env, Method, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    #[cfg(feature = "test-hooks")]
    if let Some(response) = test_hooks::fetch(&mut request, &env).await {
        return response;
    }
    let origin = request.headers().get("Origin")?;
    let settings = Settings::of(&env);
    let reply = match &settings {
        Ok(settings) => respond(&mut request, &env, settings).await,
        Err(error) => error.to_reply(clock::now()),
    };
    let reply = match &settings {
        Ok(settings) => cors::allow(reply, settings, origin.as_deref()),
        Err(_) => reply,
    };
    reply.into_response(request.method() == Method::Head)
}

async fn respond(request: &mut Request, env: &Env, settings: &Settings) -> Reply {
    let now = clock::now();
    if request.method() == Method::Options {
        return cors::preflight();
    }
    let matched = match route_of(request) {
        Ok(matched) => matched,
        Err(error) => {
            counting::request(Route::UNMATCHED_ID, error.status());
            return error.to_reply(now);
        }
    };
    let reply = match serve(&matched, request, env, settings).await {
        Ok(reply) => reply,
        Err(error) => {
            if matched.route.is_push() {
                counting::refused(error.code());
            }
            error.to_reply(now)
        }
    };
    counting::request(matched.route.id, reply.status);
    reply
}

fn route_of(request: &Request) -> std::result::Result<Matched, ApiError> {
    let url = request.url().map_err(|error| ApiError::new(ErrorCode::NotFound, error.to_string()))?;
    if url.as_str().len() > URL_BYTES_MAX {
        let message = format!("the URL has more than {URL_BYTES_MAX} bytes");
        return Err(ApiError::new(ErrorCode::UrlTooLong, message));
    }
    routes::find(&request.method(), url)
}

async fn serve(
    matched: &Matched,
    request: &mut Request,
    env: &Env,
    settings: &Settings,
) -> std::result::Result<Reply, ApiError> {
    let now = clock::now();
    let caller = auth::caller(request, matched.route.access, settings, now)?;
    let body = body::read(request, matched.route.body_bytes_max).await?;
    let ask = handlers::Ask { env, settings, now, matched, caller, body };
    handlers::handle(ask).await
}
