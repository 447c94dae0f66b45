//! Series that are known beforehand: our agent's and node_exporter's, as heads spell them.
//!
//! Names are the dearest part of an hour of one host. They are compressed with this text as a dictionary, so that
//! what everybody sends costs next to nothing. What was written with it is read with it only: the list never
//! changes, and another one would belong to another version of chunks.

use super::names;
use crate::series::{Labels, Series};

/// A series a line, as Prometheus prints it.
const LIST: &str = include_str!("known_series.txt");

/// The list as the beginning of a head.
pub fn known_names() -> Vec<u8> {
    let mut series: Vec<Series> = LIST.lines().map(series_of).collect();
    series.sort();
    let mut out = Vec::new();
    names::encode(series.iter(), &mut out);
    out
}

/// Labels hold neither commas nor quotes here.
fn series_of(line: &str) -> Series {
    let (name, labels) = line.split_once('{').unwrap_or((line, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
    let unquoted = |(key, value): (&str, &str)| (key.to_owned(), value.trim_matches('"').to_owned());
    let mut series = Series { name: name.to_owned(), labels: Labels::new() };
    series.labels.extend(labels.map(unquoted));
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_list_is_what_it_was_when_chunks_were_first_written_with_it() {
        let hash: String = Sha256::digest(known_names()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "c22d68b27fe9d1b57d68ef0f36303979802b84397648ce0d379ccf9f69884c0a");
    }

    #[test]
    fn a_line_is_a_name_and_its_labels() {
        let series = series_of(r#"a{b="c",d=""}"#);
        assert_eq!((series.name.as_str(), series.labels.len()), ("a", 2));
        assert_eq!((series.labels["b"].as_str(), series.labels["d"].as_str()), ("c", ""));
        assert_eq!(series_of("a").labels.len(), 0);
    }
}
