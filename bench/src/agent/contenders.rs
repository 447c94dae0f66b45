//! Those that are weighed beside each other: our agent, node_exporter with vmagent, and collectd, all of them reading this
//! machine at one interval.

use super::{
    running::{RunningAgent, Way},
    tls::TlsFront,
};
use crate::{
    fleet::client,
    peers::{
        collectd::Collectd, node_exporter::NodeExporter, prometheus, victoria_metrics::VictoriaMetrics,
        vmagent::VmAgent,
    },
    process::{Memory, cpu_seconds, memory},
};
use anyhow::{Context, Result, ensure};
use edgewatch_shared::TimestampMs;
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use tempfile::TempDir;
use xtask::server::{Options, Server};

/// Where everybody's samples go.
pub struct Servers {
    edgewatch: Server,
    front: TlsFront,
    victoria: VictoriaMetrics,
    _state: TempDir,
}

impl Servers {
    /// Starts them.
    pub fn start() -> Result<Self> {
        let state = tempfile::tempdir()?;
        let edgewatch = Server::start(&Options::new(state.path().join("server")))?;
        let port = edgewatch.url().rsplit_once(':').context("the server's port")?.1.parse()?;
        Ok(Self {
            edgewatch,
            front: TlsFront::start(port)?,
            victoria: VictoriaMetrics::start()?,
            _state: state,
        })
    }

    /// Starts an agent that pushes here.
    pub fn agent(&self, name: &str, interval_s: u64, names: &str) -> Result<RunningAgent> {
        let (url, ca_file) = (self.front.url(), Some(self.front.ca_file()));
        RunningAgent::start(&self.edgewatch, Way { url, ca_file, name, interval_s, names })
    }

    /// How many samples of a span have arrived from a host's agent.
    pub fn arrived(&self, host: &str, from: TimestampMs, to: TimestampMs) -> Result<f64> {
        exported(&self.edgewatch, host, from, to)
    }
}

/// One of each, as an array in the order of [`NAMES`].
pub type Each<T> = [T; NAMES.len()];

/// The processes, as figures call them.
pub const NAMES: [&str; 4] = ["agent", "node_exporter", "vmagent", "collectd"];

/// The processes that read at one interval.
pub struct Contenders {
    name: String,
    agent: RunningAgent,
    exporter: NodeExporter,
    scraper: VmAgent,
    collectd: Collectd,
}

/// Samples that were collected and have arrived.
#[derive(Clone, Copy, Debug)]
pub struct Collected {
    /// By our agent.
    pub agent: f64,
    /// By node_exporter and vmagent together, what vmagent says of each scrape included.
    pub scraped: f64,
    /// By collectd.
    pub collectd: f64,
}

impl Contenders {
    /// Starts one of each.
    pub fn start(servers: &Servers, interval_s: u64) -> Result<Self> {
        let name = format!("every_{interval_s}s");
        let agent = servers.agent(&name, interval_s, "edgewatch")?;
        let exporter = NodeExporter::start()?;
        let scraper = VmAgent::start(&name, exporter.address(), interval_s, &servers.victoria)?;
        let collectd = Collectd::start(&name, interval_s, &servers.victoria)?;
        Ok(Self { agent, exporter, scraper, collectd, name })
    }

    /// Their processes' numbers, as long as all of them run.
    fn running(&mut self) -> Result<Each<u32>> {
        let Self { agent, exporter, scraper, collectd, .. } = self;
        Ok([agent.running()?, exporter.running()?, scraper.running()?, collectd.running()?])
    }

    /// What each has in memory.
    pub fn memory(&mut self) -> Result<Each<Memory>> {
        each(self.running()?, memory)
    }

    /// The processor time that each has used, in seconds.
    pub fn cpu_seconds(&mut self) -> Result<Each<f64>> {
        each(self.running()?, cpu_seconds)
    }

    /// The samples of a span, as the servers have them.
    pub fn collected(&self, servers: &Servers, from: TimestampMs, to: TimestampMs) -> Result<Collected> {
        let victoria = |selector: &str| prometheus::count(&servers.victoria.peer, selector, from, to);
        let collected = Collected {
            agent: servers.arrived(&self.name, from, to)?,
            scraped: victoria(&format!("{{job={:?}}}", self.name))?,
            collectd: victoria(&format!("{{__name__=~\"{}[.].*\"}}", self.name))?,
        };
        let Collected { agent, scraped, collectd } = collected;
        ensure!(
            agent > 0.0 && scraped > 0.0 && collectd > 0.0,
            "somebody's samples are missing: {collected:?}"
        );
        Ok(collected)
    }
}

fn each<T: Default + Copy>(pids: Each<u32>, of: fn(u32) -> Result<T>) -> Result<Each<T>> {
    let mut told = Each::<T>::default();
    for (told, pid) in told.iter_mut().zip(pids) {
        *told = of(pid)?;
    }
    Ok(told)
}

#[derive(Deserialize)]
struct Exported {
    timestamps: Vec<i64>,
}

/// How many samples of a host an export has.
fn exported(server: &Server, host: &str, from: TimestampMs, to: TimestampMs) -> Result<f64> {
    let mut reply = client()
        .get(format!("{}/api/v1/export", server.url()))
        .query("host", host)
        .query("from", from.0.to_string())
        .query("to", to.0.to_string())
        .header("Authorization", format!("Bearer {}", server.tokens().read))
        .call()?;
    ensure!(reply.status() == 200, "the export answered {}", reply.status());
    let lines = BufReader::new(zstd::Decoder::new(reply.body_mut().as_reader())?).lines();
    let mut count = 0;
    for line in lines {
        count += serde_json::from_str::<Exported>(&line?)?.timestamps.len();
    }
    Ok(count as f64)
}
