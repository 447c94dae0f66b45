//! What the encoders write, what a fuzzer kept of it and what it has found: no decoder panics on any of it.

use edgewatch_fuzz_targets::TARGETS;
use std::{fs, path::PathBuf};

/// Bytes of the saved corpus. Reason: it is cloned with the sources.
const CORPUS_BYTES_MAX: u64 = 200_000;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "corpus", target].iter().collect()
}

/// Every saved input of a target, by its file's name.
fn saved(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap())
    };
    files.map(file).collect()
}

#[test]
fn no_decoder_panics_on_what_the_encoders_write_nor_on_any_cut_of_it() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in seeds {
            (target.run)(&seed);
            for cut in (0..seed.len()).step_by(seed.len() / 100 + 1) {
                (target.run)(&seed[..cut]);
            }
        }
    }
}

#[test]
fn no_decoder_panics_on_the_saved_corpus() {
    for target in TARGETS {
        let inputs = saved(target.name);
        assert!(!inputs.is_empty(), "{}", target.name);
        for (name, bytes) in inputs {
            println!("{} {name}", target.name);
            (target.run)(&bytes);
        }
    }
}

#[test]
fn the_saved_corpus_is_small() {
    let bytes = TARGETS.iter().flat_map(|target| saved(target.name)).map(|(_, bytes)| bytes.len() as u64);
    assert!(bytes.sum::<u64>() <= CORPUS_BYTES_MAX);
}
