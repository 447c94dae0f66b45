//! Calls to shards.

use super::CALLS_AT_ONCE;
use crate::{api_error::ApiError, counting};
use edgewatch_engine::{
    call::{self, Call, Reply, Request, ShardError, Way},
    counters::Counters,
    head::ShardNumber,
    moves::Destination,
};
use edgewatch_shared::{ErrorCode, HostId};
use futures_util::{StreamExt, stream};
use worker::{
    Env, Method, RequestInit, Response, ResponseBody, js_sys::Uint8Array, wasm_bindgen_futures::JsFuture,
    web_sys,
};

/// How often a call is sent on. A move sends pushes straight from the home shard, so more than one only happens where
/// moves were cut off.
const HOPS_MAX: usize = 4;

/// Asks a shard, handing on what this instance has counted.
pub async fn ask(env: &Env, shard: ShardNumber, request: Request) -> Result<Reply, ApiError> {
    exchange_with(env, shard, request).await?.map_err(|error| ApiError::of_shard(shard, error))
}

/// The same, with what the shard refuses as it says it.
pub async fn exchange_with(
    env: &Env,
    shard: ShardNumber,
    request: Request,
) -> Result<Result<Reply, ShardError>, ApiError> {
    let counted = counting::take();
    let call = Call { counted, request };
    let answer = exchange(env, shard, &call).await;
    if is_forgotten(&answer) {
        counting::give_back(&call.counted);
    }
    answer
}

/// Whether the shard keeps nothing of a call: it was not reached, or its storage failed and it is opened again.
fn is_forgotten(answer: &Result<Result<Reply, ShardError>, ApiError>) -> bool {
    matches!(answer, Err(_) | Ok(Err(ShardError::Storage(_))))
}

/// Asks the shard that a host lives on: the one that its id says, or where that one says that it was moved. Returns
/// that shard's number, its answer or refusal, and the request.
pub async fn ask_host(
    env: &Env,
    host: HostId,
    request: Request,
) -> Result<(ShardNumber, Result<Reply, ShardError>, Request), ApiError> {
    let mut call = Call { counted: counting::take(), request };
    let mut at = host.home_shard();
    let mut asked = Vec::new();
    // Each shard once, and once more where a move is carried on.
    while asked.len() <= HOPS_MAX {
        let answer = exchange(env, at, &call).await;
        if is_forgotten(&answer) {
            counting::give_back(&call.counted);
        }
        call.counted = Counters::default();
        match answer? {
            Err(ShardError::Moved(to)) => {
                if asked.contains(&to) {
                    // It sends back to where the host has not arrived.
                    carry_on(env, host, at, to).await?;
                }
                asked.push(at);
                at = to;
                if let Request::Push(push) = &mut call.request {
                    push.way = Way::SentOn;
                }
            }
            Err(ShardError::UnknownHost) if asked.last().is_some_and(|before| *before != at) => {
                let before = asked.last().copied().unwrap_or(at);
                carry_on(env, host, before, at).await?;
                asked.push(at);
            }
            answer => return Ok((at, answer, call.request)),
        }
    }
    let what = format!("host {host}: each of {asked:?} says that it is on another shard; none");
    Err(ApiError::unavailable(ErrorCode::ShardUnavailable, &what, "a move that was cut off"))
}

/// Finishes a move that was cut off after the host left: what it left with is still there.
async fn carry_on(env: &Env, host: HostId, from: ShardNumber, to: ShardNumber) -> Result<(), ApiError> {
    bring(env, host, from, to, Destination::Shard(to)).await
}

/// Brings a host to a shard where it has not arrived, with what it left another one with.
pub async fn bring(
    env: &Env,
    host: HostId,
    from: ShardNumber,
    shard: ShardNumber,
    to: Destination,
) -> Result<(), ApiError> {
    match ask(env, from, Request::Leave { host, to: to.clone() }).await? {
        Reply::Left(Some(luggage)) => ask(env, shard, Request::Arrive { luggage, to }).await.map(|_| ()),
        _ => Ok(()),
    }
}

/// Asks several shards the same, a few at a time; answers come as they arrive.
pub async fn ask_all(
    env: &Env,
    shards: Vec<ShardNumber>,
    request: &Request,
) -> Vec<(ShardNumber, Result<Reply, ApiError>)> {
    let ask_one = |shard| async move { (shard, ask(env, shard, request.clone()).await) };
    stream::iter(shards).map(ask_one).buffer_unordered(CALLS_AT_ONCE).collect().await
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
    let bytes = whole(&mut response).await.map_err(failed)?;
    if response.status_code() != 200 {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return Err(ApiError::unavailable(ErrorCode::ShardUnavailable, &format!("shard {shard}"), text));
    }
    call::decode(&bytes).map_err(ApiError::internal)
}

/// The body in one piece. The SDK reads it as a stream in the module, which takes a tenth of a push's processor time.
async fn whole(response: &mut Response) -> worker::Result<Vec<u8>> {
    let ResponseBody::Stream(stream) = response.body() else { return response.bytes().await };
    let buffer = web_sys::Response::new_with_opt_readable_stream(Some(stream))?.array_buffer()?;
    Ok(Uint8Array::new(&JsFuture::from(buffer).await?).to_vec())
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
