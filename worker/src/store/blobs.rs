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

/// Some objects, in order of their names.
pub struct Page {
    /// Name and bytes.
    pub objects: Vec<(String, u64)>,
    /// Where the next page begins; `None` if this was the last one.
    pub cursor: Option<String>,
}

/// At most `count_max` objects whose names begin with `prefix`.
pub async fn list(
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<String>,
    count_max: u32,
) -> Result<Page, String> {
    faults()?;
    counting::add(Counter::BlobWrites, 1);
    let list = bucket.list().prefix(prefix).limit(count_max);
    let list = if let Some(cursor) = cursor { list.cursor(cursor) } else { list };
    let found = list.execute().await.map_err(|error| format!("list {prefix}: {error}"))?;
    let objects = found.objects().iter().map(|object| (object.key(), object.size())).collect();
    Ok(Page { objects, cursor: if found.truncated() { found.cursor() } else { None } })
}

/// What follows `prefix` up to the next slash, in the names of all objects.
pub async fn folders(bucket: &Bucket, prefix: &str) -> Result<Vec<String>, String> {
    let mut folders = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        faults()?;
        counting::add(Counter::BlobWrites, 1);
        let list = bucket.list().prefix(prefix).delimiter("/");
        let list = if let Some(cursor) = cursor.take() { list.cursor(cursor) } else { list };
        let found = list.execute().await.map_err(|error| format!("list {prefix}: {error}"))?;
        let names = found.delimited_prefixes();
        let inner = |name: &String| Some(name.strip_prefix(prefix)?.trim_end_matches('/').to_owned());
        folders.extend(names.iter().filter_map(inner));
        match found.cursor().filter(|_| found.truncated()) {
            Some(next) => cursor = Some(next),
            None => return Ok(folders),
        }
    }
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
