//! A host's processes, as they are asked for.

use crate::HostId;
use serde::{Deserialize, Serialize};

/// Reply of `GET /api/v1/hosts/{host}/processes`: the newest record that the host has sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessesReply {
    /// Whose they are.
    pub host_id: HostId,
    /// When they were looked at, RFC 3339; null if the host has sent no record.
    pub time: Option<String>,
    /// How many there were.
    pub count: u64,
    /// Those that used the most processor time in the minute before, the greediest first.
    pub by_cpu: Vec<ProcessByCpu>,
    /// Those that had the most memory, the greediest first.
    pub by_memory: Vec<ProcessByMemory>,
}

/// A process that uses much processor time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessByCpu {
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// In percent of one processor.
    pub cpu_pct: f64,
}

/// A process that has much memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessByMemory {
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// Resident memory.
    pub resident_bytes: u64,
}
