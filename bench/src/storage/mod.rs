//! What the storage engine shows: bytes at rest and on the wire, processor time, rows, memory, recovery, and cost.
//! A part is measured alone with `--only`, by any name that it gives.

mod cold_shard;
mod ingest;
mod memory;
mod rows;
mod stored;
mod wire;

use crate::{
    codec, cost,
    figure::Figure,
    recording::{Recording, node_exporter_path},
};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// What the suite was asked for.
#[derive(Debug, Default)]
pub struct Request {
    /// Names of figures or parts; all of them when empty.
    pub only: Vec<String>,
    /// Where the node_exporter's recording lies.
    pub data: Option<PathBuf>,
    /// What a push takes of processor time, once it has been measured.
    pub cpu_ms_per_push: Option<f64>,
}

/// What is measured together.
struct Part {
    name: &'static str,
    figures: &'static [&'static str],
    measure: fn(&Request) -> Result<Vec<Figure>>,
}

const PARTS: &[Part] = &[
    Part {
        name: "stored",
        figures: &["stored_bytes_per_sample", "stored_ratio_to_victoriametrics"],
        measure: stored,
    },
    Part {
        name: "codec",
        figures: &["codec_decode_samples_per_s", "codec_encode_samples_per_s"],
        measure: |request| {
            codec::measure(&Recording::of_node_exporter(&node_exporter_path(request.data.clone()))?)
        },
    },
    Part { name: "wire", figures: &["wire_bytes_per_push"], measure: |_| wire::measure() },
    Part { name: "ingest", figures: &["ingest_samples_per_s_per_core"], measure: |_| ingest::measure() },
    Part {
        name: "rows",
        figures: &["rows_per_push_idle", "rows_per_push_busy"],
        measure: |_| rows::measure(),
    },
    Part { name: "recovery", figures: &["recovery_first_query_ms"], measure: |_| cold_shard::measure() },
    Part { name: "memory", figures: &["wasm_memory_peak_bytes"], measure: |_| memory::measure() },
    Part {
        name: "cost",
        figures: &["hosts_on_free_plan", "dollars_per_month_1000_hosts"],
        measure: |request| cost::measure(request.cpu_ms_per_push),
    },
];

/// Measures what was asked for, and hands every figure over as soon as it is known.
pub fn measure(mut request: Request, mut print: impl FnMut(&Figure)) -> Result<()> {
    let is_asked = |part: &Part| {
        let names = |asked: &String| part.name == asked || part.figures.contains(&asked.as_str());
        request.only.is_empty() || request.only.iter().any(names)
    };
    let parts: Vec<&Part> = PARTS.iter().filter(|part| is_asked(part)).collect();
    let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
    ensure!(!parts.is_empty(), "nothing has that name; parts are {}", names.join(", "));
    for part in parts {
        let figures = (part.measure)(&request).with_context(|| format!("measuring {}", part.name))?;
        let cpu = figures.iter().find(|figure| figure.name() == ingest::CPU_MS_PER_PUSH);
        request.cpu_ms_per_push = cpu.map(Figure::value).or(request.cpu_ms_per_push);
        figures.iter().for_each(&mut print);
    }
    Ok(())
}

/// All recordings as they are, and the node_exporter's in turn.
fn stored(request: &Request) -> Result<Vec<Figure>> {
    let path = node_exporter_path(request.data.clone());
    let recorded =
        [Recording::of_node_exporter(&path)?, Recording::of_agent()?, Recording::of_agent_with_defaults()?];
    stored::measure(&recorded, &Recording::of_node_exporter_in_turn(&path)?)
}
