//! `GET /api/v1/hosts/{host}/processes`: the newest record of its processes that a host has sent.

use super::{Ask, hosts::one_host};
use crate::{api_error::ApiError, reply::Reply, store::shards};
use edgewatch_engine::{
    call::{self, Request, ShardError, Way},
    records::Record,
};
use edgewatch_shared::{
    ErrorCode, HostId,
    wire::{
        ProcessByCpu, ProcessByMemory, ProcessesReply,
        push::{Process, Processes, decode_processes},
    },
};

/// Asks the shard that the host lives on, or all that its series are spread over.
pub async fn newest(ask: Ask<'_>) -> Result<Reply, ApiError> {
    let host = one_host(&ask).await?;
    let request = Request::Record { host, way: Way::Direct };
    let record = match shards::ask_host(ask.env, host, request).await? {
        (_, Ok(reply), _) => record_in(reply)?,
        (_, Err(ShardError::Split(spread)), _) => {
            let mut newest: Option<Record> = None;
            let request = Request::Record { host, way: Way::Part };
            for (_, reply) in shards::ask_all(ask.env, spread, &request).await {
                newest = newest.into_iter().chain(record_in(reply?)?).max_by_key(|record| record.time);
            }
            newest
        }
        (_, Err(ShardError::UnknownHost), _) => {
            return Err(ApiError::new(ErrorCode::NotFound, format!("no host {host}")));
        }
        (shard, Err(error), _) => return Err(ApiError::of_shard(shard, error)),
    };
    let processes = match record {
        Some(record) => Some(decode_processes(&record.bytes).map_err(ApiError::internal)?),
        None => None,
    };
    Ok(Reply::json(200, &reply(host, processes)))
}

fn record_in(reply: call::Reply) -> Result<Option<Record>, ApiError> {
    match reply {
        call::Reply::Record(record) => Ok(record),
        _ => Err(ApiError::internal("a shard gave something else than a record")),
    }
}

fn reply(host_id: HostId, processes: Option<Processes>) -> ProcessesReply {
    let time = processes.as_ref().map(|processes| processes.time.to_rfc3339());
    let Processes { time: _, count, by_cpu, by_memory } = processes.unwrap_or_default();
    let cpu =
        |Process { pid, name, user, uses }| ProcessByCpu { pid, name, user, cpu_pct: uses as f64 / 100.0 };
    let memory =
        |Process { pid, name, user, uses }| ProcessByMemory { pid, name, user, resident_bytes: uses };
    ProcessesReply {
        host_id,
        time,
        count,
        by_cpu: by_cpu.into_iter().map(cpu).collect(),
        by_memory: by_memory.into_iter().map(memory).collect(),
    }
}
