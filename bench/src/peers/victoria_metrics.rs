//! VictoriaMetrics, a single node.

use super::{Peer, bytes_below, free_port, settled};
use crate::fleet::client;
use anyhow::{Result, ensure};
use edgewatch_shared::{TimestampMs, limits::DAY_MS, series::SeriesSamples};
use serde_json::json;
use std::process::Command;
use tempfile::TempDir;
use xtask::setup;

/// How it is called in figures.
pub const NAME: &str = "VictoriaMetrics";

/// A running node.
pub struct VictoriaMetrics {
    /// Its process; declared first, so that it ends before its folder goes.
    pub peer: Peer,
    folder: TempDir,
    graphite_port: u16,
}

/// What it keeps on disk.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Samples and their timestamps.
    pub data: u64,
    /// Names and labels.
    pub index: u64,
}

impl VictoriaMetrics {
    /// Starts one with an empty folder.
    pub fn start() -> Result<Self> {
        let program = setup::peers::VICTORIA_METRICS.ensure()?;
        let folder = tempfile::tempdir()?;
        let (port, graphite_port) = (free_port()?, free_port()?);
        let mut command = Command::new(program);
        command
            .arg(format!("-storageDataPath={}", folder.path().join("storage").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-graphiteListenAddr=127.0.0.1:{graphite_port}"))
            // Recorded samples are as old as they are.
            .args(["-retentionPeriod=100y", "-loggerLevel=ERROR"]);
        Ok(Self { peer: Peer::start(&mut command, port, "/health")?, folder, graphite_port })
    }

    /// Where it takes lines of Graphite's protocol.
    pub fn graphite_port(&self) -> u16 {
        self.graphite_port
    }

    /// Imports a host's samples, flushes and merges them, and says what they take.
    pub fn store(&self, series: &[SeriesSamples], label: (&str, &str)) -> Result<Stored> {
        let mut body = Vec::new();
        for SeriesSamples { series, samples } in series {
            let mut metric = series.labels.clone();
            metric.insert("__name__".into(), series.name.clone());
            metric.insert(label.0.into(), label.1.into());
            let times: Vec<i64> = samples.iter().map(|sample| sample.time.0).collect();
            let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            serde_json::to_writer(
                &mut body,
                &json!({"metric": metric, "values": values, "timestamps": times}),
            )?;
            body.push(b'\n');
        }
        let reply = client().post(self.peer.at("/api/v1/import")).send(&body)?;
        ensure!(reply.status() == 204, "the import answered {}", reply.status());
        for path in ["/internal/force_flush", "/internal/force_merge"] {
            let reply = client().get(self.peer.at(path)).call()?;
            ensure!(reply.status() == 200, "{path} answered {}", reply.status());
        }
        let storage = self.folder.path().join("storage");
        settled(|| bytes_below(&storage))?;
        Ok(Stored {
            data: bytes_below(&storage.join("data"))?,
            index: bytes_below(&storage.join("indexdb"))?,
        })
    }

    /// How many samples of a day it has, to be sure that it took what was sent.
    pub fn count(&self, selector: &str, at: TimestampMs) -> Result<f64> {
        super::prometheus::count(&self.peer, selector, at.plus_ms(-DAY_MS), at)
    }
}
