//! Inputs that the encoders write: where a fuzzer starts, and what every run of the tests goes over first.

use edgewatch_engine::{block::BlockWriter, chunk, compression::Deflater, rollup::Resolution};
use edgewatch_shared::{
    HostId, Labels, Sample, Series, TimestampMs, codec,
    limits::BLOCK_BYTES_MAX,
    series::SeriesSamples,
    wire::{
        Facts,
        push::{self, DictionaryId, MetricsSection, Process, Processes, PushFrame, ReadingRange, StreamId},
    },
};

/// When the samples begin.
pub const START_MS: i64 = 1_795_248_000_000;
/// Between two samples.
const STEP_MS: i64 = 10_000;

/// A series' name, its label, and the value of its nth sample.
type Kind<'a> = (&'a str, &'a str, &'a dyn Fn(i64) -> f64);

/// Series of every kind of values, `count` samples each; none where `count` is 0.
fn series(count: i64) -> Vec<SeriesSamples> {
    let noise =
        |n: i64| n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33;
    let kinds: [Kind; 8] = [
        ("app_bits", "", &|n| f64::from_bits((0x4024_0000_0000_0000i64 ^ noise(n)).cast_unsigned())),
        ("app_negative", "", &|n| if n % 2 == 0 { -0.0 } else { -1.5 - n as f64 }),
        ("cpu_usage_pct", "0", &|n| (noise(n) % 10_000) as f64 / 100.0),
        ("cpu_usage_pct", "total", &|n| (noise(n + 1) % 10_000) as f64 / 100.0),
        ("mem_total_bytes", "", &|_| 25_276_514_304.0),
        ("net_receive_bytes_total", "eth0", &|n| (411_061_364 + n * 1_500 + noise(n) % 100) as f64),
        ("swap_used_bytes", "", &|_| 0.0),
        ("uptime_seconds", "", &|n| (1_524 + n * 10) as f64),
    ];
    let of = |(name, label, value): &Kind| SeriesSamples {
        series: Series {
            name: (*name).to_owned(),
            labels: (!label.is_empty())
                .then(|| ("core".to_owned(), (*label).to_owned()))
                .into_iter()
                .collect::<Labels>(),
        },
        samples: (0..count)
            .map(|n| Sample { time: TimestampMs(START_MS + n * STEP_MS), value: value(n) })
            .collect(),
    };
    kinds.iter().map(of).collect()
}

/// Pushes with every section and with as little as there can be.
pub fn push_frames() -> Vec<Vec<u8>> {
    let frame = |count: i64, with_list: bool| {
        let (list, mut columns): (Vec<Series>, Vec<Vec<Sample>>) =
            series(count).into_iter().map(|entry| (entry.series, entry.samples)).unzip();
        // A series that was not read the last time.
        if let Some(samples) = columns.first_mut() {
            samples.pop();
        }
        let metrics = MetricsSection {
            dictionary: DictionaryId::of(&push::encode_series(&list)),
            series: with_list.then_some(list),
            columns: push::encode_columns(&columns),
        };
        push::encode(&PushFrame {
            stream: StreamId(0x0123_4567_89ab_cdef),
            floor: 1,
            readings: ReadingRange { first: 2, last: 1 + count.unsigned_abs() },
            host: with_list.then(|| "web-01".to_owned()),
            facts: with_list.then(|| Facts { cpus: 2, ..Facts::default() }),
            metrics: Some(metrics),
            processes: (count > 1).then(processes),
        })
    };
    vec![frame(1, true), frame(6, true), frame(6, false), frame(60, false)]
}

/// A host's processes.
fn processes() -> Processes {
    let process =
        |pid, name: &str, uses| Process { pid, name: name.to_owned(), user: "root".to_owned(), uses };
    Processes {
        time: TimestampMs(START_MS),
        count: 131,
        by_cpu: vec![process(4_711, "postgres", 9_812), process(1, "systemd", 3)],
        by_memory: vec![process(4_711, "postgres", 1 << 30)],
    }
}

/// The same, compressed.
pub fn push_bodies() -> Vec<Vec<u8>> {
    let mut deflater = Deflater::default();
    push_frames().iter().filter_map(|frame| deflater.deflate(frame, 9).ok()).collect()
}

/// Columns long enough for every coder.
pub fn columns() -> Vec<Vec<u8>> {
    let of = |count| {
        let columns = codec::encode(&series(count));
        let head_bytes = u16::try_from(columns.head.len()).unwrap_or(u16::MAX);
        [&head_bytes.to_le_bytes(), columns.head.as_slice(), &columns.body].concat()
    };
    [1, 6, 30, 360].map(of).into()
}

/// Chunks of the same.
pub fn chunks() -> Vec<Vec<u8>> {
    let mut deflater = Deflater::default();
    [1, 6, 30, 360].iter().filter_map(|count| chunk::encode(&series(*count), 3, &mut deflater).ok()).collect()
}

/// Blocks of one and of several hosts.
pub fn blocks() -> Vec<Vec<u8>> {
    let of = |hosts: u8| {
        let deflater = &mut Deflater::default();
        let mut writer = BlockWriter::new(Resolution::Raw, BLOCK_BYTES_MAX);
        for host in 0..hosts {
            writer.push(HostId::new(0, [host; 14]), &series(30), deflater).ok()?;
        }
        writer.finish(deflater).ok()?.pop().map(|built| built.bytes)
    };
    [1, 3].into_iter().filter_map(of).collect()
}
