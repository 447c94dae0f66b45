//! Prometheus: its server, and `promtool` which writes blocks out of text.

use super::{Peer, bytes_below, free_port};
use crate::fleet::client;
use anyhow::{Context, Result, ensure};
use edgewatch_shared::{TimestampMs, series::SeriesSamples};
use serde_json::Value;
use std::{fmt::Write, fs, process::Command, process::Stdio};
use tempfile::TempDir;
use xtask::setup;

/// How it is called in figures.
pub const NAME: &str = "Prometheus";

/// A running server that takes remote_write.
pub struct Prometheus {
    /// Its process; declared first, so that it ends before its folder goes.
    pub peer: Peer,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with an empty folder.
    pub fn start() -> Result<Self> {
        let program = setup::peers::PROMETHEUS.ensure()?;
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let configuration = folder.path().join("prometheus.yml");
        fs::write(&configuration, "scrape_configs: []\n").context("writing its configuration")?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"])
            .arg("--log.level=error");
        Ok(Self { peer: Peer::start(&mut command, port, "/-/ready")?, _folder: folder })
    }
}

/// Bytes of the blocks, index included, that `promtool` makes of a host's samples.
pub fn stored(series: &[SeriesSamples], label: (&str, &str)) -> Result<u64> {
    let promtool = setup::peers::PROMTOOL.ensure()?;
    let folder = tempfile::tempdir()?;
    let (text, blocks) = (folder.path().join("samples.txt"), folder.path().join("blocks"));
    fs::write(&text, open_metrics(series, label)?).context("writing OpenMetrics")?;
    let mut command = Command::new(promtool);
    command.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&text).arg(&blocks);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("starting promtool")?;
    ensure!(status.success(), "promtool: {status}");
    bytes_below(&blocks)
}

/// Samples as OpenMetrics text; a metric's series together.
fn open_metrics(series: &[SeriesSamples], label: (&str, &str)) -> Result<String> {
    let mut text = String::new();
    for SeriesSamples { series, samples } in series {
        let mut metric = format!("{}{{{}={:?}", series.name, label.0, label.1);
        for (key, value) in &series.labels {
            write!(metric, ",{key}={value:?}")?;
        }
        metric.push('}');
        for sample in samples {
            let (seconds, ms) = (sample.time.0.div_euclid(1_000), sample.time.0.rem_euclid(1_000));
            writeln!(text, "{metric} {} {seconds}.{ms:03}", sample.value)?;
        }
    }
    text.push_str("# EOF\n");
    Ok(text)
}

/// How many samples of a span match a selector, by the query API that both peers have.
pub fn count(peer: &Peer, selector: &str, from: TimestampMs, to: TimestampMs) -> Result<f64> {
    let span_s = to.ms_since(from) / 1_000;
    let query = format!("sum(count_over_time({selector}[{span_s}s]))");
    let time = to.seconds().to_string();
    let mut reply =
        client().get(peer.at("/api/v1/query")).query("query", query).query("time", time).call()?;
    ensure!(reply.status() == 200, "a query answered {}", reply.status());
    let reply: Value = reply.body_mut().read_json()?;
    let value = reply.pointer("/data/result/0/value/1").and_then(Value::as_str);
    value.unwrap_or("0").parse().context("a count")
}
