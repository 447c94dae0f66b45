//! Calls to shards.

use crate::{api_error::ApiError, counting};
use edgewatch_engine::{
    call::{self, Call, Reply, Request, ShardError},
    head::ShardNumber,
};
use edgewatch_shared::ErrorCode;
use futures_util::{StreamExt, stream};
use worker::{Env, Method, RequestInit, js_sys::Uint8Array};

/// Shards asked at the same time.
const CONCURRENCY: usize = 6;

/// Asks a shard, handing on what this instance has counted.
pub async fn ask(env: &Env, shard: ShardNumber, request: Request) -> Result<Reply, ApiError> {
    let counted = counting::take();
    let call = Call { counted, request };
    let answer = exchange(env, shard, &call).await;
    if answer.is_err() {
        counting::give_back(&call.counted);
    }
    answer?.map_err(|error| ApiError::of_shard(shard, error))
}

/// Asks several shards the same, a few at a time; answers come as they arrive.
pub async fn ask_all(
    env: &Env,
    shards: Vec<ShardNumber>,
    request: &Request,
) -> Vec<(ShardNumber, Result<Reply, ApiError>)> {
    let ask_one = |shard| async move { (shard, ask(env, shard, request.clone()).await) };
    stream::iter(shards).map(ask_one).buffer_unordered(CONCURRENCY).collect().await
}

async fn exchange(env: &Env, shard: ShardNumber, call: &Call) -> Result<Result<Reply, ShardError>, ApiError> {
    #[cfg(feature = "test-hooks")]
    crate::test_hooks::fail_if_asked(crate::test_hooks::Store::Shard(shard)).map_err(|error| {
        ApiError::unavailable(ErrorCode::ShardUnavailable, &format!("shard {shard}"), error)
    })?;
    let failed = |error: worker::Error| {
        ApiError::unavailable(ErrorCode::ShardUnavailable, &format!("shard {shard}"), error)
    };
    let bytes = call::encode(call).map_err(ApiError::internal)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes.as_slice()).into()));
    let request = worker::Request::new_with_init(&url(shard), &init).map_err(failed)?;
    let mut response = stub(env, shard).map_err(failed)?.fetch_with_request(request).await.map_err(failed)?;
    let bytes = response.bytes().await.map_err(failed)?;
    if response.status_code() != 200 {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return Err(ApiError::unavailable(ErrorCode::ShardUnavailable, &format!("shard {shard}"), text));
    }
    call::decode(&bytes).map_err(ApiError::internal)
}

/// The object of a shard.
pub fn stub(env: &Env, shard: ShardNumber) -> worker::Result<worker::Stub> {
    env.durable_object("SHARDS")?.get_by_name(&format!("shard-{shard:05}"))
}

/// The address an object is called at: it tells the shard its number.
pub fn url(shard: ShardNumber) -> String {
    format!("https://shard.internal/{shard}")
}

/// The number in an address.
pub fn number_in(path: &str) -> Option<ShardNumber> {
    path.trim_start_matches('/').parse().ok()
}
