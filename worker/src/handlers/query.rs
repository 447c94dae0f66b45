//! `GET /api/v1/metrics/query`: the samples of a host's metric, in buckets of time.

use super::{
    Ask,
    parameters::{instant, invalid, labels, one_of, truth},
};
use crate::{
    api_error::ApiError,
    reply::Reply,
    store::{
        gather::{Found, Gathering},
        placement,
    },
};
use edgewatch_engine::{
    call::Read,
    query::{Aggregate, Answer, Bucket, Evaluation},
    rollup::Resolution,
};
use edgewatch_shared::{
    ErrorCode, Labels, TimestampMs,
    catalogue::{counter_behind, is_accepted, nearest},
    limits::{HOUR_MS, MINUTE_MS, QUERY_POINTS_MAX},
    name::stored_name,
    wire::{QueryPoint, QueryReply},
};

/// What is asked when nothing says otherwise: the last hour…
const RANGE_MS_DEFAULT: i64 = HOUR_MS;
/// …and how far before `from` a counter is read, so that its first difference has a beginning.
const COUNTER_LOOKBACK_MS: i64 = 10 * MINUTE_MS;

#[derive(Debug)]
struct Question {
    host: String,
    /// As it was asked.
    name: String,
    stored_name: String,
    from: TimestampMs,
    to: TimestampMs,
    bucket: Bucket,
    aggregate: Aggregate,
    labels: Labels,
    /// Whether points are wanted even if something is missing.
    is_partial: bool,
}

/// Answers with one point a bucket, newest first.
pub async fn query(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let question = question(&ask)?;
    let placements = placement::of_host(ask.env, &question.host).await?;
    let mut answer = Answer::new(evaluation_of(&question));
    let mut gathering = Gathering::begin(ask.env, question.is_partial);
    let mut take = |found| match found {
        Found::Part(part) => answer.add(part),
        Found::Evaluated(evaluated) => answer.add_evaluated(evaluated),
    };
    gathering.gather(&read_of(&question), placement::by_shard(placements), &mut take).await?;
    let point = |(start, value): (TimestampMs, f64)| QueryPoint { time: start.to_rfc3339(), value };
    let points: Vec<_> = answer.points(question.aggregate).into_iter().map(point).collect();
    if points.is_empty() {
        gathering.warnings.extend(placement::suspicion(ask.env).await);
    }
    let reply = QueryReply {
        host: question.host,
        name: question.name,
        bucket: question.bucket.as_str().to_owned(),
        agg: question.aggregate.as_str().to_owned(),
        resolution: gathering.resolution.as_str().to_owned(),
        points,
        warnings: gathering.warnings,
    };
    Ok(Reply::json(200, &reply))
}

fn question(ask: &Ask<'_>) -> Result<Question, ApiError> {
    let required = |name: &str| {
        ask.parameter(name)
            .ok_or_else(|| invalid(format!("`{name}` is missing: host, name, from, to, bucket, agg")))
    };
    let (host, name) = (required("host")?, required("name")?);
    let stored_name = stored_name(&name).map_err(|error| invalid(format!("name: {error}")))?;
    if !is_accepted(&stored_name) {
        let message = format!("unknown metric name {name:?}; did you mean {:?}?", nearest(&stored_name));
        return Err(ApiError::new(ErrorCode::UnknownName, message));
    }
    let time = |name: &str| ask.parameter(name).map(|text| instant(name, &text)).transpose();
    let to = time("to")?.unwrap_or(ask.now);
    let from = time("from")?.unwrap_or(to.plus_ms(-RANGE_MS_DEFAULT));
    if from >= to {
        return Err(invalid("`from` must be before `to`"));
    }
    let bucket = one_of("bucket", ask.parameter("bucket"), &Bucket::ALL, Bucket::as_str, Bucket::Minute)?;
    let aggregate = one_of("agg", ask.parameter("agg"), &Aggregate::ALL, Aggregate::as_str, Aggregate::Avg)?;
    let is_partial = one_of("partial", ask.parameter("partial"), &[false, true], truth, false)?;
    if !bucket.fits(from, to) {
        return Err(ApiError::new(
            ErrorCode::QueryTooLarge,
            format!(
                "{} buckets of {} lie between `from` and `to`, a reply has at most {QUERY_POINTS_MAX}: \
                 take a wider bucket or less time",
                bucket.count(from, to),
                bucket.as_str()
            ),
        ));
    }
    let labels = labels(ask);
    Ok(Question { host, name, stored_name, from, to, bucket, aggregate, labels, is_partial })
}

fn evaluation_of(question: &Question) -> Evaluation {
    let counter = counter_behind(&question.stored_name);
    // A rollup knows how much a counter grew, but no single difference.
    let needs_readings =
        counter.is_some() && matches!(question.aggregate, Aggregate::Min | Aggregate::Max | Aggregate::Last);
    Evaluation {
        bucket: question.bucket,
        from: question.from,
        to: question.to,
        counter: counter.map(ToOwned::to_owned),
        coarsest: if needs_readings { Resolution::Raw } else { question.bucket.rollups() },
    }
}

/// Samples stored under the name, and those of the counter behind it.
fn read_of(question: &Question) -> Read {
    let evaluation = evaluation_of(question);
    let lookback_ms = if evaluation.counter.is_some() { COUNTER_LOOKBACK_MS } else { 0 };
    let names = std::iter::once(question.stored_name.clone()).chain(evaluation.counter.clone());
    Read {
        hosts: Vec::new(),
        names: names.collect(),
        labels: question.labels.clone(),
        from: question.from.plus_ms(lookback_ms.saturating_neg()),
        to: question.to,
        evaluation: Some(evaluation),
        is_partial: question.is_partial,
    }
}
