//! Debian's prometheus-node-exporter with its default collectors.

use super::{Peer, free_port};
use crate::fleet::client;
use anyhow::{Context, Result};
use std::process::Command;
use xtask::setup;

/// How it is called in figures.
pub const NAME: &str = "prometheus-node-exporter";

/// A running exporter.
pub struct NodeExporter {
    peer: Peer,
    address: String,
}

impl NodeExporter {
    /// Starts one as Debian configures it, on a free port.
    pub fn start() -> Result<Self> {
        let program = setup::peers::NODE_EXPORTER.ensure()?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.arg(format!("--web.listen-address={address}"));
        Ok(Self { peer: Peer::start(&mut command, port, "/")?, address })
    }

    /// Its process' number, as long as it runs.
    pub fn running(&mut self) -> Result<u32> {
        self.peer.process.running()
    }

    /// Host and port that it is scraped at.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its page of metrics.
    pub fn scrape(&self) -> Result<String> {
        let mut reply = client().get(self.peer.at("/metrics")).call().context("scraping it")?;
        reply.body_mut().read_to_string().context("reading its page")
    }
}
