//! `edgewatch_fuzz_targets::chunk` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edgewatch_fuzz_targets::chunk(data));
