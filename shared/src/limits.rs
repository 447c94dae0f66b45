//! Every limit of Edgewatch: name, unit, reason. `docs/limits.md` lists them for operators.

/// Bytes of a request body as sent, compressed or not. Reason: an isolate has 128 MB for all that it does at once.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a request body once decompressed. Reason: a body of zeros compresses 1,000 : 1 and more.
pub const BODY_DECOMPRESSED_BYTES_MAX: usize = 8 << 20;
/// Samples in one batch. Reason: bounds what one push can cost; an agent's minute is 240 to 6,000.
pub const BATCH_SAMPLES_MAX: usize = 10_000;
/// Samples in one import. Reason: 16 bytes each, and as much again for their order; a command line's request has 130,000.
pub const IMPORT_SAMPLES_MAX: usize = 200_000;
/// Lines in one import. Reason: a line is a series of its own, of some 700 bytes in memory.
pub const IMPORT_LINES_MAX: usize = 32_768;
/// Readings in one compact push. Reason: each has a sample, or is nothing to push.
pub const BATCH_READINGS_MAX: u64 = BATCH_SAMPLES_MAX as u64;
/// Bytes of the names and labels of a series list in a compact push, before shared beginnings are left out. Reason:
/// [`HOST_SERIES_MAX`] series of 200 bytes, and it has to fit a row.
pub const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// Faults named in a refusal. Reason: enough to mend a client, small enough to read.
pub const FAULTS_NAMED_MAX: usize = 10;
/// Labels of one series. Reason: Prometheus' practice; more is a data model gone wrong.
pub const LABELS_MAX: usize = 32;
/// Bytes of a metric or label name. Reason: the longest names in the wild are under 120.
pub const NAME_BYTES_MAX: usize = 200;
/// Bytes of a label value. Reason: paths and units fit, stack traces do not belong in a series.
pub const LABEL_VALUE_BYTES_MAX: usize = 1_024;
/// Bytes of a host's name. Reason: the length of a fully qualified domain name (RFC 1035).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Bytes of a host's facts, as JSON. Reason: a dozen short strings.
pub const FACTS_BYTES_MAX: usize = 4_096;
/// Processes that a record of a host's processes names, by processor time and by memory each. Reason: what one looks at.
pub const PROCESSES_NAMED_MAX: usize = 5;
/// Bytes of a process's name or of its user's. Reason: Linux gives a process 15 and a user 32.
pub const PROCESS_TEXT_BYTES_MAX: usize = 64;
/// Bytes of a record of processes: the most that those limits come to. Reason: a shard keeps one of each of its hosts in a row.
pub const PROCESSES_RECORD_BYTES_MAX: usize =
    10 + 10 + 2 * (1 + PROCESSES_NAMED_MAX * (5 + 2 * (1 + PROCESS_TEXT_BYTES_MAX) + 10));
/// Tags of a host or of an enrolment token. Reason: they travel in every listing.
pub const TAGS_MAX: usize = 16;
/// Bytes of one tag. Reason: a word, not a text.
pub const TAG_BYTES_MAX: usize = 64;
/// Age in ms beyond which a sample is refused: what a spool holds (7 days) and a day more.
pub const SAMPLE_AGE_MS_MAX: i64 = 8 * DAY_MS;
/// Ms by which a sample may lie in the future: clocks that nobody has corrected yet.
pub const SAMPLE_AHEAD_MS_MAX: i64 = 5 * MINUTE_MS;
/// Active series of one host. Reason: an agent sends 60 to 500; beyond lies a label with unbounded values.
pub const HOST_SERIES_MAX: usize = 5_000;
/// Ms since its newest sample beyond which a series that an administrator imports is no active one. Reason: it is told from
/// those that hosts send by what they sent within the last hour.
pub const IMPORT_ACTIVE_MS: i64 = HOUR_MS;
/// Series of one host that are listed, those of the past included. Reason: twice what it may have at a time fits a row.
pub const REGISTRY_SERIES_MAX: usize = 2 * HOST_SERIES_MAX;
/// Series of all hosts of one shard; at the limit new ones are refused, known ones go on. Reason: with all their names
/// and one sample each they fit the memory of the heads.
pub const SHARD_SERIES_MAX: usize = 131_072;
/// Bytes that a series takes in memory beside its samples, about: 160 of structure and 200 of name and labels.
pub const SERIES_MEMORY_BYTES: usize = 360;
/// Series lists of compact pushes that a shard keeps for one host; the samples of a further one are stored with their
/// names. Reason: an hour with a new list every minute.
pub const HOST_DICTIONARIES_MAX: usize = 64;
/// Bytes of decoded series lists in one wasm instance. Reason: 256 hosts with a list of 71 series each, all different, are 5 MB.
pub const DICTIONARY_CACHE_BYTES_MAX: usize = 6 << 20;
/// Streams of one host whose stored readings are known. Reason: an agent begins one when it starts without its spool.
pub const HOST_STREAMS_MAX: usize = 16;
/// Ranges of stored readings that are kept of one stream. Reason: two hours of pushes a minute apart, in 2 KB.
pub const STREAM_RANGES_MAX: usize = 128;
/// Ms that a stream is known after its last push: a day longer than a sample may be old when it arrives.
pub const STREAM_RETENTION_MS: i64 = SAMPLE_AGE_MS_MAX + DAY_MS;
/// Pushes whose place in the log a shard remembers; beyond, a query looks for them. Reason: 256 hosts at a push every
/// 10 s, at 72 bytes each.
pub const WAL_INDEX_PUSHES_MAX: usize = 100_000;
/// Bytes of pushes in one wasm instance that wait for their commit; beyond, pushes are refused with 503. Reason: a
/// second of 2,000 pushes/s at 4 KB each, and at most 8 times what a single one may have.
pub const PENDING_BYTES_MAX: usize = 8 << 20;
/// Hosts of one shard. Reason: 256 hosts at one push a minute are 4.3 pushes/s, far below an object's 1,000 requests/s.
pub const SHARD_HOSTS_MAX: usize = 256;
/// Shards that one host's series may be spread over. Reason: each push makes a request to each of them.
pub const SPLIT_SHARDS_MAX: usize = 16;
/// Bytes of heads in one wasm instance, all shards together. Reason: leaves room for queries in the isolate's 128 MB.
pub const HEADS_BYTES_MAX: usize = 48 << 20;
/// Bytes of one SQLite row or blob by our own check. Reason: the platform's limit is 2 MB and local runs do not enforce it.
pub const ROW_BYTES_MAX: usize = 1_900_000;
/// Bytes of one sealed block. Reason: without R2 it has to fit a row, index and footer included.
pub const BLOCK_BYTES_MAX: usize = 1_800_000;
/// Bytes of a block that holds a day and lies in R2. Reason: it is built in memory, beside what is read for it.
pub const DAY_BLOCK_BYTES_MAX: usize = 8_000_000;
/// Days that a retention may say, at most: a century; longer is for ever, which has no number. At least it is one day.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
/// Age in ms beyond which an administrator's import is refused too: nothing is kept for longer.
pub const IMPORT_AGE_MS_MAX: i64 = RETENTION_DAYS_MAX as i64 * DAY_MS;
/// Days that one export may span. Reason: a year and a month; a shard is asked for each host and day.
pub const EXPORT_DAYS_MAX: i64 = 400;
/// Bytes of a shard's SQLite beyond which pushes are refused with 503. Reason: the platform ends at 10 GB; an R2 outage must not get there.
pub const SHARD_STORAGE_BYTES_MAX: u64 = 8_000_000_000;
/// Points of one series in a reply. Reason: Prometheus' own limit, more than any screen has columns.
pub const QUERY_POINTS_MAX: i64 = 11_000;
/// Samples a query may hold in memory. Reason: 16 bytes each, 32 MB of the isolate's 128.
pub const QUERY_SAMPLES_MAX: usize = 2_000_000;
/// Sealed objects that one query may read. Reason: two reads each, of its index and of its chunks, within the free plan's
/// 1,000 subrequests a request.
pub const QUERY_OBJECTS_MAX: usize = 450;
/// Bytes of chunks that one query may read from objects. Reason: six are in memory at a time, and each byte is fetched.
pub const QUERY_READ_BYTES_MAX: u64 = 64 << 20;
/// Samples in those chunks. Reason: all of a chunk are decoded, at tens of millions a second.
pub const QUERY_READ_SAMPLES_MAX: u64 = 50_000_000;
/// Milliseconds that a query may take, checked between its reads. Reason: clients and proxies give up at 30 s.
pub const QUERY_MS_MAX: i64 = 25_000;
/// Sealed blocks in a shard's own storage that one query may read. Reason: each is read and checked in one go, about
/// 10 ms, while the shard does nothing else.
pub const QUERY_LOCAL_BLOCKS_MAX: usize = 200;
/// Bytes of a reply. Reason: what a browser still parses without a pause.
pub const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a request's URL. Reason: a PromQL selector is long, a megabyte of it is an attack.
pub const URL_BYTES_MAX: usize = 16 << 10;
/// Bytes of a token. Reason: ours are about 300; checked before any cryptography.
pub const TOKEN_BYTES_MAX: usize = 2_048;
/// Seconds a host's own token may live. Reason: it is made anew for every push.
pub const HOST_TOKEN_LIFETIME_S_MAX: i64 = 300;
/// Seconds a static token may live: a year and a month, so that a yearly rotation overlaps.
pub const STATIC_TOKEN_LIFETIME_S_MAX: i64 = 400 * 86_400;
/// Seconds by which a token's `iat` may lie in the future.
pub const TOKEN_SKEW_S_MAX: i64 = 60;
/// Bytes of the one secret, at least. Reason: the strength of HMAC-SHA256 (RFC 2104, section 3).
pub const SECRET_BYTES_MIN: usize = 32;
/// Hosts that one enrolment token may enrol, unless it says otherwise.
pub const ENROLL_USES_DEFAULT: u32 = 1;
/// Hosts that one enrolment token may enrol at the most. Reason: the largest fleet Edgewatch is made for.
pub const ENROLL_USES_MAX: u32 = 10_000;

/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Milliseconds between two pushes of an agent that nobody hurries.
pub const PUSH_INTERVAL_MS: i64 = MINUTE_MS;
/// Milliseconds between two pushes of an agent at the most, when a day's quota runs short. Reason: agents believe no more.
pub const PUSH_INTERVAL_MS_MAX: i64 = 15 * MINUTE_MS;
/// A host silent for longer is `stale`: three pushes missed.
pub const STALE_AFTER_MS: i64 = 3 * PUSH_INTERVAL_MS;
/// A host silent for longer is `down`.
pub const DOWN_AFTER_MS: i64 = 10 * PUSH_INTERVAL_MS;

const _: () = {
    assert!(BODY_BYTES_MAX <= BODY_DECOMPRESSED_BYTES_MAX);
    assert!(BLOCK_BYTES_MAX < ROW_BYTES_MAX);
    assert!(BLOCK_BYTES_MAX < DAY_BLOCK_BYTES_MAX);
    // A frame is at most a decompressed batch; compressed it has to fit a row.
    assert!(BODY_BYTES_MAX < ROW_BYTES_MAX);
    assert!(QUERY_SAMPLES_MAX * 16 <= HEADS_BYTES_MAX);
    assert!(BATCH_SAMPLES_MAX <= QUERY_SAMPLES_MAX);
    assert!(BATCH_SAMPLES_MAX <= IMPORT_SAMPLES_MAX && IMPORT_SAMPLES_MAX <= QUERY_SAMPLES_MAX);
    assert!(QUERY_SAMPLES_MAX as u64 <= QUERY_READ_SAMPLES_MAX);
    assert!(2 * QUERY_OBJECTS_MAX < 1_000);
    assert!(SHARD_SERIES_MAX * (SERIES_MEMORY_BYTES + 16) <= HEADS_BYTES_MAX);
    assert!(SHARD_HOSTS_MAX <= SHARD_SERIES_MAX && HOST_SERIES_MAX <= SHARD_SERIES_MAX);
    // What streams refer to stays beyond a seal; some room is left for new lists.
    assert!(HOST_STREAMS_MAX < HOST_DICTIONARIES_MAX);
    assert!(PENDING_BYTES_MAX >= BODY_DECOMPRESSED_BYTES_MAX);
    assert!(STALE_AFTER_MS < DOWN_AFTER_MS);
    // With its host's id and the time.
    assert!(SHARD_HOSTS_MAX * (PROCESSES_RECORD_BYTES_MAX + 64) < ROW_BYTES_MAX);
    // Encoded, a series takes at most six bytes beside its text.
    assert!(DICTIONARY_BYTES_MAX + 6 * HOST_SERIES_MAX < ROW_BYTES_MAX);
    assert!(HOST_SERIES_MAX <= BATCH_SAMPLES_MAX);
    assert!(NAME_BYTES_MAX < LABEL_VALUE_BYTES_MAX);
    assert!(TOKEN_BYTES_MAX < URL_BYTES_MAX);
};
