//! The wire as bytes: what lies in `golden` is what is promised. Each file parses as its
//! type and is printed as it was, so a renamed, dropped or reordered field shows here first.

use edgewatch_shared::{
    Labels, Sample, Series, TimestampMs,
    wire::{
        EnrollBody, EnrollReply, ErrorBody, Facts, HostNamesReply, HostsReply, MetricsBody, MoveBody,
        ProcessesReply, PushReply, QueryReply, RebuildReply, RebuildShards, Retention, SeriesReply,
        SplitBody, UsageReply,
        export::{ExportLine, ImportReply},
        push::{
            self, DictionaryId, MetricsSection, Process, Processes, PushFrame, ReadingRange, StreamId,
            encode_columns, encode_series,
        },
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, path::PathBuf};

/// Parses a text as one type and prints it again.
type Reprint = fn(&str) -> Result<String, serde_json::Error>;

/// Every golden file, the type it is of, and the file it is printed as.
const GOLDEN: &[(&str, Reprint, &str)] = &[
    same("metrics_body.json", reprinted::<MetricsBody>),
    same("metrics_body_smallest.json", reprinted::<MetricsBody>),
    // MiniObserv writes times as text; ours are numbers.
    ("metrics_body_miniobserv.json", reprinted::<MetricsBody>, "metrics_body_miniobserv_printed.json"),
    same("metrics_body_miniobserv_printed.json", reprinted::<MetricsBody>),
    same("push_reply.json", reprinted::<PushReply>),
    same("error_body.json", reprinted::<ErrorBody>),
    same("error_body_smallest.json", reprinted::<ErrorBody>),
    same("enroll_body.json", reprinted::<EnrollBody>),
    same("enroll_reply.json", reprinted::<EnrollReply>),
    same("hosts_reply.json", reprinted::<HostsReply>),
    same("host_names_reply.json", reprinted::<HostNamesReply>),
    same("processes_reply.json", reprinted::<ProcessesReply>),
    same("query_reply.json", reprinted::<QueryReply>),
    same("series_reply.json", reprinted::<SeriesReply>),
    same("move_body.json", reprinted::<MoveBody>),
    same("split_body.json", reprinted::<SplitBody>),
    same("import_reply.json", reprinted::<ImportReply>),
    same("export_line.json", reprinted::<ExportLine>),
    same("export_line_smallest.json", reprinted::<ExportLine>),
    same("rebuild_reply.json", reprinted::<RebuildReply>),
    same("rebuild_shards.json", reprinted::<RebuildShards>),
    same("retention.json", reprinted::<Retention>),
    same("usage_reply.json", reprinted::<UsageReply>),
];

const fn same(file: &'static str, reprint: Reprint) -> (&'static str, Reprint, &'static str) {
    (file, reprint, file)
}

fn reprinted<T: Serialize + DeserializeOwned>(text: &str) -> Result<String, serde_json::Error> {
    let value: T = serde_json::from_str(text)?;
    serde_json::to_string_pretty(&value).map(|printed| printed + "\n")
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden"].iter().collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_golden_file_is_printed_as_it_was() {
    for (file, reprint, printed_as) in GOLDEN {
        let printed = reprint(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(printed, read(printed_as), "{file}");
    }
}

/// The first push of a stream with every section there is, and the one after it. As hexadecimal digits in `golden`.
fn pushes() -> [(&'static str, PushFrame); 3] {
    let series = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Series { name: name.to_owned(), labels: labels.collect::<Labels>() }
    };
    let list = vec![
        series("cpu_usage_pct", &[("core", "0")]),
        series("cpu_usage_pct", &[("core", "total")]),
        series("mem_used_bytes", &[]),
        series("swap_used_bytes", &[]),
        series("uptime_seconds", &[]),
    ];
    let column = |from: i64, values: &[f64]| -> Vec<Sample> {
        let sample = |(n, value): (i64, &f64)| Sample { time: TimestampMs(from + n * 10_000), value: *value };
        (0..).zip(values).map(sample).collect()
    };
    let dictionary = DictionaryId::of(&encode_series(&list));
    let first = [
        column(1_795_248_000_000, &[12.5]),
        column(1_795_248_000_000, &[9.25]),
        column(1_795_248_000_000, &[720_416_768.0]),
        column(1_795_248_000_000, &[0.0]),
        column(1_795_248_000_000, &[1_524.0]),
    ];
    let second = [
        column(1_795_248_010_000, &[11.0, 12.75, 100.0]),
        Vec::new(),
        column(1_795_248_010_000, &[720_416_768.0, 720_420_864.0, 719_998_976.0]),
        column(1_795_248_010_000, &[0.0, 0.0, 0.0]),
        column(1_795_248_010_000, &[1_534.0, 1_544.0, 1_554.0]),
    ];
    let metrics = |series, columns: &[Vec<Sample>]| {
        Some(MetricsSection { dictionary, series, columns: encode_columns(columns) })
    };
    let facts = Facts { os: "Debian GNU/Linux 12".to_owned(), cpus: 2, ..Facts::default() };
    let first = PushFrame {
        stream: StreamId(0x0123_4567_89ab_cdef),
        floor: 1,
        readings: ReadingRange { first: 1, last: 1 },
        host: Some("web-01".to_owned()),
        facts: Some(facts),
        metrics: metrics(Some(list), &first),
        processes: None,
    };
    let second = PushFrame {
        floor: 1,
        readings: ReadingRange { first: 2, last: 4 },
        host: None,
        facts: None,
        metrics: metrics(None, &second),
        ..first.clone()
    };
    let process =
        |pid, name: &str, user: &str, uses| Process { pid, name: name.into(), user: user.into(), uses };
    let processes = Processes {
        time: TimestampMs(1_795_248_030_000),
        count: 131,
        by_cpu: vec![process(4_711, "postgres", "postgres", 9_812), process(1, "systemd", "root", 3)],
        by_memory: vec![process(4_711, "postgres", "postgres", 1_073_741_824)],
    };
    let third = PushFrame { processes: Some(processes), ..second.clone() };
    [("push_first.hex", first), ("push_second.hex", second), ("push_processes.hex", third)]
}

#[test]
fn every_golden_push_is_read_and_written_as_it_was() {
    for (file, frame) in pushes() {
        let hex = |bytes: Vec<u8>| {
            let lines: Vec<String> = bytes
                .chunks(32)
                .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
                .collect();
            lines.join("\n") + "\n"
        };
        assert_eq!(hex(push::encode(&frame)), read(file), "{file}");
        let digits: Vec<char> = read(file).chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        assert_eq!(push::decode(&bytes), Ok(frame), "{file}");
    }
}

#[test]
fn every_golden_file_is_tested() {
    let present: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut tested: BTreeSet<String> = GOLDEN.iter().map(|(file, ..)| (*file).to_owned()).collect();
    tested.extend(pushes().map(|(file, _)| file.to_owned()));
    assert_eq!(present, tested);
}

#[test]
fn fields_that_may_be_missing_are_no_errors_and_unknown_ones_are_skipped() {
    let enroll: EnrollBody = serde_json::from_str(r#"{"name":"web-01","from":"a newer agent"}"#).unwrap();
    assert_eq!(enroll.tags, Vec::<String>::new());
    let facts = r#"{"metrics":[],"facts":{"cpus":2}}"#;
    let body: MetricsBody = serde_json::from_str(facts).unwrap();
    assert_eq!(body.facts.map(|facts| facts.cpus), Some(2));
}
