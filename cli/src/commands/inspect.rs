//! `edgewatch inspect`: what a sealed block holds, and whether it is whole. Nothing is asked of a server.

use anyhow::{Context, Result, bail, ensure};
use edgewatch_engine::{
    block::{Block, FOOTER_BYTES, IndexEntry},
    compression::Inflater,
};
use edgewatch_shared::{HostId, series::SeriesSamples};
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// What was asked.
struct Question {
    file: PathBuf,
    as_json: bool,
    host: Option<HostId>,
}

/// A block as it is printed.
#[derive(Serialize)]
struct Report {
    file: String,
    bytes: usize,
    resolution: &'static str,
    index_bytes: u64,
    samples: u64,
    /// The first 8 bytes of SHA-256 over all of it.
    checksum: String,
    /// Whether its name says the same; `null` if the name has no checksum.
    checksum_is_named: Option<bool>,
    chunks: Vec<ChunkReport>,
}

#[derive(Serialize)]
struct ChunkReport {
    host: HostId,
    offset: u32,
    bytes: u32,
    crc32: String,
    from: String,
    to: String,
    samples: u32,
    series: usize,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// Prints what is in a file, or the samples of one host; fails if anything is damaged.
pub fn run(arguments: Parser) -> Result<()> {
    let question = read(arguments)?;
    let bytes = fs::read(&question.file).with_context(|| format!("reading {}", question.file.display()))?;
    let mut out = io::stdout().lock();
    match question.host {
        Some(host) => dump(&bytes, host, &mut out),
        None => {
            let report = report(&question.file, &bytes)?;
            if question.as_json {
                print_json(&report, &mut out)?
            } else {
                print(&report, &mut out)?
            }
            judge(&report)
        }
    }
}

fn read(mut arguments: Parser) -> Result<Question> {
    let (mut file, mut as_json, mut host) = (None, false, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(path) if file.is_none() => file = Some(path.into()),
            Long("json") => as_json = true,
            Long("host") => {
                host = Some(arguments.value()?.string()?.parse().context("--host is a host's id")?)
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Question { file: file.context("edgewatch inspect FILE [--json] [--host ID]")?, as_json, host })
}

fn report(file: &Path, bytes: &[u8]) -> Result<Report> {
    let mut inflater = Inflater::default();
    let block = Block::open(bytes, &mut inflater).with_context(|| format!("{}", file.display()))?;
    let chunks: Vec<_> = block.entries().iter().map(|entry| chunk(&block, entry, &mut inflater)).collect();
    let index_at: u64 = block.entries().iter().map(|entry| u64::from(entry.length)).sum();
    let checksum: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let named = file.file_stem().and_then(|name| name.to_str()).and_then(|name| name.rsplit('-').next());
    let named = named.filter(|text| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Ok(Report {
        file: file.display().to_string(),
        bytes: bytes.len(),
        resolution: block.resolution().as_str(),
        index_bytes: (bytes.len() as u64).saturating_sub(index_at).saturating_sub(FOOTER_BYTES as u64),
        samples: chunks.iter().map(|chunk| u64::from(chunk.samples)).sum(),
        checksum_is_named: named.map(|named| named == checksum),
        checksum,
        chunks,
    })
}

fn chunk(block: &Block<'_>, entry: &IndexEntry, inflater: &mut Inflater) -> ChunkReport {
    let read = block.chunk(entry, inflater).map_err(|error| error.to_string());
    let disagreement = |series: &Vec<SeriesSamples>| {
        let samples: usize = series.iter().map(|entry| entry.samples.len()).sum();
        (samples as u64 != u64::from(entry.samples))
            .then(|| format!("the index says {} samples, there are {samples}", entry.samples))
    };
    ChunkReport {
        host: entry.host,
        offset: entry.offset,
        bytes: entry.length,
        crc32: format!("{:08x}", entry.crc),
        from: entry.min.to_rfc3339(),
        to: entry.max.to_rfc3339(),
        samples: entry.samples,
        series: read.as_ref().map_or(0, Vec::len),
        damage: read.as_ref().map_or_else(|error| Some(error.clone()), disagreement),
    }
}

fn print(report: &Report, out: &mut impl Write) -> Result<()> {
    let hosts: BTreeSet<_> = report.chunks.iter().map(|chunk| chunk.host).collect();
    let named = match report.checksum_is_named {
        Some(true) => ", as its name says",
        Some(false) => ", its name says another",
        None => "",
    };
    writeln!(out, "{}: a block of version 3, resolution {}", report.file, report.resolution)?;
    writeln!(
        out,
        "{} bytes, of them index {} and footer {FOOTER_BYTES}; checksum {}{named}",
        report.bytes, report.index_bytes, report.checksum
    )?;
    writeln!(out, "{} samples of {} hosts in {} chunks", report.samples, hosts.len(), report.chunks.len())?;
    writeln!(
        out,
        "{:<36} {:>8} {:>8} {:>10} {:>8}  from – to",
        "host", "bytes", "series", "samples", "B/sample"
    )?;
    for chunk in &report.chunks {
        let per_sample = f64::from(chunk.bytes) / f64::from(chunk.samples.max(1));
        let ChunkReport { host, bytes, series, samples, from, to, .. } = chunk;
        let host = host.to_string();
        writeln!(out, "{host:<36} {bytes:>8} {series:>8} {samples:>10} {per_sample:>8.3}  {from} – {to}")?;
        if let Some(damage) = &chunk.damage {
            writeln!(out, "  damaged: {damage}")?;
        }
    }
    Ok(())
}

fn print_json(report: &Report, out: &mut impl Write) -> Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(report)?)?)
}

fn judge(report: &Report) -> Result<()> {
    let damaged = report.chunks.iter().filter(|chunk| chunk.damage.is_some()).count();
    ensure!(damaged == 0, "{damaged} of {} chunks are damaged", report.chunks.len());
    ensure!(report.checksum_is_named != Some(false), "the file is not what its name says");
    Ok(())
}

/// A sample of a dump. What JSON has no number for is its bits.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Bits(String),
}

/// A line a sample: series in order, each in order of time.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    labels: &'a BTreeMap<String, String>,
    t: i64,
    v: Number,
}

fn dump(bytes: &[u8], host: HostId, out: &mut impl Write) -> Result<()> {
    let mut inflater = Inflater::default();
    let block = Block::open(bytes, &mut inflater)?;
    let mut has_host = false;
    for entry in block.entries().iter().filter(|entry| entry.host == host) {
        has_host = true;
        for SeriesSamples { series, samples } in block.chunk(entry, &mut inflater)? {
            for sample in samples {
                let v = if sample.value.is_finite() {
                    Number::Finite(sample.value)
                } else {
                    Number::Bits(format!("{:#018x}", sample.value.to_bits()))
                };
                let line = Line { name: &series.name, labels: &series.labels, t: sample.time.0, v };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
        }
    }
    if has_host { Ok(()) } else { bail!("the block holds nothing of host {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_engine::{block::BlockWriter, compression::Deflater, rollup::Resolution};
    use edgewatch_shared::{Labels, Sample, Series, TimestampMs, limits::BLOCK_BYTES_MAX};

    fn host(n: u8) -> HostId {
        HostId::new(0, [n; 14])
    }

    /// Two hosts with a series of three samples each.
    fn block() -> Vec<u8> {
        let deflater = &mut Deflater::default();
        let mut writer = BlockWriter::new(Resolution::Hour, BLOCK_BYTES_MAX);
        let sample = |(n, value): (i64, f64)| Sample { time: TimestampMs(n * 1_000), value };
        let samples = [1.5, 2.0, f64::NAN].into_iter().enumerate().map(|(n, value)| (n as i64, value));
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let series = [SeriesSamples { series, samples: samples.map(sample).collect() }];
        writer.push(host(1), &series, deflater).unwrap();
        writer.push(host(2), &series, deflater).unwrap();
        writer.finish(deflater).unwrap().remove(0).bytes
    }

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        print(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_whole_block_is_told_host_by_host() {
        let report = report(Path::new("a.ewb"), &block()).unwrap();
        assert!(judge(&report).is_ok());
        assert_eq!((report.samples, report.resolution, report.checksum_is_named), (6, "1h", None));
        let text = printed(&report);
        assert!(text.contains("6 samples of 2 hosts in 2 chunks"), "{text}");
        assert!(text.contains(&host(2).to_string()), "{text}");
        let mut json = Vec::new();
        print_json(&report, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["chunks"][1]["series"], 1);
        assert_eq!(json["chunks"][0]["to"], "1970-01-01T00:00:02Z");
    }

    #[test]
    fn a_damaged_chunk_is_named_and_the_others_are_still_told() {
        let mut bytes = block();
        bytes[10] ^= 1;
        let report = report(Path::new("a.ewb"), &bytes).unwrap();
        assert!(judge(&report).is_err());
        assert!(printed(&report).contains("damaged: the checksum of a chunk"));
        assert!(report.chunks[1].damage.is_none());
    }

    #[test]
    fn a_name_that_says_another_checksum_is_noticed() {
        let bytes = block();
        let checksum = report(Path::new("a.ewb"), &bytes).unwrap().checksum;
        let named = |checksum: &str| {
            let file = format!("2026-11-21T09-1-240-0-{checksum}.ewb");
            report(Path::new(&file), &bytes).unwrap()
        };
        assert!(judge(&named(&checksum)).is_ok());
        assert!(judge(&named("0123456789abcdef")).is_err());
    }

    #[test]
    fn the_samples_of_one_host_are_lines_of_json() {
        let mut out = Vec::new();
        dump(&block(), host(1), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], r#"{"name":"load_1m","labels":{},"t":0,"v":1.5}"#);
        assert_eq!(lines[2], r#"{"name":"load_1m","labels":{},"t":2000,"v":"0x7ff8000000000000"}"#);
        assert!(dump(&block(), host(3), &mut Vec::new()).is_err());
    }

    #[test]
    fn what_is_no_block_is_said_to_be_none() {
        assert!(report(Path::new("a"), b"not a block").is_err());
        assert!(read(Parser::from_args(["--json"])).is_err());
        let question = read(Parser::from_args(["a.ewb", "--host", &host(1).to_string()])).unwrap();
        assert_eq!((question.host, question.as_json), (Some(host(1)), false));
    }
}
