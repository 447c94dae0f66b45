//! `edgewatch_fuzz_targets::push_frame` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edgewatch_fuzz_targets::push_frame(data));
