//! `edgewatch-bench SUITE`: measures, prints, judges nothing. Run it through `cargo xtask bench`,
//! which builds what it measures.

mod agent;
mod codec;
mod compression;
mod cost;
mod feed;
mod figure;
mod fleet;
mod hooks;
mod ingest;
mod node_exporter;
mod open_loop;
mod peers;
mod process;
mod recording;
mod rows;
mod storage;

use anyhow::{Context, Result, bail};
use figure::Figure;
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use xtask::{
    build::Bundle,
    server::{Options, Server},
};

/// Minutes for which the agent runs, unless `--minutes` says otherwise: beside the main job, and in its own suite.
const MAIN_MINUTES: u64 = 10;
const AGENT_MINUTES: u64 = 30;

fn main() -> ExitCode {
    match run(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Parser) -> Result<()> {
    let mut suite = None;
    let mut as_json = false;
    let mut minutes = None;
    let mut request = storage::Request::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) if suite.is_none() => suite = Some(name.string()?),
            Long("json") => as_json = true,
            Long("only") => request.only.push(arguments.value()?.string()?),
            Long("data") => request.data = Some(arguments.value()?.into()),
            Long("minutes") => minutes = Some(arguments.value()?.parse().context("--minutes")?),
            other => return Err(other.unexpected().into()),
        }
    }
    let figures = match suite.as_deref() {
        Some("main") => main_job(minutes.unwrap_or(MAIN_MINUTES))?,
        Some("compression") => compression::measure()?,
        Some("agent") => agent_job(minutes.unwrap_or(AGENT_MINUTES))?,
        Some("cost") => cost::measure(None)?,
        Some("storage") => return storage::measure(request, |figure| figure.print(as_json)),
        _ => bail!(
            "edgewatch-bench main|compression|storage|cost|agent [--json] [--minutes N] [--only NAME]… [--data FILE]"
        ),
    };
    figures.iter().for_each(|figure| figure.print(as_json));
    Ok(())
}

/// The main job's figures: what it weighs, what it takes, what it costs.
fn main_job(minutes: u64) -> Result<Vec<Figure>> {
    // Its minutes pass while the rest is measured.
    let state = tempfile::tempdir()?;
    let server = Server::start(&Options::new(state.path()))?;
    let way =
        agent::Way { url: server.url(), ca_file: None, name: "bench", interval_s: 10, names: "edgewatch" };
    let (mut agent, started) = (agent::RunningAgent::start(&server, way)?, Instant::now());
    let mut figures = vec![agent::binary_size()?, module_size()?];
    figures.extend(rows::measure()?);
    figures.extend(ingest::measure()?);
    thread::sleep(Duration::from_secs(minutes * 60).saturating_sub(started.elapsed()));
    let resident = process::memory(agent.running()?)?.resident;
    figures.push(Figure::new("agent_rss_bytes", resident as f64, "B"));
    Ok(figures)
}

/// The agent's own figures.
fn agent_job(minutes: u64) -> Result<Vec<Figure>> {
    let mut figures = node_exporter::measure()?;
    figures.extend(agent::measure(minutes)?);
    Ok(figures)
}

fn module_size() -> Result<Figure> {
    let module = Bundle::Release.module();
    let bytes = std::fs::metadata(&module).with_context(|| format!("reading {}", module.display()))?.len();
    Ok(Figure::new("worker_module_bytes", bytes as f64, "B"))
}
