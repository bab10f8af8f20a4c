//! The target `preprocess` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mig_fuzz::preprocess(data));
