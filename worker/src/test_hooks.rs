//! For `e2e` only, behind the build feature `test-hooks`: a clock offset, "run due jobs
//! now", eviction, failing and slow stores. A release bundle has none of it; a test proves that.
//!
//! `POST /test/clock?offset_ms=N`, `/test/fail?d1=true&r2=false&r2_wait_ms=N&shard=N&spared=N`,
//! `/test/quota?max=N`, `/test/run-jobs?shard=N`, `/test/evict?shard=N`,
//! `/test/commits?shard=N&held=true&failing=N&unopened=N` (pushes wait; the next transactions fail after their last
//! statement; the shard is closed and does not open the next times); `GET /test/memory`, `/test/objects`, `/test/shard?shard=N`.

use crate::store::{blobs, shards};
use edgewatch_engine::quota::{Effect, Quota};
use std::{cell::Cell, time::Duration};
use worker::{Delay, Env, Request, Response, Result};

/// A store that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The catalogue.
    D1,
    /// Sealed objects.
    R2,
    /// A shard, as far as the Worker reaches it.
    Shard(u16),
}

thread_local! {
    static CLOCK_OFFSET_MS: Cell<i64> = const { Cell::new(0) };
    static D1_FAILS: Cell<bool> = const { Cell::new(false) };
    static R2_FAILS: Cell<bool> = const { Cell::new(false) };
    static SHARD_FAILS: Cell<Option<u16>> = const { Cell::new(None) };
    /// Calls that it answers before it fails.
    static SHARD_CALLS_SPARED: Cell<i64> = const { Cell::new(0) };
    static R2_WAIT_MS: Cell<u64> = const { Cell::new(0) };
    static QUOTA_MAX: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What the tests have put the clock forward by.
pub fn clock_offset_ms() -> i64 {
    CLOCK_OFFSET_MS.get()
}

/// An error if the tests have asked this store to fail.
pub fn fail_if_asked(store: Store) -> std::result::Result<(), String> {
    let fails = match store {
        Store::D1 => D1_FAILS.get(),
        Store::R2 => R2_FAILS.get(),
        Store::Shard(number) if SHARD_FAILS.get() == Some(number) => {
            SHARD_CALLS_SPARED.set(SHARD_CALLS_SPARED.get().saturating_sub(1));
            SHARD_CALLS_SPARED.get() < 0
        }
        Store::Shard(_) => false,
    };
    if fails { Err(format!("{store:?} fails because a test asked it to")) } else { Ok(()) }
}

/// Takes as long as the tests have asked R2 to take for an object. The local R2 never waits, so that nothing else
/// happens while an hour is sealed.
pub async fn wait_if_asked() {
    let wait_ms = R2_WAIT_MS.get();
    if wait_ms > 0 {
        Delay::from(Duration::from_millis(wait_ms)).await;
    }
}

/// Quotas of requests and rows that pushes spend, as low as the tests have asked for.
pub fn lowered(mut quotas: Vec<Quota>) -> Vec<Quota> {
    let max = QUOTA_MAX.get().unwrap_or(u64::MAX);
    for quota in quotas.iter_mut().filter(|quota| quota.effect == Effect::Refuses) {
        quota.amount = quota.amount.min(max);
    }
    quotas
}

/// Answers `/test/…`; `None` for everything else.
pub async fn fetch(request: &mut Request, env: &Env) -> Option<Result<Response>> {
    let url = request.url().ok()?;
    let verb = url.path().strip_prefix("/test/")?.to_owned();
    let parameter =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let number = |name: &str| parameter(name).and_then(|text| text.parse().ok()).unwrap_or_default();
    Some(match verb.as_str() {
        "clock" => {
            CLOCK_OFFSET_MS.set(number("offset_ms"));
            Response::ok("")
        }
        "fail" => {
            D1_FAILS.set(parameter("d1").as_deref() == Some("true"));
            R2_FAILS.set(parameter("r2").as_deref() == Some("true"));
            SHARD_FAILS.set(parameter("shard").and_then(|text| text.parse().ok()));
            SHARD_CALLS_SPARED.set(number("spared"));
            R2_WAIT_MS.set(number("r2_wait_ms").unsigned_abs());
            Response::ok("")
        }
        "quota" => {
            QUOTA_MAX.set(parameter("max").and_then(|text| text.parse().ok()));
            Response::ok("")
        }
        "memory" => Response::ok(memory_bytes().to_string()),
        "objects" => objects(env).await,
        "shard" | "run-jobs" | "evict" | "commits" => {
            let shard = u16::try_from(number("shard")).unwrap_or_default();
            match shards::stub(env, shard) {
                Ok(stub) => {
                    let query = url.query().unwrap_or_default();
                    stub.fetch_with_str(&format!("https://shard.internal/test/{shard}/{verb}?{query}")).await
                }
                Err(error) => Err(error),
            }
        }
        _ => Response::error("no such test hook", 404),
    })
}

/// Bytes of the instance's linear memory.
fn memory_bytes() -> usize {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size(0).saturating_mul(65_536);
    #[cfg(not(target_arch = "wasm32"))]
    return 0;
}

/// Names of the objects in R2, one a line.
async fn objects(env: &Env) -> Result<Response> {
    let Some(bucket) = blobs::bucket(env) else { return Response::ok("") };
    let found = bucket.list().execute().await?;
    let names: Vec<_> = found.objects().iter().map(worker::Object::key).collect();
    Response::ok(names.join("\n"))
}
