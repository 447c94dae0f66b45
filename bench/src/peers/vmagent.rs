//! VictoriaMetrics' vmagent, which scrapes an exporter and sends on what it told.

use super::{Peer, free_port, remote_write, victoria_metrics::VictoriaMetrics};
use anyhow::{Context, Result};
use serde_json::json;
use std::{fs, process::Command};
use tempfile::TempDir;
use xtask::setup;

/// A running vmagent.
pub struct VmAgent {
    peer: Peer,
    _folder: TempDir,
}

impl VmAgent {
    /// Scrapes `address` every `interval_s` seconds as `job`; everything else is at its default.
    pub fn start(job: &str, address: &str, interval_s: u64, to: &VictoriaMetrics) -> Result<Self> {
        let program = setup::peers::VMAGENT.ensure()?;
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let interval = format!("{interval_s}s");
        // YAML that is JSON.
        let configuration = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [address]}]}],
        });
        let path = folder.path().join("scrape.yml");
        fs::write(&path, configuration.to_string()).context("writing its configuration")?;
        let mut command = Command::new(program);
        command
            .arg(format!("-promscrape.config={}", path.display()))
            .arg(format!("-remoteWrite.url={}", to.peer.at(remote_write::PATH)))
            .arg(format!("-remoteWrite.tmpDataPath={}", folder.path().join("waiting").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        Ok(Self { peer: Peer::start(&mut command, port, "/health")?, _folder: folder })
    }

    /// Its process' number, as long as it runs.
    pub fn running(&mut self) -> Result<u32> {
        self.peer.process.running()
    }
}
