//! Bytes a sample at rest: sealed hourly blocks of ours, index and footer included, beside VictoriaMetrics' and
//! Prometheus' own of the very same samples.

use crate::{
    figure::Figure,
    peers::{prometheus, victoria_metrics, victoria_metrics::VictoriaMetrics},
    recording::{Recording, by_hour},
};
use anyhow::{Result, ensure};
use edgewatch_engine::{
    block::{Block, BlockWriter},
    compression::{Deflater, Inflater},
    rollup::Resolution,
};
use edgewatch_shared::{
    HostId,
    limits::{BLOCK_BYTES_MAX, DAY_BLOCK_BYTES_MAX},
    series::SeriesSamples,
};

/// How the host is named for those who name it with every series.
const HOST_LABEL: (&str, &str) = ("instance", "host-1");

/// The figures of each set, and the worst of those that were recorded as they are under the plain names.
pub fn measure(recorded: &[Recording], long: &Recording) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let (mut ours_worst, mut ratio_worst) = (0.0_f64, 0.0_f64);
    for recording in recorded {
        let (set, samples) = (recording.set, recording.samples() as f64);
        let (ours, theirs) = beside_victoria_metrics(recording, &mut figures)?;
        let prometheus = prometheus::stored(&recording.series, HOST_LABEL)? as f64 / samples;
        let name = format!("stored_ratio_to_prometheus_{set}");
        figures.push(Figure::new(name, ours / prometheus, "").beside(prometheus::NAME, prometheus));
        ours_worst = ours_worst.max(ours);
        ratio_worst = ratio_worst.max(ours / theirs);
    }
    let (_, theirs) = beside_victoria_metrics(long, &mut figures)?;
    let compacted = blocks_bytes([&long.series], DAY_BLOCK_BYTES_MAX)? as f64 / long.samples() as f64;
    figures.extend([
        Figure::new(format!("stored_bytes_per_sample_{}_compacted", long.set), compacted, "B")
            .beside(victoria_metrics::NAME, theirs),
        Figure::new("stored_bytes_per_sample", ours_worst, "B"),
        Figure::new("stored_ratio_to_victoriametrics", ratio_worst, ""),
    ]);
    Ok(figures)
}

/// Ours in hourly blocks and VictoriaMetrics', bytes a sample.
fn beside_victoria_metrics(recording: &Recording, figures: &mut Vec<Figure>) -> Result<(f64, f64)> {
    let (set, samples) = (recording.set, recording.samples() as f64);
    let ours = blocks_bytes(by_hour(&recording.series).values(), BLOCK_BYTES_MAX)? as f64 / samples;
    let victoria = of_victoria_metrics(recording)?;
    let (data, index) = (victoria.data as f64 / samples, victoria.index as f64 / samples);
    let theirs = data + index;
    figures.extend([
        Figure::new(format!("stored_bytes_per_sample_{set}"), ours, "B")
            .beside(victoria_metrics::NAME, theirs),
        Figure::new(format!("stored_ratio_to_victoriametrics_{set}"), ours / theirs, ""),
        Figure::new(format!("stored_ratio_to_victoriametrics_data_{set}"), ours / data, ""),
        Figure::new(format!("stored_samples_{set}"), samples, ""),
    ]);
    Ok((ours, theirs))
}

/// What the blocks of some hours or days take; each is read back, bit for bit.
fn blocks_bytes<'a>(
    spans: impl IntoIterator<Item = &'a Vec<SeriesSamples>>,
    bytes_max: usize,
) -> Result<u64> {
    let host = HostId::new(0, [1; 14]);
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let mut bytes = 0;
    for series in spans {
        let mut writer = BlockWriter::new(Resolution::Raw, bytes_max);
        writer.push(host, series, &mut deflater)?;
        let mut read = Vec::new();
        for built in writer.finish(&mut deflater)? {
            bytes += built.bytes.len() as u64;
            let block = Block::open(&built.bytes, &mut inflater)?;
            for entry in block.entries() {
                read.extend(block.chunk(entry, &mut inflater)?);
            }
        }
        ensure!(is_same(&read, series), "a block gives back something else than was put in");
    }
    Ok(bytes)
}

/// The same samples, compared by their bits, however they are cut.
fn is_same(read: &[SeriesSamples], written: &[SeriesSamples]) -> bool {
    let flat = |all: &[SeriesSamples]| {
        let samples = all.iter().flat_map(|SeriesSamples { series, samples }| {
            samples.iter().map(move |sample| (series.clone(), sample.time, sample.value.to_bits()))
        });
        let mut samples: Vec<_> = samples.collect();
        samples.sort();
        samples
    };
    flat(read) == flat(written)
}

fn of_victoria_metrics(recording: &Recording) -> Result<victoria_metrics::Stored> {
    let victoria = VictoriaMetrics::start()?;
    let stored = victoria.store(&recording.series, HOST_LABEL)?;
    let newest = recording.series.iter().filter_map(|series| series.samples.last()).map(|last| last.time);
    let Some(newest) = newest.max() else { anyhow::bail!("no samples") };
    let selector = format!("{{{}={:?}}}", HOST_LABEL.0, HOST_LABEL.1);
    let found = victoria.count(&selector, newest.plus_ms(1_000))?;
    ensure!(found == recording.samples() as f64, "VictoriaMetrics has {found} of the samples");
    Ok(stored)
}
