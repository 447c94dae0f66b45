//! The codec of chunks: bytes a sample, and samples a second of one core, natively and as WebAssembly, beside `pco`.
//!
//! Both get hours of one host, series by series, and hand the samples of each series over before they decode the next, as
//! queries read. Ours is the whole codec, names and instants included; `pco` gets the values of a series and, once an
//! hour, the instants, and is lent our names when bytes are counted.

use crate::{
    figure::{Figure, median},
    recording::{Recording, by_hour},
};
use anyhow::{Context, Result, bail, ensure};
use edgewatch_engine::compression::Deflater;
use edgewatch_shared::{
    codec::{self, Columns},
    series::SeriesSamples,
};
use pco::standalone::{simple_compress, simple_decompress};
use serde::Deserialize;
use std::{fs, hint::black_box, path::PathBuf, process::Command};
use xtask::{command::cargo, project};

const PCO: &str = "pco";
const NATIVE: &str = "native";
const ROUNDS: usize = 9;
/// Passes over all hours in a round: tens of milliseconds.
const PASSES: usize = 10;
/// What blocks compress the heads of their chunks at.
const ZSTD_LEVEL: i32 = 9;

/// An hour of one host.
struct HourOfHost {
    series: Vec<SeriesSamples>,
    ours: Columns<Vec<u8>>,
    pco: Vec<Vec<u8>>,
}

/// Figures of a recording, under the plain names.
pub fn measure(recording: &Recording) -> Result<Vec<Figure>> {
    let samples = recording.samples() as f64;
    let hours: Vec<HourOfHost> = by_hour(&recording.series).into_values().map(hour).collect::<Result<_>>()?;
    let (ours_bytes, pco_bytes) = bytes(&hours)?;
    let per_s = |seconds: f64| samples / seconds;
    let encode = per_s(seconds(|| hours.iter().try_for_each(|hour| encode(&hour.series)))?);
    let decode = per_s(seconds(|| hours.iter().try_for_each(decode_ours))?);
    let pco_encode = per_s(seconds(|| hours.iter().try_for_each(|hour| of_pco(&hour.series).map(drop)))?);
    let pco_decode = per_s(seconds(|| hours.iter().try_for_each(decode_pco))?);
    let wasm = in_wasm(&hours)?;
    let (wasm_encode, wasm_decode) = (per_s(median(wasm.encode)), per_s(median(wasm.decode)));
    Ok(vec![
        Figure::new("codec_bytes_per_sample", ours_bytes as f64 / samples, "B")
            .beside(PCO, pco_bytes as f64 / samples),
        Figure::new("codec_decode_samples_per_s", decode, "1/s").beside(PCO, pco_decode),
        Figure::new("codec_encode_samples_per_s", encode, "1/s").beside(PCO, pco_encode),
        Figure::new("codec_decode_samples_per_s_wasm", wasm_decode, "1/s").beside(NATIVE, decode),
        Figure::new("codec_encode_samples_per_s_wasm", wasm_encode, "1/s").beside(NATIVE, encode),
        Figure::new("codec_decode_wasm_ratio", wasm_decode / decode, ""),
        Figure::new("codec_encode_wasm_ratio", wasm_encode / encode, ""),
    ])
}

/// An hour in all its forms, each of which gives the samples back.
fn hour(series: Vec<SeriesSamples>) -> Result<HourOfHost> {
    let hour = HourOfHost { ours: codec::encode(&series), pco: of_pco(&series)?, series };
    decode_ours(&hour)?;
    decode_pco(&hour)?;
    for (entry, compressed) in hour.series.iter().zip(&hour.pco) {
        let values = simple_decompress::<f64>(compressed)?;
        let is_same =
            |(sample, value): (&edgewatch_shared::Sample, &f64)| sample.value.to_bits() == value.to_bits();
        ensure!(entry.samples.iter().zip(&values).all(is_same), "pco gives back something else");
    }
    Ok(hour)
}

/// The values of every series, and last the instants of the first.
fn of_pco(series: &[SeriesSamples]) -> Result<Vec<Vec<u8>>> {
    let config = pco::ChunkConfig::default();
    let mut compressed = Vec::with_capacity(series.len() + 1);
    for entry in series {
        let values: Vec<f64> = entry.samples.iter().map(|sample| sample.value).collect();
        compressed.push(simple_compress(&values, &config)?);
    }
    let instants = series.first().map(|entry| entry.samples.iter().map(|sample| sample.time.0));
    let instants: Vec<i64> = instants.into_iter().flatten().collect();
    compressed.push(simple_compress(&instants, &config)?);
    Ok(compressed)
}

/// Bytes of all hours, heads and names compressed.
fn bytes(hours: &[HourOfHost]) -> Result<(usize, usize)> {
    let mut deflater = Deflater::default();
    let (mut ours, mut theirs) = (0, 0);
    for hour in hours {
        ours += deflater.deflate_names(&hour.ours.head, ZSTD_LEVEL)?.len() + hour.ours.body.len();
        let nameless =
            |entry: &SeriesSamples| SeriesSamples { series: entry.series.clone(), samples: Vec::new() };
        let names: Vec<SeriesSamples> = hour.series.iter().map(nameless).collect();
        theirs += deflater.deflate_names(&codec::encode(&names).head, ZSTD_LEVEL)?.len();
        theirs += hour.pco.iter().map(Vec::len).sum::<usize>();
    }
    Ok((ours, theirs))
}

fn encode(series: &[SeriesSamples]) -> Result<()> {
    black_box(codec::encode(black_box(series)));
    Ok(())
}

fn decode_ours(hour: &HourOfHost) -> Result<()> {
    let columns = Columns { head: hour.ours.head.as_slice(), body: hour.ours.body.as_slice() };
    codec::decode_each(black_box(columns), usize::MAX, &mut |_| true, &mut |series| drop(black_box(series)))?;
    Ok(())
}

fn decode_pco(hour: &HourOfHost) -> Result<()> {
    let (instants, values) = hour.pco.split_last().context("no instants")?;
    black_box(simple_decompress::<i64>(instants)?);
    for values in values {
        black_box(simple_decompress::<f64>(black_box(values))?);
    }
    Ok(())
}

/// Processor time of a pass, the median of rounds.
fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = processor_s();
        for _ in 0..PASSES {
            work()?;
        }
        rounds.push((processor_s() - start) / PASSES as f64);
    }
    Ok(median(rounds))
}

/// Processor time of this thread: other programs on the machine do not count.
fn processor_s() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Processor seconds of passes in WebAssembly.
#[derive(Deserialize)]
struct InWasm {
    decode: Vec<f64>,
    encode: Vec<f64>,
}

fn in_wasm(hours: &[HourOfHost]) -> Result<InWasm> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hours");
    let mut bytes = Vec::new();
    for Columns { head, body } in hours.iter().map(|hour| &hour.ours) {
        bytes.extend(u32::try_from(head.len())?.to_le_bytes());
        bytes.extend(u32::try_from(body.len())?.to_le_bytes());
        bytes.extend(head);
        bytes.extend(body);
    }
    fs::write(&file, bytes)?;
    let script = project::root().join("bench/wasm/run.mjs");
    let output = Command::new("node").arg(script).arg(module()?).arg(file).arg(ROUNDS.to_string()).output();
    let output = output.context("running node")?;
    if !output.status.success() {
        bail!("node: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The codec as WebAssembly, built as the Worker is.
fn module() -> Result<PathBuf> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--target", TARGET, "--package", "edgewatch-bench-wasm"]);
    ensure!(build.status()?.success(), "the codec does not build for {TARGET}");
    Ok(project::target_dir().join(TARGET).join("release/edgewatch_bench_wasm.wasm"))
}
