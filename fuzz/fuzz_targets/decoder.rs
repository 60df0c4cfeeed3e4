#![no_main]

#[path = "../../mqtt/tests/corpus/decoder.rs"]
mod decoder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decoder::run(data));
