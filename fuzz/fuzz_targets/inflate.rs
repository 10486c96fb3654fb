//! See [`rua_milter_fuzz::inflate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rua_milter_fuzz::inflate(input));
