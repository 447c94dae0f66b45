//! Sealed objects in R2. Objects are created once and never changed.

use crate::counting;
use edgewatch_engine::counters::Counter;
use worker::{Bucket, Conditional, Env, Range};

/// The bucket, if one is bound: without it blocks stay in their shards.
pub fn bucket(env: &Env) -> Option<Bucket> {
    env.bucket("BLOBS").ok()
}

/// Creates an object. One that exists already is a success only if it holds the same bytes.
pub async fn create(bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<(), String> {
    faults()?;
    #[cfg(feature = "test-hooks")]
    crate::test_hooks::wait_if_asked().await;
    counting::add(Counter::BlobWrites, 1);
    let create_only = Conditional { etag_does_not_match: Some("*".to_owned()), ..Conditional::default() };
    let put = bucket.put(key, bytes.to_vec()).only_if(create_only).execute().await;
    match put.map_err(|error| format!("put {key}: {error}"))? {
        Some(_) => Ok(()),
        None => match read(bucket, key).await? {
            Some(found) if found == bytes => Ok(()),
            _ => Err(format!("{key} exists with other content")),
        },
    }
}

/// An object's bytes; `None` if there is no such object.
pub async fn read(bucket: &Bucket, key: &str) -> Result<Option<Vec<u8>>, String> {
    faults()?;
    counting::add(Counter::BlobReads, 1);
    let failed = |error| format!("get {key}: {error}");
    let Some(object) = bucket.get(key).execute().await.map_err(failed)? else { return Ok(None) };
    let Some(body) = object.body() else { return Ok(None) };
    body.bytes().await.map(Some).map_err(failed)
}

/// Some bytes of an object; `None` if there is no such object.
pub async fn read_range(
    bucket: &Bucket,
    key: &str,
    offset: u64,
    length: u64,
) -> Result<Option<Vec<u8>>, String> {
    faults()?;
    counting::add(Counter::BlobReads, 1);
    let failed = |error| format!("get {length} bytes of {key} from {offset}: {error}");
    let range = Range::OffsetWithLength { offset, length };
    let Some(object) = bucket.get(key).range(range).execute().await.map_err(failed)? else { return Ok(None) };
    let Some(body) = object.body() else { return Ok(None) };
    body.bytes().await.map(Some).map_err(failed)
}

/// Deletes objects, of which some may be gone already.
pub async fn delete(bucket: &Bucket, keys: Vec<String>) -> Result<(), String> {
    faults()?;
    let what = keys.first().cloned().unwrap_or_default();
    let count = keys.len();
    bucket.delete_multiple(keys).await.map_err(|error| format!("delete {what} ({count} objects): {error}"))
}

/// Whether R2 answers.
pub async fn ping(bucket: &Bucket) -> Result<(), String> {
    faults()?;
    counting::add(Counter::BlobReads, 1);
    bucket.head("ping").await.map(|_| ()).map_err(|error| error.to_string())
}

fn faults() -> Result<(), String> {
    #[cfg(feature = "test-hooks")]
    crate::test_hooks::fail_if_asked(crate::test_hooks::Store::R2)?;
    Ok(())
}
