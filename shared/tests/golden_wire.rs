//! The wire as bytes: what lies in `golden` is what is promised. Each file parses as its
//! type and is printed as it was, so a renamed, dropped or reordered field shows here first.

use edgewatch_shared::wire::{
    EnrollBody, EnrollReply, ErrorBody, HostNamesReply, HostsReply, MetricsBody, PushReply, QueryReply,
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
    same("query_reply.json", reprinted::<QueryReply>),
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

#[test]
fn every_golden_file_is_tested() {
    let present: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let tested: BTreeSet<String> = GOLDEN.iter().map(|(file, ..)| (*file).to_owned()).collect();
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
